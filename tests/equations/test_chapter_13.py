"""Every labelled equation of chapter 13, in float64, by simulation or with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats


def relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


@pytest.mark.equation("eq-spread-rescaled")
@pytest.mark.parametrize("s", [1 / 30, 0.5, 7.0])
def test_a_relu_unit_may_be_rescaled(s: float) -> None:
    rng = np.random.default_rng(13)
    x, w, b, v = (
        rng.normal(size=(500, 6)),
        rng.normal(size=(4, 6)),
        rng.normal(size=4),
        rng.normal(size=(3, 4)),
    )
    wide, narrow = x @ w.T + b, x @ (s * w).T + s * b
    np.testing.assert_allclose(relu(narrow) @ (v / s).T, relu(wide) @ v.T, rtol=1e-10, atol=1e-12)
    cuts = [15, 50, 85]
    np.testing.assert_allclose(np.percentile(narrow, cuts, axis=0), s * np.percentile(wide, cuts, axis=0))


@pytest.mark.equation("eq-spread-rescaled")
def test_a_negative_factor_would_not_do() -> None:
    assert not np.allclose(relu(-2 * np.array([1.0, -1.0])) / -2, relu(np.array([1.0, -1.0])))


@pytest.mark.equation("eq-relative-spread")
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.0, 0.03), (1.0, 2.0), (-5.0, 0.1)])
def test_relative_spread_of_normal_values(mean: float, deviation: float) -> None:
    values = np.random.default_rng(0).normal(mean, deviation, size=400_000)
    low, high = np.percentile(values, [15, 85])
    simulated = (high - low) / np.sqrt(np.mean(values**2))
    bound = 2 * stats.norm.ppf(0.85)
    assert bound == pytest.approx(2.07, abs=0.005)
    assert simulated == pytest.approx(bound * deviation / np.hypot(mean, deviation), rel=0.01)
    assert simulated < bound * 1.01


@pytest.mark.equation("eq-relative-motion")
def test_relative_motion_ignores_scale_and_shift() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(5, 300)) + np.arange(5)[:, None] * 0.1  # epochs, examples

    def motions(a: np.ndarray) -> np.ndarray:
        low, median, high = np.percentile(a, [15, 50, 85], axis=1)
        spread = high - low
        return np.abs(median[1:] - median[:-1]) / (0.5 * (spread[1:] + spread[:-1]))

    np.testing.assert_allclose(motions(0.01 * values + 3), motions(values))
    assert not np.allclose(motions(values**3), motions(values))


@pytest.mark.equation("eq-relative-motion")
def test_a_move_by_a_tenth_of_the_spread_is_a_tenth() -> None:
    values = np.linspace(0, 1, 10_001)
    later = values + 0.07  # the spread, from 0.15 to 0.85, is 0.7
    low, median, high = np.percentile(np.stack([values, later]), [15, 50, 85], axis=1)
    motion = abs(median[1] - median[0]) / (0.5 * ((high - low)[0] + (high - low)[1]))
    assert motion == pytest.approx(0.1)
