"""A record names everything that it was made by, however often its run was stopped and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import cosnorm
from cosnorm import experiments, provenance, record
from cosnorm.experiments.checkpoint import CheckpointFile, Contributions
from cosnorm.experiments.runner import Runner, load_data
from cosnorm.record import Record
from cosnorm.training import Curves


class StopError(BaseException):
    """A run is stopped."""


def trained(folder: Path | None, stop: int | None = None) -> Record:
    """A run, stopped when this epoch is done."""

    def watch(_: Any, curves: Curves) -> None:
        if len(curves.test_error) == stop:
            raise StopError

    (made,) = experiments.run(
        "mnist", "cosine", "smoke", 1, device="cpu", records=folder, checkpoint_every=0.0, on_epoch=watch
    )
    return made


def stopped(folder: Path, stop: int) -> None:
    with pytest.raises(StopError):
        trained(folder, stop)


def parts(made: Record) -> list[tuple[Any, ...]]:
    return [(entry["cosnorm"], *entry["epochs"]) for entry in made.provenance["contributions"]]


def test_a_resumed_run_names_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is kept after an epoch is reported, so that the tenth is made again."""
    monkeypatch.setattr(cosnorm, "__version__", "0.0.1")
    stopped(tmp_path, 10)
    monkeypatch.setattr(cosnorm, "__version__", "9.9.9")
    made = trained(tmp_path)
    assert made.provenance["cosnorm"] == "9.9.9"
    assert parts(made) == [("0.0.1", 1, 9), ("9.9.9", 10, 20)]
    monkeypatch.undo()
    assert made.curves == trained(None).curves, "a record's curves do not tell that it was resumed"
    (path,) = tmp_path.rglob("cosine-seed0.json")
    assert parts(record.read(path)) == parts(made)


def test_every_one_of_several_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, stop in (("1", 4), ("2", 4), ("3", 9)):
        monkeypatch.setattr(cosnorm, "__version__", version)
        stopped(tmp_path, stop)
    monkeypatch.setattr(provenance, "device_name", lambda _: "another processor")
    made = trained(tmp_path)
    # The second made no epoch that was kept.
    assert parts(made) == [("1", 1, 3), ("3", 4, 8), ("3", 9, 20)]
    names = [entry["device_name"] for entry in made.provenance["contributions"]]
    assert names[0] == names[1] != names[2] == "another processor"


def test_resumed_by_the_same_it_is_one_contribution(tmp_path: Path) -> None:
    for stop in (3, 8):
        stopped(tmp_path, stop)
    assert parts(trained(tmp_path)) == [(cosnorm.__version__, 1, 20)]


def test_a_run_in_one_go_has_one_contribution() -> None:
    made = trained(None)
    (entry,) = made.provenance["contributions"]
    assert entry.pop("epochs") == [1, 20]
    assert entry.pop("date")[:10] == made.provenance["date"][:10]
    assert entry == {name: made.provenance[name] for name in entry}
    assert set(entry) == {"cosnorm", "commit", "modified", "device_name", "torch"}


def test_of_a_run_that_diverges_the_epoch_in_which_it_did_counts(tmp_path: Path) -> None:
    """Its curves end before that epoch, its computation does not."""
    planned = experiments.plan("mnist", "none", "smoke", 1, "cpu")
    runner = Runner(planned, None)
    runner.dataset, runner.missing = load_data(planned), planned.runs
    curves = Curves([1.0], [5], [1.0], [3], diverged_epoch=2)
    assert runner.record(0, curves).provenance["contributions"][0]["epochs"] == [1, 2]


def test_a_state_without_a_checkpoint_is_no_contribution(tmp_path: Path) -> None:
    path = tmp_path / "none-seed0.json"
    kept = CheckpointFile(path, {}, 0, Contributions(torch.device("cpu")))
    assert kept.load() is None
    kept.save(lambda: {"epoch": 3})
    again = Contributions(torch.device("cpu"))
    assert CheckpointFile(path, {}, 0, again).load() == {"epoch": 3}
    assert [entry["epochs"] for entry in again.until(7)] == [[1, 7]]
