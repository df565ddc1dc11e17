"""Every labelled equation of chapter 6, against symbols, fractions, a minimizer, or literal loops."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import nn

from cosnorm.functional import cosine_linear
from cosnorm.relatives import MaxNorm, ScalingWeightNorm, WeightDecay, WeightNormLinear

Array = NDArray[np.float64]

#: Integer vectors with integer lengths: directions are fractions, so the expected values have no rounding.
PYTHAGOREAN = [((3, 4), 5), ((1, 2, 2), 3), ((2, 3, 6), 7), ((-2, 6, 9), 11)]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def layer(w: Array, gain: float = 1.0, bias: float = 0.0) -> WeightNormLinear:
    made = WeightNormLinear(w.shape[1], len(w), gain=gain, dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(torch.tensor(w))
        made.bias.fill_(bias)
    return made


def linear(w: Array) -> nn.Linear:
    made = nn.Linear(w.shape[1], len(w), bias=False, dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(torch.tensor(w))
    return made


@pytest.mark.equation("eq-weight-penalty", "eq-decay-step")
def test_a_step_down_the_penalty_shrinks_then_goes_on() -> None:
    """Exactly, with fractions: the loss is (w . x - 1) ** 2 / 2, whose gradient is (w . x - 1) x."""
    w, x = [Fraction(3, 2), Fraction(-1, 4)], [Fraction(2), Fraction(5)]
    rate, strength = Fraction(1, 8), Fraction(1, 3)
    residual = sum(a * b for a, b in zip(w, x, strict=True)) - 1
    gradient = [residual * b for b in x]
    coupled = [a - rate * (g + strength * a) for a, g in zip(w, gradient, strict=True)]
    assert coupled == [(1 - rate * strength) * a - rate * g for a, g in zip(w, gradient, strict=True)]

    net = linear(np.array([[float(a) for a in w]]))
    loss = (net(torch.tensor([[2.0, 5.0]], dtype=torch.float64)) - 1).square().sum() / 2
    penalty = WeightDecay(net, float(strength)).penalty()
    assert penalty.item() == pytest.approx(float(strength) / 2 * float(sum(a * a for a in w)), rel=1e-15)
    (loss + penalty).backward()
    assert net.weight.grad is not None
    stepped = net.weight.detach() - float(rate) * net.weight.grad
    np.testing.assert_allclose(stepped.numpy()[0], [float(a) for a in coupled], rtol=1e-14)


@pytest.mark.equation("eq-max-norm")
@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0, 10.0])
def test_max_norm_finds_the_nearest_point(radius: float) -> None:
    """A minimizer that knows the ball only; formula and package agree with it."""
    w = normal(4, seed=1) * 2
    found = optimize.minimize(
        lambda v: np.square(v - w).sum(),
        np.full(4, 1e-3),
        constraints=[{"type": "ineq", "fun": lambda v: radius**2 - v @ v}],
        tol=1e-13,
    ).x
    formula = min(1.0, radius / math.sqrt(w @ w)) * w
    np.testing.assert_allclose(formula, found, atol=1e-5)
    net = linear(w[None])
    MaxNorm(net, radius).step()
    np.testing.assert_allclose(net.weight.detach().numpy()[0], formula, rtol=1e-14)


@pytest.mark.equation("eq-weight-norm", "eq-weight-norm-output")
@pytest.mark.parametrize(("w", "length"), PYTHAGOREAN)
def test_weight_norm_of_vectors_with_integer_lengths(w: tuple[int, ...], length: int) -> None:
    gain, bias, x = Fraction(5, 2), Fraction(-7, 3), range(1, len(w) + 1)
    v = [gain * Fraction(a, length) for a in w]
    assert sum(a * a for a in v) == gain**2
    expected = max(Fraction(0), sum(a * b for a, b in zip(v, x, strict=True)) + bias)
    unit = layer(np.array([w], float), float(gain), float(bias))
    np.testing.assert_allclose(unit.effective_weight().detach().numpy()[0], [float(a) for a in v], rtol=1e-15)
    output = torch.relu(unit(torch.tensor([list(x)], dtype=torch.float64)))
    assert output.item() == pytest.approx(float(expected), rel=1e-14)


def two_layers(w: Array, b: Array, u: Array, x: Array) -> Array:
    return np.maximum(x @ w.T + b, 0) @ u.T


@pytest.mark.equation("eq-scaling")
def test_scaling_sets_lengths_to_1_and_keeps_the_function() -> None:
    w, b, u, x = normal(4, 3), normal(4, seed=1), normal(2, 4, seed=2), normal(9, 3, seed=3)
    n = np.sqrt([sum(a * a for a in w[j]) + b[j] ** 2 for j in range(4)])
    new = w / n[:, None], b / n, u * n
    np.testing.assert_allclose(two_layers(*new, x), two_layers(w, b, u, x), rtol=1e-13)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)).double()
    parameters = dict(net.named_parameters())
    with torch.no_grad():
        for name, value in (("0.weight", w), ("0.bias", b), ("2.weight", u)):
            parameters[name].copy_(torch.tensor(value))
    ScalingWeightNorm(net).step()
    for name, value in zip(("0.weight", "0.bias", "2.weight"), new, strict=True):
        np.testing.assert_allclose(parameters[name].detach().numpy(), value, rtol=1e-14)


@pytest.mark.equation("eq-length-limits")
def test_bounds_hold_and_are_reached() -> None:
    w, x = normal(200, 6) * 3, normal(50, 6, seed=1) * 5
    size = np.sqrt(np.square(x).sum(1))
    x_tensor = torch.tensor(x)
    projected = linear(w)
    MaxNorm(projected, 2.0).step()
    for outputs, limit in (
        (projected(x_tensor), 2.0 * size),
        (layer(w, gain=1.5)(x_tensor), 1.5 * size),
        (cosine_linear(x_tensor, torch.tensor(w)), np.ones(50)),
    ):
        assert (np.abs(outputs.detach().numpy()) <= limit[:, None] * (1 + 1e-14)).all()
    aligned = layer(7 * x, gain=1.5)(x_tensor).detach().numpy().diagonal()
    np.testing.assert_allclose(aligned, 1.5 * size, rtol=1e-13)
    longer = linear(7 * x)
    MaxNorm(longer, 2.0).step()
    np.testing.assert_allclose(longer(x_tensor).detach().numpy().diagonal(), 2.0 * size, rtol=1e-13)


@pytest.mark.equation("eq-depth-bound")
@pytest.mark.parametrize("gain", [0.3, 1.0, 2.0])
def test_no_network_exceeds_the_bound_by_depth_and_one_reaches_it(gain: float) -> None:
    m, depth, x = 5, 4, np.abs(normal(3)) + 0.1
    bounds = [gain * (gain * math.sqrt(m)) ** (level - 1) * math.sqrt(x @ x) for level in range(1, depth + 1)]
    draw = np.random.default_rng(1)
    for _ in range(200):
        h = x
        for level in range(depth):
            w = draw.normal(size=(m, len(h)))
            w *= gain * draw.uniform(0, 1, (m, 1)) / np.sqrt(np.square(w).sum(1, keepdims=True))
            assert (np.abs(w @ h) <= bounds[level] * (1 + 1e-12)).all()
            h = np.maximum(w @ h, 0)
    h = x
    for level in range(depth):
        a = np.tile(gain * h / math.sqrt(h @ h), (m, 1)) @ h
        np.testing.assert_allclose(a, bounds[level], rtol=1e-12)
        h = np.maximum(a, 0)


@pytest.mark.equation("eq-weight-norm-length")
@pytest.mark.parametrize(("m", "d", "gain"), [(3, 2, 1.0), (20, 7, 1.5)])
def test_mean_squared_length_behind_random_units(m: int, d: int, gain: float) -> None:
    """Directions uniform in a ball's shells by rejection from the cube, no normal variable involved."""
    draw, x = np.random.default_rng(0), normal(d, seed=5)
    points = draw.uniform(-1, 1, (400_000, d))
    square = np.square(points).sum(1)
    inside = (square <= 1) & (square > 1e-4)
    units = points[inside] / np.sqrt(square[inside, None])
    contributions = m * np.square(np.maximum(gain * units @ x, 0))
    error = contributions.std() / math.sqrt(len(contributions))
    assert abs(contributions.mean() - m * gain**2 / (2 * d) * (x @ x)) < 5 * error
    assert error < 0.05 * contributions.mean()


