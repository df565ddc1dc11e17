"""|y| <= 1, exactly, in every dtype; and a vector's cosine with itself is 1."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cosnorm import functional

from .cases import Case, Law, cases, numbers

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
REACH = {torch.float16: 3.5, torch.bfloat16: 16.0, torch.float32: 16.0, torch.float64: 140.0}


def assert_bounded(output: Tensor) -> None:
    assert torch.isfinite(output).all()
    assert output.abs().max() <= 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", cases(Law.BOUNDED))
def test_bounded_for_many_draws_and_sizes(case: Case, dtype: torch.dtype) -> None:
    for seed in range(8):
        x, w = case.draw(seed)
        for power in (-REACH[dtype], 0.0, REACH[dtype]):
            assert_bounded(case.function((x * 10**power).to(dtype), w.to(dtype)))
            assert_bounded(case.function(x.to(dtype), (w * 10**power).to(dtype)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("centered", [False, True], ids=["plain", "centered"])
def test_parallel_vectors_reach_one_and_never_pass_it(dtype: torch.dtype, centered: bool) -> None:
    generator = torch.Generator().manual_seed(11)
    for size in (2, 3, 5, 10, 33, 100, 784, 2000):
        # How long sums round is the processor's affair: 784 terms took 8.5 roundings on an AMD EPYC.
        tolerance = (8 if size <= 100 else 16) * torch.finfo(dtype).eps
        w = torch.randn(60, size, generator=generator, dtype=torch.float64).to(dtype)
        x = torch.cat([w, -w])
        output = functional.cosine_linear(x, w, centered=centered)
        assert_bounded(output)
        same = output[:60].diagonal().double()
        opposite = output[60:].diagonal().double()
        torch.testing.assert_close(same, torch.ones_like(same), rtol=0, atol=tolerance)
        torch.testing.assert_close(opposite, -torch.ones_like(same), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(1, 2, 3)))
def test_a_filter_laid_on_itself_gives_one(case: Case, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(5)
    w = torch.randn((24, *case.weight_shape[1:]), generator=generator, dtype=torch.float64).to(dtype)
    function = getattr(functional, f"cosine_conv{case.dims}d")
    options = {key: value for key, value in case.options.items() if key in ("centered", "constant")}
    output = function(w, w, **options).reshape(24, 24)
    assert_bounded(output)
    one = torch.ones(24, dtype=torch.float64)
    torch.testing.assert_close(output.diagonal().double(), one, rtol=0, atol=4 * torch.finfo(dtype).eps)


def signs(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Arguments of entries 1 and -1, to be multiplied by a size."""
    x, w = case.draw()
    return torch.sign(x).to(dtype), torch.sign(w).to(dtype)


def sized(x: Tensor, w: Tensor, size: float) -> list[tuple[Tensor, Tensor]]:
    """One argument, the other, and both, times a size."""
    return [(x * size, w), (x, w * size), (x * size, w * size)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", cases(Law.BOUNDED))
def test_too_long_is_not_a_number_and_never_a_wrong_one(case: Case, dtype: torch.dtype) -> None:
    """Where the square of a length overflows the answer may be lost, but then it is seen to be lost."""
    info = torch.finfo(dtype)
    x, w = signs(case, dtype)
    for size in (info.max / 1024, math.sqrt(info.max), math.sqrt(info.max) / 64):
        for left, right in sized(x, w, size):
            output = case.function(left, right)
            lost = output.isnan()
            assert (output[~lost].abs() <= 1).all()
            expected = torch.from_numpy(case.values(numbers(left), numbers(right)))
            torch.testing.assert_close(
                output[~lost].double(), expected[~lost], rtol=0, atol=16 * info.eps, check_dtype=False
            )
    for left, right in sized(x, w, info.max):
        output = case.function(left, right)
        assert (output.isnan() | (output.abs() <= 1)).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", cases(Law.BOUNDED))
def test_too_short_is_zero_and_never_a_wrong_number(case: Case, dtype: torch.dtype) -> None:
    """Where the square of a length underflows the vector counts as zero; at the edge digits may be lost."""
    info = torch.finfo(dtype)
    x, w = signs(case, dtype)
    for size in (info.tiny / 2, info.tiny, math.sqrt(info.tiny) / 8, math.sqrt(info.tiny) * 8):
        for left, right in sized(x, w, size):
            output = case.function(left, right)
            assert_bounded(output)
            expected = torch.from_numpy(case.values(numbers(left), numbers(right)))
            error = (output.double() - expected).abs()
            assert ((output == 0) | (error <= 16 * info.eps)).all()


@pytest.mark.parametrize("case", cases(Law.BOUNDED))
def test_half_precision_is_never_out_of_range(case: Case) -> None:
    """float16 reaches from 6e-8 to 65504: its squares fit into float32, where lengths are computed."""
    info = torch.finfo(torch.float16)
    x, w = signs(case, torch.float16)
    for size in (info.max / 8, info.tiny, info.smallest_normal / 512):
        for left, right in sized(x, w, size):
            case.close(case.function(left, right), left, right, factor=4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", cases(Law.BOUNDED))
def test_half_precision_does_not_overflow_in_the_dot_product(case: Case, dtype: torch.dtype) -> None:
    largest = 6e4 if dtype == torch.float16 else 1e18
    x, w = case.draw(2)
    x, w = (largest * x / x.abs().max()).to(dtype), (largest * w / w.abs().max()).to(dtype)
    case.close(case.function(x, w), x, w)


@pytest.mark.parametrize("case", cases(Law.BOUNDED))
def test_sparse_and_spiky_vectors(case: Case) -> None:
    x, w = case.draw(4, torch.float32)
    keep = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    sparse = x * keep
    spiky = torch.where(keep, x * 1e6, x)
    for tensor in (sparse, spiky):
        output = case.function(tensor, w)
        assert_bounded(output)
        case.close(output, tensor, w)
