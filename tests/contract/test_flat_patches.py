"""Patches without contrast beside others: with a constant their length is as short as that constant.

The product of such a patch with a filter is the rounding of numbers that may be ten million times as large.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor
from torch.func import grad, jacfwd, jacrev, jvp, vmap

from cosnorm.functional import cosine_conv1d, cosine_conv2d

from .cases import numbers
from .unfolding import unfolded

OPTIONS: dict[str, Any] = {"centered": True, "constant": 1e-4}
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def photographs(top: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two bright images with a black, a white and a gray square, and filters."""
    generator = torch.Generator().manual_seed(0)
    x = top * (0.8 + 0.2 * torch.rand(2, 3, 14, 16, generator=generator))
    x[0, :, 1:5, 2:6], x[0, :, 7:12, 8:12], x[1, :, 3:7, 3:9] = 0.0, top, 0.4 * top
    return x.to(dtype), torch.randn(4, 3, 3, 3, generator=generator).to(dtype)


def upstream(output: Tensor) -> Tensor:
    return torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("top", [1.0, 255.0])
@pytest.mark.parametrize("graph", [False, True], ids=["", "graph"])
def test_flat_patches_of_a_bright_image(top: float, padding: int, dtype: torch.dtype, graph: bool) -> None:
    """With padding 4 whole patches lie outside of the image. If rounding decides, 3e-5 becomes 1."""
    x, w = photographs(top, dtype)
    output = cosine_conv2d(x.requires_grad_(), w.requires_grad_(), padding=padding, **OPTIONS)
    g, arguments = upstream(output), (numbers(x), numbers(w))
    expected = oracles.convolution(*arguments, padding=padding, **OPTIONS)
    eps = torch.finfo(dtype).eps
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=4 * eps)
    right = oracles.convolution_gradients(*arguments, numbers(g), padding=padding, **OPTIONS)
    # Where a graph is kept, what goes along flat patches is subtracted from the pixels: rounding again.
    found = torch.autograd.grad(output, (x, w), g, create_graph=graph)
    for tensor, oracle, epsilons in zip(found, right, (8 * max(4.0, top) if graph else 32, 16), strict=True):
        np.testing.assert_allclose(
            numbers(tensor), oracle, rtol=0, atol=epsilons * eps * np.abs(oracle).max()
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("constant", [0.0, 1e-4])
@pytest.mark.parametrize("groups", [1, 3])
def test_nearly_flat_patches_keep_their_contrast_in_half_precision(
    groups: int, constant: float, dtype: torch.dtype
) -> None:
    """As in a bright sky: the contrast of a patch is one step of the dtype, its mean hundreds of them."""
    generator = torch.Generator().manual_seed(7)
    steps = torch.randint(0, 2, (2, 3, 10, 10), generator=generator)
    x = (1 - torch.finfo(dtype).eps * steps).to(dtype)
    x[..., :3, :] = torch.rand(2, 3, 3, 10, generator=generator).to(dtype)
    w = torch.randn(6, 3 // groups, 3, 3, generator=generator).to(dtype)
    options = {"groups": groups, "padding": 1, "centered": True, "constant": constant}
    output = cosine_conv2d(x.requires_grad_(), w.requires_grad_(), **options)
    expected = oracles.convolution(numbers(x), numbers(w), **options)
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=4 * torch.finfo(dtype).eps)
    g = upstream(output)
    right = oracles.convolution_gradients(numbers(x), numbers(w), numbers(g), **options)[0]
    (found,) = torch.autograd.grad(output, x, g)
    tolerance = 8 * torch.finfo(dtype).eps * np.abs(right).max()
    np.testing.assert_allclose(numbers(found), right, rtol=0, atol=tolerance)


def test_values_that_would_not_fit_into_float16_beside_faint_contrast() -> None:
    """The longest centered patch is a millionth of the brightest one."""
    x = torch.zeros(1, 1, 2, 6)
    x[..., 2:4], x[..., 4:] = 60000.0, torch.tensor([[3e-3, 1e-3], [2e-3, 5e-3]])
    x, w = x.half(), torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(8)).half()
    output = cosine_conv2d(x, w, stride=2, **OPTIONS)
    expected = oracles.convolution(numbers(x), numbers(w), stride=2, **OPTIONS)
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=4e-3)


