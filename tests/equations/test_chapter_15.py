"""Every labelled equation of chapter 15, by simulation and with SciPy, without the package's layers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats


def expected_largest(looks: int) -> float:
    """The integral of the equation."""
    return integrate.quad(
        lambda z: looks * z * stats.norm.pdf(z) * stats.norm.cdf(z) ** (looks - 1), -np.inf, np.inf
    )[0]


@pytest.mark.equation("eq-expected-minimum")
@pytest.mark.parametrize("looks", [1, 2, 10, 200])
def test_the_lowest_of_many_looks(looks: int) -> None:
    mean, deviation, trials = 150.0, 5.0, 20_000
    counts = np.random.default_rng(looks).normal(mean, deviation, size=(trials, looks))
    lowest = counts.min(1)
    expected = mean - deviation * expected_largest(looks)
    assert lowest.mean() == pytest.approx(expected, abs=4 * lowest.std() / np.sqrt(trials))


@pytest.mark.equation("eq-expected-minimum")
def test_largest_of_two_and_three_in_closed_form() -> None:
    assert expected_largest(1) == pytest.approx(0, abs=1e-12)
    assert expected_largest(2) == pytest.approx(1 / np.sqrt(np.pi))
    assert expected_largest(3) == pytest.approx(1.5 / np.sqrt(np.pi))


def mean_squared_gradients(depth: int, width: int, std: float, networks: int) -> np.ndarray:
    """Squared gradient of each hidden weight matrix under a fixed random gradient at the top, mean."""
    totals = np.zeros(depth)
    for seed in range(networks):
        rng = np.random.default_rng(seed)
        states, masks, weights = [rng.normal(size=width)], [], []
        states[0] /= np.linalg.norm(states[0])
        for _ in range(depth):
            weights.append(rng.normal(0, std, size=(width, width)))
            a = weights[-1] @ states[-1]
            masks.append(a > 0)
            states.append(np.maximum(a, 0))
        g = rng.normal(size=width)
        g /= np.linalg.norm(g)
        for layer in reversed(range(depth)):
            delta = g * masks[layer]
            totals[layer] += (delta @ delta) * (states[layer] @ states[layer])  # of an outer product
            g = weights[layer].T @ delta
    return totals / networks


@pytest.mark.equation("eq-step-with-depth")
@pytest.mark.parametrize("std", [0.05, 0.1, 0.2])
def test_a_layer_more_lengthens_the_gradient_of_every_layer(std: float) -> None:
    width, networks = 200, 60
    shallow = mean_squared_gradients(3, width, std, networks)
    deep = mean_squared_gradients(4, width, std, networks)
    factor = width * std**2 / 2
    np.testing.assert_allclose(deep[:3] / shallow, factor, rtol=0.2)
    np.testing.assert_allclose(deep[1:] / shallow, factor, rtol=0.2)