@pytest.mark.equation("eq-weight-norm-grad-gain", "eq-weight-norm-grad-w")
def test_gradients_by_symbols_and_by_the_package() -> None:
    w = sympy.Matrix(sympy.symbols("w1:4", real=True))
    gain = sympy.Symbol("gamma", positive=True)
    length = sympy.sqrt(w.dot(w))
    v = gain * w / length
    # A loss that is not linear in v, so that its gradient depends on the point.
    loss = lambda v: v[0] ** 2 * v[1] + sympy.exp(v[2]) - v[0] * v[2]  # noqa: E731
    names = sympy.Matrix(sympy.symbols("v1:4", real=True))
    values = dict(zip(names, v, strict=True))
    pull = sympy.Matrix([sympy.diff(loss(names), name).subs(values) for name in names])
    unit = w / length
    across = gain / length * (pull - unit * unit.dot(pull))
    point = {w[0]: sympy.Rational(2), w[1]: -3, w[2]: 6, gain: sympy.Rational(1, 2)}
    by_gain = sympy.diff(loss(v), gain)
    assert sympy.simplify((by_gain - unit.dot(pull)).subs(point)) == 0
    by_weight = [sympy.diff(loss(v), a) for a in w]
    for found, expected in zip(by_weight, across, strict=True):
        assert sympy.simplify((found - expected).subs(point)) == 0

    made = WeightNormLinear(3, 1, bias=False, gain="learnable", dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[2.0, -3.0, 6.0]]))
        assert isinstance(made.gain, torch.Tensor)
        made.gain.fill_(0.5)
    a, b, c = made.effective_weight()[0]
    (a**2 * b + c.exp() - a * c).backward()
    assert made.weight.grad is not None
    expected = [float(entry.subs(point)) for entry in across]
    np.testing.assert_allclose(made.weight.grad.numpy()[0], expected, rtol=1e-12)
    assert made.gain.grad is not None
    assert made.gain.grad.item() == pytest.approx(float(unit.dot(pull).subs(point)), rel=1e-12)


