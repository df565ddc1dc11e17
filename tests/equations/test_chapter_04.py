"""Every labelled equation of chapter 4, against symbols, fractions, quadrature, differences, brute force."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
import torch
from numpy.typing import NDArray
from scipy import integrate

from cosnorm import CosineLinear
from cosnorm.functional import cosine_linear

Array = NDArray[np.float64]
Symbols = tuple[sympy.Matrix, sympy.Matrix]


def package(w: Array, x: Array, **options: float) -> Array:
    """Centered cosines of the rows of x with the rows of w, computed by the package."""
    rows = (torch.tensor(np.atleast_2d(v)) for v in (x, w))
    return cosine_linear(*rows, centered=True, **options).numpy()


def projector(d: int) -> Array:
    """The matrix J, entry by entry."""
    return np.array([[float(i == j) - 1 / d for j in range(d)] for i in range(d)])


def gradients(w: Array, x: Array, upstream: Array) -> tuple[Array, Array]:
    """The package's gradients of ``(upstream * correlations).sum()``, for the inputs and for the weights."""
    inputs, weight = (torch.tensor(v, requires_grad=True) for v in (x, w))
    loss = (torch.tensor(upstream) * cosine_linear(inputs, weight, centered=True)).sum()
    grad_x, grad_w = torch.autograd.grad(loss, (inputs, weight))
    return grad_x.numpy(), grad_w.numpy()


def differences(value: Callable[[Array], float], at: Array, step: float = 1e-6) -> Array:
    """Central differences of a function of an array of any shape."""
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        move = np.zeros_like(at)
        move[index] = step
        gradient[index] = (value(at + move) - value(at - move)) / (2 * step)
    return gradient


def correlation_of_lists(w: Array, x: Array) -> float:
    """Pearson's correlation by Python's own statistics module."""
    return statistics.correlation(w.tolist(), x.tolist())


@pytest.fixture(name="symbols")
def two_vectors() -> Symbols:
    """Two vectors of three real symbols."""
    return tuple(sympy.Matrix(sympy.symbols(f"{name}1:4", real=True)) for name in "wx")  # pyright: ignore[reportReturnType]


def total(v: sympy.Matrix) -> sympy.Expr:
    """Sum of the components."""
    return v.dot(sympy.ones(v.rows, 1))


def centered(v: sympy.Matrix) -> sympy.Matrix:
    """A vector of symbols minus its mean."""
    return v - sympy.ones(v.rows, 1) * total(v) / v.rows


def length(v: sympy.Matrix) -> sympy.Expr:
    """Euclidean length."""
    return sympy.sqrt(v.dot(v))


@pytest.mark.equation("eq-centering")
@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_centering_is_the_projector_that_removes_the_ones(d: int) -> None:
    matrix = sympy.eye(d) - sympy.ones(d, d) / d
    x = sympy.Matrix(sympy.symbols(f"x1:{d + 1}"))
    mean = sympy.ones(d, 1) * (total(x) / d)
    assert (matrix * x - (x - mean)).applyfunc(sympy.simplify) == sympy.zeros(d, 1)
    assert matrix * matrix == matrix == matrix.T
    assert matrix * sympy.ones(d, 1) == sympy.zeros(d, 1)
    assert matrix.rank() == d - 1


