"""torch.func: vmap is a loop, per-example gradients, functional_call and stacks of modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, stack_module_state, vmap

from .cases import Case, Law, cases

COUNT = 3
FLOAT64 = torch.float64


def stacks(case: Case) -> tuple[Tensor, Tensor]:
    """A stack of inputs and a stack of weights."""
    drawn = [case.draw(seed) for seed in range(COUNT)]
    return torch.stack([x for x, _ in drawn]), torch.stack([w for _, w in drawn])


@pytest.mark.parametrize("case", cases(Law.PURE))
def test_vmap_over_inputs_weights_and_both_is_a_loop(case: Case) -> None:
    xs, ws = stacks(case)
    loops = {
        (0, None): [case.function(x, ws[0]) for x in xs],
        (None, 0): [case.function(xs[0], w) for w in ws],
        (0, 0): [case.function(x, w) for x, w in zip(xs, ws, strict=True)],
    }
    for in_dims, expected in loops.items():
        arguments = (xs if in_dims[0] == 0 else xs[0], ws if in_dims[1] == 0 else ws[0])
        found = vmap(case.function, in_dims=in_dims)(*arguments)
        case.alike(found, torch.stack(expected))


@pytest.mark.parametrize("case", cases(Law.PURE))
def test_vmap_along_other_dimensions(case: Case) -> None:
    xs, ws = stacks(case)
    expected = torch.stack([case.function(x, w) for x, w in zip(xs, ws, strict=True)])
    last, second = xs.movedim(0, -1), ws.movedim(0, 1)
    found = vmap(case.function, in_dims=(-1, 1), out_dims=1)(last, second)
    case.alike(found, expected.movedim(0, 1))


@pytest.mark.parametrize("case", cases(Law.PURE))
def test_nested_vmap_is_the_outer_product_of_stacks(case: Case) -> None:
    xs, ws = stacks(case)
    found = vmap(vmap(case.function, in_dims=(None, 0)), in_dims=(0, None))(xs, ws)
    expected = torch.stack([torch.stack([case.function(x, w) for w in ws]) for x in xs])
    case.alike(found, expected)


def loss(case: Case) -> Callable[[Tensor, Tensor], Tensor]:
    """A curved function of the output."""
    return lambda x, w: case.function(x, w).exp().sum()


@pytest.mark.parametrize("case", cases(Law.PURE))
def test_gradients_under_vmap_and_vmap_under_gradients(case: Case) -> None:
    xs, ws = stacks(case)
    expected = [grad(loss(case), argnums=(0, 1))(x, w) for x, w in zip(xs, ws, strict=True)]
    inside = vmap(grad(loss(case), argnums=(0, 1)))(xs, ws)
    outside = grad(lambda xs, ws: vmap(loss(case))(xs, ws).sum(), argnums=(0, 1))(xs, ws)
    for which in (0, 1):
        loop = torch.stack([pair[which] for pair in expected])
        case.alike(inside[which], loop, 1e-13)
        case.alike(outside[which], loop, 1e-13)


@pytest.mark.parametrize("case", cases(Law.PURE))
def test_backward_through_vmap_outside_torch_func(case: Case) -> None:
    xs, ws = (tensor.requires_grad_() for tensor in stacks(case))
    vmap(loss(case))(xs, ws).sum().backward()
    for x_stack, w_stack, x_slopes, w_slopes in zip(xs, ws, xs.grad, ws.grad, strict=True):
        dx, dw = grad(loss(case), argnums=(0, 1))(x_stack.detach(), w_stack.detach())
        case.alike(x_slopes, dx, 1e-13)
        case.alike(w_slopes, dw, 1e-13)


@pytest.mark.parametrize("case", cases(Law.PURE, Law.PER_EXAMPLE))
def test_per_example_weight_gradients(case: Case) -> None:
    """vmap of grad over the examples of one batch; they sum to the gradient of the batch."""
    x, w = case.draw(4)
    single = x if Law.COSINE in case.laws else x[:, None]  # others ask for a batch of one
    each = vmap(grad(loss(case), argnums=1), in_dims=(0, None))(single, w)
    assert each.shape == (len(x), *w.shape)
    case.alike(each.sum(0), grad(loss(case), argnums=1)(x, w), 1e-12)


@pytest.mark.parametrize("case", cases(Law.PURE, dims=(0, 1)))
def test_jacobian_under_vmap(case: Case) -> None:
    xs, ws = stacks(case)
    found = vmap(jacrev(case.function, argnums=1), in_dims=(0, 0))(xs, ws)
    expected = torch.stack([jacrev(case.function, argnums=1)(x, w) for x, w in zip(xs, ws, strict=True)])
    case.alike(found, expected, 1e-13)


@pytest.mark.parametrize("case", cases(Law.ZERO))
def test_zero_vectors_under_vmap(case: Case) -> None:
    """The rule for zero vectors is not a branch of Python: one of the stack may be zero."""
    xs, ws = stacks(case)
    xs[1] = 0
    slopes = vmap(grad(loss(case), argnums=(0, 1)))(xs, ws)
    assert (vmap(case.function)(xs, ws)[1] == 0).all()
    assert all((slope[1] == 0).all() for slope in slopes)
    assert all(torch.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize("case", cases(Law.PURE))
def test_functional_call_replaces_the_weight(case: Case) -> None:
    module = case.build(dtype=FLOAT64)
    x, w = case.draw(6)
    before = case.weight(module).detach().clone()
    output = functional_call(module, {case.weight_name: w}, (x,))
    assert torch.equal(output, case.function(x, w))
    assert torch.equal(case.weight(module), before)
    found = grad(lambda weight: functional_call(module, {case.weight_name: weight}, (x,)).exp().sum())(w)
    case.alike(found, grad(loss(case), argnums=1)(x, w))


@pytest.mark.parametrize("case", cases(Law.PURE))
def test_a_stack_of_modules_is_the_modules_one_by_one(case: Case) -> None:
    """How replicas are trained at once: parameters stacked, one call, each with its own gradient."""
    modules = [case.module(dtype=FLOAT64) for _ in range(COUNT)]
    parameters, buffers = stack_module_state(modules)
    skeleton = case.module(device="meta", dtype=FLOAT64)
    x, _ = case.draw(7)

    def call(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(skeleton, parameters, (x,))

    assert not buffers
    found = vmap(call, in_dims=(0, None))(parameters, x)
    expected = torch.stack([module(x) for module in modules])
    case.alike(found, expected)
    (together,) = torch.autograd.grad(found.exp().sum(), parameters[case.weight_name])
    alone = [torch.autograd.grad(module(x).exp().sum(), case.weight(module))[0] for module in modules]
    case.alike(together, torch.stack(alone), 1e-13)
