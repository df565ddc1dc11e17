"""Runs that are killed, share a folder or find no room: whole records, the same as ever, or a clear error."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from cosnorm import experiments, record
from cosnorm.experiments import runner
from cosnorm.experiments.checkpoint import RunLock
from cosnorm.record import Record, RecordError, path_of, read

HERE = Path(__file__).parent
NEEDS_UNIX = pytest.mark.skipif(os.name == "nt", reason="needs fork, kill -9 and limits of a process")


def run(norms: Any = "none", seeds: Any = 1, **options: Any) -> list[Record]:
    return experiments.run("mnist", norms, "smoke", seeds, device="cpu", **options)


def results(records: list[Record]) -> list[tuple]:
    """What must repeat: everything but time, memory and date."""
    return [(r.name, r.settings, r.curves, r.final) for r in records]


@pytest.fixture(scope="module")
def whole() -> list[Record]:
    """The runs of most tests here, made without an interruption."""
    return run()


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def interrupted(folder: Path, epochs: int = 7, **options: Any) -> Path:
    """A run that stopped after so many epochs, a checkpoint after each; returns the checkpoint."""

    def stop(replica: Any, curves: Any) -> None:
        if len(curves.test_error) == epochs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(records=folder, on_epoch=stop, checkpoint_every=0, **options)
    return folder / "mnist" / "smoke" / ".none-seed0.checkpoint"


def epochs_of(folder: Path, **options: Any) -> tuple[list[Record], list[int]]:
    """Run what is missing; the records and the epochs that were trained for them."""
    seen: list[int] = []
    records = run(records=folder, on_epoch=lambda _, curves: seen.append(len(curves.test_error)), **options)
    return records, seen


@NEEDS_UNIX
@pytest.mark.slow
def test_killed_at_random_moments_the_records_are_the_same_to_the_bit() -> None:
    """Twenty kills: ``python tests/experiments/killing.py 20 7 2``; it takes longer than a test should."""
    command = [sys.executable, str(HERE / "killing.py"), "4", "1", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] == 4
    assert told["runs_resumed"] > 0
    assert told["epochs_not_repeated"] > 0


def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path: Path, whole: list[Record]) -> None:
    checkpoint = interrupted(tmp_path)
    assert hidden(tmp_path) == [checkpoint.name], "no lock and no part of a file"
    records, trained = epochs_of(tmp_path)
    assert trained == list(range(7, 21)), "the interrupted epoch was told of before its state was kept"
    assert results(records) == results(whole)
    assert records[0].cost["seconds"] > 0
    assert hidden(tmp_path) == []


def test_checkpoints_are_kept_in_a_folder_only(whole: list[Record], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert results(run(checkpoint_every=0)) == results(whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["truncated", "changed", "empty", "foreign", "stale", "another torch"])
def test_a_checkpoint_that_cannot_be_used_is_named_and_the_run_starts_again(
    fault: str, tmp_path: Path, whole: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = interrupted(tmp_path / "one")
    content = checkpoint.read_bytes()
    if fault == "stale":
        shutil.copy(interrupted_other_seed(tmp_path / "other"), checkpoint)
    elif fault == "another torch":
        monkeypatch.setattr("cosnorm.experiments.checkpoint.torch.__version__", "0.4.1")
    else:
        middle = len(content) // 2
        checkpoint.write_bytes(
            {
                "truncated": content[:-100],
                "changed": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "empty": b"",
                "foreign": b"not a checkpoint at all",
            }[fault]
        )
    with pytest.warns(UserWarning, match="the run starts from the beginning") as seen:
        records, trained = epochs_of(tmp_path / "one")
    assert [str(checkpoint) in str(warning.message) for warning in seen] == [True]
    assert trained == list(range(1, 21))
    assert results(records) == results(whole)
    assert hidden(tmp_path / "one") == []


def interrupted_other_seed(folder: Path) -> Path:
    return interrupted(folder, seeds=[1]).with_name(".none-seed1.checkpoint")


def test_what_a_kill_right_after_the_record_leaves_is_cleared_away(tmp_path: Path) -> None:
    run(records=tmp_path)
    folder = tmp_path / "mnist" / "smoke"
    for name in ("lock", "checkpoint", "checkpoint.77.part", "json.78.part"):
        (folder / f".none-seed0.{name}").touch()
    _, trained = epochs_of(tmp_path)
    assert trained == []
    assert hidden(tmp_path) == []


def test_what_a_kill_in_the_middle_of_a_write_leaves_is_cleared_away(tmp_path: Path) -> None:
    folder = tmp_path / "mnist" / "smoke"
    folder.mkdir(parents=True)
    for name in ("lock", "checkpoint.77.part", "json.78.part"):
        (folder / f".none-seed0.{name}").write_bytes(b"half of it")
    _, trained = epochs_of(tmp_path)
    assert trained == list(range(1, 21))
    assert [path.name for path in folder.iterdir()] == ["none-seed0.json"]


def test_nothing_of_a_run_that_another_process_is_making_is_cleared_away(tmp_path: Path) -> None:
    run(records=tmp_path)
    path = path_of(tmp_path, "mnist", "smoke", "none", 0)
    holder = RunLock(path)
    path.with_name(".none-seed0.json.78.part").touch()
    epochs_of(tmp_path)
    assert hidden(tmp_path) == [".none-seed0.json.78.part", ".none-seed0.lock"]
    holder.release()


def test_a_run_of_another_process_is_waited_for(
    tmp_path: Path, whole: list[Record], monkeypatch: Any
) -> None:
    """The others are trained first; then the record that the other process wrote counts."""
    monkeypatch.setattr(runner, "WAIT_SECONDS", 0.01)
    lock = RunLock(path_of(tmp_path, "mnist", "smoke", "none", 0))
    told: list[Any] = []

    def wait(count: int) -> None:
        told.append(count)
        record.write(whole[0], tmp_path)
        lock.release()

    records, trained = epochs_of(
        tmp_path, seeds=2, on_wait=wait, on_record=lambda r, present: told.append((r.seed, present))
    )
    assert told == [1, (0, True), (1, False)]
    assert trained == list(range(1, 21))
    assert records[0] == whole[0]
    assert hidden(tmp_path) == []


def test_the_run_of_a_process_that_gave_up_is_taken_over(
    tmp_path: Path, whole: list[Record], monkeypatch: Any
) -> None:
    interrupted(tmp_path)
    monkeypatch.setattr(runner, "WAIT_SECONDS", 0.01)
    lock = RunLock(path_of(tmp_path, "mnist", "smoke", "none", 0))
    records, trained = epochs_of(tmp_path, on_wait=lambda _: lock.release())
    assert trained == list(range(7, 21)), "from the other's checkpoint"
    assert results(records) == results(whole)


@NEEDS_UNIX
def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    """Both begin at the same moment, each with two threads: no run is trained twice, and all end with all."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import os, killing; from pathlib import Path; "
        "from cosnorm import data; data.load('digits'); "
        "children = [killing.forked(Path(sys.argv[2]), Path(sys.argv[3]), 3) for _ in range(2)]; "
        "print(sum(os.waitpid(child, 0)[1] for child in children))"
    )
    folder, log = tmp_path / "records", tmp_path / "log"
    command = [sys.executable, "-c", program, str(HERE), str(folder), str(log)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "0", done.stderr
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len({line[0] for line in lines}) == 2, "both had something to do"
    trained = [tuple(line[1:]) for line in lines]
    assert len(trained) == len(set(trained)) == 3 * 3 * 20
    assert hidden(folder) == []
    names = sorted(path.name for path in folder.rglob("*.json"))
    assert names == sorted(
        f"{norm}-seed{seed}.json" for norm in ("none", "cosine", "batch") for seed in range(3)
    )
    for path in folder.rglob("*.json"):
        read(path)


#: Runs the command line with a limit on the size of files, from the second epoch on.
LIMITED = """
import resource, sys
from cosnorm import experiments
from cosnorm.cli import main, runs
from cosnorm.experiments import runner
limit = int(sys.argv.pop(1))
runner.CHECKPOINT_SECONDS = 0
runs.RunDisplay.line_seconds = 0
run = runner.run
def limited(*arguments, on_epoch, **options):
    def watch(replica, curves):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        on_epoch(replica, curves)
    return run(*arguments, on_epoch=watch, checkpoint_every=0, **options)
experiments.run = limited
main()
"""


def full_disk(folder: Path, limit: int) -> subprocess.CompletedProcess[str]:
    words = ["run", "mnist", "--norm", "none", "--scale", "smoke", "--seeds", "1", "--device", "cpu"]
    command = [sys.executable, "-c", LIMITED, str(limit), *words, "--records", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@NEEDS_UNIX
def test_no_room_for_a_record_is_a_clear_error(tmp_path: Path) -> None:
    done = full_disk(tmp_path, 1000)
    assert done.returncode == 1
    assert (
        f"cosnorm: could not write the record {tmp_path}/mnist/smoke/none-seed0.json: File too" in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert "epoch 20/20" in done.stdout
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [], "nothing half-written"


@NEEDS_UNIX
def test_no_room_for_a_checkpoint_is_a_warning_and_the_run_goes_on(
    tmp_path: Path, whole: list[Record]
) -> None:
    done = full_disk(tmp_path, 10_000)
    assert done.returncode == 0, done.stderr
    assert f"no checkpoint was written to {tmp_path}/mnist/smoke/.none-seed0.checkpoint" in done.stderr
    assert "the run goes on" in done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["none-seed0.json"]
    kept = read(path_of(tmp_path, "mnist", "smoke", "none", 0))
    assert results([kept]) == results(whole)


def test_a_record_that_cannot_be_written_ends_the_other_runs(tmp_path: Path, monkeypatch: Any) -> None:
    """The checkpoint stays, so that nothing is lost once there is room."""
    interrupted(tmp_path, 18)

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(record.os, "fsync", full)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(RecordError, match=r"records cannot be written|could not write the record"):
                run("none", 3, records=tmp_path)
    assert hidden(tmp_path) == [".none-seed0.checkpoint"]
    _, trained = epochs_of(tmp_path)
    assert trained == [18, 19, 20]


def test_a_folder_of_an_experiment_that_cannot_be_written_is_an_error_before_training(tmp_path: Path) -> None:
    (tmp_path / "mnist").write_text("in the way")
    seen: list[int] = []
    with pytest.raises(RecordError, match=r"cannot write to .*smoke.*choose another folder"):
        run(records=tmp_path, on_epoch=lambda *_: seen.append(1))
    assert not seen


def observed(folder: Path, **changes: object) -> Path:
    """A record with a curve of an observer, its content changed and its checksum made to fit."""
    (made,) = run()
    curve = [[0.5, [1.5, 2.5]] for _ in range(20)]
    path = record.write(dataclasses.replace(made, curves={**made.curves, "seen": curve}), folder)
    content = json.loads(path.read_text())
    for name, value in changes.items():
        content["curves"][name] = value
    del content["sha256"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))
    return path


def test_an_observed_curve_comes_back(tmp_path: Path) -> None:
    assert read(observed(tmp_path)).curves["seen"] == [[0.5, [1.5, 2.5]]] * 20


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[0.5, [1.5]]] * 19, r"curves have lengths \[19, 20\]"),
        ([], "curves have lengths"),
        (7, "seen should be lists"),
        ("x" * 20, "seen should be lists"),
        ({str(n): 1 for n in range(20)}, "seen should be lists"),
        ([[0.5, [float("nan")]]] * 20, "NaN is not JSON"),
        ([[0.5, [float("-inf")]]] * 20, "-Infinity is not JSON"),
    ],
)
def test_an_observed_curve_that_cannot_be_is_damage(value: object, message: str, tmp_path: Path) -> None:
    path = observed(tmp_path, seen=value)
    with pytest.raises(RecordError, match=rf"none-seed0\.json is damaged: .*{message}"):
        read(path)


def test_a_number_too_large_for_python_is_damage(tmp_path: Path) -> None:
    path = observed(tmp_path)
    text = path.read_text()
    assert "2.5]" in text
    path.write_text(text.replace("2.5]", "1e999]", 1))
    with pytest.raises(RecordError, match=r"none-seed0\.json is damaged"):
        read(path)


@pytest.mark.parametrize("section", ["settings", "curves", "final", "cost", "provenance"])
@pytest.mark.parametrize("kind", [list, " ".join, lambda names: None])
def test_a_section_of_another_kind_is_damage(section: str, kind: Any, tmp_path: Path) -> None:
    path = observed(tmp_path)
    content = json.loads(path.read_text())
    content[section] = kind(content[section])
    del content["sha256"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="is damaged"):
        read(path)