@pytest.mark.equation("eq-pearson")
@pytest.mark.parametrize(
    ("w", "x", "expected"),
    [
        ((1, 2, 3), (1, 3, 2), Fraction(1, 2)),
        ((0, 0, 6), (5, 5, -1), Fraction(-1)),
        ((3, 4, 5, 6), (7, 7, 9, 9), None),  # the square of this one is a fraction, 4/5
        ((1, -1, 1, -1), (2, 2, -5, -5), Fraction(0)),
    ],
)
def test_it_is_the_correlation_of_pearson(
    w: tuple[int, ...], x: tuple[int, ...], expected: Fraction | None
) -> None:
    mean_w, mean_x = Fraction(sum(w), len(w)), Fraction(sum(x), len(x))
    product = sum((a - mean_w) * (b - mean_x) for a, b in zip(w, x, strict=True))
    squares = sum((a - mean_w) ** 2 for a in w) * sum((b - mean_x) ** 2 for b in x)
    square = Fraction(4, 5) if expected is None else expected * abs(expected)
    assert product * abs(product) == square * squares
    value = math.copysign(math.sqrt(abs(square)), square)
    assert correlation_of_lists(np.array(w, float), np.array(x, float)) == pytest.approx(value, abs=1e-15)
    assert package(np.array(w, float), np.array(x, float)).item() == pytest.approx(value, abs=1e-15)


@pytest.mark.equation("eq-one-centering")
def test_the_numerator_needs_one_centering_and_the_length_its_own(symbols: Symbols) -> None:
    w, x = symbols
    both = centered(w).dot(centered(x))
    assert sympy.expand(both - centered(w).dot(x)) == 0
    assert sympy.expand(both - w.dot(centered(x))) == 0
    assert sympy.expand(both - w.dot(x)) != 0
    assert sympy.expand(w.dot(w) - total(w) ** 2 / 3 - centered(w).dot(centered(w))) == 0


@pytest.mark.equation("eq-pearson-invariance")
def test_scale_leaves_a_sign_and_shift_leaves_nothing() -> None:
    draw = np.random.default_rng(0)
    w, x = draw.normal(size=(2, 9))
    expected = correlation_of_lists(w, x)
    for alpha, beta, s, t in itertools.product((1e-3, -4.0), (0.5, -1e3), (0.0, 7.0), (-30.0, 2.0)):
        value = package(alpha * w + s, beta * x + t).item()
        assert value == pytest.approx(math.copysign(1, alpha * beta) * expected, abs=1e-9)


@pytest.mark.equation("eq-pole")
def test_the_polar_angle_is_a_matter_of_the_mean() -> None:
    draw = np.random.default_rng(1)
    for d, shift in itertools.product((2, 5, 64), (-2.0, 0.0, 0.3, 10.0)):
        x = draw.normal(size=d) + shift
        towards_pole = float(x @ np.ones(d)) / (np.linalg.norm(x) * np.linalg.norm(np.ones(d)))
        angle = math.acos(towards_pole)
        assert math.cos(angle) == pytest.approx(math.sqrt(d) * x.mean() / np.linalg.norm(x), abs=1e-12)
        rejected = np.linalg.norm(projector(d) @ x) / np.linalg.norm(x)
        assert math.sin(angle) == pytest.approx(rejected, abs=1e-7)


@pytest.mark.equation("eq-pearson-split")
def test_a_cosine_mixes_latitude_and_longitude() -> None:
    draw = np.random.default_rng(2)
    for d, shift_w, shift_x in itertools.product((2, 3, 20), (-1.0, 0.4), (0.0, 2.0)):
        w, x = draw.normal(size=(2, d)) + np.array([[shift_w], [shift_x]])
        plain = cosine_linear(torch.tensor(x[None]), torch.tensor(w[None])).item()
        cos_w, cos_x = (math.sqrt(d) * v.mean() / np.linalg.norm(v) for v in (w, x))
        sin_w, sin_x = (np.linalg.norm(v - v.mean()) / np.linalg.norm(v) for v in (w, x))
        mixed = cos_w * cos_x + sin_w * sin_x * correlation_of_lists(w, x)
        assert plain == pytest.approx(mixed, abs=1e-13)


