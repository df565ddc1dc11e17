"""Every labelled equation of chapter 10, against NumPy, symbols, fractions or the definitions themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from numpy.typing import NDArray

from cosnorm import CosineLinear
from cosnorm.invariances import random_point
from cosnorm.relatives import AdaNorm, LayerNormSimple, OnlineNorm, WeightNormLinear

Array = NDArray[np.float64]

draw = np.random.default_rng(10)
X, W = draw.normal(0.5, 1, (9, 5)), draw.normal(0.2, 1, (7, 5))


def cosines(x: Array, w: Array) -> Array:
    """From the angle's definition, one pair at a time."""
    return np.array([[np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for b in w] for a in x])


def batch_norm(a: Array) -> Array:
    """Unit by unit, with the biased deviation."""
    columns = [(column - np.sum(column) / len(column)) for column in a.T]
    return np.stack([c / np.sqrt(np.sum(c * c) / len(c)) for c in columns], axis=1)


def layer_norm(a: Array) -> Array:
    """Example by example, with the biased deviation."""
    rows = [(row - np.sum(row) / len(row)) for row in a]
    return np.stack([r / np.sqrt(np.sum(r * r) / len(r)) for r in rows])


def as_tensor(values: Array) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def loaded(layer: torch.nn.Module, weight: Array) -> torch.nn.Module:
    """A layer of the package with these weights."""
    layer = layer.to(torch.float64)
    layer.load_state_dict({"weight": as_tensor(weight)}, strict=False)
    return layer


def mean_and_size(technique: str, x: Array, w: Array) -> tuple[Array, Array]:
    """The chapter's table: the two numbers that a technique takes for every pre-activation."""
    a, d = x @ w.T, x.shape[1]
    wm, xm = w.mean(1), x.mean(1)
    lengths = np.linalg.norm(w, axis=1)
    zero, one = np.zeros_like(a), np.ones_like(a)
    by_unit, by_example = a.mean(0) + zero, a.mean(1)[:, None] + zero
    groups = np.stack([a[:, :3], a[:, 3:]], axis=1)
    table = {
        "none": (zero, one),
        "weight": (zero, lengths * one),
        "cosine": (zero, np.outer(np.linalg.norm(x, axis=1), lengths)),
        "centered": (
            d * np.outer(xm, wm),
            np.outer(np.linalg.norm(x - xm[:, None], axis=1), np.linalg.norm(w - wm[:, None], axis=1)),
        ),
        "batch": (by_unit, a.std(0) * one),
        "layer": (by_example, a.std(1)[:, None] * one),
        "layer_simple": (by_example, a.std(1)[:, None] * one),
        "group": (np.repeat(groups.mean(2), 3, 1), np.repeat(groups.std(2), 3, 1)),
        "mean_only_batch": ((a / lengths).mean(0) * lengths + zero, lengths * one),
    }
    return table[technique]


