"""Intervals against closed forms, and the paired difference against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import make_record

from cosnorm.evidence import difference, interval, prediction, scores

values = st.lists(st.floats(0, 1e4).map(lambda v: round(v, 3)), min_size=2, max_size=3)


def student(freedom: int, level: float) -> float:
    """Quantile of Student's t in closed form, which 1 and 2 degrees of freedom have."""
    p = (1 + level) / 2
    return math.tan(math.pi * (p - 0.5)) if freedom == 1 else (2 * p - 1) / math.sqrt(2 * p * (1 - p))


@settings(deadline=None)
@given(values, st.sampled_from([0.5, 0.95, 0.99]))
def test_interval_in_closed_form(sample: list[float], level: float) -> None:
    n = len(sample)
    half = student(n - 1, level) * np.std(sample, ddof=1) / math.sqrt(n)
    found = interval(sample, level)
    assert found is not None
    assert found.low == pytest.approx(np.mean(sample) - half, rel=1e-6, abs=1e-6)
    assert found.high == pytest.approx(np.mean(sample) + half, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(values)
def test_a_prediction_is_wider_by_the_root_of_n_plus_one(sample: list[float]) -> None:
    for_mean, for_value = interval(sample), prediction(sample)
    assert for_mean is not None
    assert for_value is not None
    widths = for_value.high - for_value.low, for_mean.high - for_mean.low
    assert widths[0] == pytest.approx(widths[1] * math.sqrt(len(sample) + 1), rel=1e-6, abs=1e-6)


def test_an_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    trials = 2000
    hits = sum(
        found.low <= 5.0 <= found.high
        for _ in range(trials)
        if (found := interval(list(rng.normal(5.0, 3.0, size=5)))) is not None
    )
    assert hits / trials == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / trials))


@pytest.mark.parametrize("sample", [[], [3.0]])
def test_one_run_has_no_interval(sample: list[float]) -> None:
    assert interval(sample) is None
    assert prediction(sample) is None


def test_scores_leave_out_diverged_runs_and_other_techniques() -> None:
    records = [
        make_record("cosine", 0, [4, 6]),
        make_record("cosine", 1, [4], epochs=2),
        make_record("none", 0, [9, 9]),
    ]
    assert scores(records, "cosine") == {0: 5.0}


def test_difference_uses_only_the_seeds_that_both_finished() -> None:
    ours = {0: [10, 12], 1: [20, 20], 2: [31, 33], 3: [7, 9]}
    theirs = {0: [14, 14], 1: [30, 28], 2: [35, 36], 4: [1000, 1000]}
    records = [make_record("cosine", seed, curve) for seed, curve in ours.items()]
    records += [make_record("none", seed, curve) for seed, curve in theirs.items()]
    found = difference(records, "cosine")
    pairs = np.array([np.mean(ours[seed]) - np.mean(theirs[seed]) for seed in (0, 1, 2)])
    assert found is not None
    assert found.n == 3
    assert found.mean == pytest.approx(pairs.mean())
    assert found.interval is not None
    standard_error = pairs.std(ddof=1) / math.sqrt(3)
    assert found.interval.high == pytest.approx(pairs.mean() + student(2, 0.95) * standard_error)
    # With two degrees of freedom the tail of Student's t is 1/2 - t / (2 sqrt(2 + t^2)).
    t = abs(pairs.mean()) / standard_error
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t**2))


def test_differences_that_cannot_be_judged() -> None:
    none = [make_record("none", seed, [5, 5]) for seed in (0, 1)]
    assert difference([*none, make_record("cosine", 2, [1, 1])], "cosine") is None
    single = difference([*none, make_record("cosine", 0, [1, 1])], "cosine")
    assert single is not None
    assert (single.mean, single.interval, single.p) == (-4.0, None, None)
    alike = difference([*none, make_record("cosine", 0, [4, 4]), make_record("cosine", 1, [4, 4])], "cosine")
    assert alike is not None
    assert alike.p is None
