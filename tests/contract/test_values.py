"""The layers compute what the float64 NumPy oracle computes, for every option and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
import torch

from cosnorm import functional

from .cases import Case, Law, cases, numbers

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", cases())
def test_values_in_every_dtype(case: Case, dtype: torch.dtype) -> None:
    x, w = case.draw(dtype=dtype)
    output = case.function(x, w)
    assert output.dtype == dtype
    case.close(output, x, w)


@pytest.mark.parametrize(
    ("dtype", "factor"), [(torch.float32, 32), (torch.float64, 32), (torch.bfloat16, 8)], ids=str
)
@pytest.mark.parametrize("case", cases())
def test_gradients_in_every_dtype(case: Case, dtype: torch.dtype, factor: float) -> None:
    x, w = case.draw(dtype=dtype, requires_grad=True)
    output = case.function(x, w)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(
        dtype
    )
    output.backward(upstream)
    expected = case.gradients(numbers(x), numbers(w), numbers(upstream))
    for tensor, oracle in zip((x, w), expected, strict=True):
        assert tensor.grad is not None
        assert tensor.grad.dtype == dtype
        bound = factor * torch.finfo(dtype).eps * np.abs(oracle).max()
        np.testing.assert_allclose(numbers(tensor.grad), oracle, rtol=0, atol=bound)


@pytest.mark.parametrize("case", cases())
def test_modules_compute_the_same(case: Case) -> None:
    module = case.build(dtype=torch.float64)
    x, _ = case.draw()
    weight = case.weight(module)
    output = module(x)
    assert torch.equal(output, case.function(x, weight))
    case.close(output, x, weight)


@pytest.mark.parametrize("shape", [(6,), (1, 6), (2, 3, 6), (2, 1, 2, 3, 6), (0, 6), (2, 0, 6)], ids=str)
@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(0,)))
def test_linear_takes_any_leading_dimensions(case: Case, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    _, w = case.draw()
    assert case.function(x, w).shape == (*shape[:-1], 5)
    case.close(case.function(x, w), x, w)


@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(1, 2, 3)))
def test_convolutions_take_a_single_example(case: Case) -> None:
    x, w = case.draw()
    alone = case.function(x[0], w)
    assert alone.shape == case.function(x, w).shape[1:]
    case.close(alone, x[0], w)


GEOMETRIES: list[tuple[int, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    (1, (2, 3, 8), (4, 3, 3), {"padding": "same", "dilation": 2}),
    (1, (2, 3, 8), (4, 3, 4), {"padding": "same"}),
    (1, (2, 3, 8), (4, 3, 4), {"padding": "valid", "stride": 3}),
    (1, (2, 3, 3), (4, 3, 3), {}),
    (1, (1, 1, 1), (1, 1, 1), {"padding": 2}),
    (1, (2, 4, 9), (8, 1, 3), {"groups": 4, "stride": (2,), "padding": (3,), "dilation": (2,)}),
    (2, (2, 2, 5, 6), (3, 2, 4, 1), {"padding": "same", "dilation": (1, 3)}),
    (2, (2, 2, 5, 6), (3, 2, 2, 3), {"padding": "valid", "stride": (1, 2)}),
    (2, (2, 2, 5, 6), (3, 2, 1, 1), {"stride": 2, "padding": (1, 2)}),
    (2, (1, 4, 6, 6), (4, 2, 3, 3), {"groups": 2, "stride": 2, "padding": 2, "dilation": 2}),
    (3, (1, 2, 4, 4, 5), (2, 2, 3, 2, 2), {"padding": "same", "dilation": (1, 2, 1)}),
    (3, (1, 4, 3, 4, 5), (4, 2, 2, 1, 3), {"groups": 2, "stride": (1, 2, 2), "padding": (1, 0, 2)}),
    (3, (1, 2, 4, 4, 5), (2, 2, 2, 2, 2), {"padding": "valid", "dilation": (3, 1, 2)}),
]


@pytest.mark.parametrize("centered", [False, True], ids=["plain", "centered"])
@pytest.mark.parametrize("constant", [0.0, -0.7], ids=["", "constant"])
@pytest.mark.parametrize(
    ("dims", "input_shape", "weight_shape", "options"),
    GEOMETRIES,
    ids=[f"{g[0]}d-{number}" for number, g in enumerate(GEOMETRIES)],
)
def test_convolution_geometries(
    dims: int,
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    options: dict[str, Any],
    constant: float,
    centered: bool,
) -> None:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(input_shape, generator=generator, dtype=torch.float64)
    w = torch.randn(weight_shape, generator=generator, dtype=torch.float64)
    function = getattr(functional, f"cosine_conv{dims}d")
    output = function(x, w, **options, centered=centered, constant=constant)
    expected = oracles.convolution(numbers(x), numbers(w), **options, centered=centered, constant=constant)
    assert tuple(output.shape) == expected.shape
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=1e-14)


def test_geometry_may_be_given_by_position_as_in_torch() -> None:
    x, w = torch.randn(1, 4, 9, 9), torch.randn(6, 2, 3, 3)
    named = functional.cosine_conv2d(x, w, stride=2, padding=1, dilation=2, groups=2)
    assert torch.equal(functional.cosine_conv2d(x, w, 2, 1, 2, 2), named)
    assert named.shape == torch.nn.functional.conv2d(x, w, None, 2, 1, 2, 2).shape


@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000, 4097])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_linear_of_many_lengths(size: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(size)
    x, w = (torch.randn(rows, size, generator=generator).to(dtype) for rows in (5, 4))
    output = functional.cosine_linear(x, w)
    expected = oracles.linear(numbers(x), numbers(w))
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=8 * torch.finfo(dtype).eps)