@pytest.mark.equation("eq-map-form")
@pytest.mark.parametrize(
    "technique",
    ["none", "weight", "cosine", "centered", "batch", "layer", "layer_simple", "group", "mean_only_batch"],
)
def test_one_formula_with_the_numbers_of_the_table(technique: str) -> None:
    point = random_point(technique, seed=3)
    x, w = point.start.batch.numpy(), point.start.weight.numpy()
    gains = [
        p.detach().numpy() for n, p in point.layer.named_parameters() if p.dim() == 1 and "bias" not in n
    ]
    mean, size = mean_and_size(technique, x, w)
    expected = (x @ w.T - mean) / size * (gains[0] if gains else 1.0)
    np.testing.assert_allclose(point.output(point.start), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.equation("eq-map-form")
def test_online_norm_uses_the_examples_before() -> None:
    a = X @ W.T
    layer = OnlineNorm(7, alpha_forward=0.9, eps=0.0, affine=False).to(torch.float64)
    mean, variance, expected = np.zeros(7), np.ones(7), []
    for row in a:
        expected.append((row - mean) / np.sqrt(variance))
        variance = 0.9 * variance + 0.9 * 0.1 * (row - mean) ** 2
        mean = 0.9 * mean + 0.1 * row
    np.testing.assert_allclose(layer(as_tensor(a)).detach(), expected, rtol=1e-10)


@pytest.mark.equation("eq-map-weight")
def test_weight_norm_with_one_over_the_length_is_the_cosine() -> None:
    layer = loaded(WeightNormLinear(5, 7, bias=False), W)
    scaled = layer(as_tensor(X)).detach().numpy() / np.linalg.norm(X, axis=1, keepdims=True)
    np.testing.assert_allclose(scaled, cosines(X, W), atol=1e-14)
    np.testing.assert_allclose(loaded(CosineLinear(5, 7), W)(as_tensor(X)).detach(), scaled, atol=1e-14)


@pytest.mark.equation("eq-map-weight", "eq-map-statistics")
def test_both_are_one_fraction() -> None:
    # (1, 2, 2) and (2, 3, 6) have the lengths 3 and 7.
    w, x, lengths = (1, 2, 2), (2, 3, 6), (Fraction(3), Fraction(7))
    product = sum(a * b for a, b in zip(w, x, strict=True))
    by_gain = 1 / lengths[1] / lengths[0] * product
    by_statistics = (product - 0) / (lengths[0] * lengths[1])
    assert by_gain == by_statistics == Fraction(20, 21)
    assert cosines(np.array([x]), np.array([w])).item() == pytest.approx(20 / 21, abs=1e-15)


@pytest.mark.equation("eq-map-centered")
def test_layer_norm_of_the_input_gives_the_centered_cosine() -> None:
    normalized = LayerNormSimple(eps=0)(as_tensor(X)).numpy()
    centered = W - W.mean(1, keepdims=True)
    left = normalized @ (centered / np.linalg.norm(centered, axis=1, keepdims=True)).T
    right = np.sqrt(5) * np.array([[np.corrcoef(a, b)[0, 1] for b in W] for a in X])
    np.testing.assert_allclose(left, right, atol=1e-13)
    package = loaded(CosineLinear(5, 7, centered=True), W)(as_tensor(X)).detach()
    np.testing.assert_allclose(np.sqrt(5) * package.numpy(), right, atol=1e-13)


def round_set(kind: str) -> Array:
    """Vectors with mean 0 and second moments that are a multiple of the identity."""
    if kind == "cross":
        return 3 * np.concatenate([np.eye(4), -np.eye(4)])
    if kind == "cube":
        return np.array(list(itertools.product((-2.0, 2.0), repeat=4)))
    # Any data, centered and whitened: round, but of many lengths.
    data = np.random.default_rng(1).normal(size=(30, 4)) ** 3
    data = data - data.mean(0)
    return 1.7 * np.linalg.svd(data, full_matrices=False)[0] * np.sqrt(30)


@pytest.mark.equation("eq-map-round")
@pytest.mark.parametrize("kind", ["cross", "cube", "whitened"])
def test_batch_norm_on_round_data_is_weight_norm(kind: str) -> None:
    x, w = round_set(kind), W[:, :4]
    moments = x.T @ x / len(x)
    s = np.sqrt(moments[0, 0])
    np.testing.assert_allclose(moments, s**2 * np.eye(4), atol=1e-12)
    expected = x @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T / s
    np.testing.assert_allclose(batch_norm(x @ w.T), expected, atol=1e-11)
    torch_norm = torch.nn.BatchNorm1d(7, eps=1e-30, affine=False).to(torch.float64)
    np.testing.assert_allclose(torch_norm(as_tensor(x @ w.T)), expected, atol=1e-11)


@pytest.mark.equation("eq-map-round")
def test_the_condition_is_needed() -> None:
    ratio = batch_norm(X @ W.T) / (X @ (W / np.linalg.norm(W, axis=1, keepdims=True)).T)
    assert ratio.std() > 0.1


@pytest.mark.equation("eq-map-sphere")
@pytest.mark.parametrize("kind", ["cross", "cube"])
def test_with_one_length_it_is_the_cosine(kind: str) -> None:
    x, w = round_set(kind), W[:, :4]
    np.testing.assert_allclose(batch_norm(x @ w.T), 2 * cosines(x, w), atol=1e-12)
    # And with the roles exchanged, as the chapter says of layer norm.
    np.testing.assert_allclose(layer_norm(w @ x.T), 2 * cosines(w, x), atol=1e-12)


@pytest.mark.equation("eq-map-sphere")
def test_round_data_of_many_lengths_is_not_enough() -> None:
    x, w = round_set("whitened"), W[:, :4]
    assert np.abs(batch_norm(x @ w.T) - 2 * cosines(x, w)).max() > 0.1


@pytest.mark.equation("eq-map-transpose")
def test_layer_norm_is_batch_norm_transposed() -> None:
    np.testing.assert_allclose(layer_norm(X @ W.T), batch_norm(W @ X.T).T, atol=1e-13)
    package = LayerNormSimple(eps=0)(as_tensor(X @ W.T))
    torch_norm = torch.nn.BatchNorm1d(9, eps=1e-30, affine=False).to(torch.float64)
    np.testing.assert_allclose(package, torch_norm(as_tensor(W @ X.T)).T, atol=1e-12)


@pytest.mark.equation("eq-map-adanorm")
def test_adanorm_without_k_is_layer_norm_forward_and_backward() -> None:
    a, g = as_tensor(X @ W.T), as_tensor(draw.normal(size=(9, 7)))
    results = []
    for layer in (AdaNorm(k=0, scale=1, eps=0), torch.nn.LayerNorm(7, eps=0, elementwise_affine=False)):
        leaf = a.clone().requires_grad_()
        output = layer(leaf)
        results.append((output.detach(), torch.autograd.grad(output, leaf, g)[0]))
    np.testing.assert_allclose(results[0][0], layer_norm(X @ W.T), atol=1e-13)
    for ours, torchs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, torchs, atol=1e-12)
    k, y = sympy.symbols("k y")
    assert sympy.expand((1 - k * y) * y).subs(k, 0) == y
    assert AdaNorm(k=0.1, eps=0)(a).sub(results[0][0]).abs().max() > 0.1


