"""Mixed precision on the CPU: dtype of the output, closeness to float32, dtype of the gradients."""

from __future__ import annotations

import pytest
import torch

from .cases import Case, cases

BFLOAT16, FLOAT16, FLOAT32, FLOAT64 = torch.bfloat16, torch.float16, torch.float32, torch.float64


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT16], ids=str)
@pytest.mark.parametrize("case", cases())
def test_autocast_casts_as_for_torchs_layers(case: Case, dtype: torch.dtype) -> None:
    x, w = case.draw(dtype=FLOAT32, requires_grad=True)
    plain = case.function(x, w)
    slopes = torch.autograd.grad(plain.square().sum(), (x, w))
    with torch.autocast("cpu", dtype=dtype):
        output = case.function(x, w)
        inside = torch.autograd.grad(output.float().square().sum(), (x, w))
    assert output.dtype == dtype
    assert output.abs().max() <= 1
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(output.float(), plain, rtol=0, atol=tolerance)
    for found, expected in zip(inside, slopes, strict=True):
        assert found.dtype == FLOAT32
        torch.testing.assert_close(found, expected, rtol=0, atol=4 * tolerance * expected.abs().max().item())


@pytest.mark.parametrize("case", cases())
def test_backward_outside_the_autocast_region(case: Case) -> None:
    module = case.module()
    x, _ = case.draw(dtype=FLOAT32)
    with torch.autocast("cpu", dtype=BFLOAT16):
        output = module(x)
    output.float().exp().sum().backward()
    assert module.weight.grad.dtype == FLOAT32
    assert torch.isfinite(module.weight.grad).all()


@pytest.mark.parametrize("case", cases())
def test_mixed_dtypes_meet_under_autocast(case: Case) -> None:
    """The bfloat16 output of the layer before meets this layer's float32 weight."""
    x, w = case.draw(dtype=FLOAT32)
    with torch.autocast("cpu", dtype=BFLOAT16):
        output = case.function(x.to(BFLOAT16), w)
        assert output.dtype == BFLOAT16
        assert torch.equal(output, case.function(x.to(BFLOAT16), w.to(BFLOAT16)))


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


@pytest.mark.parametrize("case", cases(dims=(0, 2)))
def test_a_learnable_scale_under_autocast(case: Case) -> None:
    module = case.module(scale="learnable")
    x, _ = case.draw(dtype=FLOAT32)
    with torch.autocast("cpu", dtype=BFLOAT16):
        output = module(x)
    assert output.dtype == BFLOAT16
    output.float().sum().backward()
    assert module.scale.grad.dtype == FLOAT32
