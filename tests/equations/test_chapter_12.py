"""Every labelled equation of chapter 12, against enumeration or simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from cosnorm.networks import mlp


def lattice_index(counts: tuple[int, ...]) -> Fraction:
    """The j of the equation, from its own terms in exact arithmetic."""
    total = len(counts)
    mean = Fraction(sum(counts), total)
    scaled_variance = sum((count - mean) ** 2 for count in counts)  # (T - 1) s^2
    phi = mean - math.floor(mean)
    return (scaled_variance - total * phi * (1 - phi)) / 2


@pytest.mark.equation("eq-variance-lattice")
@pytest.mark.parametrize(("total", "highest"), [(2, 7), (3, 5), (4, 4), (5, 3), (7, 2)])
def test_variances_of_whole_numbers_lie_on_a_lattice(total: int, highest: int) -> None:
    for counts in itertools.combinations_with_replacement(range(-2, highest), total):
        j = lattice_index(counts)
        assert j.denominator == 1
        assert j >= 0
        floor = math.floor(Fraction(sum(counts), total))
        assert (j == 0) == all(count in (floor, floor + 1) for count in counts)


@pytest.mark.equation("eq-variance-lattice")
def test_every_point_of_the_lattice_is_reached_from_some_counts() -> None:
    """No coarser lattice would do: with seven counts and a fixed sum, j takes every value up to five."""
    reached = {
        lattice_index(counts)
        for counts in itertools.combinations_with_replacement(range(-3, 4), 7)
        if sum(counts) == 1
    }
    assert set(range(6)) <= reached


@pytest.mark.equation("eq-count-noise")
@pytest.mark.parametrize("share", [0.013, 0.02, 0.3])
def test_noise_of_a_count_of_errors(share: float) -> None:
    images, draws = 10_000, 20_000
    counts = np.random.default_rng(12).binomial(images, share, size=draws)
    assert counts.std() == pytest.approx(math.sqrt(images * share * (1 - share)), rel=0.02)
    estimated = np.sqrt(counts * (1 - counts / images))  # what a reader has: the count itself
    assert estimated.mean() == pytest.approx(counts.std(), rel=0.02)


@pytest.mark.equation("eq-paired-interval")
@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_paired_interval_covers_in_95_of_100_experiments(n: int) -> None:
    """Paired runs share a part of their noise, which must drop out."""
    rng, trials, shift = np.random.default_rng(n), 40_000, -60.0
    shared = rng.normal(200, 30, size=(trials, n))
    baseline = shared + rng.normal(0, 4, size=(trials, n))
    technique = shared + shift + rng.normal(0, 7, size=(trials, n))
    differences = technique - baseline
    half = stats.t.ppf(0.975, n - 1) * differences.std(1, ddof=1) / math.sqrt(n)
    covered = np.abs(differences.mean(1) - shift) <= half
    # Four standard deviations of a share of 95 % among so many trials.
    assert covered.mean() == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / trials))


@pytest.mark.equation("eq-initial-rate")
def test_effective_rate_of_fresh_weights() -> None:
    rate, std, sizes = 10.0, 0.1, (784, 1000, 1000, 10)
    hidden = [p for p in mlp(sizes, "cosine", std=std, seed=0).parameters() if p.ndim == 2][:-1]
    assert len(hidden) == 2
    for weight, inputs in zip(hidden, sizes, strict=False):
        effective = rate / weight.detach().square().sum(1)
        assert effective.mean().item() == pytest.approx(rate / (inputs * std**2), rel=0.01)


@pytest.mark.equation("eq-seeds-needed")
@pytest.mark.parametrize(("ratio", "n"), [(0.4, 50), (0.2, 197)])
def test_seeds_needed_for_four_in_five(ratio: float, n: int) -> None:
    """With the spread known to be ``1 / ratio`` times the difference, n seeds find it in 80 %."""
    quantiles = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert quantiles**2 == pytest.approx(7.85, abs=0.005)
    assert n == math.ceil(7.85 / ratio**2)
    draws = np.random.default_rng(n).normal(ratio, 1.0, size=(20_000, n))
    half = stats.t.ppf(0.975, n - 1) * draws.std(1, ddof=1) / math.sqrt(n)
    assert (np.abs(draws.mean(1)) > half).mean() == pytest.approx(0.8, abs=0.02)
