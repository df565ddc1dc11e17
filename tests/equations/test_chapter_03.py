"""The numbered equations of chapter 3 (gradients), each against something that does not use them.

Derivatives are compared with a computer algebra system, or with complex steps: for an analytic function the
imaginary part of ``f(w + i h v)`` is ``h`` times the derivative along ``v``, without a difference of nearly
equal numbers, hence exact to rounding. Statements about training are simulated step by step in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy
import torch
from numpy.typing import NDArray

from cosnorm.functional import cosine_linear

Array = NDArray[np.float64]
Objective = Callable[[NDArray[np.complex128]], complex]

TIGHT = {"rtol": 1e-11, "atol": 1e-13}


def symbols(dimension: int = 3) -> tuple[sympy.Matrix, sympy.Matrix]:
    """Real symbolic vectors w and x."""
    w, x = (sympy.Matrix(sympy.symbols(f"{name}1:{dimension + 1}", real=True)) for name in "wx")
    return w, x


def length(vector: sympy.Matrix) -> sympy.Expr:
    return sympy.sqrt(sum(entry**2 for entry in vector))


def symbolic_cosine(w: sympy.Matrix, x: sympy.Matrix) -> sympy.Expr:
    return sum(a * b for a, b in zip(w, x, strict=True)) / (length(w) * length(x))


def derivatives(expression: sympy.Expr, by: sympy.Matrix) -> sympy.Matrix:
    return sympy.Matrix([sympy.diff(expression, symbol) for symbol in by])


def is_zero(expressions: sympy.Matrix) -> bool:
    return all(sympy.simplify(entry) == 0 for entry in expressions)


def complex_cosine(w: NDArray, x: NDArray) -> NDArray:
    """The cosine of the last dimensions, analytic in both arguments: no absolute values, no conjugates."""
    return (w * x).sum(-1) / np.sqrt((w * w).sum(-1)) / np.sqrt((x * x).sum(-1))


def gradient(objective: Objective, at: Array) -> Array:
    """Gradient of an analytic objective by complex steps."""
    result = np.empty_like(at)
    for index in np.ndindex(at.shape):
        moved = at.astype(np.complex128)
        moved[index] += 1e-40j
        result[index] = objective(moved).imag / 1e-40
    return result


def fitting_loss(seed: int, dimension: int = 6, examples: int = 5) -> Objective:
    """A loss of one unit that depends on its weights through their direction only."""
    rng = np.random.default_rng(seed)
    inputs, wanted = rng.normal(size=(examples, dimension)), rng.uniform(-1, 1, size=examples)
    return lambda w: ((complex_cosine(w, inputs) - wanted) ** 2).sum()


def pair(seed: int = 0, dimension: int = 6) -> tuple[Array, Array]:
    w, x = np.random.default_rng(seed).normal(size=(2, dimension))
    return 1.7 * w, 0.3 * x


def unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


@pytest.mark.equation("eq-dot-sum")
def test_sum_of_products_is_the_dot_product() -> None:
    w, x = pair()
    total = 0.0
    for a, b in zip(w, x, strict=True):
        total += a * b
    assert total == pytest.approx(np.dot(w, x), rel=1e-14)
    assert total == pytest.approx(
        torch.nn.functional.linear(torch.tensor(x)[None], torch.tensor(w)[None]).item()
    )


@pytest.mark.equation("eq-dot-grad-w", "eq-dot-grad-x")
def test_derivatives_of_the_dot_product_are_the_other_vector() -> None:
    w, x = symbols()
    dot = sum(a * b for a, b in zip(w, x, strict=True))
    assert derivatives(dot, w) == x
    assert derivatives(dot, x) == w


@pytest.mark.equation("eq-cosine-grad-w-sum")
def test_equation_9_of_the_paper() -> None:
    w, x = symbols()
    root_w, root_x, products = length(w), length(x), w.dot(x)
    claimed = [x[i] / (root_w * root_x) - w[i] * products / (root_w**3 * root_x) for i in range(3)]
    assert is_zero(derivatives(symbolic_cosine(w, x), w) - sympy.Matrix(claimed))


@pytest.mark.equation("eq-cosine-grad-x-sum")
def test_equation_10_of_the_paper() -> None:
    w, x = symbols()
    root_w, root_x, products = length(w), length(x), w.dot(x)
    claimed = [w[i] / (root_w * root_x) - x[i] * products / (root_w * root_x**3) for i in range(3)]
    assert is_zero(derivatives(symbolic_cosine(w, x), x) - sympy.Matrix(claimed))


@pytest.mark.equation("eq-cosine-grad-w")
@pytest.mark.parametrize("dimension", [2, 6, 50])
def test_equation_11_of_the_paper(dimension: int) -> None:
    w, x = pair(dimension, dimension)
    size_w, size_x = np.linalg.norm(w), np.linalg.norm(x)
    claimed = x / (size_w * size_x) - w * (w @ x) / (size_w**3 * size_x)
    np.testing.assert_allclose(claimed, gradient(lambda v: complex_cosine(v, x), w), **TIGHT)


@pytest.mark.equation("eq-cosine-grad-x")
@pytest.mark.parametrize("dimension", [2, 6, 50])
def test_equation_12_of_the_paper(dimension: int) -> None:
    w, x = pair(dimension, dimension)
    size_w, size_x = np.linalg.norm(w), np.linalg.norm(x)
    claimed = w / (size_w * size_x) - x * (w @ x) / (size_w * size_x**3)
    np.testing.assert_allclose(claimed, gradient(lambda v: complex_cosine(w, v), x), **TIGHT)


@pytest.mark.equation("eq-tangent")
@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_the_projection_of_the_other_direction(seed: int) -> None:
    w, x = pair(seed)
    for own, other in ((w, x), (x, w)):
        projector = np.eye(len(own)) - np.outer(unit(own), unit(own))
        by_steps = gradient(lambda v, other=other: complex_cosine(v, other), own)
        np.testing.assert_allclose(projector @ unit(other) / np.linalg.norm(own), by_steps, **TIGHT)
        assert abs(own @ by_steps) < 1e-14


@pytest.mark.equation("eq-tangent-length")
@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 2, 3.0, np.pi])
def test_length_of_the_gradient_is_the_sine_over_the_length(angle: float) -> None:
    w, x = 2.5 * np.array([1.0, 0.0]), 0.4 * np.array([np.cos(angle), np.sin(angle)])
    by_w = gradient(lambda v: complex_cosine(v, x), w)
    by_x = gradient(lambda v: complex_cosine(w, v), x)
    assert np.linalg.norm(by_w) == pytest.approx(np.sin(angle) / 2.5, abs=1e-14)
    assert np.linalg.norm(by_x) == pytest.approx(np.sin(angle) / 0.4, abs=1e-14)


@pytest.mark.equation("eq-central-difference")
def test_error_of_central_differences() -> None:
    """The quotient's series has no odd powers of h, and h^2 times a sixth of the third derivative."""
    h, at = sympy.symbols("h at")
    function = at / sympy.sqrt(at**2 + 2)  # the cosine of (at, 1, 1) with the first axis
    quotient = (function.subs(at, at + h) - function.subs(at, at - h)) / (2 * h)
    series = sympy.series(quotient.subs(at, sympy.Rational(1, 2)), h, 0, 4).removeO()
    first, third = (sympy.diff(function, at, n).subs(at, sympy.Rational(1, 2)) for n in (1, 3))
    assert sympy.simplify(series - first - third * h**2 / 6) == 0