@pytest.mark.equation("eq-map-online-still")
@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.5])
def test_online_norm_that_never_moves_is_a_constant_factor(eps: float) -> None:
    layer = OnlineNorm(7, alpha_forward=1, alpha_backward=1, eps=eps, affine=False).to(torch.float64)
    a, g = as_tensor(X @ W.T).requires_grad_(), as_tensor(draw.normal(size=(9, 7)))
    for _ in range(2):  # a second batch meets the same statistics and the same control
        output = layer(a)
        np.testing.assert_allclose(output.detach(), X @ W.T / np.sqrt(1 + eps), atol=1e-13)
        (gradient,) = torch.autograd.grad(output, a, g)
        np.testing.assert_allclose(gradient, g / np.sqrt(1 + eps), atol=1e-13)


@pytest.mark.equation("eq-map-online-last")
@pytest.mark.parametrize("eps", [1e-5, 0.25])
def test_online_norm_that_forgets_everything_sees_differences(eps: float) -> None:
    layer = OnlineNorm(7, alpha_forward=0, eps=eps, affine=False).to(torch.float64)
    output = layer(as_tensor(X @ W.T)).detach()
    np.testing.assert_allclose(output[1:], np.diff(X @ W.T, axis=0) / np.sqrt(eps), rtol=1e-9)
    # A convolution's example has a variance of its own.
    maps = draw.normal(size=(4, 7, 6))
    output = layer(as_tensor(maps)).detach()
    expected = (maps[1:] - maps[:-1].mean(2, keepdims=True)) / np.sqrt(maps[:-1].var(2, keepdims=True) + eps)
    np.testing.assert_allclose(output[1:], expected, rtol=1e-9)


#: What a technique ignores, as changes of the pre-activations by any amounts.
ABSORBED: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "batch norm: a factor for each unit": (batch_norm, lambda a: a * np.linspace(0.1, 9, a.shape[1])),
    "batch norm: a shift of each unit": (batch_norm, lambda a: a + np.linspace(-3, 3, a.shape[1])),
    "layer norm: a factor for each example": (
        layer_norm,
        lambda a: a * np.linspace(0.1, 9, len(a))[:, None],
    ),
    "layer norm: a shift of each example": (layer_norm, lambda a: a + np.linspace(-3, 3, len(a))[:, None]),
}


@pytest.mark.equation("eq-map-absorb")
@pytest.mark.parametrize("name", ABSORBED)
def test_what_is_ignored_may_be_left_out_before(name: str) -> None:
    technique, change = ABSORBED[name]
    a = X @ W.T
    np.testing.assert_allclose(technique(change(a)), technique(a), atol=1e-12)


