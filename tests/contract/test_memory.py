"""Layouts and sizes: strided, expanded, channels_last, empty, on the meta device; arguments untouched."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from .cases import Case, Law, cases

FLOAT64 = torch.float64


def with_gradients(case: Case, x: Tensor, w: Tensor) -> list[Tensor]:
    """Output and gradients; ``x`` and ``w`` keep their strides."""
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    output = case.function(x, w)
    g = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    return [output, *torch.autograd.grad(output, (x, w), g)]


def strided(tensor: Tensor) -> Tensor:
    """The same numbers, two apart in every dimension, dimensions stored backwards."""
    order = tuple(reversed(range(tensor.dim())))
    wide = tensor.new_full([2 * size for size in reversed(tensor.shape)], torch.nan)
    view = wide.permute(order)[tuple(slice(1, None, 2) for _ in order)]
    view.copy_(tensor)
    return view


@pytest.mark.parametrize("case", cases())
def test_strided_arguments(case: Case) -> None:
    x, w = case.draw()
    assert not strided(x).is_contiguous()
    for found, expected in zip(
        with_gradients(case, strided(x), strided(w)), with_gradients(case, x, w), strict=True
    ):
        case.alike(found, expected)


@pytest.mark.parametrize("case", cases())
def test_non_contiguous_upstream_gradient(case: Case) -> None:
    x, w = case.draw(requires_grad=True)
    output, again = case.function(x, w), case.function(x, w)
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(0), dtype=FLOAT64)
    expected = torch.autograd.grad(output, (x, w), g)
    for found, right in zip(torch.autograd.grad(again, (x, w), strided(g)), expected, strict=True):
        case.alike(found, right)


@pytest.mark.parametrize("case", cases(Law.PER_EXAMPLE))
def test_expanded_arguments(case: Case) -> None:
    """One example repeated, and one weight vector repeated, without memory of their own.

    Equal units have no spread to divide by, so other techniques get one component of each repeated.
    """
    x, w = case.draw()
    one_x = x[:1].expand_as(x)
    one_w = (w[:1] if Law.COSINE in case.laws else w[..., :1]).expand_as(w)
    for found, expected in zip(
        with_gradients(case, one_x, one_w), with_gradients(case, one_x.clone(), one_w.clone()), strict=True
    ):
        case.alike(found, expected)
    short_x = x[:1].clone().requires_grad_()
    case.function(short_x.expand_as(x), w).sum().backward()
    each = x[:1].clone().requires_grad_()
    case.function(each, w).sum().backward()
    assert short_x.grad is not None
    assert each.grad is not None
    case.alike(short_x.grad, each.grad * len(x), 1e-13)


LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


@pytest.mark.parametrize("dtype", [torch.float32, FLOAT64], ids=str)
@pytest.mark.parametrize("case", cases(dims=(2, 3)))
def test_channels_last(case: Case, dtype: torch.dtype) -> None:
    x, w = case.draw(dtype=dtype)
    layout = LAST[case.dims]
    last = with_gradients(case, x.to(memory_format=layout), w.to(memory_format=layout))
    tolerance = 64 * torch.finfo(dtype).eps
    for found, expected in zip(last, with_gradients(case, x, w), strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("case", cases(Law.LAYOUT, dims=(2, 3)))
def test_the_output_is_laid_out_as_by_torchs_convolution(case: Case, layout: str) -> None:
    """The next layer's kernels depend on it."""
    x, w = case.draw(dtype=torch.float32)
    if layout == "channels_last":
        x, w = x.to(memory_format=LAST[case.dims]), w.to(memory_format=LAST[case.dims])
    output = case.function(x, w)
    geometry = {key: value for key, value in case.options.items() if key not in ("centered", "constant")}
    if geometry.get("padding") == "same":  # torch copies the input for an uneven width: pad it by hand
        x = F.pad(x, (1, 1, 0, 1)).contiguous(
            memory_format=LAST[case.dims] if layout == "channels_last" else torch.contiguous_format
        )
        geometry["padding"] = 0
    plain = getattr(F, f"conv{case.dims}d")(x, w, **geometry)
    assert output.shape == plain.shape
    assert output.stride() == plain.stride()


@pytest.mark.parametrize("case", cases())
def test_gradients_are_dense(case: Case) -> None:
    x, w = case.draw(requires_grad=True)
    case.function(x, w).sum().backward()
    assert x.grad.shape == x.shape
    assert w.grad.is_contiguous()


@pytest.mark.parametrize("case", cases())
def test_no_argument_is_changed(case: Case) -> None:
    for dtype in (torch.float16, torch.float32):
        x, w = case.draw(dtype=dtype, requires_grad=True)
        before = x.detach().clone(), w.detach().clone()
        output = case.function(x, w)
        g = torch.ones_like(output)
        torch.autograd.grad(output, (x, w), g)
        assert torch.equal(x, before[0])
        assert torch.equal(w, before[1])
        assert (g == 1).all()
        assert x._version == w._version == g._version == 0


@pytest.mark.parametrize("case", cases())
def test_the_output_shares_no_memory_with_the_arguments(case: Case) -> None:
    x, w = case.draw()
    output = case.function(x, w)
    storages = {tensor.untyped_storage().data_ptr() for tensor in (x, w)}
    assert output.untyped_storage().data_ptr() not in storages


@pytest.mark.parametrize("case", cases(Law.EMPTY))
def test_empty_batch(case: Case) -> None:
    x, w = case.draw()
    x, w = x[:0].requires_grad_(), w.requires_grad_()
    output = case.function(x, w)
    assert output.shape == (0, *case.function(*case.draw()).shape[1:])
    output.sum().backward()
    assert x.grad.shape == x.shape
    assert (w.grad == 0).all()


@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(0,)))
def test_no_units_and_no_components(case: Case) -> None:
    x, w = case.draw()
    assert case.function(x, w[:0]).shape == (len(x), 0)
    output = case.function(x[:, :0], w[:, :0])
    angle = 1.0 if case.constant else 0.0  # the appended components alone
    torch.testing.assert_close(output, torch.full_like(output, angle))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("case", cases())
def test_meta_device(case: Case, dtype: torch.dtype) -> None:
    x, w = case.draw(dtype=dtype)
    on_meta = [tensor.to("meta").requires_grad_() for tensor in (x, w)]
    output = case.function(*on_meta)
    real = case.function(x, w)
    assert output.device.type == "meta"
    assert (output.shape, output.dtype) == (real.shape, real.dtype)
    output.sum().backward()
    assert all(tensor.grad.shape == tensor.shape for tensor in on_meta)


@pytest.mark.parametrize("case", cases())
def test_fake_tensors(case: Case) -> None:
    """What tracing sees of a layer: shapes without numbers."""
    real = case.function(*case.draw())
    with FakeTensorMode(allow_non_fake_inputs=True):
        shapes = (case.input_shape, case.weight_shape)
        output = case.function(*(torch.empty(shape, dtype=FLOAT64) for shape in shapes))
        assert (output.shape, output.stride()) == (real.shape, real.stride())
