"""LayerNorm-simple and its detached gradients against sums and Jacobians in NumPy."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from relatives import oracles_statistics as oracles
from torch import Tensor

from cosnorm.relatives.layer import LayerNormSimple

HALF = [torch.float16, torch.bfloat16]
CASES = [((4, 6), -1), ((2, 3, 5), -1), ((3, 2, 4, 2), (-3, -2, -1)), ((3, 2, 4), (-2, -1))]
DETACH = [None, "mean", "std", "both"]


def draw(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 1


def count(dim: int | tuple[int, ...]) -> int:
    return 1 if isinstance(dim, int) else len(dim)


@pytest.mark.parametrize("detach", DETACH)
@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.5])
@pytest.mark.parametrize(("shape", "dim"), CASES)
def test_values_and_gradients(shape: tuple[int, ...], dim: Any, eps: float, detach: Any) -> None:
    x, g = draw(shape).requires_grad_(), draw(shape, 1)
    output = LayerNormSimple(dim, eps, detach)(x)
    values = x.detach().numpy()
    expected = oracles.over_slices(values, count(dim), partial(oracles.layer_norm, eps=eps))
    np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-12, atol=1e-13)
    (gradient,) = torch.autograd.grad(output, x, g)
    kept = {"mean": detach not in ("mean", "both"), "std": detach not in ("std", "both")}
    backward = partial(oracles.layer_norm_gradient, eps=eps, **kept)
    expected = oracles.over_slices(values, count(dim), backward, g.numpy())
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("detach", DETACH)
def test_the_formula_in_the_docstring(detach: Any) -> None:
    x, g = draw((5, 7)).requires_grad_(), draw((5, 7), 1)
    (gradient,) = torch.autograd.grad(LayerNormSimple(eps=0.0, detach=detach)(x), x, g)
    values, upstream = x.detach().numpy(), g.numpy()
    sigma = values.std(1, keepdims=True)
    y = (values - values.mean(1, keepdims=True)) / sigma
    expected = upstream.copy()
    if detach not in ("mean", "both"):
        expected -= upstream.mean(1, keepdims=True)
    if detach not in ("std", "both"):
        expected -= y * (upstream * y).mean(1, keepdims=True)
    np.testing.assert_allclose(gradient.numpy() * sigma, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_torch_layer_norm_without_gain_and_shift(dtype: torch.dtype) -> None:
    x = draw((6, 3, 4, 5)).to(dtype)
    expected = F.layer_norm(x, (3, 4, 5))
    torch.testing.assert_close(LayerNormSimple((-3, -2, -1))(x), expected)


@pytest.mark.parametrize("detach", DETACH)
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_sums_in_single_precision(dtype: torch.dtype, detach: Any) -> None:
    x = (200 * draw((4, 3000))).to(dtype)  # squares and sums beyond float16
    output = LayerNormSimple(detach=detach)(x)
    assert output.dtype == dtype
    expected = oracles.over_slices(x.double().numpy(), 1, partial(oracles.layer_norm, eps=1e-5))
    np.testing.assert_allclose(output.double().numpy(), expected, rtol=torch.finfo(dtype).eps, atol=1e-4)


@pytest.mark.parametrize("detach", DETACH)
@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("value", [0.0, 0.1, 7e8])
@pytest.mark.parametrize("shape", [(2, 9), (1, 1), (3, 1)])
def test_a_constant_vector_gives_zeros(shape: tuple[int, int], value: float, eps: float, detach: Any) -> None:
    x = torch.full(shape, value, requires_grad=True)
    output = LayerNormSimple(eps=eps, detach=detach)(x)
    assert torch.equal(output, torch.zeros(shape))
    output.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_a_mean_far_above_the_spread_costs_no_digits() -> None:
    x = torch.tensor([[1e7 + 1, 1e7 + 2, 1e7 + 3]])
    torch.testing.assert_close(LayerNormSimple()(x), torch.tensor([[-1.0, 0.0, 1.0]]) * math.sqrt(1.5))


@pytest.mark.parametrize("detach", DETACH)
def test_every_example_stands_alone(detach: Any) -> None:
    layer, x = LayerNormSimple(detach=detach), draw((5, 4))
    together = layer(x)
    for i in range(5):
        torch.testing.assert_close(layer(x[i]), together[i])  # without a batch as well
    assert layer(torch.empty(0, 4)).shape == (0, 4)
    assert layer(torch.empty(3, 0)).shape == (3, 0)


def test_training_and_evaluation_are_the_same_and_strides_do_not_matter() -> None:
    layer, x = LayerNormSimple((-2, -1)), draw((3, 5, 4)).transpose(1, 2)
    assert torch.equal(layer(x), layer.eval()(x))
    torch.testing.assert_close(layer(x), layer(x.contiguous()))


def test_second_derivatives_and_transforms() -> None:
    x = draw((2, 4)).requires_grad_()
    assert torch.autograd.gradcheck(LayerNormSimple(), x)
    assert torch.autograd.gradgradcheck(LayerNormSimple(), x)
    one_by_one = torch.func.vmap(LayerNormSimple())(x)
    torch.testing.assert_close(one_by_one, LayerNormSimple()(x))


def test_under_autocast_it_is_single_precision() -> None:
    x = draw((4, 6)).float()
    with torch.autocast("cpu", torch.bfloat16):
        seen = LayerNormSimple()(x)
    assert torch.equal(seen, LayerNormSimple()(x))


@pytest.mark.parametrize("dim", [0, 1, (), (-1, -1), (-1, 2), True, [-1], -1.0])
def test_dimensions_are_counted_from_the_end(dim: Any) -> None:
    with pytest.raises(ValueError, match="dim must be a negative integer"):
        LayerNormSimple(dim)


def test_other_bad_options_and_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="detach must be None"):
        LayerNormSimple(detach="variance")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="eps must be at least 0"):
        LayerNormSimple(eps=-1.0)
    with pytest.raises(ValueError, match="has 1 dimensions, and dim="):
        LayerNormSimple((-2, -1))(torch.zeros(3))
    with pytest.raises(TypeError, match=r"input\.float\(\)"):
        LayerNormSimple()(torch.zeros(2, 3, dtype=torch.int32))
    with pytest.raises(TypeError, match=r"must be a torch\.Tensor"):
        LayerNormSimple()([1.0])  # pyright: ignore[reportArgumentType]


def test_print_shows_the_options() -> None:
    assert repr(LayerNormSimple((-2, -1), detach="std")) == (
        "LayerNormSimple(dim=(-2, -1), eps=1e-05, detach=std)"
    )
