"""Every labelled equation of chapter 2, against symbols, fractions, quadrature, simulation or brute force."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy
import torch
from numpy.typing import NDArray
from scipy import integrate, stats
from scipy.special import gammaln

from cosnorm import CosineLinear
from cosnorm.functional import cosine_linear

Array = NDArray[np.float64]

# Integer vectors with integer lengths: their cosines are fractions, so the expected value has no rounding.
PYTHAGOREAN = [
    ((3, 4), (5, 12), Fraction(63, 65)),
    ((1, 2, 2), (2, -1, 2), Fraction(4, 9)),
    ((2, 3, 6), (-2, -3, -6), Fraction(-1)),
    ((1, 2, 2), (0, 1, -1), Fraction(0)),
]


def package(w: Array, x: Array, **options: float) -> Array:
    """Cosines of the rows of x with the rows of w, computed by the package."""
    return cosine_linear(torch.tensor(np.atleast_2d(x)), torch.tensor(np.atleast_2d(w)), **options).numpy()


def directions(count: int, d: int, seed: int) -> Array:
    """Uniform points of the unit sphere by rejection from the cube: no normal distribution involved."""
    draw = np.random.default_rng(seed)
    points = np.empty((0, d))
    while len(points) < count:
        cube = draw.uniform(-1, 1, (20 * count, d))
        square = np.sum(cube**2, axis=1)
        inside = (square <= 1) & (square > 1e-3)
        points = np.concatenate([points, cube[inside] / np.sqrt(square[inside, None])])
    return points[:count]


def density(t: Array | float, d: int) -> Array | float:
    """Equation eq-cosine-density, typed from the chapter."""
    constant = math.exp(gammaln(d / 2) - gammaln((d - 1) / 2)) / math.sqrt(math.pi)
    return constant * (1 - np.square(t)) ** ((d - 3) / 2)


def arc_cosine(rho: float) -> float:
    """Equation eq-arc-cosine, typed from the chapter."""
    theta = math.acos(rho)
    return (math.sin(theta) + (math.pi - theta) * math.cos(theta)) / math.pi


def softmax_floor(classes: int, scale: float) -> float:
    """Equation eq-softmax-floor, typed from the chapter."""
    return math.log(1 + (classes - 1) * math.exp(-scale * math.sqrt(classes / (classes - 1))))


@pytest.mark.equation("eq-cosine")
def test_it_is_the_cosine_of_the_angle_between_two_arrows() -> None:
    for towards, turn in itertools.product(np.linspace(-3, 3, 7), np.linspace(-3, 3, 13)):
        w = 2.5 * np.array([math.cos(towards), math.sin(towards)])
        x = 0.3 * np.array([math.cos(towards + turn), math.sin(towards + turn)])
        assert package(w, x).item() == pytest.approx(math.cos(turn), abs=1e-14)


@pytest.mark.equation("eq-cosine", "eq-cosine-sum")
@pytest.mark.parametrize(("w", "x", "expected"), PYTHAGOREAN)
def test_sums_over_components_give_exact_fractions(
    w: tuple[int, ...], x: tuple[int, ...], expected: Fraction
) -> None:
    product = sum(a * b for a, b in zip(w, x, strict=True))
    squares = sum(a * a for a in w) * sum(b * b for b in x)
    assert product * abs(product) == expected * abs(expected) * squares
    assert package(np.array(w, float), np.array(x, float)).item() == pytest.approx(float(expected), abs=1e-15)


@pytest.mark.equation("eq-unit-output")
@pytest.mark.parametrize("activation", [torch.nn.ReLU(), torch.nn.Sigmoid()], ids=["relu", "sigmoid"])
def test_a_unit_applies_its_activation_to_the_cosine(activation: torch.nn.Module) -> None:
    layer = CosineLinear(2, 8, dtype=torch.float64)
    angles = np.linspace(0, 2 * math.pi, 8, endpoint=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.stack([3 * np.cos(angles), 3 * np.sin(angles)], axis=1)))
        output = activation(layer(torch.tensor([[5.0, 0.0]], dtype=torch.float64))).numpy()[0]
    cosines = np.cos(angles)
    oracle = np.maximum(cosines, 0) if isinstance(activation, torch.nn.ReLU) else 1 / (1 + np.exp(-cosines))
    np.testing.assert_allclose(output, oracle, atol=1e-15)


@pytest.mark.equation("eq-chord")
def test_the_squared_chord_is_twice_one_minus_the_cosine() -> None:
    w = sympy.Matrix(sympy.symbols("w1:4", real=True))
    x = sympy.Matrix(sympy.symbols("x1:4", real=True))
    long_w, long_x = sympy.sqrt(w.dot(w)), sympy.sqrt(x.dot(x))
    chord = w / long_w - x / long_x
    assert sympy.simplify(chord.dot(chord) - 2 * (1 - w.dot(x) / (long_w * long_x))) == 0


@pytest.mark.equation("eq-cosine-invariance")
def test_factors_leave_only_their_sign() -> None:
    w, x = sympy.Matrix(sympy.symbols("w1:4", positive=True)), sympy.Matrix(sympy.symbols("x1:4", real=True))
    alpha, beta = sympy.symbols("alpha beta", real=True, nonzero=True)

    def cosine(a: sympy.Matrix, b: sympy.Matrix) -> sympy.Expr:
        return a.dot(b) / (sympy.sqrt(a.dot(a)) * sympy.sqrt(b.dot(b)))

    values = dict(zip([*w, *x], (2, 3, 5, -7, 11, 13), strict=True))
    for first, second in itertools.product((sympy.Rational(1, 7), -3), repeat=2):
        scaled = cosine(alpha * w, beta * x).subs({alpha: first, beta: second})
        difference = scaled - sympy.sign(first * second) * cosine(w, x)
        assert sympy.simplify(difference.subs(values)) == 0
        rows = np.array([2.0, 3.0, 5.0]), np.array([-7.0, 11.0, 13.0])
        seen = package(float(first) * rows[0], float(second) * rows[1])
        assert seen.item() == pytest.approx(float(sympy.sign(first * second) * cosine(w, x).subs(values)))


@pytest.mark.equation("eq-cosine-constant")
def test_the_constant_is_one_more_component() -> None:
    draw = np.random.default_rng(0)
    for size, kappa in itertools.product((0.0, 1e-6, 1e-4, 1e-2, 1.0), (1e-4, 0.5)):
        w, x = draw.normal(size=5), size * draw.normal(size=5)
        longer_w, longer_x = np.append(w, kappa), np.append(x, kappa)
        literal = longer_w @ longer_x / (np.linalg.norm(longer_w) * np.linalg.norm(longer_x))
        closed = (w @ x + kappa**2) / math.sqrt((w @ w + kappa**2) * (x @ x + kappa**2))
        assert closed == pytest.approx(literal, rel=1e-13)
        assert package(w, x, constant=kappa).item() == pytest.approx(literal, rel=1e-12)


def test_the_three_cases_of_the_constant() -> None:
    kappa, w = 1e-4, np.array([1.0, 2.0, 2.0])
    x = np.array([2.0, -1.0, 2.0])
    difference = package(w, x, constant=kappa) - package(w, x)
    assert abs(difference.item()) < (kappa / 3) ** 2
    assert package(w, 0 * x, constant=kappa).item() == pytest.approx(kappa / math.hypot(3, kappa), rel=1e-12)
    aligned = package(w, kappa * w / 3, constant=kappa).item()
    assert aligned == pytest.approx(1 / math.sqrt(2), abs=1e-4)


@pytest.mark.equation("eq-constant-gradient")
@pytest.mark.parametrize("length", [0.0, 1e-5, 1e-4, 1e-3, 1.0])
def test_the_constant_caps_the_gradient(length: float) -> None:
    kappa, draw = 1e-4, np.random.default_rng(1)

    def extended_cosine(w: Array, x: Array) -> float:
        return float((w @ x + kappa**2) / math.sqrt((w @ w + kappa**2) * (x @ x + kappa**2)))

    bound, largest = 1 / math.hypot(length, kappa), 0.0
    for _ in range(50):
        w, towards = draw.normal(size=4), draw.normal(size=4)
        x, step = length * towards / np.linalg.norm(towards), 1e-5 * math.hypot(length, kappa)
        numeric = [
            (extended_cosine(w, x + step * e) - extended_cosine(w, x - step * e)) / (2 * step)
            for e in np.eye(4)
        ]
        largest = max(largest, float(np.linalg.norm(numeric)))
    assert 0.5 * bound < largest <= bound * (1 + 1e-6) <= (1 + 1e-6) / kappa


@pytest.mark.equation("eq-cosine-moments")
@pytest.mark.parametrize("d", [2, 3, 6])
def test_mean_zero_and_variance_one_over_d(d: int) -> None:
    weights = directions(100_000, d, seed=d)
    x = np.random.default_rng(7).normal(size=d)
    cosines = package(weights, x)[0]
    standard_error = 1 / math.sqrt(len(cosines))
    assert abs(cosines.mean()) < 5 * standard_error / math.sqrt(d)
    assert cosines.var() * d == pytest.approx(1, abs=5 * math.sqrt(2) * standard_error)


@pytest.mark.equation("eq-cosine-density")
@pytest.mark.parametrize("d", [2, 3, 4, 6])
def test_simulated_cosines_follow_the_density(d: int) -> None:
    total, _ = integrate.quad(density, -1, 1, args=(d,))
    assert total == pytest.approx(1, abs=1e-6)
    x = np.random.default_rng(8).normal(size=d)
    cosines = np.sort(package(directions(4000, d, seed=10 + d), x)[0])
    cumulative = np.array([integrate.quad(density, -1, t, args=(d,))[0] for t in cosines[::20]])
    empirical = (np.arange(len(cosines))[::20] + 0.5) / len(cosines)
    # Kolmogorov's statistic exceeds 2.2 / sqrt(n) with probability 1e-4.
    assert np.abs(cumulative - empirical).max() < 2.2 / math.sqrt(len(cosines))


@pytest.mark.equation("eq-cosine-density")
def test_wide_inputs_give_a_normal_variable() -> None:
    d = 100_000
    s = np.linspace(-3, 3, 25)
    np.testing.assert_allclose(density(s / math.sqrt(d), d) / math.sqrt(d), stats.norm.pdf(s), rtol=1e-3)


@pytest.mark.equation("eq-cosine-size", "eq-relu-mean")
@pytest.mark.parametrize("d", [2, 3, 10, 784])
def test_mean_size_before_and_after_relu(d: int) -> None:
    def moment(power: int) -> float:
        # With t = sin(a) the density stays bounded at the ends, also for d = 2.
        peak = 12 / math.sqrt(d)
        value, _ = integrate.quad(
            lambda a: math.sin(a) ** power * density(math.sin(a), d) * math.cos(a),
            0, min(math.pi / 2, peak), epsabs=1e-13,
        )  # fmt: skip
        return value

    size = math.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / math.sqrt(math.pi)
    assert 2 * moment(1) == pytest.approx(size, rel=1e-8)
    assert moment(1) == pytest.approx(size / 2, rel=1e-8)
    assert moment(2) == pytest.approx(1 / (2 * d), rel=1e-8)
    assert size == pytest.approx(math.sqrt(2 / (math.pi * d)), rel=1 / d)
    assert size / 2 == pytest.approx(1 / math.sqrt(2 * math.pi * d), rel=1 / d)


@pytest.mark.equation("eq-arc-cosine")
@pytest.mark.parametrize("rho", [-1.0, -0.5, 0.0, 0.3, 0.9])
def test_angles_after_a_relu_layer_follow_the_arc_cosine_map(rho: float) -> None:
    theta = math.acos(rho)

    def overlap(angle: float) -> float:
        def positive(phi: float) -> float:
            return max(0.0, math.cos(phi)) * max(0.0, math.cos(phi - angle))

        return integrate.quad(positive, -math.pi, math.pi, points=[-math.pi / 2, math.pi / 2], limit=200)[0]

    assert arc_cosine(rho) == pytest.approx(overlap(theta) / overlap(0.0), abs=1e-7)
    x = np.zeros((2, 5))
    x[0, 0], x[1, :2] = 2.0, (0.1 * rho, 0.1 * math.sin(theta))
    hidden = np.maximum(package(directions(100_000, 5, seed=3), x), 0)
    seen = hidden[0] @ hidden[1] / (np.linalg.norm(hidden[0]) * np.linalg.norm(hidden[1]))
    assert seen == pytest.approx(arc_cosine(rho), abs=0.01)
    assert arc_cosine(rho) > rho


@pytest.mark.equation("eq-output-curvature")
def test_the_output_layer_is_no_more_curved_than_stated() -> None:
    generator = torch.Generator().manual_seed(0)
    classes, inputs, examples = 4, 3, 6
    for spread in (0.0, 1.0, 5.0):
        h = torch.randn(examples, inputs, generator=generator, dtype=torch.float64).relu()
        labels = torch.randint(classes, (examples,), generator=generator)
        point = spread * torch.randn(classes, inputs + 1, generator=generator, dtype=torch.float64)
        largest = curvature(point, h, labels)
        bound = 0.5 * (h.square().sum(-1).mean().item() + 1)
        assert 0 < largest <= bound * (1 + 1e-12)
    # Two equally likely classes and one example: the bound is reached.
    h = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    largest = curvature(torch.zeros(2, 3, dtype=torch.float64), h, torch.tensor([0]))
    assert largest == pytest.approx(0.5 * (25 + 1), rel=1e-12)
    # Ten equally likely classes: the curvature is 1/C in place of one half.
    largest = curvature(torch.zeros(10, 3, dtype=torch.float64), h, torch.tensor([0]))
    assert largest == pytest.approx((25 + 1) / 10, rel=1e-12)


def curvature(point: torch.Tensor, h: torch.Tensor, labels: torch.Tensor) -> float:
    """Largest eigenvalue of the Hessian of the mean cross-entropy in the output weights and biases."""

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parameters = flat.view_as(point)
        return torch.nn.functional.cross_entropy(h @ parameters[:, :-1].T + parameters[:, -1], labels)

    hessian = torch.autograd.functional.hessian(loss, point.flatten())
    assert isinstance(hessian, torch.Tensor)
    return torch.linalg.eigvalsh(hessian).max().item()


@pytest.mark.equation("eq-softmax-ceiling")
@pytest.mark.parametrize(("classes", "scale"), [(2, 1.0), (4, 1.0), (10, 1.0), (6, 5.0)])
def test_no_bounded_logits_exceed_the_ceiling(classes: int, scale: float) -> None:
    # The probability is monotone in every logit, so its maximum over the cube is at a corner: try them all.
    corners = scale * np.array(list(itertools.product((-1.0, 1.0), repeat=classes)))
    probabilities = np.exp(corners[:, 0]) / np.exp(corners).sum(axis=1)
    stated = math.exp(scale) / (math.exp(scale) + (classes - 1) * math.exp(-scale))
    assert probabilities.max() == pytest.approx(stated, rel=1e-12)


@pytest.mark.equation("eq-softmax-floor")
@pytest.mark.parametrize(("classes", "scale"), [(2, 1.0), (5, 2.0), (10, 1.0)])
def test_the_floor_is_reached_and_never_passed(classes: int, scale: float) -> None:
    def mean_loss(w: Array, h: Array) -> float:
        cosines = (
            scale
            * (h / np.linalg.norm(h, axis=1, keepdims=True))
            @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T
        )
        return float(np.mean(np.log(np.exp(cosines).sum(axis=1)) - np.diag(cosines)))

    floor = softmax_floor(classes, scale)
    axes = np.eye(classes)
    assert mean_loss(axes - 1 / classes, axes) == pytest.approx(floor, rel=1e-12)
    draw = np.random.default_rng(5)
    for noise in (0.01, 0.1, 1.0):
        for _ in range(200):
            h = np.abs(axes + noise * draw.normal(size=axes.shape))
            w = axes - 1 / classes + noise * draw.normal(size=axes.shape)
            assert mean_loss(w, h) >= floor - 1e-12


def test_numbers_in_the_prose_are_the_formulas_numbers(root: Path) -> None:
    notebook = json.loads((root / "book" / "02-cosine-normalization.ipynb").read_text(encoding="utf-8"))
    prose = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    ceiling = math.e / (math.e + 9 / math.e)
    sentences = (
        f"this is {ceiling:.2f}",
        f"a floor of {softmax_floor(10, 1.0):.2f}, against {math.log(10):.2f} for guessing",
        rf"$1/\pi \approx {arc_cosine(0.0):.2f}$",
        rf"$\frac{{\pi}}{{2(\pi - 1)}} \approx {math.pi / (2 * (math.pi - 1)):.2f}$",
        rf"$\frac{{\pi}}{{\pi - 1}} \approx {math.pi / (math.pi - 1):.2f}$",
        f"pre-activations of size {1000**-0.5:.2f}",
        f"its length is about {math.sqrt(0.5):.1f}",
        rf"$1/\sqrt2 \approx {math.sqrt(0.5):.2f}$",
        f"largest number, {int(torch.finfo(torch.float16).max)}",
    )
    missing = [sentence for sentence in sentences if sentence not in prose]
    assert not missing
    beyond = 2 * integrate.quad(density, 0.1, 1, args=(1000,))[0]
    assert beyond < 2 / 1000
    assert "fewer than two in a thousand are beyond 0.1" in prose