@pytest.mark.equation("eq-pearson-split")
def test_it_is_the_spherical_law_of_cosines() -> None:
    # Any orthogonal matrix that takes the third axis to the direction of the ones will do as a globe.
    pole = np.ones(3) / math.sqrt(3)
    east = np.array([1, -1, 0]) / math.sqrt(2)
    globe = np.stack([east, np.cross(pole, east), pole], axis=1)
    for polar_w, polar_x, turn in itertools.product((0.3, 1.2, 2.5), (0.7, 1.6), (0.2, 1.9, 3.0)):
        w, x = (
            globe @ np.array([math.sin(p) * math.cos(at), math.sin(p) * math.sin(at), math.cos(p)])
            for p, at in ((polar_w, 0.4), (polar_x, 0.4 + turn))
        )
        assert package(w, x).item() == pytest.approx(math.cos(turn), abs=1e-13)
        law = math.cos(polar_w) * math.cos(polar_x) + math.sin(polar_w) * math.sin(polar_x) * math.cos(turn)
        assert w @ x == pytest.approx(law, abs=1e-14)


@pytest.mark.equation("eq-veil")
def test_a_veil_moves_along_the_meridian() -> None:
    x = np.array([0.0, 0.25, 1.0, 0.5, 0.0])
    spread = math.sqrt(sum((v - 0.35) ** 2 for v in x))
    for t in (-3.0, -0.35, 0.0, 0.5, 40.0):
        veiled = x + t
        angle = math.acos(veiled.sum() / (np.linalg.norm(veiled) * math.sqrt(5)))
        expected = math.sqrt(5) * (0.35 + t) / spread
        assert 1 / math.tan(angle) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert package(veiled, x).item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.equation("eq-constant-first")
def test_appended_first_the_constant_lets_a_share_of_the_mean_back_in() -> None:
    draw = np.random.default_rng(3)
    for d, kappa, veil in itertools.product((2, 5, 64), (1e-4, 0.5), (0.0, 1.0, 100.0)):
        w, x = draw.normal(size=d) + 0.2, draw.uniform(size=d) + veil
        share = d / (d + 1)
        off_w, off_x = w.mean() - kappa, x.mean() - kappa
        spread_w, spread_x = ((v - v.mean()) @ (v - v.mean()) for v in (w, x))
        numerator = (w - w.mean()) @ (x - x.mean()) + share * off_w * off_x
        closed = numerator / math.sqrt((spread_w + share * off_w**2) * (spread_x + share * off_x**2))
        literal = np.corrcoef(np.append(w, kappa), np.append(x, kappa))[0, 1]
        assert closed == pytest.approx(literal, abs=1e-10)


@pytest.mark.equation("eq-constant-first")
def test_appended_first_the_constant_has_another_limit_than_pearson() -> None:
    w, x = np.array([1.0, 0.0, 3.0]), np.array([2.0, 4.0, 9.0])
    limits = [np.corrcoef(np.append(w, kappa), np.append(x, kappa))[0, 1] for kappa in (1e-9, 0.0)]
    assert limits[0] == pytest.approx(limits[1], abs=1e-8)
    assert abs(limits[1] - correlation_of_lists(w, x)) > 0.01


@pytest.mark.equation("eq-pearson-constant")
def test_appended_last_the_constant_leaves_the_mean_out() -> None:
    draw = np.random.default_rng(3)
    for d, kappa, veil in itertools.product((1, 2, 5, 64), (1e-4, 0.5, -3.0), (0.0, 1.0, 1e3)):
        w, x = draw.normal(size=d) + 0.2, draw.uniform(size=d) + veil
        spread_w, spread_x = ((v - v.mean()) @ (v - v.mean()) for v in (w, x))
        closed = (w - w.mean()) @ (x - x.mean()) + kappa**2
        closed /= math.sqrt((spread_w + kappa**2) * (spread_x + kappa**2))
        longer = [np.append(v - v.mean(), kappa) for v in (w, x)]
        literal = longer[0] @ longer[1] / math.prod(map(np.linalg.norm, longer))
        assert closed == pytest.approx(literal, abs=1e-12)
        assert package(w, x, constant=kappa).item() == pytest.approx(literal, abs=1e-10)
        # One veil for all: numbers that move no mean but for rounding.
        assert package(w + 7, x - veil, constant=kappa).item() == pytest.approx(literal, abs=1e-10)
    flat, kappa = np.full(5, 0.7), 0.1
    w = draw.normal(size=5)
    expected = kappa / math.sqrt((w - w.mean()) @ (w - w.mean()) + kappa**2)
    assert package(w, flat, constant=kappa).item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.equation("eq-pearson-limit")
