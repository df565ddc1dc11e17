"""Every labelled equation of chapter 9, against quadrature, symbols, fractions, simulation or plain loops."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch
from numpy.typing import NDArray
from scipy import integrate, stats

from cosnorm.relatives import OnlineNorm, PropagationLinear

Array = NDArray[np.float64]
DECAYS = [0.0, 0.3, 0.9, 0.99]


def track(stream: Array, alpha: float, mean: float = 0.0, var: float = 1.0) -> tuple[Array, Array]:
    """Equation eq-online-forward for independent streams (T, units): means and variances after 0..T."""
    means, variances = [np.full(stream.shape[1:], mean)], [np.full(stream.shape[1:], var)]
    for a in stream:
        variances.append(alpha * variances[-1] + alpha * (1 - alpha) * (a - means[-1]) ** 2)
        means.append(alpha * means[-1] + (1 - alpha) * a)
    return np.array(means), np.array(variances)


def control(g: Array, z: Array, sigma: Array, alpha: float) -> tuple[Array, Array, Array, Array]:
    """Equation eq-online-backward for one stream: tilted and final gradients, and both errors after 0..T."""
    along, level, tilted, sent = [0.0], [0.0], [], []
    for t in range(len(g)):
        tilted.append(g[t] - (1 - alpha) * along[-1] * z[t])
        along.append(along[-1] + tilted[-1] * z[t])
        sent.append(tilted[-1] / sigma[t] - (1 - alpha) * level[-1])
        level.append(level[-1] + sent[-1])
    return np.array(tilted), np.array(sent), np.array(along), np.array(level)


def backward(alpha: float, seed: int = 0, count: int = 60) -> tuple[Array, ...]:
    """A random stream through the package's layer: a, g, z, sigma and the gradient it returns."""
    draw = np.random.default_rng(seed)
    a, g = 2 * draw.normal(size=count) + 1, draw.normal(size=count) + 0.5
    means, variances = track(a[:, None], 0.9)
    sigma = np.sqrt(variances[:-1, 0])
    layer = OnlineNorm(1, 0.9, alpha, eps=0.0, affine=False, dtype=torch.float64)
    x = torch.tensor(a[:, None], requires_grad=True)
    (sent,) = torch.autograd.grad(layer(x), x, torch.tensor(g[:, None]))
    return a, g, (a - means[:-1, 0]) / sigma, sigma, sent.numpy()[:, 0]


@pytest.mark.equation("eq-batch-bound")
@pytest.mark.parametrize("size", [2, 3, 7, 20])
def test_one_against_all_others_reaches_the_bound(size: int) -> None:
    draw = np.random.default_rng(size)
    largest = 0.0
    for _ in range(300):
        a = draw.standard_cauchy(size)  # heavy tails come close to the extreme case
        largest = max(largest, float(np.abs((a - a.mean()) / a.std()).max()))
    assert largest <= math.sqrt(size - 1) * (1 + 1e-12)
    assert largest > 0.99 * math.sqrt(size - 1)
    values = [Fraction(1)] + [Fraction(0)] * (size - 1)
    mean = sum(values) / size
    variance = sum((v - mean) ** 2 for v in values) / size
    assert (values[0] - mean) ** 2 / variance == size - 1


@pytest.mark.equation("eq-propagation-relu")
def test_the_two_constants_by_quadrature() -> None:
    mean = integrate.quad(lambda t: t * stats.norm.pdf(t), 0, np.inf)[0]
    square = integrate.quad(lambda t: t * t * stats.norm.pdf(t), 0, np.inf)[0]
    assert mean == pytest.approx(math.sqrt(1 / (2 * math.pi)), rel=1e-9)
    assert square - mean**2 == pytest.approx((1 - 1 / math.pi) / 2, rel=1e-8)


@pytest.mark.equation("eq-propagation")
def test_the_layer_is_the_formula_unit_by_unit() -> None:
    draw = np.random.default_rng(0)
    layer = PropagationLinear(5, 3, dtype=torch.float64)
    gain, bias = np.array([0.5, 1.0, 2.0]), np.array([0.3, 0.0, -0.4])
    with torch.no_grad():
        layer.gain.copy_(torch.tensor(gain))
        layer.bias.copy_(torch.tensor(bias))
    weight, x = layer.weight.detach().numpy(), draw.normal(size=(7, 5))
    expected = np.empty((7, 3))
    for i, j in np.ndindex(7, 3):
        a = gain[j] * sum(weight[j] * x[i]) / math.sqrt(sum(weight[j] ** 2)) + bias[j]
        expected[i, j] = (max(a, 0) - math.sqrt(1 / (2 * math.pi))) / math.sqrt(0.5 * (1 - 1 / math.pi))
    np.testing.assert_allclose(layer(torch.tensor(x)).detach().numpy(), expected, rtol=1e-12)


