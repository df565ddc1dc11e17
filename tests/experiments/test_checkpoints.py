"""States of runs on disk: what is read is what was written; anything else is a warning and a new start."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from cosnorm.experiments import checkpoint as checkpoints
from cosnorm.experiments.checkpoint import CheckpointFile, leftovers, remove_leftovers

IDENTITY = {"settings": {"learning_rate": 0.5}, "seed": 1, "dataset": "0" * 64}
STATE = {"epoch": 3, "network": {"weight": torch.arange(6.0).view(2, 3)}, "curves": {"test_error": [3, 2]}}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "none-seed1.json"


@pytest.fixture
def kept(record: Path) -> CheckpointFile:
    file = CheckpointFile(record, IDENTITY, 0)
    file.save(lambda: STATE)
    return file


def test_comes_back_as_it_was(kept: CheckpointFile, record: Path) -> None:
    state = CheckpointFile(record, dict(reversed(IDENTITY.items())), 30).load()
    assert state is not None
    assert torch.equal(state["network"].pop("weight"), STATE["network"]["weight"])
    assert state == {**STATE, "network": {}}
    assert os.listdir(record.parent) == [".none-seed1.checkpoint"]


def test_no_checkpoint_is_no_warning(record: Path) -> None:
    assert CheckpointFile(record, IDENTITY, 0).load() is None


def test_is_saved_every_so_many_seconds(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    file = CheckpointFile(record, IDENTITY, 30)
    asked: list[float] = []
    for now in (100.0, 129.9, 130.0, 159.0, 160.5, 161.0):
        file.save(lambda: asked.append(now) or STATE)  # noqa: B023
    assert asked == [130.0, 160.5], "the state is not even gathered in between"


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"dataset": "1" * 64}, {"settings": {"learning_rate": 0.6}}, {"device": "cuda"}]
)
def test_a_stale_one_is_named_and_left_alone(kept: CheckpointFile, record: Path, change: dict) -> None:
    stale(CheckpointFile(record, {**IDENTITY, **change}, 0))


@pytest.mark.parametrize("name", ["FORMAT", "torch"])
def test_another_format_or_torch_is_another_state(
    kept: CheckpointFile, record: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "FORMAT":
        monkeypatch.setattr(checkpoints, "FORMAT", checkpoints.FORMAT + 1)
    else:
        monkeypatch.setattr(checkpoints.torch, "__version__", "0.4.1")
    stale(CheckpointFile(record, IDENTITY, 0))


def stale(file: CheckpointFile) -> None:
    with pytest.warns(UserWarning, match="belongs to other settings, data or another version") as seen:
        assert file.load() is None
    assert str(file.path) in str(seen[0].message)
    assert "the run starts from the beginning" in str(seen[0].message)


def damaged(file: CheckpointFile) -> None:
    with pytest.warns(UserWarning, match="is damaged") as seen:
        assert file.load() is None
    assert str(file.path) in str(seen[0].message)


def test_every_cut_is_noticed(kept: CheckpointFile) -> None:
    whole = kept.path.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        kept.path.write_bytes(whole[:length])
        damaged(kept)


def test_every_changed_bit_is_noticed(kept: CheckpointFile) -> None:
    """torch itself reads most of these without a word."""
    whole = kept.path.read_bytes()
    for place in range(0, len(whole), 31):
        kept.path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        damaged(kept)


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04 and more", bytes(10_000)])
def test_foreign_files_are_named(kept: CheckpointFile, content: bytes) -> None:
    kept.path.write_bytes(content)
    damaged(kept)


def test_a_folder_in_its_place_is_named(record: Path) -> None:
    file = CheckpointFile(record, IDENTITY, 0)
    file.path.mkdir()
    damaged(file)


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (self.target,))


@pytest.mark.parametrize("wrap", ["pickle", "torch", "old torch"])
def test_nothing_in_the_file_is_run(kept: CheckpointFile, tmp_path: Path, wrap: str) -> None:
    target = tmp_path / "was run"
    content = {"identity": kept.identity, "state": Bomb(target)}
    stream = io.BytesIO()
    if wrap == "pickle":
        stream.write(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, stream, _use_new_zipfile_serialization=wrap == "torch")
    payload = stream.getvalue()
    kept.path.write_bytes(hashlib.sha256(payload).digest() + payload)  # a checksum is no protection
    damaged(kept)
    assert not target.exists()
    torch.load(io.BytesIO(payload), weights_only=False) if wrap != "pickle" else pickle.loads(payload)
    assert target.exists(), "the bomb of this test must be live"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_one_that_cannot_be_written_is_a_warning_and_leaves_the_old(
    kept: CheckpointFile, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.warns(UserWarning, match=r"no checkpoint was written .*No space left.*the run goes on"):
            kept.save(lambda: {"epoch": 4})
    assert kept.path.read_bytes() == before
    assert os.listdir(kept.path.parent) == [kept.path.name]


def test_a_fault_in_the_state_is_no_full_disk(kept: CheckpointFile) -> None:
    with pytest.raises(ZeroDivisionError):
        kept.save(lambda: {"epoch": 1 // 0})


def test_clearing_takes_everything_of_this_run_but_lock_and_record(tmp_path: Path) -> None:
    mine = [
        ".cosine-at-0.3-seed1.checkpoint",
        ".cosine-at-0.3-seed1.checkpoint.77.part",
        ".cosine-at-0.3-seed1.json.78.part",
    ]
    others = [
        ".cosine-at-0.3-seed1.lock",
        ".cosine-at-0.3-seed10.checkpoint",
        ".cosine-seed1.checkpoint",
        "cosine-at-0.3-seed1.json",
    ]
    for name in (*mine, *others):
        (tmp_path / name).touch()
    record = tmp_path / "cosine-at-0.3-seed1.json"
    assert [path.name for path in leftovers(record)] == sorted([*mine, others[0]])
    remove_leftovers(record)
    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_what_cannot_be_cleared_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".none-seed1.checkpoint").mkdir()
    remove_leftovers(tmp_path / "none-seed1.json")