def test_with_small_constants_it_tends_to_the_correlation() -> None:
    a, b, kappa = sympy.symbols("a b kappa", positive=True)
    alpha, beta = sympy.atan(kappa / a), sympy.atan(kappa / b)
    r = sympy.symbols("r", real=True)
    rotated = r * sympy.cos(alpha) * sympy.cos(beta) + sympy.sin(alpha) * sympy.sin(beta)
    layer = (r * a * b + kappa**2) / (sympy.sqrt(a**2 + kappa**2) * sympy.sqrt(b**2 + kappa**2))
    assert sympy.simplify(rotated - layer) == 0
    draw = np.random.default_rng(8)
    for d, power in itertools.product((2, 3, 64, 2000), range(1, 13)):
        w, x = draw.normal(size=(2, 30, d))
        w, x = (v * draw.uniform(0.2, 5, (30, 1)) + draw.uniform(-1e3, 1e3, (30, 1)) for v in (w, x))
        size_w, size_x = (np.sqrt(d) * v.std(1, keepdims=True) for v in (w, x))
        bound = 10.0 ** (-2 * power) / 2 * (1 / size_x + 1 / size_w.T) ** 2
        gaps = np.abs(package(w, x, constant=10.0**-power) - np.corrcoef(x, w)[:30, 30:])
        # The rounding of means of a thousand, 1e-13, over the lengths.
        assert (gaps <= bound + 1e-12 * np.maximum(1, 1 / size_x + 1 / size_w.T) ** 2).all()


@pytest.mark.equation("eq-pearson-limit")
def test_the_bound_of_the_limit_is_reached_by_opposite_vectors() -> None:
    x = np.array([-1.0, 1.0])
    for kappa in (1e-2, 1e-3):
        gap = package(x, -x, constant=kappa).item() + 1
        assert gap == pytest.approx(kappa**2 / 2 * (2 / math.sqrt(2)) ** 2, rel=kappa)


@pytest.mark.equation("eq-pearson-grad")
def test_the_gradient_by_symbols(symbols: Symbols) -> None:
    w, x = symbols
    r = centered(w).dot(centered(x)) / (length(centered(w)) * length(centered(x)))
    for one, other in ((w, x), (x, w)):
        hat_one, hat_other = (centered(v) / length(centered(v)) for v in (one, other))
        claimed = (hat_other - r * hat_one) / length(centered(one))
        derived = sympy.Matrix([sympy.diff(r, symbol) for symbol in one])
        values = dict(zip([*w, *x], map(sympy.Rational, (2, 3, -5, 7, 1, 11)), strict=True))
        assert all(sympy.simplify(entry.subs(values)) == 0 for entry in derived - claimed)
        at = derived.subs(values)
        assert sympy.simplify(at.dot(one.subs(values))) == 0
        assert sympy.simplify(total(at)) == 0
        size = (1 - r**2) / centered(one).dot(centered(one))
        assert sympy.simplify(at.dot(at) - size.subs(values)) == 0


@pytest.mark.equation("eq-pearson-grad")
def test_the_gradient_by_differences_and_by_the_package() -> None:
    draw = np.random.default_rng(4)
    w, x = draw.normal(size=(2, 6)) + np.array([[2.0], [-1.0]])
    hat_w, hat_x = ((v - v.mean()) / np.linalg.norm(v - v.mean()) for v in (w, x))
    r = hat_w @ hat_x
    by_w = (hat_x - r * hat_w) / np.linalg.norm(w - w.mean())
    by_x = (hat_w - r * hat_x) / np.linalg.norm(x - x.mean())
    np.testing.assert_allclose(by_w, differences(lambda v: correlation_of_lists(v, x), w), atol=1e-8)
    np.testing.assert_allclose(by_x, differences(lambda v: correlation_of_lists(w, v), x), atol=1e-8)
    package_x, package_w = gradients(w[None], x[None], np.ones((1, 1)))
    np.testing.assert_allclose(package_w[0], by_w, atol=1e-14)
    np.testing.assert_allclose(package_x[0], by_x, atol=1e-14)


