"""Running an experiment: records as asked, each the same whatever runs beside it, and nothing run twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import cosnorm
from cosnorm import data, evidence, experiments, record
from cosnorm.experiments import runner
from cosnorm.record import Record, RecordError, path_of, read


def run(norms: Any = "none", seeds: Any = 1, **options: Any) -> list[Record]:
    return experiments.run("mnist", norms, "smoke", seeds, device="cpu", **options)


def results(records: list[Record]) -> list[tuple]:
    """What must repeat: everything but time, memory and date."""
    return [(r.name, r.settings, r.curves, r.final) for r in records]


def test_one_record_a_run_in_pairs_by_seed() -> None:
    records = run(["none", "batch"], 2)
    assert [(r.technique, r.seed) for r in records] == [("none", 0), ("batch", 0), ("none", 1), ("batch", 1)]
    smoke = experiments.get("mnist").scales["smoke"]
    for r in records:
        assert len(r.curves["test_error"]) == smoke.epochs
        assert r.settings["learning_rate"] == smoke.rates[r.technique]
        assert r.settings["test_examples"] == len(data.load("digits").test_targets)
        assert 0 < r.final["test_error_mean"] < 0.1 * r.settings["test_examples"]


def test_the_same_to_the_bit_alone_or_in_company_and_with_other_threads() -> None:
    company = run(["none", "cosine"], [1])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alone = run("cosine", [1])
        assert torch.get_num_threads() == 2, "the caller's number of threads must come back"
    finally:
        torch.set_num_threads(before)
    assert results(alone) == results(company[1:])


def test_a_record_says_where_it_comes_from() -> None:
    (r,) = run()
    facts = r.provenance
    assert facts["cosnorm"] == cosnorm.__version__
    assert facts["torch"] == torch.__version__
    assert facts["dataset_sha256"] == data.load("digits").sha256
    assert (facts["device"], facts["threads"]) == ("cpu", 1)
    assert facts["date"].endswith("+00:00")
    assert facts["command"] == "cosnorm run mnist --norm none --scale smoke --seeds 0-0 --device cpu"
    assert r.cost["seconds"] > 0
    assert r.cost["peak_memory_bytes"] > 10_000_000
    assert r.cost["peak_memory_of"] == "resident memory of the process"


def test_curves_keep_five_significant_digits() -> None:
    (r,) = run()
    assert all(value == float(f"{value:.5g}") for value in r.curves["train_loss"] + r.curves["test_loss"])
    assert all(isinstance(value, int) for value in r.curves["train_error"] + r.curves["test_error"])


def test_finished_runs_are_kept(tmp_path: Path) -> None:
    first = run(["none"], 1, records=tmp_path)
    path = path_of(tmp_path, "mnist", "smoke", "none", 0)
    written = path.read_bytes()
    seen: list[tuple[str, bool]] = []
    trained: list[int] = []
    second = run(
        ["none"],
        2,
        records=tmp_path,
        on_record=lambda r, present: seen.append((r.name, present)),
        on_epoch=lambda replica, _: trained.append(replica.seed),
    )
    assert seen == [("mnist/smoke/none-seed0", True), ("mnist/smoke/none-seed1", False)]
    assert set(trained) == {1}
    assert second[0] == first[0]
    assert path.read_bytes() == written
    assert [read(path_of(tmp_path, "mnist", "smoke", "none", seed)) for seed in (0, 1)] == second


def test_an_interrupted_run_leaves_the_finished_ones_and_goes_on_to_the_same(tmp_path: Path) -> None:
    def interrupt(replica: Any, curves: Any) -> None:
        if replica.seed == 1 and len(curves.test_error) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("none", 2, records=tmp_path, on_epoch=interrupt)
    assert [p.name for p in sorted(tmp_path.rglob("*.*"))] == ["none-seed0.json"]
    assert results(run("none", 2, records=tmp_path)) == results(run("none", 2))


def test_a_damaged_record_is_not_run_over(tmp_path: Path) -> None:
    run(records=tmp_path)
    path = path_of(tmp_path, "mnist", "smoke", "none", 0)
    path.write_text(path.read_text()[:-10])
    seen: list[int] = []
    with pytest.raises(RecordError, match=r"none-seed0\.json is damaged"):
        run("none", 2, records=tmp_path, on_epoch=lambda *_: seen.append(1))
    assert not seen, "found out before training"


def test_a_record_of_other_settings_is_not_taken_for_this_one(tmp_path: Path) -> None:
    (old,) = run()
    record.write(dataclasses.replace(old, settings={**old.settings, "learning_rate": 7.0}), tmp_path)
    with pytest.raises(RecordError, match="made with another learning_rate than the experiment has now"):
        run(records=tmp_path)


def test_an_unwritable_folder_is_found_out_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    seen: list[int] = []
    with pytest.raises(RecordError, match="choose another folder"):
        run(records=tmp_path / "file", on_epoch=lambda *_: seen.append(1))
    assert not seen


def test_a_diverged_run_becomes_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = runner.Plan.replica
    monkeypatch.setattr(
        runner.Plan, "replica", lambda *a: dataclasses.replace(replica(*a), learning_rate=1e30)
    )
    (lost,) = run(records=tmp_path)
    assert lost.diverged
    assert read(path_of(tmp_path, "mnist", "smoke", "none", 0)) == lost
    assert "diverged in epoch 1" in runner.describe(lost)


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ("all", ("none", "cosine", "centered", "batch", "weight", "max_norm", "layer", "weight-biased")),
        ("cosine, none", ("cosine", "none")),
        (["batch", "batch"], ("batch",)),
    ],
)
def test_techniques_as_one_writes_them(norms: Any, expected: tuple[str, ...]) -> None:
    assert experiments.plan("mnist", norms).techniques == expected


@pytest.mark.parametrize(("seeds", "expected"), [(None, (0, 1, 2)), (2, (0, 1)), ([4, 1, 4], (4, 1))])
def test_seeds_as_one_writes_them(seeds: Any, expected: tuple[int, ...]) -> None:
    assert experiments.plan("mnist", seeds=seeds, scale="smoke").seeds == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norms": "cosin"}, "no technique 'cosin'"),
        ({"norms": []}, "at least one technique and one seed"),
        ({"seeds": 0}, "at least one technique and one seed"),
        ({"seeds": [-1]}, "seed must be 0 or more"),
        ({"scale": "tiny"}, "no scale 'tiny'"),
        ({"device": "tpu9"}, "unknown device"),
    ],
)
def test_wrong_plans_are_explained(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiments.plan("mnist", **options)


def test_progress_prints_a_line_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    run(progress=True)
    assert capsys.readouterr().out.startswith("mnist/smoke/none-seed0: ")


@pytest.mark.parametrize("technique", list(experiments.get("mnist").techniques))
def test_the_packages_own_records_are_what_the_code_gives_today(technique: str) -> None:
    """Bits differ between machines, so the bound is loose; settings must agree to the letter."""
    (fresh,) = run(technique)
    placed = evidence.receipt(fresh)
    assert placed.differing == (), "settings changed: remake the records as records/README.md says"
    band = evidence.prediction(list(placed.stored.values()), level=0.9999)
    assert band is not None
    assert placed.score is not None
    assert band.low <= placed.score <= band.high


def test_a_plan_of_single_runs_makes_these_alone() -> None:
    """As a campaign gives several runs of an experiment to one process on a GPU."""
    made = experiments.plan("mnist", ["none", "cosine"], "smoke", 2, "cpu")
    runs = (("none", 0), ("cosine", 1))
    single = runner.Runner(dataclasses.replace(made, only=runs), None)
    assert [single.home(run).runs for run in runs] == [[run] for run in runs]
