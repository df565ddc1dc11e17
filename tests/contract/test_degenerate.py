"""Inputs a training run may meet: zeros, constants, one example, layers used before they were trained."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from .cases import Case, Law, cases

FLOAT64 = torch.float64
DTYPES = [torch.float16, torch.bfloat16, torch.float32, FLOAT64]


def zero_example(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    x[0] = 0
    return x, w


def zero_weight(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    w[1] = 0
    return x, w


def all_zero(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return x * 0, w * 0


def constant_input(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return torch.full_like(x, 0.3), w


def constant_example_and_weight(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    x[0], w[1] = 7.7, -1 / 3
    return x, w


def equal_units(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return x, w[:1].repeat(len(w), *[1] * (w.dim() - 1))


def one_constant_component(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    x[:, 0] = 2.5
    return x, w


DEGENERATE: list[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = [
    zero_example, zero_weight, all_zero, constant_input, constant_example_and_weight, equal_units,
    one_constant_component,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", cases())
def test_outputs_and_gradients_are_finite(case: Case, dtype: torch.dtype) -> None:
    for make in DEGENERATE:
        x, w = (tensor.requires_grad_() for tensor in make(*case.draw(dtype=dtype)))
        output = case.function(x, w)
        g = torch.linspace(-1, 1, output.numel()).view(output.shape).to(dtype)
        for tensor in (output, *torch.autograd.grad(output, (x, w), g)):
            assert tensor.dtype == dtype
            assert torch.isfinite(tensor).all(), make.__name__


@pytest.mark.parametrize("case", cases())
def test_outputs_are_the_oracles(case: Case) -> None:
    for make in DEGENERATE:
        x, w = make(*case.draw())
        expected = case.values(x.numpy(), w.numpy())
        # Units that ought to be equal differ by a rounding, which is then divided by the root of epsilon.
        torch.testing.assert_close(
            case.function(x, w), torch.from_numpy(expected), rtol=0, atol=1e-11 * max(1, abs(expected).max())
        )


@pytest.mark.parametrize("case", cases(Law.TWICE))
def test_second_derivatives_are_finite(case: Case) -> None:
    for make in DEGENERATE:
        x, w = (tensor.requires_grad_() for tensor in make(*case.draw()))
        slopes = torch.autograd.grad(case.function(x, w).exp().sum(), (x, w), create_graph=True)
        for tensor in torch.autograd.grad(sum(slope.square().sum() for slope in slopes), (x, w)):
            assert torch.isfinite(tensor).all(), make.__name__


@pytest.mark.parametrize("case", cases(without=(Law.TWICE,)))
def test_a_second_derivative_that_does_not_exist_is_refused(case: Case) -> None:
    """A zero in its place would be taken for an answer."""
    x, w = case.draw(requires_grad=True)
    (slope,) = torch.autograd.grad(case.function(x, w).exp().sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, FLOAT64], ids=str)
@pytest.mark.parametrize("case", cases(Law.ZERO_WEIGHT))
def test_a_zero_weight_vector_has_no_direction(case: Case, dtype: torch.dtype) -> None:
    """Its outputs are one number whatever the input, and no gradient tells it where to go."""
    x, w = case.draw(dtype=dtype)
    w[1] = 0
    x, w = x.requires_grad_(), w.requires_grad_()
    output = case.function(x, w)
    units = output.movedim(-1 if case.dims == 0 else 1, 0)
    (dw,) = torch.autograd.grad(output.float().exp().sum(), w)
    assert (units[1] == units[1].flatten()[0]).all()
    assert (dw[1] == 0).all()
    assert (dw[0] != 0).any()
    (lonely,) = torch.autograd.grad(case.function(x, w).movedim(-1 if case.dims == 0 else 1, 0)[1].sum(), x)
    assert (lonely == 0).all()
    case.close(output, x, w)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", cases(without=(Law.NEEDS_BATCH,)))
def test_a_batch_of_one(case: Case, dtype: torch.dtype) -> None:
    x, w = case.draw(dtype=dtype)
    x = x[:1].clone().requires_grad_()
    output = case.function(x, w.requires_grad_())
    case.close(output, x, w)
    assert all(torch.isfinite(tensor).all() for tensor in torch.autograd.grad(output.sum(), (x, w)))


@pytest.mark.parametrize("case", cases(Law.NEEDS_BATCH))
def test_what_needs_a_batch_says_so(case: Case) -> None:
    """Torch's own message; in evaluation one example will do."""
    x, w = case.draw()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        case.function(x[:1], w)
    assert torch.isfinite(case.build(dtype=FLOAT64).eval()(x[:1])).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", cases())
def test_evaluation_before_any_training(case: Case, dtype: torch.dtype) -> None:
    """A fresh layer's estimates are mean 0 and variance 1, not nothing; one example is as good as many."""
    module = case.module(dtype=dtype).eval()
    x, _ = case.draw(dtype=dtype)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    output = module(x)
    assert torch.isfinite(output).all()
    assert output.dtype == dtype
    torch.testing.assert_close(module(x[:1]), output[:1], rtol=0, atol=case.tolerance(dtype, output.detach()))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
