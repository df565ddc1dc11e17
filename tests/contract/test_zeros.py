"""A zero vector, and when centred a constant one, has cosine 0 and gradient 0 with everything."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cosnorm import functional

from .cases import Case, Law, cases

FLOAT64 = torch.float64


def gradients(case: Case, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output and both gradients, with the graph kept for second derivatives."""
    output = case.function(x, w)
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=FLOAT64).to(output.dtype)
    return output, *torch.autograd.grad(output, (x, w), g, create_graph=True)


def assert_second_derivatives_finite(x: Tensor, w: Tensor, dx: Tensor, dw: Tensor) -> None:
    second = torch.autograd.grad(dx.square().sum() + dw.square().sum(), (x, w))
    assert all(torch.isfinite(tensor).all() for tensor in second)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, FLOAT64], ids=str)
@pytest.mark.parametrize("case", cases(Law.ZERO))
def test_zero_examples(case: Case, dtype: torch.dtype) -> None:
    x, w = case.draw(dtype=dtype)
    x[0] = 0
    x, w = x.requires_grad_(), w.requires_grad_()
    output, dx, dw = gradients(case, x, w)
    assert (output[0] == 0).all()
    assert (dx[0] == 0).all()
    assert dx[1:].abs().sum() > 0
    case.close(output, x, w)
    assert torch.isfinite(dx).all()
    assert torch.isfinite(dw).all()
    if dtype == FLOAT64:
        assert_second_derivatives_finite(x, w, dx, dw)


@pytest.mark.parametrize("case", cases(Law.ZERO))
def test_zero_weight_rows_and_filters(case: Case) -> None:
    x, w = case.draw()
    w[1] = 0
    x, w = x.requires_grad_(), w.requires_grad_()
    output, dx, dw = gradients(case, x, w)
    units = output.movedim(-1 if case.dims == 0 else 1, 0)
    assert (units[1] == 0).all()
    assert (dw[1] == 0).all()
    assert units[0].abs().sum() > 0
    case.close(output, x, w)
    assert_second_derivatives_finite(x, w, dx, dw)


@pytest.mark.parametrize("case", cases(Law.ZERO))
def test_all_zero_and_batches_of_zeros(case: Case) -> None:
    x, w = (torch.zeros_like(tensor).requires_grad_() for tensor in case.draw())
    output, dx, dw = gradients(case, x, w)
    assert (output == 0).all()
    assert (dx == 0).all()
    assert (dw == 0).all()
    assert_second_derivatives_finite(x, w, dx, dw)


@pytest.mark.parametrize("case", cases(Law.ZERO))
def test_zero_vectors_give_nothing_to_the_gradient_of_the_other_argument(case: Case) -> None:
    x, w = case.draw()
    x[0] = 0
    _, _, with_zero = gradients(case, x.requires_grad_(), w.requires_grad_())
    output = case.function(x, w)
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=FLOAT64)
    (without,) = torch.autograd.grad(case.function(x[1:], w), w, g[1:])
    torch.testing.assert_close(with_zero, without, rtol=0, atol=1e-14)


@pytest.mark.parametrize("case", cases(Law.ZERO, dims=(1, 2, 3)))
def test_zero_patches_inside_an_image(case: Case) -> None:
    """Half of the image is 0 (constant, when centred): the patches that lie in it are zero vectors."""
    x, w = case.draw()
    x[..., : x.shape[-1] // 2 + 1] = 0
    x, w = x.requires_grad_(), w.requires_grad_()
    output, dx, dw = gradients(case, x, w)
    expected = torch.from_numpy(case.values(x.detach().numpy(), w.detach().numpy()))
    assert (expected == 0).any()
    assert (output[expected == 0] == 0).all()
    case.close(output, x, w)
    assert_second_derivatives_finite(x, w, dx, dw)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, FLOAT64], ids=str)