@pytest.mark.equation("eq-weight-norm-step")
@pytest.mark.parametrize("learned", [True, False])
def test_what_a_step_does_to_the_weights_in_use_to_first_order(learned: bool) -> None:
    """Richardson: the difference quotient in the rate, extrapolated, is the bracket."""
    w, pull, gain = normal(5), normal(5, seed=1), 1.7
    length = math.sqrt(w @ w)
    unit = w / length
    along = (unit @ pull) * unit

    def moved(rate: float) -> Array:
        new = w - rate * gain / length * (pull - along)
        new_gain = gain - rate * (unit @ pull) * learned
        return (new_gain * new / math.sqrt(new @ new) - gain * unit) / rate

    derivative = 2 * moved(5e-6) - moved(1e-5)
    bracket = (along if learned else 0) + gain**2 / length**2 * (pull - along)
    np.testing.assert_allclose(derivative, -bracket, atol=1e-8)
    if learned:  # the start of the package's layer: gain = length, where the step is the plain one
        gain = length
        np.testing.assert_allclose(2 * moved(5e-6) - moved(1e-5), -pull, atol=1e-8)


def angle(one: Array, other: Array) -> float:
    """By the chord, which is accurate for small angles too."""
    chord = one / math.sqrt(one @ one) - other / math.sqrt(other @ other)
    return 2 * math.asin(math.sqrt(chord @ chord) / 2)


@pytest.mark.equation("eq-weight-norm-turn")
@pytest.mark.parametrize("rate", [1e-3, 0.1, 0.5])
def test_the_turn_of_a_plain_and_of_a_weight_normalized_unit(rate: float) -> None:
    w, pull, gain = 2 * normal(6), normal(6, seed=1), 1.3
    length = math.sqrt(w @ w)
    unit = w / length
    across = pull - (unit @ pull) * unit
    size = math.sqrt(across @ across)
    assert length - rate * (unit @ pull) > 0
    plain = math.atan(rate * size / (length - rate * (unit @ pull)))
    assert angle(w, w - rate * pull) == pytest.approx(plain, rel=1e-12)

    made = layer(w[None], gain)
    (made.effective_weight() @ torch.tensor(pull)).sum().backward()
    assert made.weight.grad is not None
    stepped = w - rate * made.weight.grad.numpy()[0]
    assert angle(w, stepped) == pytest.approx(math.atan(rate * gain / length**2 * size), rel=1e-12)