def batch(seed: int = 0) -> tuple[Array, Array, Array]:
    """Inputs (5, 4), weights (3, 4) and an upstream gradient (5, 3)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(5, 4)) * 3, rng.normal(size=(3, 4)) / 5, rng.normal(size=(5, 3))


def all_cosines(inputs: NDArray, weights: NDArray) -> NDArray:
    return complex_cosine(inputs[:, None, :], weights[None, :, :])


@pytest.mark.equation("eq-batch-cosine")
def test_all_cosines_by_one_product() -> None:
    inputs, weights, _ = batch()
    r_x, r_w = (1 / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (inputs, weights))
    claimed = r_x * (inputs @ weights.T) * r_w.T
    np.testing.assert_allclose(claimed, all_cosines(inputs, weights), **TIGHT)
    package = cosine_linear(torch.tensor(inputs), torch.tensor(weights)).numpy()
    np.testing.assert_allclose(package, all_cosines(inputs, weights), **TIGHT)


def package_gradients(inputs: Array, weights: Array, upstream: Array) -> tuple[Array, Array]:
    x, w = (torch.tensor(rows, requires_grad=True) for rows in (inputs, weights))
    by_x, by_w = torch.autograd.grad(cosine_linear(x, w), (x, w), torch.tensor(upstream))
    return by_x.numpy(), by_w.numpy()


@pytest.mark.equation("eq-batch-grad-x")
def test_batch_gradient_of_the_inputs() -> None:
    inputs, weights, upstream = batch()
    r_x, r_w = (1 / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (inputs, weights))
    along = (upstream * all_cosines(inputs, weights)) @ np.ones((3, 1))
    claimed = r_x * (upstream @ (r_w * weights) - (along * r_x) * inputs)
    by_steps = gradient(lambda rows: (upstream * all_cosines(rows, weights)).sum(), inputs)
    np.testing.assert_allclose(claimed, by_steps, **TIGHT)
    np.testing.assert_allclose(package_gradients(inputs, weights, upstream)[0], by_steps, **TIGHT)


@pytest.mark.equation("eq-batch-grad-w")
def test_batch_gradient_of_the_weights() -> None:
    inputs, weights, upstream = batch()
    r_x, r_w = (1 / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (inputs, weights))
    along = (upstream * all_cosines(inputs, weights)).T @ np.ones((5, 1))
    claimed = r_w * (upstream.T @ (r_x * inputs) - (along * r_w) * weights)
    by_steps = gradient(lambda rows: (upstream * all_cosines(inputs, rows)).sum(), weights)
    np.testing.assert_allclose(claimed, by_steps, **TIGHT)
    np.testing.assert_allclose(package_gradients(inputs, weights, upstream)[1], by_steps, **TIGHT)


def descend(w: Array, rate: float, steps: int = 30, seed: int = 0) -> tuple[Array, Array]:
    """Weights (steps + 1, d) and gradients (steps, d) of plain descent, a fresh loss at every step."""
    weights, gradients = [w], []
    for step in range(steps):
        gradients.append(gradient(fitting_loss(seed + step), weights[-1]))
        weights.append(weights[-1] - rate * gradients[-1])
    return np.array(weights), np.array(gradients)


@pytest.mark.equation("eq-length-growth")
@pytest.mark.parametrize("rate", [0.01, 1.0, 100.0])
def test_squared_length_grows_by_the_squared_step(rate: float) -> None:
    weights, gradients = descend(pair(3)[0], rate)
    squares = (weights**2).sum(1)
    np.testing.assert_allclose(squares[1:], squares[:-1] + rate**2 * (gradients**2).sum(1), rtol=1e-12)
    assert (np.diff(squares) > 0).all()


def test_a_plain_unit_does_get_shorter() -> None:
    """The theorem is about cosines: the same loss of dot products shortens a weight that is too long."""
    w, x = 10 * np.ones(6), np.ones(6)
    after = w - 0.01 * gradient(lambda v: ((v * x).sum() - 1) ** 2, w)
    assert np.linalg.norm(after) < np.linalg.norm(w)


@pytest.mark.equation("eq-constant-radial")
@pytest.mark.parametrize("constant", [1e-4, 0.1, 2.0])
def test_radial_part_with_the_appended_constant(constant: float) -> None:
    w, x = pair(4)
    with_constant = np.append(x, constant)
    by_steps = gradient(lambda v: complex_cosine(np.append(v, constant), with_constant), w)
    size_w, size_x = np.linalg.norm(np.append(w, constant)), np.linalg.norm(with_constant)
    c = complex_cosine(np.append(w, constant), with_constant)
    claimed = constant**2 * (c / size_w**2 - 1 / (size_w * size_x))
    assert w @ by_steps == pytest.approx(claimed, rel=1e-9, abs=1e-15)


@pytest.mark.equation("eq-turn")
@pytest.mark.parametrize("rate", [0.01, 1.0, 100.0])
def test_angle_of_a_step(rate: float) -> None:
    weights, gradients = descend(pair(5)[0], rate)
    sizes = np.linalg.norm(weights, axis=1)
    cosines = complex_cosine(weights[1:], weights[:-1]).clip(-1, 1)
    tangents = np.sqrt(1 - cosines**2) / cosines
    directional = sizes[:-1] * np.linalg.norm(gradients, axis=1)
    np.testing.assert_allclose(tangents, rate / sizes[:-1] ** 2 * directional, rtol=1e-6)


@pytest.mark.equation("eq-direction-step")
@pytest.mark.parametrize("rate", [0.01, 1.0, 100.0])
def test_direction_and_effective_rate_after_a_step(rate: float) -> None:
    weights, _ = descend(pair(6)[0], rate)
    direction, effective = unit(weights[0]), rate / (weights[0] @ weights[0])
    for step, w in enumerate(weights[1:]):
        s = gradient(fitting_loss(step), direction)  # at length 1: the gradient on the direction
        stretch = 1 + effective**2 * (s @ s)
        direction, effective = (direction - effective * s) / np.sqrt(stretch), effective / stretch
        np.testing.assert_allclose(direction, unit(w), rtol=1e-9, atol=1e-11)
        assert effective == pytest.approx(rate / (w @ w), rel=1e-10)
        assert effective * np.linalg.norm(s) <= 0.5 * (1 + 1e-12)


@pytest.mark.equation("eq-rate-law")
@pytest.mark.parametrize("rate", [0.01, 1.0, 100.0])
def test_inverse_square_of_the_effective_rate(rate: float) -> None:
    weights, gradients = descend(pair(7)[0], rate)
    squares = (weights**2).sum(1)
    effective, s_squared = rate / squares, squares[:-1] * (gradients**2).sum(1)
    claimed = 1 / effective[0] ** 2 + 2 * s_squared.sum() + (effective[:-1] ** 2 * s_squared**2).sum()
    assert 1 / effective[-1] ** 2 == pytest.approx(claimed, rel=1e-11)


@pytest.mark.equation("eq-fourth-power")
@pytest.mark.parametrize("rate", [0.1, 1.0, 10.0])
def test_length_under_noise_follows_the_fourth_root(rate: float) -> None:
    rng, steps, dimension = np.random.default_rng(0), 20_000, 20
    w, size = unit(rng.normal(size=dimension)), 0.7
    for push in rng.normal(size=(steps, dimension)):
        tangent = push - w * (w @ push) / (w @ w)
        w = w - rate * size * unit(tangent) / np.linalg.norm(w)
    assert np.linalg.norm(w) == pytest.approx((2 * rate**2 * size**2 * steps) ** 0.25, rel=0.01)
    assert rate / (w @ w) == pytest.approx(1 / (size * np.sqrt(2 * steps)), rel=0.02)


@pytest.mark.equation("eq-trade")
@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_scale_of_the_weights_trades_for_the_rate(factor: float) -> None:
    w, _ = pair(8)
    reference, _ = descend(w, 1.0)
    stretched, _ = descend(factor * w, factor**2)
    np.testing.assert_allclose(stretched, factor * reference, rtol=1e-9)
    unchanged_rate, _ = descend(factor * w, 1.0)
    assert not np.allclose(unchanged_rate, factor * reference, rtol=1e-3)


@pytest.mark.equation("eq-decay-balance")
@pytest.mark.parametrize(("rate", "decay"), [(1.0, 0.1), (1.0, 0.5), (0.2, 0.05)])
def test_length_at_which_decay_and_growth_cancel(rate: float, decay: float) -> None:
    rng, dimension, size = np.random.default_rng(0), 20, 0.7
    w = rng.normal(size=dimension)
    for push in rng.normal(size=(3000, dimension)):
        tangent = push - w * (w @ push) / (w @ w)
        w = (1 - rate * decay) * w - rate * size * unit(tangent) / np.linalg.norm(w)
    exact = rate * size**2 / (decay * (2 - rate * decay))
    assert (w @ w) ** 2 == pytest.approx(exact, rel=1e-9)
    assert rate / (w @ w) == pytest.approx(np.sqrt(2 * rate * decay) / size, rel=rate * decay)


@pytest.mark.equation("eq-momentum-radial")
@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_radial_part_of_momentum(momentum: float) -> None:
    w, rate = pair(9)[0], 0.05
    v = np.zeros_like(w)
    previous = (w, v)
    for step in range(40):
        v = momentum * v + gradient(fitting_loss(step), w)
        if step:
            old_w, old_v = previous
            claimed = momentum * (old_w @ old_v - rate * old_v @ old_v)
            assert w @ v == pytest.approx(claimed, rel=1e-9, abs=1e-12)
        assert w @ v <= 1e-12
        previous = (w, v)
        grown = w - rate * v
        assert np.linalg.norm(grown) >= np.linalg.norm(w)
        w = grown
