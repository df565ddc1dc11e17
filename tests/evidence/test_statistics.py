"""Scores, intervals, differences and corrections against closed forms and independent formulas."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from synthetic import make_record

from cosnorm import evidence
from cosnorm.evidence import difference, holm, interval, learned, prediction, scores
from cosnorm.evidence.statistics import compare, contrast, evaluations, mean_of, pairs, untrained
from cosnorm.record import Record

values = st.lists(st.floats(0, 1e4).map(lambda v: round(v, 3)), min_size=2, max_size=3)
counts = st.lists(st.integers(0, 500), min_size=2, max_size=6)


def runs(technique: str, finals: Sequence[int], experiment: str = "mnist", **made: object) -> list[Record]:
    """One run for each final error, with this provenance."""
    return [
        make_record(technique, seed, [500, final, final], experiment=experiment, provenance=made)
        for seed, final in enumerate(finals)
    ]


def student(freedom: int, level: float) -> float:
    """Quantile of Student's t in closed form, which 1 and 2 degrees of freedom have."""
    p = (1 + level) / 2
    return math.tan(math.pi * (p - 0.5)) if freedom == 1 else (2 * p - 1) / math.sqrt(2 * p * (1 - p))


# -- scores --------------------------------------------------------------------------------------------


def test_one_wild_evaluation_does_not_move_the_score_of_a_short_run() -> None:
    curve = [900, 400, 300, 200, 150, 140, 617, 138, 139, 140, 137, 138]
    calm = make_record("cosine", 0, [138 if e == 617 else e for e in curve])
    assert evidence.score(make_record("cosine", 0, curve[:8])) == evidence.score(
        make_record("cosine", 0, [*curve[:6], 145, 138])
    )
    assert evidence.score(calm) == 138


@pytest.mark.parametrize(
    ("epochs", "tail", "number"),
    [(20, 5, 5), (8, 2, 3), (10, 2, 3), (5, 1, 3), (4, 1, 2), (2, 1, 1), (1, 1, 1)],
)
def test_a_short_run_is_scored_by_a_quarter_at_least_three_and_at_most_half(
    epochs: int, tail: int, number: int
) -> None:
    run = make_record("cosine", 0, [900 - 10 * k for k in range(epochs)], tail=tail)
    assert evaluations(run) == number
    assert evidence.score(run) == statistics.median(run.curves["test_error"][-number:])


def test_at_the_papers_length_the_score_is_the_mean() -> None:
    run = make_record("cosine", 0, [900, 100, 200, 600], tail=3, scale="paper")
    assert evidence.score(run) == 300
    assert evidence.score(replace(run, scale="short")) == 400


def test_scores_leave_out_diverged_runs_and_other_techniques() -> None:
    records = [
        make_record("cosine", 0, [4, 6]),
        make_record("cosine", 1, [4], epochs=2),
        make_record("none", 0, [9, 9]),
    ]
    assert scores(records, "cosine") == {0: 6.0}
    assert scores(records, "cosine", lambda r: r.final["test_error_min"]) == {0: 4}


def test_unrest_is_the_standard_deviation_over_the_last_epochs() -> None:
    one = make_record("none", 0, [9, 150, 144, 148, 141], tail=4)
    assert evidence.unrest(one) == pytest.approx(math.sqrt(16.25))
    with pytest.raises(ValueError, match="one number has no spread"):
        evidence.unrest(make_record("none", 0, [9, 150], tail=1))


# -- intervals -----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(values, st.sampled_from([0.5, 0.95, 0.99]))
def test_interval_in_closed_form(sample: list[float], level: float) -> None:
    n = len(sample)
    found = interval(sample, level)
    if np.ptp(sample) <= 1e-9:
        assert found is None
        return
    half = student(n - 1, level) * np.std(sample, ddof=1) / math.sqrt(n)
    assert found is not None
    assert found.low == pytest.approx(np.mean(sample) - half, rel=1e-6, abs=1e-6)
    assert found.high == pytest.approx(np.mean(sample) + half, rel=1e-6, abs=1e-6)


