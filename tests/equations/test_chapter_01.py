"""Equations of chapter 1: the dot product, and what ReLU layers do to lengths and gradients.

Expectations over random weights are checked without tolerance where that is possible: with weights that
are plus or minus one standard deviation, equally likely, every draw can be listed and averaged exactly.
The chapter's theorems ask only for independent weights with a symmetric distribution, so they must hold
for these too. The normal distribution is checked by integration or by simulation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
import torch
from numpy.typing import NDArray

from cosnorm.networks import mlp

Vector = list[Fraction]
Matrix = list[Vector]

STD = Fraction(3, 7)
INPUT = [Fraction(1), Fraction(3, 10)]  # no sum of plus or minus these is 0, so no unit sits on ReLU's kink


def sign_vectors(count: int) -> Iterator[Vector]:
    """Every vector of ``count`` weights, each plus or minus one standard deviation."""
    for signs in itertools.product((1, -1), repeat=count):
        yield [sign * STD for sign in signs]


def rows(weights: Vector, columns: int) -> Matrix:
    """A flat list of weights as the rows of a matrix."""
    return [weights[i : i + columns] for i in range(0, len(weights), columns)]


def dot(w: Vector, x: Vector) -> Fraction:
    return sum((a * b for a, b in zip(w, x, strict=True)), Fraction(0))


def relu(a: Fraction) -> Fraction:
    return max(Fraction(0), a)


def squared_length(x: Vector) -> Fraction:
    return dot(x, x)


def mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


@pytest.mark.equation("eq-dot")
def test_a_plain_unit_computes_the_sum_of_products() -> None:
    """The unit of an ordinary network is the exact sum of products of rational numbers."""
    w = [Fraction(2), Fraction(-5, 4), Fraction(3, 8)]
    x = [Fraction(3), Fraction(4), Fraction(-1, 2)]
    unit = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        unit.weight.copy_(torch.tensor([[float(value) for value in w]]))
    found = unit(torch.tensor([float(value) for value in x], dtype=torch.float64)).item()
    assert found == dot(w, x) == Fraction(13, 16)  # all of them are exact in binary


@pytest.mark.equation("eq-dot-angle")
def test_dot_product_is_length_times_length_times_cosine_in_the_plane() -> None:
    """Symbolically: two vectors of the plane in polar coordinates, at the angle between them."""
    p, q = sp.symbols("p q", positive=True)
    alpha, beta = sp.symbols("alpha beta", real=True)
    w, x = sp.Matrix([p * sp.cos(alpha), p * sp.sin(alpha)]), sp.Matrix([q * sp.cos(beta), q * sp.sin(beta)])
    assert sp.simplify(w.dot(w) - p**2) == 0
    assert sp.simplify(x.dot(x) - q**2) == 0
    assert sp.simplify(w.dot(x) - p * q * sp.cos(alpha - beta)) == 0


@pytest.mark.equation("eq-dot-angle")
@pytest.mark.parametrize("dimension", [2, 3, 50])
def test_dot_product_is_length_times_length_times_cosine_in_any_dimension(dimension: int) -> None:
    """The angle is found without any dot product, from the two diagonals of the rhombus of unit vectors."""
    generator = np.random.default_rng(dimension)
    for _ in range(20):
        w, x = generator.normal(size=(2, dimension))
        length_w, length_x = math.hypot(*w), math.hypot(*x)
        unit_w, unit_x = w / length_w, x / length_x
        angle = 2 * math.atan2(math.hypot(*(unit_w - unit_x)), math.hypot(*(unit_w + unit_x)))
        exact = dot([Fraction(value) for value in w], [Fraction(value) for value in x])
        assert math.cos(angle) == pytest.approx(float(exact) / (length_w * length_x), abs=1e-13)


@pytest.mark.equation("eq-preactivation-variance")
@pytest.mark.parametrize("x", [INPUT, [Fraction(2), Fraction(-1, 3), Fraction(0), Fraction(5)]])
def test_variance_of_one_unit(x: Vector) -> None:
    """Mean 0 and variance sigma^2 |x|^2, exactly, over every draw of the weights."""
    values = [dot(w, x) for w in sign_vectors(len(x))]
    assert mean(values) == 0
    assert mean([value**2 for value in values]) == STD**2 * squared_length(x)


@pytest.mark.equation("eq-relu-half")
def test_relu_keeps_half_of_the_mean_square() -> None:
    """By integration for the normal distribution; exactly for every draw of symmetric weights."""
    a, s = sp.symbols("a", real=True), sp.symbols("s", positive=True)
    density = sp.exp(-(a**2) / (2 * s**2)) / (s * sp.sqrt(2 * sp.pi))
    kept = sp.integrate(a**2 * density, (a, 0, sp.oo))
    total = sp.integrate(a**2 * density, (a, -sp.oo, sp.oo))
    assert sp.simplify(kept - total / 2) == 0
    values = [dot(w, INPUT) for w in sign_vectors(2)]
    assert mean([relu(value) ** 2 for value in values]) == mean([value**2 for value in values]) / 2


def layers_of(weights: Vector, width: int = 2) -> list[Matrix]:
    """A flat list of weights as square matrices, one a layer."""
    return [rows(weights[i : i + width**2], width) for i in range(0, len(weights), width**2)]


@pytest.mark.equation("eq-variance-depth")
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_variance_through_layers_exactly(depth: int) -> None:
    """All networks of width 2 with weights of plus or minus one standard deviation, listed and averaged."""
    tops = []
    for weights in sign_vectors(4 * (depth - 1) + 2):
        x = INPUT
        for matrix in layers_of(weights[:-2]):
            x = [relu(dot(row, x)) for row in matrix]
        tops.append(dot(weights[-2:], x))
    rho = Fraction(2) * STD**2 / 2
    assert mean(tops) == 0
    assert mean([top**2 for top in tops]) == STD**2 * squared_length(INPUT) * rho ** (depth - 1)


@pytest.mark.equation("eq-variance-depth")
def test_variance_through_layers_of_normal_weights() -> None:
    """Simulation: 4000 networks of width 30, whose mean must lie within five standard errors."""
    generator = np.random.default_rng(1)
    width, depth, std, nets = 30, 4, 0.3, 4000
    x = np.broadcast_to(generator.normal(size=width), (nets, width))
    expected = std**2 * (x[0] @ x[0]) * (width * std**2 / 2) ** (depth - 1)
    for _ in range(depth - 1):
        x = np.maximum(np.einsum("nij,nj->ni", std * generator.normal(size=(nets, width, width)), x), 0)
    squares = np.einsum("ni,ni->n", std * generator.normal(size=(nets, width)), x) ** 2
    standard_error = squares.std(ddof=1) / math.sqrt(nets)
    assert standard_error < 0.1 * expected  # or the next line would say little
    assert abs(squares.mean() - expected) < 5 * standard_error


@pytest.mark.equation("eq-jacobian-stretch")
@pytest.mark.parametrize("units", [1, 2, 4])
@pytest.mark.parametrize("change", [[Fraction(1), Fraction(0)], [Fraction(-2), Fraction(7, 3)], INPUT])
def test_a_layer_stretches_a_small_change_exactly(units: int, change: Vector) -> None:
    """Every draw of a layer: the rows of its derivative are the weights of the units that are on."""
    stretched = []
    for weights in sign_vectors(2 * units):
        open_rows = [row for row in rows(weights, 2) if dot(row, INPUT) > 0]
        stretched.append(sum((dot(row, change) ** 2 for row in open_rows), Fraction(0)))
    assert mean(stretched) == Fraction(units) * STD**2 / 2 * squared_length(change)


def gradient_after(
    matrices: NDArray[np.float64], start: NDArray[np.float64], top: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Back-propagation by hand: the gradient at ``start`` of ``top`` dot the last hidden vector."""
    gates, x = [], start
    for matrix in matrices:
        a = matrix @ x
        gates.append(a > 0)
        x = np.maximum(a, 0)
    gradient = top
    for matrix, gate in zip(reversed(matrices), reversed(gates), strict=True):
        gradient = matrix.T @ (gate * gradient)
    return gradient


