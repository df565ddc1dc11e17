"""Every labelled equation of chapter 19, against enumeration, integration or simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, stats


@pytest.mark.equation("eq-expected-best")
@pytest.mark.parametrize("errors", [(5, 3, 9), (2, 2, 7, 1), (10, 4, 4, 8, 6, 1), (1, 2, 3, 4, 5, 6, 7, 8)])
def test_expected_best_is_the_mean_over_all_draws(errors: tuple[int, ...]) -> None:
    count = len(errors)
    ordered = sorted(errors)
    for k in range(1, count + 1):
        draws = list(itertools.combinations(errors, k))
        enumerated = Fraction(sum(map(min, draws)), len(draws))
        formula = sum(
            Fraction(math.comb(count - j, k - 1), math.comb(count, k)) * ordered[j - 1]
            for j in range(1, count + 1)
        )
        assert formula == enumerated
    assert formula == min(errors), "whoever tries all finds the best"


def together(rows: np.ndarray, alpha: float) -> np.ndarray:
    """For each experiment, whether all its N intervals hold 0; ``rows`` is (experiments, N, seeds)."""
    _, comparisons, seeds = rows.shape
    quantile = stats.t.ppf(1 - alpha / (2 * comparisons), seeds - 1)
    half = quantile * rows.std(2, ddof=1) / math.sqrt(seeds)
    return (abs(rows.mean(2)) <= half).all(1)


@pytest.mark.equation("eq-simultaneous")
@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 3), (4, 3), (17, 3), (17, 6)])
def test_simultaneous_intervals_hold_together(comparisons: int, seeds: int) -> None:
    """Differences that share a baseline's noise: at least 95 of 100 experiments, all intervals at once."""
    rng = np.random.default_rng(19)
    trials = 10_000
    baseline = rng.normal(size=(trials, 1, seeds))
    share = together(rng.normal(size=(trials, comparisons, seeds)) - baseline, 0.05).mean()
    assert share >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / trials)
    if comparisons == 1:
        assert share == pytest.approx(0.95, abs=0.01), "one comparison is the ordinary interval"


@pytest.mark.equation("eq-simultaneous")
def test_intervals_of_one_each_do_not_hold_together() -> None:
    """The correction is needed: without it, independent intervals miss far more often than stated."""
    rng = np.random.default_rng(20)
    rows = rng.normal(size=(10_000, 17, 3))
    assert together(rows, 0.05 * 17).mean() < 0.5
    assert together(rows, 0.05).mean() == pytest.approx((1 - 0.05 / 17) ** 17, abs=0.01)


def expected_least(r: int) -> float:
    """Mean of the least of r standard normal numbers, integrated over its density."""

    def weighted(z: float) -> float:
        return z * r * stats.norm.pdf(z) * stats.norm.sf(z) ** (r - 1)

    return integrate.quad(weighted, -12, 12)[0]


@pytest.mark.equation("eq-winner")
@pytest.mark.parametrize(
    ("r", "bonus"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 3 / (2 * math.sqrt(math.pi)))]
)
def test_winner_of_equal_rates(r: int, bonus: float) -> None:
    assert -expected_least(r) == pytest.approx(bonus, abs=1e-9)
    error, spread = 270.0, 30.0
    measured = error + spread * np.random.default_rng(r).standard_normal((400_000, r))
    assert measured.min(1).mean() == pytest.approx(error - bonus * spread, abs=0.2)
