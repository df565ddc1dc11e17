"""The register's verdicts follow the rule, on records whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import ttest_ind
from synthetic import make_record, store

from cosnorm import experiments, register
from cosnorm.experiments.experiment import tail
from cosnorm.record import Record
from cosnorm.register import OpenPoint, Reading

POINT = OpenPoint(
    key="a-point",
    question="?",
    section="5.1",
    paper="Nothing.",
    readings=(
        Reading("ours", "ambiguity", {"cosine": "cosine", "none": "none"}),
        Reading("other", "ambiguity", {"cosine": "cosine", "none": "none-variance"}),
    ),
    reason="None.",
)


def run(
    technique: str, seed: int, errors: Sequence[int], experiment: str = "ambiguity", epochs: int | None = None
) -> Record:
    last = tail(epochs or len(errors))
    return make_record(technique, seed, errors, tail=last, epochs=epochs, experiment=experiment)


def flat(technique: str, levels: Sequence[int], **others: str) -> list[Record]:
    """Runs that make these errors, by seed, in each of four epochs."""
    return [run(technique, seed, [level] * 4, **others) for seed, level in enumerate(levels)]


COSINE = [100, 103, 99]
ABOVE = [150, 152, 151]
BELOW = [60, 61, 59]


@pytest.mark.parametrize(
    ("ours", "other", "verdict"),
    [
        (ABOVE, BELOW, "flips"),
        (BELOW, ABOVE, "flips"),
        (ABOVE, [170, 171, 175], "does not flip"),
        (BELOW, [40, 41, 40], "does not flip"),
        (ABOVE, [70, 140, 101], "undecided"),
        ([70, 140, 101], ABOVE, "undecided"),
    ],
)
def test_verdict(tmp_path: Path, ours: list[int], other: list[int], verdict: str) -> None:
    runs = flat("cosine", COSINE) + flat("none", ours) + flat("none-variance", other)
    found = register.judge(POINT, store(tmp_path, runs))
    assert found.verdict == verdict
    assert [c.verdict for c in found.comparisons] == [verdict]
    assert (found.scale, found.epochs) == ("short", 4)
    assert found.commands == ()


def test_gaps_are_the_differences_of_the_claims_each_at_95_percent(tmp_path: Path) -> None:
    runs = flat("cosine", COSINE) + flat("none", ABOVE) + flat("none-variance", BELOW)
    (comparison,) = register.judge(POINT, store(tmp_path, runs)).comparisons
    test = ttest_ind(COSINE, ABOVE, equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert comparison.ours.interval is not None
    assert (comparison.ours.interval.low, comparison.ours.interval.high) == pytest.approx((low, high))
    assert comparison.ours.p == pytest.approx(test.pvalue)
    assert comparison.ours.n == 3


def test_a_flip_picks_among_comparisons_and_needs_holms_correction(tmp_path: Path) -> None:
    """The same pair of runs flips alone, and not as one of two comparisons."""
    barely = [88, 96, 90]  # against cosine's 100, 103, 99 with p between 0.025 and 0.05
    runs = flat("cosine", COSINE) + flat("none", ABOVE) + flat("none-variance", barely)
    alone = register.judge(POINT, store(tmp_path, runs))
    assert 0.025 < (alone.comparisons[0].other.p or 0) < 0.05
    assert alone.verdict == "flips"
    two = replace(
        POINT,
        readings=(
            Reading("ours", "ambiguity", {"cosine": "cosine", "none": "none", "batch": "batch"}),
            Reading("other", "ambiguity", {"cosine": "cosine", "none": "none-variance", "batch": "batch"}),
        ),
    )
    found = register.judge(two, store(tmp_path, flat("batch", ABOVE)))
    assert [c.verdict for c in found.comparisons] == ["undecided", "does not flip"]
    assert found.verdict == "undecided"


def test_a_missing_reading_names_its_command(tmp_path: Path) -> None:
    third = Reading("third", "ambiguity", {"cosine": "cosine-constant-1", "none": "none"})
    wide = replace(POINT, readings=(*POINT.readings, third))
    runs = flat("cosine", COSINE) + flat("none", ABOVE) + flat("none-variance", BELOW)
    found = register.judge(wide, store(tmp_path, runs))
    assert wide.declared == 2
    assert found.commands == ("cosnorm run ambiguity --norm cosine-constant-1 --scale short",)


def test_part_of_the_readings_makes_no_whole_verdict(tmp_path: Path) -> None:
    two = replace(
        POINT, readings=(*POINT.readings, Reading("third", "depth", {"cosine": "cosine", "none": "none"}))
    )
    runs = flat("cosine", COSINE) + flat("none", ABOVE) + flat("none-variance", [170, 171, 175])
    assert register.judge(two, store(tmp_path, runs)).verdict == "undecided"


def test_nothing_stored_is_not_swept_and_says_how_to(tmp_path: Path) -> None:
    found = register.judge(POINT, tmp_path)
    assert found.verdict == "not swept"
    assert found.scale is None
    assert found.commands == ("cosnorm run ambiguity --norm cosine,none,none-variance --scale short",)
    assert found.commands[0] in found.summary
    assert not found.drawable


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    runs = flat("cosine", [100]) + flat("none", [150]) + flat("none-variance", [60])
    found = register.judge(POINT, store(tmp_path, runs))
    assert found.verdict == "undecided"
    assert found.commands


def test_smoke_never_judges(tmp_path: Path) -> None:
    runs = flat("cosine", COSINE) + flat("none", ABOVE) + flat("none-variance", BELOW)
    store(tmp_path, [replace(r, scale="smoke") for r in runs])
    assert register.judge(POINT, tmp_path).verdict == "not swept"


def test_paper_scale_counts_once_it_is_complete(tmp_path: Path) -> None:
    short = flat("cosine", COSINE) + flat("none", ABOVE) + flat("none-variance", BELOW)
    store(tmp_path, short)
    paper = [
        replace(r, scale="paper")
        for r in flat("cosine", COSINE) + flat("none", ABOVE) + flat("none-variance", [170, 171, 175])
    ]
    store(tmp_path, paper[:-1])
    found = register.judge(POINT, tmp_path)
    assert (found.scale, found.verdict) == ("short", "flips")
    store(tmp_path, paper[-1:])
    found = register.judge(POINT, tmp_path)
    assert (found.scale, found.verdict) == ("paper", "does not flip")


def test_a_technique_that_always_diverges_ranks_below_one_that_never_does(tmp_path: Path) -> None:
    lost = [run("none-variance", seed, [9000], epochs=4) for seed in range(3)]
    runs = flat("cosine", COSINE) + flat("none", BELOW) + lost
    found = register.judge(POINT, store(tmp_path, runs))
    assert found.verdict == "flips"
    assert found.comparisons[0].other.sign == -1
    assert str(found.comparisons[0].other) == "only cosine trains"


def test_fewer_errors_are_no_merit_where_runs_were_lost(tmp_path: Path) -> None:
    runs = flat("cosine", COSINE) + flat("none", ABOVE) + flat("none-variance", [40, 41, 40])
    runs.append(run("none-variance", 3, [9000], epochs=4))
    found = register.judge(POINT, store(tmp_path, runs))
    assert found.comparisons[0].other.sign == 0
    assert found.verdict == "undecided"


def test_readings_of_two_lengths_are_compared_after_the_shorter(tmp_path: Path) -> None:
    """The eight-epoch experiment against the first eight of twelve epochs."""
    two = replace(
        POINT,
        readings=(
            Reading("ours", "mnist", {"cosine": "cosine", "none": "none"}),
            Reading("other", "relatives", {"cosine": "cosine", "none": "none"}),
        ),
    )
    long = [run("cosine", s, [300] * 5 + [205 + s] * 3 + [10] * 4, "mnist") for s in range(3)]
    long += [run("none", s, [400] * 8 + [5] * 4, "mnist") for s in range(3)]
    short = [run("cosine", s, [100 + s] * 8, "relatives") for s in range(3)]
    short += [run("none", s, [80 + 2 * s] * 8, "relatives") for s in range(3)]
    found = register.judge(two, store(tmp_path, long + short))
    assert found.epochs == 8
    first = next(score for score in found.scores if (score.reading, score.norm) == ("ours", "cosine"))
    assert first.values == {0: 205, 1: 206, 2: 207}
    assert found.verdict == "flips"


def test_a_run_that_diverges_after_the_cut_counts(tmp_path: Path) -> None:
    half = replace(
        POINT,
        readings=(
            Reading("ours", "mnist", {"cosine": "cosine", "none": "none"}),
            Reading("other", "mnist", {"cosine": "cosine", "none": "none"}, share=0.5),
        ),
    )
    runs = [run("cosine", s, [100] * 8, "mnist") for s in range(2)]
    runs += [run("none", s, [200] * 6, "mnist", epochs=8) for s in range(2)]
    found = register.judge(half, store(tmp_path, runs))
    whole, part = (
        [s for s in found.scores if s.norm == "none" and s.reading == r] for r in ("ours", "other")
    )
    assert (whole[0].values, whole[0].diverged) == ({}, 2)
    assert (part[0].values, part[0].diverged) == ({0: 200, 1: 200}, 0)


def test_moves_pair_a_technique_with_itself(tmp_path: Path) -> None:
    runs = flat("cosine", COSINE) + flat("none", ABOVE) + flat("none-variance", BELOW)
    (move,) = register.judge(POINT, store(tmp_path, runs)).moves
    assert (move.norm, move.reading) == ("none", "other")
    assert move.difference.mean == pytest.approx(sum(BELOW) / 3 - sum(ABOVE) / 3)


def test_more_epochs_lengthen_the_tail(tmp_path: Path) -> None:
    longer = replace(
        POINT,
        readings=(
            Reading("ours", "mnist", {"cosine": "cosine", "none": "none"}),
            Reading("other", "mnist", {"cosine": "cosine", "none": "none"}, more=1),
        ),
    )
    curve = [90, 80, *[70] * 12, 60, 60, 30, 10, 10, 10]  # 20 epochs: the median of five and of six
    runs = [run(name, s, curve, "mnist") for name in ("cosine", "none") for s in range(2)]
    found = register.judge(longer, store(tmp_path, runs))
    assert {score.reading: score.mean for score in found.scores} == {"ours": 10, "other": 20}


# -- the register itself -------------------------------------------------------------------------------


def test_keys_are_unique_and_fit_an_anchor() -> None:
    keys = [point.key for point in register.POINTS]
    assert len(set(keys)) == len(keys) >= 20
    assert all(key == key.lower() and key.replace("-", "").isalnum() for key in keys)


@pytest.mark.parametrize("point", register.POINTS, ids=lambda point: point.key)
def test_readings_name_competitors_that_exist(point: OpenPoint) -> None:
    for reading in point.readings:
        if reading.experiment:
            known = experiments.get(reading.experiment).techniques
            assert set(reading.competitors.values()) <= set(known)
    if point.swept:
        assert point.rivals
        assert point.ours.experiment
        assert "cosine" in point.ours.competitors


@pytest.mark.parametrize("point", register.POINTS, ids=lambda point: point.key)
def test_our_reading_is_what_the_paper_scale_runs(point: OpenPoint) -> None:
    """Each competitor of our reading has the settings of the experiment that repeats the paper."""
    bases = {"ambiguity": ("mnist", "noise"), "ambiguity_images": ("cifar10",)}
    if point.ours.experiment not in bases:
        return
    swept = experiments.get(point.ours.experiment)
    for competitor in point.ours.competitors.values():
        base = next(
            found
            for name in bases[point.ours.experiment]
            if competitor in (found := experiments.get(name)).techniques
        )
        ours, theirs = swept.replica(competitor, "paper", 0), base.replica(competitor, "paper", 0)
        assert replace(ours, epochs=1) == replace(theirs, epochs=1)


def test_the_register_covers_the_sweeps() -> None:
    """Every competitor of the sweeps is read by some point: nothing is trained for nothing."""
    read = {
        (reading.experiment, competitor)
        for point in register.POINTS
        for reading in point.readings
        for competitor in reading.competitors.values()
    }
    swept = [name for name in experiments.registry() if name.startswith("ambiguity")]
    for name in swept:
        for competitor in experiments.get(name).techniques:
            assert (name, competitor) in read, f"{name}: {competitor}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"readings": ()}, "at least our own"),
        ({"readings": (Reading("ours"),), "missing": ""}, "would have to be run"),
        ({"settled": True}, "settled by a fact"),
    ],
)
def test_points_that_say_too_little_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(POINT, **change)


@pytest.mark.parametrize("change", [{"share": 0.0}, {"share": 1.5}, {"more": -1}, {"experiment": "mnist"}])
def test_readings_that_cannot_be_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=r"share|more|competitors"):
        Reading("a reading", **change)


def test_an_unknown_key_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="drop-rate"):
        register.get("no-such-point")