def test_back_propagation_by_hand_is_a_derivative() -> None:
    """The helper of the next test against central differences."""
    generator = np.random.default_rng(2)
    matrices, (start, top) = generator.normal(size=(3, 6, 6)), generator.normal(size=(2, 6))

    def value(x: NDArray[np.float64]) -> float:
        for matrix in matrices:
            x = np.maximum(matrix @ x, 0)
        return float(top @ x)

    steps = 1e-6 * np.eye(6)
    numeric = [(value(start + step) - value(start - step)) / 2e-6 for step in steps]
    assert np.abs(numeric).max() > 0.1
    np.testing.assert_allclose(gradient_after(matrices, start, top), numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.equation("eq-gradient-depth")
@pytest.mark.parametrize("std", [0.2, (2 / 30) ** 0.5])
def test_squared_gradient_through_layers(std: float) -> None:
    """Simulation with gradients of no preferred direction: the mean lies within five standard errors."""
    generator = np.random.default_rng(3)
    width, depth, nets = 30, 4, 3000
    ratios = np.empty(nets)
    for net in range(nets):
        start, top = generator.normal(size=(2, width))
        gradient = gradient_after(std * generator.normal(size=(depth, width, width)), start, top)
        ratios[net] = (gradient @ gradient) / (top @ top)
    expected = (width * std**2 / 2) ** depth
    standard_error = ratios.std(ddof=1) / math.sqrt(nets)
    assert standard_error < 0.1 * expected
    assert abs(ratios.mean() - expected) < 5 * standard_error


def network(x: Vector, matrices: list[Matrix], shift: Fraction) -> Vector:
    """ReLU layers in exact arithmetic; every hidden unit has the bias ``shift``, the output has none."""
    for matrix in matrices[:-1]:
        x = [relu(dot(row, x) + shift) for row in matrix]
    return [dot(row, x) for row in matrices[-1]]


@pytest.mark.equation("eq-homogeneous")
@pytest.mark.parametrize("factor", [Fraction(1, 20), Fraction(3), Fraction(1000, 7)])
def test_networks_without_biases_scale_with_their_input(factor: Fraction) -> None:
    """Exactly, for rational weights; and one bias is enough to break it."""
    generator = np.random.default_rng(4)
    matrices = [
        [[Fraction(int(value), 10) for value in row] for row in generator.integers(-9, 10, size=(5, 5))]
        for _ in range(4)
    ]
    x = [Fraction(int(value), 10) for value in generator.integers(1, 10, size=5)]
    stretched = [factor * value for value in x]
    plain = network(x, matrices, Fraction(0))
    assert any(plain)
    assert network(stretched, matrices, Fraction(0)) == [factor * value for value in plain]
    shifted = network(x, matrices, Fraction(1, 2))
    assert network(stretched, matrices, Fraction(1, 2)) != [factor * value for value in shifted]


@pytest.mark.equation("eq-homogeneous")
def test_the_plain_network_of_the_book_keeps_its_decisions() -> None:
    """The network the chapter trains, its biases removed: logits scale, so the largest stays the largest."""
    model = mlp((6, 20, 20, 4), "none", seed=0).double()
    for layer in model:
        if isinstance(layer, torch.nn.Linear):
            layer.bias = None  # type: ignore[assignment]
    x = torch.randn(30, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        logits, dimmed = model(x), model(x / 20)
    torch.testing.assert_close(dimmed * 20, logits)
    assert torch.equal(dimmed.argmax(1), logits.argmax(1))
    assert len(set(logits.argmax(1).tolist())) > 1