@pytest.mark.equation("eq-propagation-variance")
def test_mean_and_variance_along_a_direction() -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(50, 4)) @ draw.normal(size=(4, 4)) + draw.normal(size=4)
    mean, sigma = x.mean(0), np.cov(x.T, bias=True)
    low, *_, high = np.linalg.eigvalsh(sigma)
    variances = []
    for w in draw.normal(size=(4000, 4)):
        direction = w / np.linalg.norm(w)
        along = x @ direction
        assert along.mean() == pytest.approx(direction @ mean, abs=1e-12)
        assert along.var() == pytest.approx(direction @ sigma @ direction, rel=1e-10)
        variances.append(along.var())
    assert low <= min(variances) <= max(variances) <= high
    assert np.mean(variances) == pytest.approx(np.trace(sigma) / 4, rel=0.05)


@pytest.mark.equation("eq-propagation-jacobian")
@pytest.mark.parametrize("gain", [1.0, 1 / 1.21, math.sqrt(1 - 1 / math.pi)])
def test_squared_singular_values_of_orthogonal_rows(gain: float) -> None:
    units = 200
    layer = PropagationLinear(units, units, dtype=torch.float64)
    torch.nn.init.orthogonal_(layer.weight, generator=torch.Generator().manual_seed(0))
    torch.nn.init.constant_(layer.gain, gain)
    squares = []
    for x in np.random.default_rng(2).normal(size=(8, units)):
        jacobian = torch.autograd.functional.jacobian(layer, torch.tensor(x))
        assert isinstance(jacobian, torch.Tensor)
        squares.append(np.linalg.svd(jacobian.numpy(), compute_uv=False) ** 2)
    values = np.concatenate(squares)
    expected = gain**2 / (1 - 1 / math.pi)
    assert values.mean() == pytest.approx(expected, rel=0.1)
    off = np.isclose(values, 0, atol=1e-12)
    np.testing.assert_allclose(values[~off], 2 * expected, rtol=1e-10)


def test_the_printed_gain_is_that_root() -> None:
    assert math.sqrt(1 - 1 / math.pi) == pytest.approx(0.826, abs=5e-4)
    assert 1 / math.sqrt(1 - 1 / math.pi) == pytest.approx(1.211, abs=5e-4)
    assert 1 / (1 - 1 / math.pi) == pytest.approx(1.47, abs=5e-3)


@pytest.mark.equation("eq-propagation-fading")
@pytest.mark.parametrize("gain", [0.5, 1 / 1.21, 1.0, 2.0])
def test_mean_and_deviation_at_another_gain(gain: float) -> None:
    low, scale = math.sqrt(1 / (2 * math.pi)), math.sqrt(0.5 * (1 - 1 / math.pi))

    def moment(power: int) -> float:
        def output(t: float) -> float:
            return ((max(gain * t, 0) - low) / scale) ** power * stats.norm.pdf(t)

        return integrate.quad(output, -12, 12, points=[0])[0]

    assert moment(1) == pytest.approx((gain - 1) / math.sqrt(math.pi - 1), abs=1e-9)
    assert math.sqrt(moment(2) - moment(1) ** 2) == pytest.approx(gain, rel=1e-8)


@pytest.mark.equation("eq-online-forward")
@pytest.mark.parametrize("alpha", DECAYS)
def test_the_layer_normalizes_with_what_it_knew(alpha: float) -> None:
    stream = 3 * np.random.default_rng(4).normal(size=(30, 2)) + 1
    means, variances = track(stream, alpha)
    layer = OnlineNorm(2, alpha, eps=1e-8, affine=False, dtype=torch.float64)
    expected = (stream - means[:-1]) / np.sqrt(variances[:-1] + 1e-8)
    np.testing.assert_allclose(layer(torch.tensor(stream)).numpy(), expected, rtol=1e-9)
    np.testing.assert_allclose(layer.mean.numpy(), means[-1], rtol=1e-12)
    np.testing.assert_allclose(layer.var.numpy(), variances[-1], rtol=1e-12)


@pytest.mark.equation("eq-online-average")
def test_the_mean_unrolled_with_fractions() -> None:
    alpha, start = Fraction(2, 3), Fraction(5)
    stream = [Fraction(k * k - 7, k + 2) for k in range(9)]
    mean = start
    for t, a in enumerate(stream, start=1):
        mean = alpha * mean + (1 - alpha) * a
        unrolled = (1 - alpha) * sum((alpha**s * stream[t - 1 - s] for s in range(t)), Fraction(0))
        assert mean == unrolled + alpha**t * start


@pytest.mark.equation("eq-online-variance")
def test_the_variance_is_mean_square_less_squared_mean() -> None:
    alpha, mean, variance, a = sympy.symbols("alpha mu v a")
    moved = alpha * mean + (1 - alpha) * a
    left = alpha * (variance + mean**2) + (1 - alpha) * a**2 - moved**2
    right = alpha * variance + alpha * (1 - alpha) * (a - mean) ** 2
    assert sympy.expand(left - right) == 0