@pytest.mark.equation("eq-frozen-mean")
def test_gradient_descent_never_moves_the_mean() -> None:
    generator = torch.Generator().manual_seed(5)
    layer = CosineLinear(6, 4, centered=True, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(1 + torch.randn(4, 6, generator=generator, dtype=torch.float64))
    means = layer.weight.detach().mean(1)
    for _ in range(20):
        inputs = 3 + torch.randn(7, 6, generator=generator, dtype=torch.float64)
        wanted = torch.randn(7, 4, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad((layer(inputs) - wanted).square().sum(), layer.weight)
        before = layer.weight.detach().numpy().copy()
        with torch.no_grad():
            layer.weight -= 0.3 * gradient
        after = layer.weight.detach().numpy()
        spread_before, spread_after = (
            ((rows - rows.mean(1, keepdims=True)) ** 2).sum(1) for rows in (before, after)
        )
        step = 0.3**2 * (gradient.numpy() ** 2).sum(1)
        assert step.min() > 1e-4
        np.testing.assert_allclose(spread_after, spread_before + step, rtol=1e-12)
    torch.testing.assert_close(layer.weight.detach().mean(1), means, rtol=0, atol=1e-13)


@pytest.fixture(name="batch")
def a_batch() -> tuple[Array, Array, Array]:
    """Inputs, weights and upstream gradients, none of them with mean 0."""
    draw = np.random.default_rng(6)
    return draw.normal(size=(5, 7)) + 2, draw.normal(size=(4, 7)) - 1, draw.normal(size=(5, 4))


def correlations_of_pairs(x: Array, w: Array) -> Array:
    """Every pair by itself."""
    return np.array([[correlation_of_lists(one, other) for other in w] for one in x])


def reciprocal_lengths(rows: Array) -> Array:
    """Columns of one over the length of each centered row."""
    return np.array([[1 / math.sqrt(((row - row.mean()) ** 2).sum())] for row in rows])


@pytest.mark.equation("eq-pearson-batch")
def test_a_batch_needs_centered_inputs_only(batch: tuple[Array, Array, Array]) -> None:
    x, w, _ = batch
    product = reciprocal_lengths(x) * (x @ projector(7) @ w.T) * reciprocal_lengths(w).T
    np.testing.assert_allclose(product, correlations_of_pairs(x, w), atol=1e-14)
    np.testing.assert_allclose(package(w, x), product, atol=1e-14)


@pytest.mark.equation("eq-pearson-batch-grad-x")
def test_the_gradient_of_a_batch_of_inputs(batch: tuple[Array, Array, Array]) -> None:
    x, w, g = batch
    r_x, r_w, center = reciprocal_lengths(x), reciprocal_lengths(w), projector(7)
    along = g * correlations_of_pairs(x, w)
    claimed = r_x * (g @ (r_w * w) @ center - (along.sum(1, keepdims=True) * r_x) * (x @ center))
    brute = differences(lambda rows: float((g * correlations_of_pairs(rows, w)).sum()), x)
    np.testing.assert_allclose(claimed, brute, atol=1e-8)
    np.testing.assert_allclose(gradients(w, x, g)[0], claimed, atol=1e-13)


@pytest.mark.equation("eq-pearson-batch-grad-w")
def test_the_gradient_of_the_weights_of_a_layer(batch: tuple[Array, Array, Array]) -> None:
    x, w, g = batch
    r_x, r_w, center = reciprocal_lengths(x), reciprocal_lengths(w), projector(7)
    along = g * correlations_of_pairs(x, w)
    claimed = r_w * (g.T @ (r_x * (x @ center)) - (along.T.sum(1, keepdims=True) * r_w) * (w @ center))
    brute = differences(lambda rows: float((g * correlations_of_pairs(x, rows)).sum()), w)
    np.testing.assert_allclose(claimed, brute, atol=1e-8)
    np.testing.assert_allclose(gradients(w, x, g)[1], claimed, atol=1e-13)


def normal_density(u: float) -> float:
    """Density of the standard normal distribution."""
    return math.exp(-u * u / 2) / math.sqrt(2 * math.pi)


@pytest.mark.equation("eq-mean-share")
def test_a_third_of_a_hidden_vector_lies_along_the_ones() -> None:
    mean, square = (integrate.quad(lambda u, n=n: u**n * normal_density(u), 0, np.inf)[0] for n in (1, 2))
    assert mean == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-10)
    assert square == pytest.approx(1 / 2, abs=1e-10)
    assert mean**2 / square == pytest.approx(1 / math.pi, abs=1e-10)


def map_by_quadrature(rho: float) -> float:
    """Correlation of max(0, u) and max(0, v) for normal u and v of correlation rho, by integration."""
    rest = math.sqrt(1 - rho * rho)

    def inner(u: float) -> float:
        # E[max(0, rho u + rest e)] for a standard normal e, in closed form.
        at = rho * u / rest
        below = (1 + math.erf(at / math.sqrt(2))) / 2
        return rho * u * below + rest * normal_density(at)

    product = integrate.quad(lambda u: u * inner(u) * normal_density(u), 0, np.inf)[0]
    mean = 1 / math.sqrt(2 * math.pi)
    return (product - mean**2) / (1 / 2 - mean**2)


def centered_map(r: float) -> float:
    """Equation eq-centered-map, typed from the chapter."""
    theta = math.acos(r)
    kernel = (math.sin(theta) + (math.pi - theta) * math.cos(theta)) / math.pi
    return (math.pi * kernel - 1) / (math.pi - 1)


@pytest.mark.equation("eq-centered-map")
@pytest.mark.parametrize("r", [-0.95, -0.3, 0.0, 0.2, 0.6, 0.99])
def test_the_map_of_correlations_by_quadrature(r: float) -> None:
    assert centered_map(r) == pytest.approx(map_by_quadrature(r), abs=1e-9)


@pytest.mark.equation("eq-centered-map")
def test_the_map_of_correlations_in_a_wide_layer() -> None:
    layer = CosineLinear(50, 200_000, centered=True, dtype=torch.float64)
    generator = torch.Generator().manual_seed(7)
    inputs = 0.7 + torch.rand(3, 50, generator=generator, dtype=torch.float64)
    inputs[1] += 0.5 * inputs[0]
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
        hidden = torch.relu(layer(inputs)).numpy()
    before, after = np.corrcoef(inputs.numpy()), np.corrcoef(hidden)
    for pair in ((0, 1), (0, 2), (1, 2)):
        assert after[pair] == pytest.approx(centered_map(before[pair]), abs=0.01)


@pytest.mark.equation("eq-stretch")
def test_small_angles_grow_by_a_fifth() -> None:
    with mpmath.workdps(60):
        theta = mpmath.mpf(10) ** -15
        kernel = (mpmath.sin(theta) + (mpmath.pi - theta) * mpmath.cos(theta)) / mpmath.pi
        stretched = mpmath.acos((mpmath.pi * kernel - 1) / (mpmath.pi - 1)) / theta
        plain = mpmath.acos(kernel) / theta
        assert float(stretched) == pytest.approx(math.sqrt(math.pi / (math.pi - 1)), abs=1e-12)
        assert float(plain) == pytest.approx(1.0, abs=1e-12)
    assert math.sqrt(math.pi / (math.pi - 1)) == pytest.approx(1.21, abs=0.005)