@pytest.mark.parametrize("value", [0.1, -1 / 3, 3.3e-5, 1e4 + 0.1, 54321.0])
@pytest.mark.parametrize("case", cases(Law.ZERO, Law.CENTERED))
def test_constant_examples_and_weights_are_zero_vectors_when_centred(
    case: Case, value: float, dtype: torch.dtype
) -> None:
    x, w = case.draw(dtype=dtype)
    x[0], w[1] = value, value
    x, w = x.requires_grad_(), w.requires_grad_()
    output, dx, dw = gradients(case, x, w)
    units = output.movedim(-1 if case.dims == 0 else 1, 0)
    assert (units[1] == 0).all()
    assert (dw[1] == 0).all()
    if Law.INPUT_SHIFT in case.laws:  # otherwise the padded patches at the edge are not constant
        assert (output[0] == 0).all()
        assert (dx[0] == 0).all()
    case.close(output, x, w)


@pytest.mark.parametrize("dtype", [torch.float32, FLOAT64], ids=str)
@pytest.mark.parametrize("value", [0.1, 2 / 3, 1e4 + 0.1, 1e-12])
def test_constant_vectors_of_many_lengths(value: float, dtype: torch.dtype) -> None:
    for size in (1, 2, 3, 7, 10, 49, 100, 784, 1000, 3001):
        x = torch.full((2, size), value, dtype=dtype, requires_grad=True)
        w = torch.randn(3, size, generator=torch.Generator().manual_seed(size), dtype=dtype)
        output = functional.cosine_linear(x, w, centered=True)
        (dx,) = torch.autograd.grad(output.sum(), x)
        assert (output == 0).all(), size
        assert (dx == 0).all(), size
        assert (functional.cosine_linear(w, x, centered=True) == 0).all(), size


@pytest.mark.parametrize("value", [0.1, -7 / 3, 1e4 + 0.1])
@pytest.mark.parametrize("case", cases(Law.ZERO, Law.CENTERED, dims=(1, 2, 3)))
def test_constant_patches_beside_others(case: Case, value: float) -> None:
    """The mean of the whole example is not the mean of the constant part."""
    x, w = case.draw(3, torch.float32)
    x[..., : x.shape[-1] // 2 + 1] = value
    output = case.function(x, w)
    expected = torch.from_numpy(case.values(x.double().numpy(), w.double().numpy()))
    assert (output[expected == 0] == 0).all()


@pytest.mark.parametrize("case", cases(Law.ZERO, Law.CENTERED, dims=(0,)))
def test_a_single_component_is_always_constant(case: Case) -> None:
    x, w = torch.randn(4, 1, requires_grad=True), torch.randn(3, 1, requires_grad=True)
    output, dx, dw = gradients(case, x, w)
    assert (output == 0).all()
    assert (dx == 0).all()
    assert (dw == 0).all()


def test_a_near_zero_vector_has_a_gradient_of_its_own_size() -> None:
    """No epsilon in a square root: at length 1e-15 the cosine is still exact, and its slope is 1/length."""
    direction = torch.tensor([[3.0, 4.0]])
    x = (1e-15 * direction).requires_grad_()
    output = functional.cosine_linear(x, torch.tensor([[4.0, 3.0]]))
    output.sum().backward()
    torch.testing.assert_close(output, torch.tensor([[0.96]]), rtol=1e-6, atol=0)
    # (w_hat - c x_hat) / length, by hand: (0.8 - 0.96 * 0.6, 0.6 - 0.96 * 0.8) / 5e-15
    torch.testing.assert_close(x.grad, torch.tensor([[0.224, -0.168]]) / 5e-15, rtol=1e-5, atol=0)


@pytest.mark.parametrize("case", cases(Law.APPENDED))
def test_with_the_constant_a_zero_vector_has_an_angle(case: Case) -> None:
    """(0, ..., k) and (w, k): the cosine is k / |(w, k)|, which is what the paper adds its bias for."""
    x, w = case.draw()
    output = case.function(torch.zeros_like(x), w)
    k, rows = case.constant, case.weight_blocks(w)
    if Law.CENTERED in case.laws:
        rows = rows - rows.mean(1, keepdim=True)
    expected = k / (rows.square().sum(1) + k * k).sqrt()
    units = output.movedim(-1 if case.dims == 0 else 1, -1)
    torch.testing.assert_close(units, expected.expand_as(units), rtol=1e-14, atol=0)