def test_a_prediction_is_wider_by_the_root_of_n_plus_one() -> None:
    sample = [3.0, 4.0, 8.0]
    for_mean, for_value = interval(sample), prediction(sample)
    assert for_mean is not None
    assert for_value is not None
    assert for_value.high - for_value.low == pytest.approx(2 * (for_mean.high - for_mean.low))


def test_an_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    trials = 2000
    hits = sum(
        found.low <= 5.0 <= found.high
        for _ in range(trials)
        if (found := interval(list(rng.normal(5.0, 3.0, size=5)))) is not None
    )
    assert hits / trials == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / trials))


@pytest.mark.parametrize("sample", [[], [3.0], [3.0, 3.0, 3.0], [0.1 + 0.2, 0.3]])
def test_without_a_spread_there_is_no_interval(sample: list[float]) -> None:
    assert interval(sample) is None
    assert prediction(sample) is None


# -- differences ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Precision loss")
@settings(deadline=None, max_examples=40)
@given(counts, counts)
def test_unpaired_differences_are_welchs(ours: list[int], theirs: list[int]) -> None:
    found = difference([*runs("cosine", ours), *runs("none", theirs)], "cosine")
    assert found is not None
    assert not found.paired
    assert found.counts == (len(ours), len(theirs))
    assert found.mean == pytest.approx(np.mean(ours) - np.mean(theirs))
    spreads = [Fraction(np.ptp(side).item()) for side in (ours, theirs)]
    if not any(spreads):
        assert (found.interval, found.p, found.error) == (None, None, 0)
        return
    test = stats.ttest_ind(ours, theirs, equal_var=False)
    assert found.p == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)
    low, high = test.confidence_interval(0.9)
    band = found.at(0.9)
    assert band is not None
    assert (band.low, band.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


@pytest.mark.filterwarnings("ignore:Precision loss")
@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=6))
def test_paired_differences_are_students(both: list[tuple[int, int]]) -> None:
    ours, theirs = zip(*both, strict=True)
    found = difference([*runs("cosine", ours, "newsgroups"), *runs("none", theirs, "newsgroups")], "cosine")
    assert found is not None
    assert found.paired
    gaps = np.subtract(ours, theirs)
    assert found.mean == pytest.approx(gaps.mean())
    if np.ptp(gaps):
        assert found.p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue, rel=1e-6, abs=1e-12)
        assert found.p_below(3.0) == pytest.approx(
            stats.ttest_1samp(gaps, 3.0, alternative="less").pvalue, rel=1e-6, abs=1e-12
        )
        sides = [stats.ttest_1samp(gaps, b, alternative=s).pvalue for b, s in ((-9, "greater"), (9, "less"))]
        assert found.p_equivalent(9.0) == pytest.approx(max(sides), rel=1e-6, abs=1e-12)
    else:
        assert (found.interval, found.p) == (None, None)


@pytest.mark.parametrize(
    ("experiment", "theirs", "paired"),
    [
        ("newsgroups", {}, True),
        ("magnitude", {}, True),
        ("mnist", {}, False),
        ("relatives", {}, False),
        ("depth", {}, False),
        ("cifar10", {}, False),
        ("newsgroups", {"device_name": "another"}, False),
        ("newsgroups", {"commit": "abc"}, False),
    ],
)
def test_runs_are_paired_where_that_helps_and_nothing_else_differs(
    experiment: str, theirs: dict[str, str], paired: bool
) -> None:
    groups = runs("cosine", (1, 2, 4), experiment), runs("none", (5, 7, 6), experiment, **theirs)
    assert pairs(groups) is paired
    assert compare(groups, (1.0, -1.0)).paired is paired


def test_only_common_seeds_make_pairs() -> None:
    ours, theirs = runs("cosine", (10, 20, 30), "newsgroups"), runs("none", (15, 22), "newsgroups")
    found = compare((ours, theirs), (1.0, -1.0))
    assert (found.n, found.mean) == (2, -3.5)
    assert not pairs((ours, theirs[:1])), "one common seed is no pairing"