@pytest.mark.equation("eq-map-absorb")
def test_the_compositions_the_chapter_names() -> None:
    a, c = X @ W.T, cosines(X, W)
    u = a / np.linalg.norm(W, axis=1)
    np.testing.assert_allclose(batch_norm(u), batch_norm(a), atol=1e-12)
    np.testing.assert_allclose(layer_norm(c), layer_norm(u), atol=1e-12)
    assert np.abs(batch_norm(c) - batch_norm(u)).max() > 0.01
    assert np.abs(layer_norm(u) - layer_norm(a)).max() > 0.01


def sympy_gradient(loss: Callable[[Any], Any], count: int) -> tuple[list[Any], list[Any]]:
    w = list(sympy.symbols(f"w1:{count + 1}", positive=True))
    return w, [sympy.diff(loss(w), v) for v in w]


#: Losses that ignore the length of w, one smooth function of a cosine and two that are nothing of the kind.
SCALE_FREE = [
    lambda w: sympy.exp((2 * w[0] - w[1] + 3 * w[2]) / sympy.sqrt(w[0] ** 2 + w[1] ** 2 + w[2] ** 2)),
    lambda w: w[0] * w[1] / w[2] ** 2,
    lambda w: sympy.log(w[0] / w[1]) * sympy.sin(w[2] / (w[0] + w[1])),
]


@pytest.mark.equation("eq-map-orthogonal")
@pytest.mark.parametrize("loss", SCALE_FREE)
def test_no_gradient_along_the_weights_and_shorter_for_longer_ones(loss: Callable[[Any], Any]) -> None:
    w, gradient = sympy_gradient(loss, 3)
    assert sympy.simplify(sum((v * g for v, g in zip(w, gradient, strict=True)), sympy.Integer(0))) == 0
    alpha = sympy.Symbol("alpha", positive=True)
    longer = dict(zip(w, [alpha * v for v in w], strict=True))
    for component in gradient:
        assert sympy.simplify(component.subs(longer, simultaneous=True) - component / alpha) == 0
    assert any(component != 0 for component in gradient)


@pytest.mark.equation("eq-map-shift")
def test_no_gradient_along_an_ignored_shift() -> None:
    # This loss ignores every multiple of v = (1, 2, 3).
    def loss(w: Any) -> Any:
        return sympy.sin(w[1] - 2 * w[0]) + sympy.exp(w[2] - 3 * w[0])

    w, gradient = sympy_gradient(loss, 3)
    v, t = (1, 2, 3), sympy.Symbol("t")
    assert sympy.simplify(sum((n * g for n, g in zip(v, gradient, strict=True)), sympy.Integer(0))) == 0
    moved = {symbol: symbol + t * n for symbol, n in zip(w, v, strict=True)}
    for component in gradient:
        assert sympy.simplify(component.subs(moved, simultaneous=True) - component) == 0


def difference_quotient(loss: Callable[[Array], float], w: Array, direction: Array) -> float:
    step = 1e-5
    return (loss(w + step * direction) - loss(w - step * direction)) / (2 * step)


@pytest.mark.equation("eq-map-orthogonal", "eq-map-shift")
@pytest.mark.parametrize(
    ("technique", "rows", "matrix", "ones", "vector"),
    [
        (cosines, True, True, False, False),
        (lambda x, w: batch_norm(x @ w.T), True, True, False, False),
        (lambda x, w: layer_norm(x @ w.T), False, True, False, True),
        (lambda x, w: cosines(x - x.mean(1)[:, None], w - w.mean(1)[:, None]), True, True, True, False),
    ],
    ids=["cosine", "batch", "layer", "centered"],
)
def test_the_directions_a_row_of_the_matrix_forbids(
    technique: Callable[[Array, Array], Array], rows: bool, matrix: bool, ones: bool, vector: bool
) -> None:
    weights = np.random.default_rng(4).normal(size=(9, 7))

    def loss(w: Array) -> float:
        return float(np.sum(weights * np.tanh(technique(X, w))))

    one_row, one_shift, same_vector = np.zeros_like(W), np.zeros_like(W), np.tile(W[3] - W[0], (7, 1))
    one_row[2], one_shift[2] = W[2], 1.0
    for direction, forbidden in ((one_row, rows), (W, matrix), (one_shift, ones), (same_vector, vector)):
        assert (abs(difference_quotient(loss, W, direction)) < 1e-8) is forbidden