@pytest.mark.parametrize("groups", [2, 4])
def test_flat_groups_of_channels(groups: int) -> None:
    """A patch may be flat for the filters of one group and not for those of another."""
    generator = torch.Generator().manual_seed(2)
    x = 200 + torch.rand(2, 4, 9, 9, generator=generator)
    x[0, : 4 // groups, 2:7, 2:7] = 0.0
    w = torch.randn(8, 4 // groups, 3, 3, generator=generator)
    output = cosine_conv2d(x.requires_grad_(), w.requires_grad_(), groups=groups, **OPTIONS)
    g, arguments = upstream(output), (numbers(x), numbers(w))
    expected = oracles.convolution(*arguments, groups=groups, **OPTIONS)
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=1e-5)
    right = oracles.convolution_gradients(*arguments, numbers(g), groups=groups, **OPTIONS)
    for tensor, oracle in zip(torch.autograd.grad(output, (x, w), g), right, strict=True):
        np.testing.assert_allclose(numbers(tensor), oracle, rtol=0, atol=1e-5 * np.abs(oracle).max())


@pytest.mark.parametrize("constant", [1e-2, 0.5])
def test_derivatives_of_all_kinds_at_flat_patches(constant: float) -> None:
    """A flat patch has products of zero, but their derivatives are not zero."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 1, 8, generator=generator, dtype=torch.float64) + 5
    x[..., 2:6] = 1.0
    w = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    moves = [torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in (x, w)]

    def ours(x: Tensor, w: Tensor) -> Tensor:
        return cosine_conv1d(x, w, padding=1, centered=True, constant=constant)

    def literal(x: Tensor, w: Tensor) -> Tensor:
        def product(x: Tensor, w: Tensor, *, centered: bool, constant: float) -> Tensor:
            assert centered
            x, w = (rows - rows.mean(-1, keepdim=True) for rows in (x, w))
            lengths = [(rows.square().sum(-1) + constant**2).sqrt() for rows in (x, w)]
            return (x @ w.mT + constant**2) / (lengths[0][..., None] * lengths[1])

        return unfolded(x, w, product, padding=1, centered=True, constant=constant)

    def slopes(function: Any) -> Any:
        return grad(lambda x, w: function(x, w).sin().sum(), argnums=(0, 1))

    def twice(function: Any) -> list[Tensor]:
        arguments = [tensor.clone().requires_grad_() for tensor in (x, w)]
        first = torch.autograd.grad(function(*arguments).sin().sum(), arguments, create_graph=True)
        return list(torch.autograd.grad(sum((part.cos()).sum() for part in first), arguments))

    found, expected = (
        [
            *slopes(function)(x, w),
            *jvp(slopes(function), (x, w), tuple(moves))[1],
            *(transform(function, argnums=which)(x, w) for transform in (jacrev, jacfwd) for which in (0, 1)),
            jvp(function, (x, w), tuple(moves))[1],
            *twice(function),
            *(transform(jacrev(function, argnums=0), argnums=1)(x, w) for transform in (jacrev, jacfwd)),
            vmap(function, in_dims=(0, None))(torch.stack([x, x + 1]), w),
        ]
        for function in (ours, literal)
    )
    assert len(found) == 14
    for ours_is, right in zip(found, expected, strict=True):
        torch.testing.assert_close(ours_is, right, rtol=1e-9, atol=1e-9 * right.abs().max().item())


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_transforms_at_flat_patches_in_float32(top: float) -> None:
    """The values of the other ways to call the layer: torch.func's gradients and forward mode."""
    x, w = photographs(top, torch.float32)
    output = cosine_conv2d(x, w, **OPTIONS)
    g = upstream(output)
    right = oracles.convolution_gradients(numbers(x), numbers(w), numbers(g), **OPTIONS)
    found = grad(lambda x, w: (cosine_conv2d(x, w, **OPTIONS) * g).sum(), argnums=(0, 1))(x, w)
    for tensor, oracle in zip(found, right, strict=True):
        np.testing.assert_allclose(numbers(tensor), oracle, rtol=0, atol=1e-5 * np.abs(oracle).max())
    move = torch.randn(w.shape, generator=torch.Generator().manual_seed(4))
    slope = jvp(lambda w: cosine_conv2d(x, w, **OPTIONS), (w,), (move,))[1]
    double = jvp(lambda w: cosine_conv2d(x.double(), w, **OPTIONS), (w.double(),), (move.double(),))[1]
    np.testing.assert_allclose(numbers(slope), numbers(double), rtol=0, atol=1e-5)


@pytest.mark.parametrize("constant", [1e-4, 1e-3])
@pytest.mark.parametrize("loss_scale", [1.0, 4096.0])
def test_black_and_faint_patches_have_finite_gradients_in_float16(loss_scale: float, constant: float) -> None:
    """Their reciprocal lengths times the gradient would not fit into float16."""
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(1, 1, 8, 8, generator=generator)
    x[..., :4, :4], x[..., 4:, 4:] = 0.0, 3e-4
    x, w = x.half().requires_grad_(), torch.randn(2, 1, 2, 2, generator=generator).half().requires_grad_()
    output = cosine_conv2d(x, w, constant=constant)
    g = torch.full_like(output, 7.0 * loss_scale / 64)
    (found,) = torch.autograd.grad(output, w, g)
    right = oracles.convolution_gradients(numbers(x), numbers(w), numbers(g), constant=constant)[1]
    np.testing.assert_allclose(numbers(found), right, rtol=0, atol=5e-3 * np.abs(right).max())


def test_a_constant_out_of_range() -> None:
    """Too small to have a square it counts as zero; too large it gives NaN, never something like a cosine."""
    x, w = torch.ones(1, 1, 4, 4), torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(6))
    x.requires_grad_()
    for constant, expected in ((1e-25, 0.0), (1e25, float("nan"))):
        output = cosine_conv2d(x, w, centered=True, constant=constant)
        (gradient,) = torch.autograd.grad(output.sum(), x)
        for tensor in (output, gradient):
            torch.testing.assert_close(tensor, torch.full_like(tensor, expected), equal_nan=True)
