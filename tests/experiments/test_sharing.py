"""No run is trained twice: which records serve which experiments, where a run is at home, and views of it."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
from synthetic import record_of

from cosnorm import evidence, experiments, record
from cosnorm.experiments import paper, runner, sharing
from cosnorm.experiments.experiment import tail
from cosnorm.experiments.sharing import Place, find, home, needed, places, served, view
from cosnorm.record import Record, RecordError, read, write
from cosnorm.training import Curves

MNIST = Place("mnist", "smoke", "cosine")
DEPTH = Place("depth", "smoke", "cosine-3-layers")
AMBIGUITY = Place("ambiguity", "smoke", "cosine")


def run(name: str, technique: str, seeds: Any, folder: Path | None, **options: Any) -> Record:
    (made,) = experiments.run(name, technique, "smoke", seeds, device="cpu", records=folder, **options)
    return made


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_network_of_three_layers_is_that_of_mnist() -> None:
    wanted = needed(DEPTH, 2)
    assert wanted.identity == needed(MNIST, 2).identity
    assert home(wanted) == MNIST
    assert places(wanted)[:2] == [DEPTH, MNIST]
    assert DEPTH in served(MNIST)
    names = (("mnist", "cosine"), ("preactivation", "cosine"), ("depth", "cosine-3-layers"))
    assert len({needed(Place(name, "paper", technique), 0).identity for name, technique in names}) == 1


def test_a_shorter_run_is_served_by_a_longer_one_and_never_the_other_way_round() -> None:
    assert MNIST in places(needed(AMBIGUITY, 0)), "8 epochs of 20"
    assert AMBIGUITY not in places(needed(MNIST, 0))
    assert home(needed(AMBIGUITY, 0)) == AMBIGUITY, "its own length"
    assert Place("mnist", "paper", "none") in places(needed(Place("mnist", "short", "none"), 0))


def test_seeds_rates_and_data_make_other_runs() -> None:
    keys = [
        needed(place, seed).identity
        for place, seed in (
            (MNIST, 0),
            (MNIST, 1),
            (Place("mnist", "short", "cosine"), 0),
            (Place("mnist", "smoke", "none"), 0),
            (Place("rates", "smoke", "cosine-at-3"), 0),
        )
    ]
    assert len(set(keys)) == len(keys)


def test_what_is_observed_must_be_there() -> None:
    observing = Place("magnitude", "smoke", "none")
    plain = Place("mnist", "smoke", "none")
    assert plain in served(plain)
    assert observing not in served(plain)
    replica = needed(plain, 0).replica
    assert "scaled_inputs" not in replica.observe, "otherwise this test says nothing"
    made = record_of(observing, 0, observed={"scaled_errors": [[1, 2]] * 10})
    assert needed(observing, 0).serves(made)
    assert not needed(observing, 0).serves(
        dataclasses.replace(made, settings={**made.settings, "observed": None})
    )


def test_every_home_is_its_own_home_and_is_as_long() -> None:
    for name, experiment in experiments.registry().items():
        for scale in experiment.scales:
            for technique in experiment.techniques:
                if experiment.rate_of(technique, scale) is None:
                    continue
                wanted = needed(Place(name, scale, technique), 0)
                there = needed(home(wanted), 0)
                assert home(there) == there.place
                assert there.identity == wanted.identity
                assert there.replica.epochs == wanted.replica.epochs
                assert set(there.replica.observe) >= set(wanted.replica.observe)


def test_a_run_is_trained_once_and_written_at_home(tmp_path: Path) -> None:
    trained: list[str] = []

    def note(replica: object, curves: Curves) -> None:
        trained.append(f"{len(curves.test_error)}")

    depth = run("depth", "cosine-3-layers", [1], tmp_path, on_epoch=note)
    assert (depth.name, depth.stored) == ("depth/smoke/cosine-3-layers-seed1", "mnist/smoke/cosine-seed1")
    assert files(tmp_path) == ["mnist/smoke/cosine-seed1.json"]
    assert len(trained) == 20
    told: list[tuple[str, bool]] = []

    def tell(result: Record, present: bool) -> None:
        told.append((result.name, present))

    mnist = run("mnist", "cosine", [1], tmp_path, on_epoch=note, on_record=tell)
    shorter = run("ambiguity", "cosine", [1], tmp_path, on_epoch=note)
    assert len(trained) == 20, "nothing was trained again"
    assert told == [("mnist/smoke/cosine-seed1", True)]
    assert mnist.curves == depth.curves
    assert mnist.provenance["command"].startswith("cosnorm run mnist --norm cosine --scale smoke --seeds 1-1")
    assert shorter.curves["test_error"] == mnist.curves["test_error"][:8]
    assert files(tmp_path) == ["mnist/smoke/cosine-seed1.json"]
    alone = run("ambiguity", "cosine", [1], None)
    assert alone.stored == alone.name, "in memory nothing is shared"
    assert (alone.curves, alone.final, alone.settings) == (shorter.curves, shorter.final, shorter.settings)


def test_runs_that_are_one_are_trained_once_within_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist, smoke = paper.MNIST, paper.MNIST.scales["smoke"]
    twin = dataclasses.replace(
        mnist,
        techniques={
            **mnist.techniques,
            "none-twin": dataclasses.replace(mnist.techniques["none"], norm="none"),
        },
        scales={"smoke": dataclasses.replace(smoke, rates={**smoke.rates, "none-twin": 0.5})},
    )
    monkeypatch.setattr(paper, "MNIST", twin)
    sharing._known.cache_clear()
    try:
        seen: list[int] = []
        waited: list[int] = []
        one, other = experiments.run(
            "mnist",
            ["none", "none-twin"],
            "smoke",
            1,
            device="cpu",
            records=tmp_path,
            on_epoch=lambda _, curves: seen.append(len(curves.test_error)),
            on_wait=waited.append,
        )
        assert seen == list(range(1, 21))
        assert waited == [], "no other process is blamed"
        assert one.curves == other.curves
        assert other.stored == one.name == "mnist/smoke/none-seed0"
    finally:
        sharing._known.cache_clear()


def test_an_interrupted_run_goes_on_under_another_name(tmp_path: Path) -> None:
    """Lock and checkpoint lie where the run is at home, so either experiment can go on with it."""

    def stop(replica: object, curves: Curves) -> None:
        if len(curves.test_error) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("depth", "cosine-3-layers", 1, tmp_path, on_epoch=stop, checkpoint_every=0)
    assert files(tmp_path) == ["mnist/smoke/.cosine-seed0.checkpoint"]
    seen: list[int] = []
    run("mnist", "cosine", 1, tmp_path, on_epoch=lambda _, curves: seen.append(len(curves.test_error)))
    assert seen[0] == 7
    assert files(tmp_path) == ["mnist/smoke/cosine-seed0.json"]


def test_the_final_figures_of_a_view_are_those_of_the_shorter_run() -> None:
    errors = [50, 40, 30, 20, 10, 9, 8, 7, 6, 5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]
    made = record_of(MNIST, 3, errors)
    made = dataclasses.replace(made, cost={**made.cost, "seconds": 60.0})
    cut = view(made, AMBIGUITY, 8)
    assert cut.name == "ambiguity/smoke/cosine-seed3"
    assert cut.stored == made.name
    assert cut.curves["test_error"] == errors[:8]
    assert (cut.settings["epochs"], cut.settings["tail"]) == (8, tail(8)) == (8, 2)
    assert cut.final == record.summarize(errors[:8], 2, None)
    assert cut.final["test_error_mean"] == 7.5
    assert cut.final["test_error_min"] == 7
    assert cut.cost["seconds"] == 24.0
    assert cut.cost["seconds_of"] == "the first 8 of 20 epochs, in proportion"
    assert made.settings["epochs"] == 20, "the record itself is as it was"
    with pytest.raises(ValueError, match="has 20 epochs, not 21"):
        view(made, AMBIGUITY, 21)


@pytest.mark.parametrize(("lost", "diverged"), [(6, 6), (9, None), (8, 8)])
def test_a_run_that_diverged_later_is_a_finished_shorter_one(lost: int, diverged: int | None) -> None:
    made = record_of(MNIST, 0, [9] * (lost - 1))
    assert made.final["diverged_epoch"] == lost
    cut = view(made, AMBIGUITY, 8)
    assert cut.final["diverged_epoch"] == diverged
    assert len(cut.curves["test_error"]) == (8 if diverged is None else diverged - 1)


def test_a_view_cannot_be_written_and_a_copy_of_a_record_can(tmp_path: Path) -> None:
    made = record_of(MNIST, 0)
    cut = view(made, AMBIGUITY, 8)
    with pytest.raises(ValueError, match="is a view of the record mnist/smoke/cosine-seed0"):
        write(cut, tmp_path)
    path = write(made, tmp_path)
    assert "stored" not in path.read_text()
    assert read(path) == made
    assert read(path).stored == made.name


def test_evidence_reads_views(tmp_path: Path) -> None:
    for seed in range(2):
        write(record_of(MNIST, seed), tmp_path)
    write(record_of(Place("ambiguity", "smoke", "cosine-constant-1"), 0), tmp_path)
    found = evidence.load("ambiguity", "smoke", tmp_path)
    assert [(r.technique, r.seed) for r in found] == [("cosine", 0), ("cosine", 1), ("cosine-constant-1", 0)]
    assert [r.stored for r in found[:2]] == ["mnist/smoke/cosine-seed0", "mnist/smoke/cosine-seed1"]
    assert {r.settings["epochs"] for r in found} == {8}
    counts = evidence.available(tmp_path)
    assert counts["mnist", "smoke"] == 2
    assert counts["ambiguity", "smoke"] == 3
    assert counts["depth", "smoke"] == 2
    for (name, scale), count in counts.items():
        assert len(evidence.load(name, scale, tmp_path)) == count
    table = evidence.table(found)
    assert table["cosine"].n == 2
    made = run("ambiguity", "cosine", 1, tmp_path)
    assert evidence.receipt(made, tmp_path).differing == ()


def test_its_own_record_comes_before_a_view(tmp_path: Path) -> None:
    write(record_of(MNIST, 0), tmp_path)
    own = record_of(AMBIGUITY, 0, [3] * 8)
    write(own, tmp_path)
    assert evidence.load("ambiguity", "smoke", tmp_path) == [own]
    assert find(needed(AMBIGUITY, 0), tmp_path) == own


def test_a_damaged_record_of_another_experiment_is_passed_over(tmp_path: Path) -> None:
    path = write(record_of(MNIST, 0), tmp_path)
    path.write_text("{")
    assert find(needed(AMBIGUITY, 0), tmp_path) is None
    with pytest.raises(RecordError, match="is damaged"):
        find(needed(MNIST, 0), tmp_path)
    with pytest.raises(RecordError, match="is damaged"):
        run("depth", "cosine-3-layers", 1, tmp_path)


def earlier(place: Place, seed: int, epochs: int) -> Record:
    """A record of a definition of the experiment with fewer epochs."""
    made = record_of(place, seed)
    whole = view(made, place, epochs)
    return dataclasses.replace(whole, settings={**whole.settings, "tail": tail(epochs)})


def test_records_of_an_earlier_definition_count_until_every_technique_has_new_ones(tmp_path: Path) -> None:
    none, cosine = Place("mnist", "smoke", "none"), MNIST
    for seed in range(2):
        write(earlier(none, seed, 10), tmp_path)
        write(earlier(cosine, seed, 10), tmp_path)
    old = evidence.load("mnist", "smoke", tmp_path)
    assert {r.settings["epochs"] for r in old} == {10}
    assert len(old) == 4
    write(record_of(none, 0), tmp_path)
    mixed = evidence.load("mnist", "smoke", tmp_path)
    assert {r.settings["epochs"] for r in mixed} == {10}, "all as long as the shortest"
    assert len(mixed) == 4
    write(record_of(cosine, 0), tmp_path)
    new = evidence.load("mnist", "smoke", tmp_path)
    assert {r.settings["epochs"] for r in new} == {20}
    assert [(r.technique, r.seed) for r in new] == [("none", 0), ("cosine", 0)]


def test_a_place_that_is_taken_is_an_error_that_says_how_to_proceed(tmp_path: Path) -> None:
    old = earlier(MNIST, 0, 10)
    path = write(old, tmp_path)
    for name, technique in (("mnist", "cosine"), ("depth", "cosine-3-layers")):
        with pytest.raises(RecordError, match=r"made with another epochs, tail than .*add --supersede"):
            run(name, technique, 1, tmp_path)
    new = run("depth", "cosine-3-layers", 1, tmp_path, supersede=True)
    assert len(new.curves["test_error"]) == 20
    assert read(path).curves == new.curves
    aside = tmp_path / runner.SUPERSEDED / "mnist" / "smoke" / "cosine-seed0.json"
    assert read(aside) == old, "a records folder of its own"
    assert ("mnist", "smoke") in evidence.available(tmp_path / runner.SUPERSEDED)
    assert evidence.available(tmp_path)["mnist", "smoke"] == 1
    write(old, tmp_path)
    run("mnist", "cosine", 1, tmp_path, supersede=True)
    assert (tmp_path / f"{runner.SUPERSEDED}-2" / "mnist" / "smoke" / "cosine-seed0.json").exists()


def test_a_record_that_shares_a_file_can_be_superseded(tmp_path: Path) -> None:
    old = earlier(MNIST, 0, 10)
    path = write(old, tmp_path)
    record.pack(tmp_path)
    assert find(needed(MNIST, 0), tmp_path) is None
    with pytest.raises(RecordError, match="add --supersede"):
        run("mnist", "cosine", 1, tmp_path)
    new = run("mnist", "cosine", 1, tmp_path, supersede=True)
    assert read(path) == new
    assert read(tmp_path / runner.SUPERSEDED / "mnist" / "smoke" / "cosine-seed0.json") == old
    record.pack(tmp_path)
    assert evidence.load("mnist", "smoke", tmp_path) == [new]


def test_finding_out_is_cheap() -> None:
    """Without a look at files, and once for a process: a thousand look-ups in less than seconds."""
    sharing._known()
    begin = time.process_time()
    for name in ("mnist", "depth", "rates"):
        for technique in experiments.get(name).techniques:
            for seed in range(5):
                home(needed(Place(name, "short", technique), seed))
    assert time.process_time() - begin < 5
