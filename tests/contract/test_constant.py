"""``constant`` is the paper's bias: exactly as if one more component were appended to both vectors.

Where they are centered it is appended after that.
"""

from __future__ import annotations

import oracles
import pytest
import torch
from torch import Tensor

import cosnorm
from cosnorm import functional

from .cases import Case, Law, cases
from .unfolding import unfolded

FLOAT64 = torch.float64


def extended(tensor: Tensor, centered: bool, constant: float) -> Tensor:
    """``(..., d)``, its mean subtracted if ``centered``, with a last column of ``constant``."""
    if centered:
        tensor = tensor - tensor.mean(-1, keepdim=True)
    return torch.cat([tensor, tensor.new_full((*tensor.shape[:-1], 1), constant)], dim=-1)


@pytest.mark.parametrize("constant", [1e-4, 0.3, -2.0, 1e3, 1])
@pytest.mark.parametrize("centered", [False, True], ids=["plain", "centered"])
def test_linear_appends(centered: bool, constant: float) -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(2, 7, 20, generator=generator, dtype=FLOAT64, requires_grad=True)
    w = torch.randn(9, 20, generator=generator, dtype=FLOAT64, requires_grad=True)
    short = functional.cosine_linear(x, w, centered=centered, constant=constant)
    long = functional.cosine_linear(*(extended(rows, centered, constant) for rows in (x, w)))
    torch.testing.assert_close(short, long, rtol=0, atol=1e-14)
    g = torch.randn(short.shape, generator=generator, dtype=FLOAT64)
    for found, expected in zip(
        torch.autograd.grad(short, (x, w), g), torch.autograd.grad(long, (x, w), g), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("appendix", [1e-4, -2.0])
@pytest.mark.parametrize("case", cases(Law.COSINE, without=(Law.APPENDED,), dims=(1, 2, 3)))
def test_convolution_appends_one_component_to_each_patch(case: Case, appendix: float) -> None:
    """Patches are gathered one by one, so that appending is literal, and the linear layer judges."""
    x, w = case.draw(4)
    output = case.function(x, w, constant=appendix)  # type: ignore[call-arg]

    def literal(x: Tensor, w: Tensor, *, centered: bool, constant: float) -> Tensor:
        assert constant == 0
        return functional.cosine_linear(*(extended(rows, centered, appendix) for rows in (x, w)))

    expected = unfolded(x, w, literal, **case.options)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-14)


def test_the_papers_value_in_float32() -> None:
    """With 1e-4 a zero input is an ordinary vector; a usual input hardly notices."""
    layer = cosnorm.CosineLinear(784, 100, constant=1e-4)
    x = torch.rand(5, 784, generator=torch.Generator().manual_seed(0))
    x[0] = 0
    output = layer(x)
    expected = 1e-4 / (layer.weight.double().square().sum(1) + 1e-8).sqrt()
    torch.testing.assert_close(output[0].double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(output[1:], functional.cosine_linear(x[1:], layer.weight), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", cases(Law.APPENDED))
def test_the_sign_of_the_constant_does_not_matter(case: Case) -> None:
    """It stands in both vectors, so its sign cancels."""
    x, w = case.draw(1)
    opposite = case.function(x, w, constant=-case.constant)  # type: ignore[call-arg]
    torch.testing.assert_close(case.function(x, w), opposite, rtol=0, atol=1e-14)


@pytest.mark.parametrize("case", cases(Law.APPENDED))
def test_a_very_large_constant_makes_everything_parallel(case: Case) -> None:
    x, w = case.draw(1)
    output = case.function(x, w, constant=1e9)  # type: ignore[call-arg]
    torch.testing.assert_close(output, torch.ones_like(output), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("constant", [1e-4, 0.3, 30.0])
@pytest.mark.parametrize("power", [-3, 0, 3])
@pytest.mark.parametrize("case", cases(Law.APPENDED))
def test_low_precision_with_inputs_of_another_size(
    case: Case, power: int, constant: float, dtype: torch.dtype
) -> None:
    x, w = case.draw(6)
    x, w = (x * 10.0**power).to(dtype), w.to(dtype)
    output = case.function(x, w, constant=constant)  # type: ignore[call-arg]
    oracle = oracles.linear if case.dims == 0 else oracles.convolution
    expected = oracle(x.double().numpy(), w.double().numpy(), **{**case.options, "constant": constant})
    torch.testing.assert_close(
        output.double(), torch.from_numpy(expected), rtol=0, atol=8 * torch.finfo(dtype).eps
    )
