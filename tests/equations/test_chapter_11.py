"""Every labelled equation of chapter 11, against counting or simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def by_formula(sizes: tuple[int, ...], train: int, test: int, epochs: int) -> int:
    F = [2 * n * m for n, m in itertools.pairwise(sizes)]
    return epochs * (train * (3 * sum(F) - F[0]) + test * sum(F))


@pytest.mark.equation("eq-run-cost")
@pytest.mark.parametrize("sizes", [(7, 5), (6, 9, 4), (8, 3, 5, 2)])
def test_operations_of_a_run_are_those_that_torch_counts(sizes: tuple[int, ...]) -> None:
    """Two epochs over six examples in batches of three, tested on four: torch counts every product."""
    layers = [nn.Linear(n, m, bias=False) for n, m in itertools.pairwise(sizes)]
    network = nn.Sequential(*layers)
    x, y = torch.randn(6, sizes[0]), torch.zeros(6, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        for _ in range(2):
            for rows in (slice(0, 3), slice(3, 6)):
                nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            with torch.no_grad():
                network(x[:4])
    assert counter.get_total_flops() == by_formula(sizes, 6, 4, 2)


@pytest.mark.equation("eq-half-width")
@pytest.mark.parametrize(("n", "m"), [(2, 1), (3, 1), (3, 4), (10, 4)])
def test_intervals_of_that_width_hold_together(n: int, m: int) -> None:
    """Of m independent means at once, all lie in their intervals with probability (1 - 0.05/m)^m."""
    draws = np.random.default_rng(0).normal(2.0, 3.0, size=(40_000, m, n))
    half = stats.t.ppf(1 - 0.05 / (2 * m), n - 1) * draws.std(-1, ddof=1) / math.sqrt(n)
    together = (abs(draws.mean(-1) - 2.0) < half).all(-1).mean()
    expected = (1 - 0.05 / m) ** m
    assert together == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 40_000))
    assert expected >= 0.95


@pytest.mark.equation("eq-half-width")
def test_the_width_shrinks_by_the_factor_of_student_and_the_square_root() -> None:
    """Quantiles from tables: 12.706, 4.303 and 2.262 for 1, 2 and 9 degrees of freedom."""
    for n, table in ((2, 12.706), (3, 4.303), (10, 2.262)):
        values = np.random.default_rng(n).normal(size=n)
        band = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
        half = table * values.std(ddof=1) / math.sqrt(n)
        assert (band[1] - band[0]) / 2 == pytest.approx(half, rel=2e-4)


@pytest.mark.equation("eq-wrong-sign")
@pytest.mark.parametrize(("m", "alpha"), [(1, 0.05), (4, 0.05), (4, 0.2), (8, 0.2)])
def test_wrong_signs_are_as_rare_as_promised(m: int, alpha: float) -> None:
    """The worst case is a truth just above zero in every interval: then nearly all of the bound is used."""
    trials = 40_000
    draws = np.random.default_rng(m).normal(size=(trials, 2 * m, 3))
    half = stats.t.ppf(1 - alpha / (2 * m), 2) * draws.std(-1, ddof=1) / math.sqrt(3)
    wrong = (draws.mean(-1) + half < 0).any(-1).mean()
    noise = 4 * math.sqrt(alpha / trials)
    assert wrong <= alpha + noise
    assert wrong == pytest.approx(1 - (1 - alpha / (2 * m)) ** (2 * m), abs=noise)
