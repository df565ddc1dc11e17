"""Claims: one holder a run, none after its process, and no file left behind."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from cosnorm.experiments import checkpoint
from cosnorm.experiments.checkpoint import RunLock
from cosnorm.record import RecordError, path_of


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return path_of(tmp_path, "mnist", "smoke", "cosine-at-0.3", 1)


def files(record: Path) -> list[str]:
    return [path.name for path in record.parent.iterdir()]


def test_one_holder_at_a_time(record: Path) -> None:
    first = RunLock(record)
    assert first.held
    assert files(record) == [".cosine-at-0.3-seed1.lock"]
    assert not RunLock(record).held
    other = RunLock(record.with_name("cosine-at-0.3-seed10.json"))
    assert other.held
    other.release()
    first.release()
    second = RunLock(record)
    assert second.held
    second.release()


def test_a_released_claim_leaves_nothing(record: Path) -> None:
    RunLock(record).release()
    assert files(record) == []


def test_a_refused_claim_takes_nothing_from_the_holder(record: Path) -> None:
    first = RunLock(record)
    for _ in range(3):
        assert not RunLock(record).held
    first.release()
    assert files(record) == []


def test_another_process_is_refused_until_this_one_lets_go(record: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from cosnorm.experiments.checkpoint import RunLock; "
        "print(RunLock(Path(sys.argv[1])).held)"
    )

    def other() -> str:
        command = [sys.executable, "-c", program, str(record)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    mine = RunLock(record)
    assert other() == "False"
    mine.release()
    assert other() == "True"
    # That process ended without a release: its file is there, its lock is not.
    assert files(record) == [".cosine-at-0.3-seed1.lock"]
    again = RunLock(record)
    assert again.held
    again.release()


def test_a_file_that_was_removed_before_it_was_locked_is_no_claim(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder before removes the file between our opening and our locking it: a third may have one."""
    holder = RunLock(record)
    lock = checkpoint.try_lock

    def late(stream: object) -> None:
        holder.release()
        lock(stream)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "try_lock", late)
        assert not RunLock(record).held
    assert files(record) == []
    third = RunLock(record)
    assert third.held
    third.release()


def test_a_file_that_was_replaced_before_it_was_locked_is_no_claim(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders = [RunLock(record)]
    lock = checkpoint.try_lock

    def late(stream: object) -> None:
        monkeypatch.setattr(checkpoint, "try_lock", lock)
        holders[0].release()
        holders.append(RunLock(record))
        lock(stream)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(checkpoint, "try_lock", late)
    assert not RunLock(record).held
    assert holders[1].held
    holders[1].release()


def test_without_locks_every_claim_is_granted(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(checkpoint, "try_lock", none)
    first, second = RunLock(record), RunLock(record)
    assert first.held
    assert second.held
    first.release()
    second.release()
    assert files(record) == []


def test_a_folder_that_cannot_be_written_is_named(record: Path) -> None:
    record.parent.parent.mkdir(parents=True)
    record.parent.write_text("in the way")
    with pytest.raises(RecordError, match=f"cannot write to {record.parent} .*choose another folder"):
        RunLock(record)