@pytest.mark.equation("eq-online-noise")
@pytest.mark.parametrize("alpha", [0.5, 0.8, 0.95])
def test_estimates_are_those_of_a_batch_of_n(alpha: float) -> None:
    stream = 2 * np.random.default_rng(5).exponential(size=(300, 8000))  # deviation 2, far from normal
    means, variances = track(stream, alpha)
    n = (1 + alpha) / (1 - alpha)
    assert means[-1].var() == pytest.approx(4 / n, rel=0.07)
    assert variances[-1].mean() == pytest.approx(4 * (1 - 1 / n), rel=0.02)


@pytest.mark.equation("eq-online-lag")
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_a_steady_drift_is_followed_at_a_distance(alpha: float) -> None:
    drift = 0.03 * np.arange(600)[:, None]
    means, _ = track(drift, alpha)
    assert (drift[-1] - means[-2]).item() == pytest.approx(0.03 / (1 - alpha), rel=1e-9)


@pytest.mark.equation("eq-online-backward")
@pytest.mark.parametrize("alpha", [*DECAYS, 1.0])
def test_the_layer_sends_back_what_the_lines_say(alpha: float) -> None:
    _, g, z, sigma, sent = backward(alpha)
    np.testing.assert_allclose(sent, control(g, z, sigma, alpha)[1], rtol=1e-9, atol=1e-10)


@pytest.mark.equation("eq-online-control")
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.99])
def test_the_gradient_less_the_average_of_those_before(alpha: float) -> None:
    _, g, z, sigma, sent = backward(alpha, seed=1)
    u = control(g, z, sigma, alpha)[0] / sigma
    for t in range(len(u)):
        before = sum(alpha ** (s - 1) * u[t - s] for s in range(1, t + 1))
        assert sent[t] == pytest.approx(u[t] - (1 - alpha) * before, rel=1e-8, abs=1e-9)


@pytest.mark.equation("eq-online-lms")
def test_the_first_error_is_a_least_mean_squares_coefficient() -> None:
    alpha = 0.95
    _, g, z, sigma, _ = backward(alpha, seed=2)
    along = control(g, z, sigma, alpha)[2]
    k = 0.0
    for t in range(len(g)):
        k += (1 - alpha) * (g[t] - k * z[t]) * z[t]
        assert (1 - alpha) * along[t + 1] == pytest.approx(k, rel=1e-9, abs=1e-12)


def test_that_coefficient_settles_at_the_regression_and_overshoots_when_outputs_are_large() -> None:
    draw = np.random.default_rng(6)
    z = draw.normal(size=200_000)
    g = 0.7 * z + draw.normal(size=len(z))
    along = control(g, z, np.ones(len(z)), 0.999)[2]
    assert (0.001 * along[20_000:]).mean() == pytest.approx(0.7, abs=0.02)
    for size, grows in ((14.0, False), (14.3, True)):
        along = control(np.ones(400), np.full(400, size), np.ones(400), 0.99)[2]
        wanted = 1 / size / 0.01
        assert (abs(along[-1] - wanted) > wanted) == grows


@pytest.mark.equation("eq-online-bound")
@pytest.mark.parametrize("alpha", [0.0, 0.9, 0.99])
def test_the_mean_of_what_is_sent_vanishes_like_one_over_t(alpha: float) -> None:
    draw = np.random.default_rng(7)
    for u in (np.ones(500), np.sign(draw.normal(size=500)), draw.uniform(-1, 1, 500)):
        sent = control(u, np.zeros(500), np.ones(500), alpha)[1]
        means = np.abs(np.cumsum(sent)) / np.arange(1, 501)
        assert (means <= 1 / ((1 - alpha) * np.arange(1, 501)) * (1 + 1e-9)).all()
    constant = control(np.ones(5000), np.zeros(5000), np.ones(5000), alpha)[1]
    assert constant.mean() == pytest.approx(1 / ((1 - alpha) * 5000), rel=0.02)  # the bound is reached


def test_the_solution_of_the_first_exercise() -> None:
    distance, eps = sympy.symbols("D epsilon", positive=True)
    z = (distance / 2) / sympy.sqrt(distance**2 / 4 + eps)
    derived = (eps / 2) / (distance**2 / 4 + eps) ** sympy.Rational(3, 2)
    assert sympy.simplify(sympy.diff(z, distance) - derived) == 0


def test_the_best_memory_of_the_third_exercise() -> None:
    memory, drift = sympy.symbols("M v", positive=True)
    stationary = sympy.diff(1 / (2 * memory) + drift**2 * memory**2, memory)
    best = (4 * drift**2) ** sympy.Rational(-1, 3)
    assert sympy.simplify(stationary.subs(memory, best)) == 0
    for v, printed in ((1e-3, 63), (1.6e-5, 1000)):
        assert float(best.subs(drift, v)) == pytest.approx(printed, rel=0.02)