def test_a_contrast_of_four_groups_has_welchs_and_satterthwaites_freedom() -> None:
    groups = [{0: 1.0, 1: 4.0}, {0: 2.0, 1: 3.0, 2: 7.0}, {0: 5.0, 1: 5.5}, {0: 1.0, 1: 9.0, 2: 2.0, 3: 3.0}]
    weights = (1.0, -1.0, -1.0, 1.0)
    found = contrast(groups, weights)
    parts = [np.var(list(g.values()), ddof=1) / len(g) for g in groups]
    freedom = sum(parts) ** 2 / sum(p**2 / (len(g) - 1) for p, g in zip(parts, groups, strict=True))
    assert found.error == pytest.approx(math.sqrt(sum(parts)))
    assert found.freedom == pytest.approx(freedom)
    assert found.mean == pytest.approx(
        sum(w * np.mean(list(g.values())) for w, g in zip(weights, groups, strict=True))
    )


def test_what_a_grid_leaves_open_widens_the_interval() -> None:
    same = [{0: 2.0, 1: 2.0, 2: 2.0}]
    assert contrast(same, (1.0,)).interval is None
    noisy = contrast(same, (1.0,), noise=[{0: 0.3, 1: 0.3, 2: 0.3}])
    assert noisy.error == pytest.approx(math.sqrt(0.1))
    assert noisy.freedom == pytest.approx(2)


def test_differences_that_cannot_be_judged() -> None:
    none = [make_record("none", seed, [5, 5]) for seed in (0, 1)]
    assert difference(none, "cosine") is None
    single = difference([*none, make_record("cosine", 0, [1, 1])], "cosine")
    assert single is not None
    assert (single.mean, single.interval, single.p) == (-4.0, None, None)
    assert evidence.differences([*none, make_record("cosine", 0, [1, 1])]).keys() == {"cosine"}
    assert mean_of([7.0]).error is None


# -- corrections ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0.0005, 1), min_size=1, max_size=6, unique=True), st.floats(0.001, 0.2))
def test_holm_rejects_as_the_step_down_procedure_does(p: list[float], alpha: float) -> None:
    rejected: set[float] = set()
    for rank, value in enumerate(sorted(p)):
        if value * (len(p) - rank) > alpha:
            break
        rejected.add(value)
    assert {value for value, adjusted in zip(p, holm(p), strict=True) if adjusted <= alpha} == rejected


def test_holm_does_not_depend_on_the_order() -> None:
    p = [0.01, 0.04, 0.03, 0.5]
    expected = dict(zip(p, holm(p), strict=True))
    for order in permutations(p):
        assert dict(zip(order, holm(order), strict=True)) == expected
    assert holm([]) == []


# -- who learned, who errs least -----------------------------------------------------------------------


@pytest.mark.parametrize(("worst", "passed"), [(14_298, True), (14_300, False)])
def test_a_technique_has_learned_below_four_fifths_of_guessing(worst: int, passed: bool) -> None:
    """Guessing makes 9000 errors; the mean over seeds counts."""
    records = [*runs("weight", (100, worst)), *runs("none", (200, 201))]
    assert evidence.errors_of_guessing(records[0]) == 9000
    assert learned(records) == (("weight", "none") if passed else ("none",))
    lost = make_record("none", 2, [400], epochs=3)
    assert learned([*runs("cosine", (100, 101)), *runs("none", (200,)), lost]) == ("cosine",)
    assert untrained([lost])


def test_headline_names_all_that_cannot_be_told_apart() -> None:
    base = [*runs("none", (200, 203, 198)), *runs("batch", (180, 183, 179))]
    clear = [*runs("cosine", (100, 102, 101)), *base]
    assert evidence.headline(clear) == "After 3 epochs cosine makes the fewest test errors"
    tied = [*runs("centered", (103, 100, 101)), *clear]
    assert evidence.fewest(tied) == ("cosine", "centered")
    assert evidence.headline(tied, {"cosine": "C"}).endswith("C and centered make the fewest test errors")
    assert evidence.headline(base[:3] + runs("cosine", (150, 260, 199))).endswith("no technique stands out")
    assert evidence.headline(base[:3]) == "Test errors of none over 3 epochs"
    with pytest.raises(ValueError, match="no run finished"):
        evidence.headline([make_record("none", 0, [4], epochs=3)])