@pytest.mark.equation("eq-decayed-length")
def test_length_under_decay_when_the_gradient_is_orthogonal() -> None:
    rate, strength = 0.7, 0.3
    net = layer(normal(4, 5) * 2, gain=1.5)
    x, target = torch.tensor(normal(8, 5, seed=1)), torch.tensor(normal(8, 4, seed=2))
    for _ in range(5):
        gradient = torch.autograd.grad((net(x) - target).square().mean(), net.weight)[0].numpy()
        before = net.weight.detach().numpy().copy()
        total = (net(x) - target).square().mean() + WeightDecay(net, strength).penalty()
        step = torch.autograd.grad(total, net.weight)[0]
        with torch.no_grad():
            net.weight -= rate * step
        after = np.square(net.weight.detach().numpy()).sum(1)
        shrunk = (1 - rate * strength) ** 2 * np.square(before).sum(1)
        np.testing.assert_allclose(after, shrunk + rate**2 * np.square(gradient).sum(1), rtol=1e-12)


@pytest.mark.equation("eq-balance")
def test_descent_with_decay_ends_balanced() -> None:
    """Literal descent in NumPy. Minima like to lie at a kink of a ReLU; the claim holds there too."""
    x, y, strength = normal(12, 3), 4 * normal(12, 2, seed=1), 0.5
    w, u = normal(4, 3, seed=3), normal(2, 4, seed=5)
    assert not np.allclose(np.square(w).sum(1), np.square(u).sum(0), rtol=0.5)
    gaps = []
    for rate, steps in ((0.02, 1000), (0.002, 5000)):
        for _ in range(steps):
            a = x @ w.T
            residual = np.maximum(a, 0) @ u.T - y
            for_w = 2 * (residual @ u * (a > 0)).T @ x / len(x)
            for_u = 2 * residual.T @ np.maximum(a, 0) / len(x)
            w, u = w - rate * (for_w + strength * w), u - rate * (for_u + strength * u)
        incoming, outgoing = np.sqrt(np.square(w).sum(1)), np.sqrt(np.square(u).sum(0))
        gaps.append(np.abs(incoming - outgoing).max())
    assert gaps[1] < 0.2 * gaps[0]  # what is left comes from the finite step, and shrinks with it
    assert gaps[1] < 5e-3
    assert incoming.max() > 0.3


@pytest.mark.equation("eq-scaling-gradient")
def test_gradients_after_rescaling_by_central_differences() -> None:
    w, b, u, x = normal(4, 3), normal(4, seed=1), normal(2, 4, seed=2), normal(9, 3, seed=3)
    n = np.sqrt(np.square(w).sum(1) + b**2)

    def gradients(*point: Array) -> list[Array]:
        found = []
        for index, array in enumerate(point):
            gradient = np.zeros_like(array)
            for place in itertools.product(*map(range, array.shape)):
                sides = []
                for sign in (1, -1):
                    moved = [other.copy() for other in point]
                    moved[index][place] += sign * 1e-5
                    sides.append(np.sin(two_layers(*moved, x)).sum())
                gradient[place] = (sides[0] - sides[1]) / 2e-5
            found.append(gradient)
        return found

    before, after = gradients(w, b, u), gradients(w / n[:, None], b / n, u * n)
    np.testing.assert_allclose(after[0], n[:, None] * before[0], atol=1e-6)
    np.testing.assert_allclose(after[1], n * before[1], atol=1e-6)
    np.testing.assert_allclose(after[2], before[2] / n, atol=1e-6)


@pytest.mark.equation("eq-silent")
def test_a_bias_below_the_longest_input_silences_the_unit_for_good() -> None:
    x = normal(50, 4)
    longest = math.sqrt(np.square(x).sum(1).max())
    for gain in (0.5, 2.0):
        unit = layer(np.concatenate([normal(100, 4, seed=1), x]), gain, bias=-gain * longest * (1 + 1e-12))
        output = torch.relu(unit(torch.tensor(x)))
        assert (output == 0).all()
        output.sum().backward()
        assert unit.weight.grad is not None
        assert (unit.weight.grad == 0).all()
        assert unit.bias.grad is not None
        assert (unit.bias.grad == 0).all()
        # The bound is sharp: a little less, and the unit along the longest input still speaks.
        awake = layer(x, gain, bias=-gain * longest * (1 - 1e-9))
        assert (torch.relu(awake(torch.tensor(x))) > 0).any()
