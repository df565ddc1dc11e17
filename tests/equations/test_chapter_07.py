"""Every labelled equation of chapter 7, against fractions, symbols, differences, simulation, brute force."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cosnorm.instruments import covariate_shift, smoothness, statistics_gradient
from cosnorm.networks import mlp
from cosnorm.relatives import MeanOnlyBatchNorm1d, WeightNormLinear

Array = NDArray[np.float64]


def normalized(a: Array, epsilon: float = 0.0) -> Array:
    """Equation eq-bn-normalize for the columns of a, typed from the chapter."""
    mean = a.sum(axis=0) / len(a)
    return (a - mean) / np.sqrt(((a - mean) ** 2).sum(axis=0) / len(a) + epsilon)


def symbols_and_normalized(count: int) -> tuple[list[sympy.Symbol], list[sympy.Expr], sympy.Expr, sympy.Expr]:
    a = list(sympy.symbols(f"a1:{count + 1}", real=True))
    mean = sum(a) / sympy.Integer(count)
    deviation = sympy.sqrt(sum((entry - mean) ** 2 for entry in a) / sympy.Integer(count))
    return a, [(entry - mean) / deviation for entry in a], mean, deviation


#: Batches whose mean and deviation are whole numbers, so that their z are fractions.
WHOLE = [((0, 0, 4, 4), Fraction(2), Fraction(2)), ((2, 4, 4, 4, 5, 5, 7, 9), Fraction(5), Fraction(2))]


@pytest.mark.equation("eq-bn-normalize")
@pytest.mark.parametrize(("column", "mean", "deviation"), WHOLE)
def test_whole_batches_give_exact_fractions(
    column: tuple[int, ...], mean: Fraction, deviation: Fraction
) -> None:
    assert Fraction(sum(column), len(column)) == mean
    assert sum((entry - mean) ** 2 for entry in column) / len(column) == deviation**2
    expected = [float((entry - mean) / deviation) for entry in column]
    seen = (
        nn.BatchNorm1d(1, eps=1e-30).double()(torch.tensor(column, dtype=torch.float64)[:, None]).squeeze(1)
    )
    np.testing.assert_allclose(seen.detach().numpy(), expected, atol=1e-14)


@pytest.mark.equation("eq-bn-normalize")
def test_epsilon_stands_with_the_variance_under_the_root() -> None:
    column = torch.tensor([[1.0], [3.0]], dtype=torch.float64)  # variance 1
    seen = nn.BatchNorm1d(1, eps=3.0).double()(column)
    np.testing.assert_allclose(seen.detach().numpy(), [[-0.5], [0.5]], atol=1e-15)


@pytest.mark.equation("eq-bn-output")
def test_the_hidden_layer_of_the_network_scales_shifts_and_rectifies() -> None:
    draw = np.random.default_rng(0)
    network = mlp((3, 4, 2), "batch", seed=0).double()
    gamma, beta, x = draw.normal(size=4), draw.normal(size=4), draw.normal(size=(9, 3))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor(gamma))  # pyright: ignore
        network[1].bias.copy_(torch.tensor(beta))  # pyright: ignore
        seen = network[:3](torch.tensor(x)).numpy()
    w = network[0].weight.detach().numpy()  # pyright: ignore
    expected = np.maximum(gamma * normalized(x @ w.T, 1e-5) + beta, 0)
    np.testing.assert_allclose(seen, expected, atol=1e-13)
    assert network[0].bias is None  # the shift takes its place


@pytest.mark.equation("eq-bn-direction")
def test_the_column_is_a_direction_of_length_root_b() -> None:
    column = np.random.default_rng(1).normal(size=(12, 1)) * 7 + 3
    centered = column - column.mean()
    expected = math.sqrt(12) * centered / math.sqrt(np.sum(centered**2))
    np.testing.assert_allclose(normalized(column), expected, atol=1e-14)
    assert np.sum(expected**2) == pytest.approx(12)


@pytest.mark.equation("eq-bn-metric")
def test_the_deviation_is_the_length_of_w_in_the_metric_of_the_data() -> None:
    draw = np.random.default_rng(2)
    x, w = draw.normal(size=(20, 5)) @ draw.normal(size=(5, 5)) + 4, draw.normal(size=5)
    middle = x.mean(axis=0)
    spread = sum(np.outer(row - middle, row - middle) for row in x) / len(x)
    expected = [w @ (row - middle) / math.sqrt(w @ spread @ w) for row in x]
    np.testing.assert_allclose(normalized(x @ w[:, None]).ravel(), expected, atol=1e-13)
    np.testing.assert_allclose(normalized(3 * x @ w[:, None] + 8).ravel(), expected, atol=1e-13)


@pytest.mark.equation("eq-bn-slopes")
def test_slopes_of_mean_and_deviation() -> None:
    a, z, mean, deviation = symbols_and_normalized(3)
    for entry, standard in zip(a, z, strict=True):
        assert sympy.diff(mean, entry) == sympy.Rational(1, 3)
        assert sympy.simplify(sympy.diff(deviation, entry) - standard / 3) == 0
        assert sympy.simplify(sympy.diff(deviation, entry) - (entry - mean) / (3 * deviation)) == 0


@pytest.mark.equation("eq-bn-jacobian")
def test_jacobian_of_the_normalized_column() -> None:
    a, z, _, deviation = symbols_and_normalized(3)
    place = dict(zip(a, (sympy.Rational(2, 3), -5, 7), strict=True))
    for i, j in itertools.product(range(3), repeat=2):
        formula = (int(i == j) - sympy.Rational(1, 3) - z[j] * z[i] / 3) / deviation
        assert sympy.simplify((sympy.diff(z[j], a[i]) - formula).subs(place)) == 0


def formula(g: Array, z: Array, sigma: Array) -> tuple[Array, Array, Array]:
    """The three parts of eq-bn-gradient, typed from the chapter."""
    return g / sigma, -np.ones_like(g) * g.mean(axis=0) / sigma, -z * (g * z).mean(axis=0) / sigma


@pytest.mark.equation("eq-bn-gradient")
@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_gradient_against_central_differences(epsilon: float) -> None:
    draw = np.random.default_rng(3)
    a, g = draw.normal(size=(6, 1)) * 2 + 1, draw.normal(size=(6, 1))
    differences = np.empty_like(a)
    for i in range(len(a)):
        move = np.zeros_like(a)
        move[i] = 1e-6
        ends = [np.sum(g * normalized(a + side * move, epsilon)) for side in (1, -1)]
        differences[i] = (ends[0] - ends[1]) / 2e-6
    sigma = np.sqrt(a.var(axis=0) + epsilon)
    np.testing.assert_allclose(sum(formula(g, normalized(a, epsilon), sigma)), differences, atol=1e-8)


@pytest.mark.equation("eq-bn-gradient")
def test_three_parts_of_the_instrument_are_those_under_the_braces() -> None:
    draw = np.random.default_rng(4)
    a, g, gamma = draw.normal(size=(6, 3)), draw.normal(size=(6, 3)), draw.normal(size=3)
    layer = nn.BatchNorm1d(3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(gamma))
    (seen,) = statistics_gradient(layer, lambda o, t: (o * t).sum(), torch.tensor(a), torch.tensor(g))
    parts = formula(g * gamma, normalized(a, 1e-5), np.sqrt(a.var(axis=0) + 1e-5))
    for ours, theirs in zip((seen.direct, seen.mean, seen.deviation), parts, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


@pytest.mark.equation("eq-bn-pythagoras")
def test_lengths_and_right_angles() -> None:
    """The gradient comes from autograd through the written-out layer, the three squares from the formula."""
    draw = torch.Generator().manual_seed(5)
    a = torch.randn(9, generator=draw, dtype=torch.float64, requires_grad=True)
    g = torch.randn(9, generator=draw, dtype=torch.float64)
    sigma = a.var(correction=0).sqrt()
    z = (a - a.mean()) / sigma
    (gradient,) = torch.autograd.grad((g * z).sum(), a)
    left = (sigma**2 * gradient.square().sum()).item()
    right = (g.square().sum() - 9 * g.mean() ** 2 - 9 * (g * z).mean() ** 2).item()
    assert left == pytest.approx(right, rel=1e-12)
    assert gradient.sum().item() == pytest.approx(0, abs=1e-14)
    assert (gradient * z).sum().item() == pytest.approx(0, abs=1e-14)


@pytest.mark.equation("eq-bn-pythagoras")
def test_two_examples_leave_no_gradient() -> None:
    a = torch.tensor([[0.3, -2.0], [1.7, 5.0]], dtype=torch.float64, requires_grad=True)
    z = nn.BatchNorm1d(2, eps=1e-30).double()(a)
    signs = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    assert (z - signs).abs().max().item() < 1e-15
    (gradient,) = torch.autograd.grad((z * torch.tensor([[3.0, 1.0], [-4.0, 1.0]])).sum(), a)
    assert gradient.abs().max().item() < 1e-14


@pytest.mark.equation("eq-bn-removed")
@pytest.mark.parametrize("size", [3, 10, 40])
def test_an_indifferent_gradient_loses_two_of_b_parts(size: int) -> None:
    """Normal vectors have uniform directions; the share does not depend on their length."""
    draw = np.random.default_rng(6)
    z = normalized(draw.normal(size=(size, 1)))
    g = draw.normal(size=(size, 40_000))
    removed = size * g.mean(axis=0) ** 2 + size * (g * z).mean(axis=0) ** 2
    shares = removed / np.sum(g**2, axis=0)
    error = shares.std() / math.sqrt(shares.size)
    assert shares.mean() == pytest.approx(2 / size, abs=4 * error)
    assert error < 0.02 / size


@pytest.mark.equation("eq-bn-noise")
@pytest.mark.parametrize("z", [0.0, 1.0, 2.0])
def test_noise_of_a_fixed_example_among_random_others(z: float) -> None:
    """Exact by simulation; the law is its first order, so the gap must shrink faster than 1/B."""
    draw = np.random.default_rng(7)
    ratios = []
    for size in (25, 100):
        others = draw.normal(size=(60_000, size))
        seen = (z - others.mean(axis=1)) / others.std(axis=1)
        ratios.append(seen.var() * size / (1 + z**2 / 2))
    assert ratios[1] == pytest.approx(1, abs=0.06)
    assert abs(ratios[1] - 1) < abs(ratios[0] - 1)


SETS = {
    "batch": (nn.BatchNorm2d(4, eps=1e-30), lambda n, c, p: {(i, c, q) for i in range(3) for q in range(6)}),
    "instance": (nn.InstanceNorm2d(4, eps=1e-30), lambda n, c, p: {(n, c, q) for q in range(6)}),
    "layer": (
        nn.GroupNorm(1, 4, eps=1e-30),
        lambda n, c, p: {(n, k, q) for k in range(4) for q in range(6)},
    ),
    "group": (
        nn.GroupNorm(2, 4, eps=1e-30),
        lambda n, c, p: {(n, k, q) for k in range(4) if k // 2 == c // 2 for q in range(6)},
    ),
}


@pytest.mark.equation("eq-bn-sets")
@pytest.mark.parametrize("name", SETS)
def test_each_number_is_normalized_by_its_set_and_no_other(name: str) -> None:
    module, members = SETS[name]
    a = np.random.default_rng(8).normal(size=(3, 4, 6)) * 2 + 1
    seen = module.double()(torch.tensor(a).view(3, 4, 2, 3)).detach().numpy().reshape(a.shape)
    for n, c, p in itertools.product(range(3), range(4), range(6)):
        values = np.array([a[place] for place in members(n, c, p)])
        expected = (a[n, c, p] - values.mean()) / math.sqrt(np.mean((values - values.mean()) ** 2))
        assert seen[n, c, p] == pytest.approx(expected, abs=1e-12)


@pytest.mark.equation("eq-bn-mean-only")
def test_mean_only_subtracts_from_weight_normalized_responses() -> None:
    draw = np.random.default_rng(9)
    x, beta = draw.normal(size=(7, 3)), draw.normal(size=2)
    weigh, shift = (
        WeightNormLinear(3, 2, bias=False, gain="learnable").double(),
        MeanOnlyBatchNorm1d(2).double(),
    )
    gamma = np.array([0.7, -1.3])
    with torch.no_grad():
        weigh.gain.copy_(torch.tensor(gamma))  # pyright: ignore
        shift.bias.copy_(torch.tensor(beta))  # pyright: ignore
        seen = shift(weigh(torch.tensor(x))).numpy()
    w = weigh.weight.detach().numpy()
    for i, j in itertools.product(range(7), range(2)):
        direction = w[j] / math.sqrt(np.sum(w[j] ** 2))
        mean = sum(gamma[j] * direction @ row for row in x) / 7
        assert seen[i, j] == pytest.approx(gamma[j] * direction @ x[i] - mean + beta[j], abs=1e-13)


@pytest.mark.equation("eq-bn-running")
def test_the_running_average_written_as_one_sum() -> None:
    draw = np.random.default_rng(10)
    layer = nn.BatchNorm1d(2).double()
    batches = draw.normal(size=(12, 5, 2)) + 3
    for batch in batches:
        layer(torch.tensor(batch))

    def unrolled(start: float, values: Array) -> Array:
        steps = len(values)
        later = sum(0.1 * 0.9 ** (steps - t) * values[t - 1] for t in range(1, steps + 1))
        return 0.9**steps * start + later

    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None
    assert variance is not None
    np.testing.assert_allclose(mean.numpy(), unrolled(0.0, batches.mean(axis=1)), atol=1e-13)
    # The text's aside: torch averages the estimates that divide by B - 1.
    np.testing.assert_allclose(variance.numpy(), unrolled(1.0, batches.var(axis=1, ddof=1)), atol=1e-13)


def chain_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum() / 2


@pytest.mark.equation("eq-bn-shift")
def test_shift_of_a_product_of_three_numbers() -> None:
    """L = (uvwx - y)^2 / 2 with everything a fraction: the definition by hand."""
    u, v, w, x, y, rate = (Fraction(k, 4) for k in (5, -3, 2, 6, 1, 1))
    slope = u * v * w * x - y
    new_u, new_v = u - rate * slope * v * w * x, v - rate * slope * u * w * x
    shift_v = (new_u * v * w * x - y) * new_u * w * x - slope * u * w * x
    shift_w = (new_u * new_v * w * x - y) * new_u * new_v * x - slope * u * v * x
    network = nn.Sequential(*(nn.Linear(1, 1, bias=False).double() for _ in range(3)))
    with torch.no_grad():
        for layer, value in zip(network, (u, v, w), strict=True):
            layer.weight.fill_(float(value))  # pyright: ignore
    inputs, targets = (torch.full((1, 1), float(value), dtype=torch.float64) for value in (x, y))
    seen = covariate_shift(network, chain_loss, inputs, targets, float(rate))
    expected = [0.0, abs(float(shift_v)), abs(float(shift_w))]
    assert [shift.distance for shift in seen] == pytest.approx(expected, rel=1e-12)


@pytest.mark.equation("eq-bn-beta")
def test_effective_smoothness_of_a_quartic() -> None:
    """L = w^4/4 at w = 1: the gradient is 1, after a step eta it is (1 - eta)^3."""
    network = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        network.weight.fill_(1.0)
    one = torch.ones(1, 1, dtype=torch.float64)
    rates = (Fraction(1, 20), Fraction(1, 10), Fraction(2, 5))
    ratios = [(1 - (1 - rate) ** 3) / rate for rate in rates]
    seen = smoothness(network, lambda o, t: o.pow(4).sum() / 4, one, one, [float(rate) for rate in rates])
    assert seen.beta == pytest.approx(float(max(ratios)), rel=1e-12)


@pytest.mark.equation("eq-bn-beta-scale")
@pytest.mark.parametrize("alpha", [0.5, 3.0])
def test_smoothness_before_batch_norm_falls_with_the_square_of_the_weights(alpha: float) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 1, 0])
    betas = []
    for factor in (1.0, alpha):
        network = mlp((5, 4, 4, 3), "batch", std=factor, seed=0).double()
        for name, p in network.named_parameters():
            p.requires_grad_(name in ("0.weight", "3.weight"))
        network[1].eps = network[4].eps = 1e-30  # pyright: ignore
        with torch.no_grad():
            network[6].weight.copy_(torch.linspace(-1, 1, 12).view(3, 4))  # pyright: ignore
        rates = [factor**2 * rate for rate in (0.05, 0.2)]
        betas.append(smoothness(network, F.cross_entropy, x, y, rates).beta)
    assert betas[1] == pytest.approx(betas[0] / alpha**2, rel=1e-6)  # weights drawn in float32
