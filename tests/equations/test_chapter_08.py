"""Every labelled equation of chapter 8, against symbols, fractions, finite differences or brute force.

A detached statistic is checked without automatic differentiation: a function whose statistics are computed
from one vector and applied to another has, as an ordinary derivative in the second, what ``detach`` gives.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy
import torch
from numpy.typing import NDArray
from torch import nn

from cosnorm.functional import cosine_linear
from cosnorm.networks import mlp
from cosnorm.relatives import AdaNorm, LayerNormSimple

Array = NDArray[np.float64]
KINDS = (None, "mean", "std", "both")


def normalized(a: Array, mean_of: Array | None = None, std_of: Array | None = None) -> Array:
    """Layer norm without eps of one vector, with the statistics of others where they are given."""
    source = a if mean_of is None else mean_of
    spread = a if std_of is None else std_of
    return (a - source.sum() / len(source)) / math.sqrt(((spread - spread.mean()) ** 2).sum() / len(spread))


def frozen(a: Array, kind: str | None) -> Callable[[Array], Array]:
    """Layer norm around ``a`` as a detached gradient sees it."""
    return lambda moved: normalized(
        moved, a if kind in ("mean", "both") else None, a if kind in ("std", "both") else None
    )


def gradient(f: Callable[[Array], float], at: Array, step: float = 1e-5) -> Array:
    """Central differences."""
    return np.array([(f(at + step * e) - f(at - step * e)) / (2 * step) for e in np.eye(len(at))])


def backward(layer: nn.Module, a: Array, g: Array) -> Array:
    """What the package sends down for the upstream gradient ``g``."""
    tensor = torch.tensor(a, requires_grad=True)
    (seen,) = torch.autograd.grad(layer(tensor), tensor, torch.tensor(g))
    return seen.numpy()


def formula(a: Array, g: Array, kind: str | None) -> Array:
    """Equation eq-detached-gradients with matrices, typed from the chapter."""
    m = len(a)
    z, sigma = normalized(a), a.std()
    center = np.eye(m) - np.ones((m, m)) / m
    radial = np.eye(m) - np.outer(z, z) / (z @ z)
    matrix = {None: center @ radial, "mean": radial, "std": center, "both": np.eye(m)}[kind]
    return matrix @ g / sigma


def draws(m: int, seed: int) -> tuple[Array, Array]:
    draw = np.random.default_rng(seed)
    return 3 * draw.normal(size=m) + 2, draw.normal(size=m)


@pytest.mark.equation("eq-layer-norm")
@pytest.mark.parametrize(
    ("a", "expected"),
    [
        ((1, 1, 5, 5), (Fraction(-1), Fraction(-1), Fraction(1), Fraction(1))),
        ((0, 3, 3, 3, 6), None),
        ((-7, 1), (Fraction(-1), Fraction(1))),
        ((2, 2, 2, 6), None),
    ],
)
def test_one_mean_and_one_biased_deviation(a: tuple[int, ...], expected: tuple[Fraction, ...] | None) -> None:
    m = len(a)
    mean = Fraction(sum(a), m)
    variance = sum((Fraction(v) - mean) ** 2 for v in a) / m
    exact = [float(v - mean) / math.sqrt(variance) for v in a]
    if expected is not None:
        assert exact == [float(v) for v in expected]
    tensor = torch.tensor(a, dtype=torch.float64)
    assert LayerNormSimple(eps=0)(tensor).tolist() == pytest.approx(exact, abs=1e-14)
    assert torch.nn.functional.layer_norm(tensor, (m,), eps=0).tolist() == pytest.approx(exact, abs=1e-14)
    assert LayerNormSimple()(tensor).tolist() != exact  # eps is seen, and is below the root:
    below = [float(v - mean) / math.sqrt(variance + Fraction(1, 100_000)) for v in a]
    assert LayerNormSimple()(tensor).tolist() == pytest.approx(below, rel=1e-12)


@pytest.mark.equation("eq-layer-invariance")
def test_a_factor_of_the_matrix_and_a_common_row_leave_no_trace() -> None:
    draw = np.random.default_rng(0)
    W, v, x = draw.normal(size=(7, 4)), draw.normal(size=4), draw.normal(size=4)
    row = np.ones((7, 1))
    row[0] = 5.0
    for alpha in (1e-3, 1.0, 40.0):
        changed = alpha * W + np.outer(np.ones(7), v)
        np.testing.assert_allclose(changed @ x, alpha * (W @ x) + (v @ x), atol=1e-12)
        np.testing.assert_allclose(normalized(changed @ x), normalized(W @ x), atol=1e-12)
    np.testing.assert_allclose(normalized(-W @ x), -normalized(W @ x), atol=1e-14)
    assert np.abs(normalized((row * W) @ x) - normalized(W @ x))[1:].min() > 1e-3

    def cosine(W: Array) -> Array:
        return cosine_linear(torch.tensor(x[None]), torch.tensor(W)).numpy()[0]

    np.testing.assert_allclose(cosine(row * W), cosine(W), atol=1e-14)
    assert np.abs(cosine(W + v) - cosine(W)).max() > 1e-2


@pytest.mark.equation("eq-rms-norm")
def test_rms_norm_is_the_direction_and_sometimes_a_cosine() -> None:
    draw = np.random.default_rng(1)
    a = draw.normal(size=6)
    literal = a / math.sqrt(sum(value**2 for value in a) / 6)
    np.testing.assert_allclose(literal, math.sqrt(6) * a / np.linalg.norm(a), rtol=1e-14)
    np.testing.assert_allclose(
        nn.functional.rms_norm(torch.tensor(a), (6,), eps=0).numpy(), literal, rtol=1e-14
    )
    # Layer norm is RMS norm of Ja.
    np.testing.assert_allclose(
        normalized(a), math.sqrt(6) * (a - a.mean()) / np.linalg.norm(a - a.mean()), rtol=1e-12
    )
    hadamard = np.array([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    x = draw.normal(size=(9, 4))
    for W, same in ((3 * hadamard, True), (hadamard * [[1], [2], [1], [1]], False), (hadamard[:3], False)):
        outputs = x @ W.T
        rms = outputs / np.sqrt((outputs**2).mean(-1, keepdims=True))
        cosines = cosine_linear(torch.tensor(x), torch.tensor(W)).numpy()
        assert (np.abs(rms - math.sqrt(len(W)) * cosines).max() < 1e-12) == same


@pytest.mark.equation("eq-layer-gradient")
def test_symbols_give_the_two_projections() -> None:
    m = 3
    a, g = sympy.Matrix(sympy.symbols("a1:4", real=True)), sympy.Matrix(sympy.symbols("g1:4", real=True))
    ones = sympy.ones(m, 1)
    mean = a.dot(ones) / m
    sigma = sympy.sqrt(sum((v - mean) ** 2 for v in a) / m)
    z = (a - mean * ones) / sigma
    derived = sympy.Matrix([sympy.diff(g.dot(z), v) for v in a])
    stated = (g - g.dot(ones) / m * ones - z.dot(g) / m * z) / sigma
    steps = sympy.Matrix([sympy.diff(sigma, v) for v in a]) - z / m
    for difference in [*(derived - stated), *steps]:
        assert sympy.simplify(difference) == 0


@pytest.mark.equation("eq-layer-gradient", "eq-detached-gradients")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [2, 3, 12])
def test_each_backward_pass_is_the_derivative_with_frozen_statistics(kind: str | None, m: int) -> None:
    for seed in range(5):
        a, g = draws(m, seed)
        f = frozen(a, kind)
        numeric = gradient(lambda moved, f=f, g=g: float(g @ f(moved)), a)
        np.testing.assert_allclose(formula(a, g, kind), numeric, atol=1e-8)
        seen = backward(LayerNormSimple(eps=0, detach=kind), a, g)  # pyright: ignore[reportArgumentType]
        np.testing.assert_allclose(seen, numeric, atol=1e-8)


@pytest.mark.equation("eq-layer-gradient-length")
def test_pythagoras_takes_two_squares_away() -> None:
    for m in (2, 5, 30):
        a, g = draws(m, m)
        numeric = gradient(lambda moved, g=g: float(g @ normalized(moved)), a)
        unit = normalized(a) / math.sqrt(m)
        stated = (g @ g - g.sum() ** 2 / m - (unit @ g) ** 2) / a.var()
        assert numeric @ numeric == pytest.approx(stated, abs=1e-7)
        assert abs(numeric.sum()) < 1e-8
        assert abs(numeric @ a) < 1e-7
        lengths = {kind: np.linalg.norm(formula(a, g, kind)) for kind in KINDS}
        assert lengths[None] <= min(lengths["mean"], lengths["std"]) + 1e-12
        assert max(lengths.values()) == lengths["both"]


def test_with_eps_the_part_along_z_is_removed_up_to_the_stated_share() -> None:
    a, g = draws(8, 3)
    eps = 0.5
    numeric = gradient(lambda moved: float(g @ (moved - moved.mean()) / math.sqrt(moved.var() + eps)), a)
    assert abs(numeric.sum()) < 1e-8
    centered = a - a.mean()
    left = numeric @ centered / (g @ centered / math.sqrt(a.var() + eps))
    assert left == pytest.approx(eps / (a.var() + eps), rel=1e-6)


@pytest.mark.equation("eq-adanorm")
def test_adanorm_forward_and_its_stopped_factor() -> None:
    a, g = draws(9, 4)
    k, s = 0.3, 1.7
    z = normalized(a)
    layer = AdaNorm(k=k, scale=s, eps=0)
    np.testing.assert_allclose(layer(torch.tensor(a)).numpy(), s * (1 - k * z) * z, rtol=1e-12)
    stopped = gradient(lambda moved: float(g @ (s * (1 - k * z) * normalized(moved))), a)
    np.testing.assert_allclose(backward(layer, a, g), stopped, atol=1e-8)
    np.testing.assert_allclose(formula(a, s * (1 - k * z) * g, None), stopped, atol=1e-8)
    true = gradient(lambda moved: float(g @ (s * (1 - k * normalized(moved)) * normalized(moved))), a)
    np.testing.assert_allclose(formula(a, s * (1 - 2 * k * z) * g, None), true, atol=1e-8)
    assert np.abs(true - stopped).max() > 1e-2
    unbiased = (a - a.mean()) / a.std(ddof=1)
    np.testing.assert_allclose(
        AdaNorm(eps=0, unbiased=True)(torch.tensor(a)).numpy(), (1 - unbiased / 10) * unbiased, rtol=1e-12
    )


@pytest.mark.equation("eq-adanorm-mean")
@pytest.mark.parametrize("m", [2, 10, 100])
def test_adanorm_has_a_fixed_mean_and_bounded_components(m: int) -> None:
    k, s = 0.1, 2.0
    layer = AdaNorm(k=k, scale=s, eps=0)
    draw = np.random.default_rng(m)
    vectors = [draw.normal(size=m), draw.exponential(size=m) ** 3, np.eye(m)[0]]
    for a in vectors:
        assert layer(torch.tensor(a)).mean().item() == pytest.approx(-s * k, rel=1e-9)
        z = normalized(a)
        assert np.abs(z).max() <= math.sqrt(m - 1) * (1 + 1e-12)
        assert (1 - z / 10).min() > 0
    # One unit alone against the rest reaches the bound.
    assert normalized(np.eye(m)[0]).max() == pytest.approx(math.sqrt(m - 1), rel=1e-12)


@pytest.mark.equation("eq-radial")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_handed_down_along_z(kind: str | None) -> None:
    """s_l is the slope of the loss when z_l is stretched, the statistics above it frozen as ``kind`` says."""
    draw = np.random.default_rng(6)
    weights = [draw.normal(size=(6, 5)), *(draw.normal(size=(6, 6)) for _ in range(3))]
    readout, x = draw.normal(size=(4, 6)), draw.normal(size=5)
    pre, z = [], x
    for W in weights:
        pre.append(W @ (np.maximum(z, 0) if pre else z))
        z = normalized(pre[-1])

    def loss(from_layer: int, z: Array) -> float:
        for W, a in zip(weights[from_layer:], pre[from_layer:], strict=True):
            z = frozen(a, kind)(W @ np.maximum(z, 0))
        logits = readout @ np.maximum(z, 0)
        return float(np.log(np.exp(logits).sum()) - logits[2])

    def stretched(layer: int) -> float:
        at, step = normalized(pre[layer - 1]), 1e-6
        return (loss(layer, (1 + step) * at) - loss(layer, (1 - step) * at)) / (2 * step)

    slopes = [stretched(layer) for layer in (1, 2, 3, 4)]
    assert abs(slopes[-1]) > 0.1
    for layer in (2, 3, 4):
        a = pre[layer - 1]
        g = gradient(lambda z, layer=layer: loss(layer, z), normalized(a), 1e-6)
        through_mean = a.mean() * g.sum() / a.std()
        expected = (slopes[layer - 1] if kind in ("std", "both") else 0.0) + (
            through_mean if kind in ("mean", "both") else 0.0
        )
        assert slopes[layer - 2] == pytest.approx(expected, abs=1e-7)
        assert abs(through_mean) > 1e-3


def test_the_deviation_needs_its_gradient_in_the_last_layer_only() -> None:
    x = torch.rand(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.arange(20) % 3

    def slopes(kinds: tuple[str | None, ...]) -> list[torch.Tensor]:
        net = mlp((5, 8, 8, 8, 3), "layer_simple", seed=0).double()
        for norm, kind in zip((m for m in net if isinstance(m, LayerNormSimple)), kinds, strict=True):
            norm.eps, norm.detach = 0.0, kind  # pyright: ignore[reportAttributeAccessIssue]
        return list(torch.autograd.grad(nn.functional.cross_entropy(net(x), y), list(net.parameters())))

    whole = slopes((None, None, None))
    for ours, theirs in zip(whole, slopes(("std", "std", None)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)
    assert (whole[0] - slopes((None, None, "std"))[0]).abs().max() > 1e-4
    assert (whole[0] - slopes(("mean", None, None))[0]).abs().max() > 1e-5


@pytest.mark.equation("eq-centered-weights")
def test_centered_weights_pass_on_and_receive_centered_gradients() -> None:
    m, d = 5, 3
    W = sympy.Matrix(m, d, [sympy.Rational((7 * i * i) % 11 - 5, 3) for i in range(m * d)])
    delta, x = sympy.Matrix([3, -1, 4, 1, -5]), sympy.Matrix([2, 7, -1])
    J = sympy.eye(m) - sympy.ones(m, m) / m
    assert W.T * (J * delta) == (J * W).T * delta != W.T * delta
    centered = J * W
    assert centered.T * (J * delta) == centered.T * delta
    assert J * (delta * x.T) == (J * delta) * x.T


@pytest.mark.equation("eq-centered-weights")
@pytest.mark.parametrize(("constant", "whole"), [("detach_mean", "layer_simple"), ("detach", "detach_std")])
def test_with_centered_weights_the_gradient_of_the_mean_changes_nothing(constant: str, whole: str) -> None:
    x = torch.rand(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.arange(30) % 3

    def trained(norm: str, *, centered: bool) -> list[torch.Tensor]:
        net = mlp((4, 7, 7, 7, 3), norm, std=0.4, seed=0).double()
        hidden = [module.weight for module in list(net)[:-1] if isinstance(module, nn.Linear)]
        for _ in range(20):
            with torch.no_grad():
                for weight in hidden if centered else []:
                    weight -= weight.mean(0)
            slopes = torch.autograd.grad(nn.functional.cross_entropy(net(x), y), list(net.parameters()))
            with torch.no_grad():
                for parameter, slope in zip(net.parameters(), slopes, strict=True):
                    parameter -= 0.1 * slope
        return [(weight - weight.mean(0)).detach() for weight in hidden]

    for ours, theirs in zip(trained(constant, centered=True), trained(whole, centered=True), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    free = zip(trained(constant, centered=False), trained(whole, centered=False), strict=True)
    assert max((ours - theirs).abs().max().item() for ours, theirs in free) > 1e-3


@pytest.mark.equation("eq-backward-only")
def test_backward_only_changes_the_gradient_and_not_the_value() -> None:
    a, g = draws(8, 5)
    mean, sigma = a.mean(), a.std()

    def layer(moved: Array) -> Array:
        return mean + sigma * normalized(moved)

    np.testing.assert_allclose(layer(a), a, atol=1e-12)
    numeric = gradient(lambda moved: float(g @ layer(moved)), a)
    np.testing.assert_allclose(sigma * formula(a, g, None), numeric, atol=1e-8)
    assert np.linalg.norm(numeric) < np.linalg.norm(g)


def test_numbers_in_the_prose(root: Path) -> None:
    notebook = json.loads((root / "book" / "08-layers.ipynb").read_text(encoding="utf-8"))
    prose = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    shrink = math.sqrt(64 * 0.1**2 / 2)  # of a ReLU signal's root mean square, by layer
    assert f"shrinks to about {shrink:.2f} of its size in each layer" in prose
    assert "for $m \\le 100$ the factor" in prose
    assert math.sqrt(100 - 1) < 10
