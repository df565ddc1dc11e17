"""Mixed precision on the CPU: dtype of the output, closeness to float32, dtype of the gradients."""

from __future__ import annotations

import pytest
import torch

from .cases import Case, Law, cases

BFLOAT16, FLOAT16, FLOAT32, FLOAT64 = torch.bfloat16, torch.float16, torch.float32, torch.float64


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT16], ids=str)
@pytest.mark.parametrize("case", cases())
def test_autocast_casts_as_for_torchs_layers(case: Case, dtype: torch.dtype) -> None:
    x, w = case.draw(dtype=FLOAT32, requires_grad=True)
    plain = case.function(x, w)
    g = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1))
    slopes = torch.autograd.grad(plain, (x, w), g)
    with torch.autocast("cpu", dtype=dtype):
        output = case.function(x, w)
        inside = torch.autograd.grad(output.float(), (x, w), g)
    assert output.dtype == dtype
    if Law.BOUNDED in case.laws:
        assert output.abs().max() <= 1
    torch.testing.assert_close(output.float(), plain, rtol=0, atol=case.tolerance(dtype, plain.detach(), 4))
    for found, expected in zip(inside, slopes, strict=True):
        assert found.dtype == FLOAT32
        atol = 16 * torch.finfo(dtype).eps * expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("case", cases())
def test_backward_outside_the_autocast_region(case: Case) -> None:
    module = case.module()
    x, _ = case.draw(dtype=FLOAT32)
    with torch.autocast("cpu", dtype=BFLOAT16):
        output = module(x)
    output.float().exp().sum().backward()
    slope = case.weight(module).grad
    assert slope is not None
    assert slope.dtype == FLOAT32
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("case", cases())
def test_mixed_dtypes_meet_under_autocast(case: Case) -> None:
    """The bfloat16 output of the layer before meets this layer's float32 weight."""
    x, w = case.draw(dtype=FLOAT32)
    with torch.autocast("cpu", dtype=BFLOAT16):
        output = case.function(x.to(BFLOAT16), w)
        rounded = case.function(x.to(BFLOAT16), w.to(BFLOAT16))
    assert output.dtype == BFLOAT16
    atol = 0.0 if Law.COSINE in case.laws else case.tolerance(BFLOAT16, rounded.detach(), 4)
    torch.testing.assert_close(output, rounded, rtol=0, atol=atol)


@pytest.mark.parametrize("case", cases())
def test_float64_is_left_alone(case: Case) -> None:
    x, w = case.draw()
    with torch.autocast("cpu", dtype=BFLOAT16):
        output = case.function(x, w)
    assert output.dtype == FLOAT64
    assert torch.equal(output, case.function(x, w))


@pytest.mark.parametrize("case", cases())
def test_autocast_can_be_switched_off_inside(case: Case) -> None:
    x, w = case.draw(dtype=FLOAT32)
    with torch.autocast("cpu", dtype=BFLOAT16), torch.autocast("cpu", enabled=False):
        output = case.function(x, w)
    assert output.dtype == FLOAT32
    assert torch.equal(output, case.function(x, w))


@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(0, 2)))
def test_a_learnable_scale_under_autocast(case: Case) -> None:
    module = case.module(scale="learnable")
    x, _ = case.draw(dtype=FLOAT32)
    with torch.autocast("cpu", dtype=BFLOAT16):
        output = module(x)
    assert output.dtype == BFLOAT16
    output.float().sum().backward()
    assert module.scale.grad.dtype == FLOAT32
