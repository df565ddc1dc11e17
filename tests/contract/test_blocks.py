"""Convolutions done a few samples at a time give what they give at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cosnorm._kernels import convolution, windows

from .cases import Case, Law, cases


def outcome(case: Case, x: Tensor, w: Tensor) -> list[Tensor]:
    output = case.function(x, w)
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return [output, *torch.autograd.grad(output, (x, w), g.to(output.dtype))]


@pytest.mark.parametrize("layout", [torch.contiguous_format, "last"], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("wide", [0, 10**9], ids=["in parts", "whole"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(1, 2, 3)))
def test_one_sample_at_a_time(
    case: Case, dtype: torch.dtype, wide: int, layout: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, w = case.draw(dtype=dtype)
    if layout == "last" and case.dims > 1:
        form = {2: torch.channels_last, 3: torch.channels_last_3d}[case.dims]
        x = x.to(memory_format=form)
    x, w = x.requires_grad_(), w.requires_grad_()
    expected = outcome(case, x, w)
    monkeypatch.setattr(windows, "_BLOCK", 1)
    monkeypatch.setattr(convolution, "_WIDE", wide)
    assert len(x) > 1
    assert len(windows.blocks(x.detach())) == 1, "a graph may be kept: nothing is overwritten"
    with torch.no_grad():
        assert len(windows.blocks(x)) == len(x)
    for found, right in zip(outcome(case, x, w), expected, strict=True):
        tolerance = 32 * torch.finfo(dtype).eps
        torch.testing.assert_close(found, right, rtol=tolerance, atol=tolerance)
        assert found.stride() == right.stride()
