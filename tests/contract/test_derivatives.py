"""First and second derivatives in every mode of torch, against finite differences and composed code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp

from cosnorm import functional

from .cases import Case, Law, cases
from .unfolding import unfolded

FLOAT64 = torch.float64


@pytest.mark.parametrize("case", cases(Law.DERIVATIVE, Law.FORWARD_MODE))
def test_gradcheck_in_all_modes(case: Case) -> None:
    assert gradcheck(
        case.function,
        case.draw(1, requires_grad=True),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        fast_mode=True,
    )


@pytest.mark.parametrize("case", cases(Law.DERIVATIVE, Law.FORWARD_MODE, dims=(0, 1)))
def test_gradcheck_entry_by_entry(case: Case) -> None:
    assert gradcheck(case.function, case.draw(2, requires_grad=True), check_forward_ad=True)


@pytest.mark.parametrize("case", cases(Law.DERIVATIVE, Law.TWICE))
def test_gradgradcheck(case: Case) -> None:
    assert gradgradcheck(
        case.function,
        case.draw(3, requires_grad=True),
        check_batched_grad=True,
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        fast_mode=True,
    )


@pytest.mark.parametrize("case", cases(Law.DERIVATIVE, Law.TWICE, dims=(0,)))
def test_gradgradcheck_entry_by_entry(case: Case) -> None:
    x, w = case.draw(4)
    assert gradgradcheck(case.function, (x[:2].requires_grad_(), w.requires_grad_()))


@pytest.mark.parametrize("which", [0, 1], ids=["input", "weight"])
@pytest.mark.parametrize("case", cases())
def test_one_argument_alone_may_need_a_gradient(case: Case, which: int) -> None:
    both = case.draw(5, requires_grad=True)
    g = torch.randn(case.function(*both).shape, generator=torch.Generator().manual_seed(0), dtype=FLOAT64)
    expected = torch.autograd.grad(case.function(*both), both, g)[which]
    single = [tensor.detach() for tensor in both]
    single[which].requires_grad_()
    output = case.function(*single)
    (found,) = torch.autograd.grad(output, single[which], g, create_graph=Law.TWICE in case.laws)
    case.alike(found.detach(), expected, 1e-15)
    assert single[1 - which].grad is None
    if found.requires_grad:  # a layer that is linear in this argument has nothing more to give
        (second,) = torch.autograd.grad(found.square().sum(), single[which], allow_unused=True)
        assert second is None or torch.isfinite(second).all()


def composed(case: Case) -> Callable[[Tensor, Tensor], Tensor]:
    """The same cosine by autograd through F.normalize over literal patches: slow, right away from 0."""
    return lambda x, w: unfolded(x, w, normalized_product, **case.options)


def normalized_product(x: Tensor, w: Tensor, *, centered: bool = False, constant: float = 0.0) -> Tensor:
    """``(..., B, d)``, ``(..., m, d)`` -> ``(..., B, m)`` with nothing of the package."""
    if centered:
        x, w = (tensor - tensor.mean(-1, keepdim=True) for tensor in (x, w))
    if constant:
        x, w = (F.pad(tensor, (0, 1), value=constant) for tensor in (x, w))
    return F.normalize(x, dim=-1) @ F.normalize(w, dim=-1).transpose(-1, -2)


@pytest.mark.parametrize("case", cases(Law.COSINE))
def test_jacobians_of_both_modes_equal_composed_autograd(case: Case) -> None:
    x, w = case.draw(6)
    for which in (0, 1):
        expected = jacrev(composed(case), argnums=which)(x, w)
        for transform in (jacrev, jacfwd):
            found = transform(case.function, argnums=which)(x, w)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", cases(Law.COSINE))
def test_hessian_vector_products_equal_composed_autograd(case: Case) -> None:
    """Forward over reverse, along one direction, of a curved function of the output."""
    x, w = case.draw(7)
    dx, dw = case.draw(8)

    def along(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        slope = grad(lambda x, w: function(x, w).pow(3).sum(), argnums=(0, 1))
        return jvp(slope, (x, w), (dx, dw))[1]

    for found, expected in zip(along(case.function), along(composed(case)), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "options",
    [{}, {"centered": True}, {"constant": 0.3}, {"centered": True, "constant": 0.3}],
    ids=["plain", "centered", "constant", "centered-constant"],
)
def test_full_hessian_of_the_linear_layer(options: dict[str, float]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(rows, 4, generator=generator, dtype=FLOAT64) for rows in (2, 3))
    ours = hessian(lambda x, w: functional.cosine_linear(x, w, **options).exp().sum(), argnums=(0, 1))(x, w)
    theirs = hessian(lambda x, w: normalized_product(x, w, **options).exp().sum(), argnums=(0, 1))(x, w)
    for found_row, expected_row in zip(ours, theirs, strict=True):
        for found, expected in zip(found_row, expected_row, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", cases(Law.DERIVATIVE, Law.ANY_ORDER, dims=(0, 2)))
def test_third_derivative_along_a_line_is_finite_differences_of_the_second(case: Case) -> None:
    x, w = case.draw(9)
    dx, dw = case.draw(10)

    def height(t: Tensor) -> Tensor:
        return case.function(x + t * dx, w + t * dw).pow(2).sum()

    second = grad(grad(height))
    third = grad(second)(torch.tensor(0.0, dtype=FLOAT64))
    step = 1e-5
    ends = [second(torch.tensor(sign * step, dtype=FLOAT64)) for sign in (1, -1)]
    torch.testing.assert_close(third, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", cases(Law.FORWARD_MODE))
def test_reverse_and_forward_modes_are_transposes(case: Case) -> None:
    """<g, J v> = <J' g, v> for random g and v."""
    point, v = case.draw(11), case.draw(12)
    output, pull = vjp(case.function, *point)
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=FLOAT64)
    _, pushed = jvp(case.function, point, v)
    right = sum((a * b).sum() for a, b in zip(pull(g), v, strict=True))
    torch.testing.assert_close((g * pushed).sum(), right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", cases())
def test_used_twice_in_a_graph_gradients_add(case: Case) -> None:
    x, w = case.draw(13, requires_grad=True)
    y = case.function(x, w)
    again = case.function(2 * x, w - 1)
    (y.square().sum() + again.sum()).backward()
    parts = [
        torch.autograd.grad(part, (x, w))
        for part in (case.function(x, w).square().sum(), case.function(2 * x, w - 1).sum())
    ]
    for tensor, one, two in zip((x, w), *parts, strict=True):
        assert tensor.grad is not None
        case.alike(tensor.grad, one + two, 1e-13)


@pytest.mark.parametrize("case", cases(Law.REPEATABLE))
def test_backward_twice_through_a_kept_graph(case: Case) -> None:
    x, w = case.draw(14, requires_grad=True)
    total = case.function(x, w).sum()
    first = torch.autograd.grad(total, (x, w), retain_graph=True)
    second = torch.autograd.grad(total, (x, w))
    assert all(map(torch.equal, first, second))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(total, (x, w))


@pytest.mark.parametrize("case", cases())
def test_changing_an_argument_in_place_before_backward_never_gives_a_wrong_gradient(case: Case) -> None:
    """It is noticed, or the layer had all it needed: then the gradient is that of the numbers it saw."""
    x, w = case.draw(15, requires_grad=True)
    expected = torch.autograd.grad(case.function(x, w).sum(), (x, w))
    total = case.function(x, w).sum()
    with torch.no_grad():
        w.mul_(2)
    found, message = None, ""
    try:
        found = torch.autograd.grad(total, (x, w))
    except RuntimeError as error:
        message = str(error)
    if found is None:
        assert "modified by an inplace operation" in message
    else:  # a layer that keeps directions, not the weight
        assert Law.WEIGHT_SCALE in case.laws
        assert Law.COSINE not in case.laws
        assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("case", cases())
def test_an_in_place_activation_may_follow(case: Case) -> None:
    """nn.ReLU(inplace=True) stands after the linear and convolution layers of most models."""
    x, w = case.draw(16, requires_grad=True)
    expected = torch.autograd.grad(case.function(x, w).relu().square().sum(), (x, w))
    found = torch.autograd.grad(case.function(x, w).relu_().square().sum(), (x, w))
    assert all(map(torch.equal, found, expected))
