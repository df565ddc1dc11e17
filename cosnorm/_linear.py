"""The cosine of every input row with every weight row, with the derivatives of Equations 11 and 12."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from cosnorm._vectors import Vectors, prepare, remove_radial_part


def cosines(x: Vectors, w: Vectors) -> Tensor:
    """Equation 3 for prepared rows: products first, lengths after."""
    products = F.linear(x.values, w.values).to(x.reduced.dtype)
    if x.appended is not None and w.appended is not None:
        products = products + _outer(x.appended, w.appended)
    return products.mul_(x.reduced.unsqueeze(-1)).mul_(w.reduced).clamp(-1.0, 1.0)


class CosineLinearFunction(Function):
    """Saves its inputs, its output and the two vectors of reciprocal lengths: nothing the size of a copy.

    The lengths are outputs only so that they can be saved. When a graph of the backward pass is
    asked for, they are computed again from the inputs, so that second derivatives see them.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        input: Tensor, weight: Tensor, centered: bool, constant: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, w = prepare(input, centered, constant), prepare(weight, centered, constant)
        return cosines(x, w).to(input.dtype), x.reciprocal, w.reciprocal

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        input, weight, ctx.centered, ctx.constant = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(input, weight, *output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, output, input_reciprocal, weight_reciprocal = ctx.saved_tensors
        if torch.is_grad_enabled():
            input_reciprocal = weight_reciprocal = None
        x = prepare(input, ctx.centered, ctx.constant, input_reciprocal)
        w = prepare(weight, ctx.centered, ctx.constant, weight_reciprocal)
        grad = grads[0].to(x.reduced.dtype)
        along = grad * output
        grad_input = grad_weight = None
        if ctx.needs_input_grad[0]:
            pull = (grad * w.reduced).to(input.dtype) @ w.values
            grad_input = remove_radial_part(pull, x, along.sum(-1)).to(input.dtype)
        if ctx.needs_input_grad[1]:
            scaled = (grad * x.reduced.unsqueeze(-1)).to(weight.dtype)
            pull = _rows(scaled).mT @ _rows(x.values)
            grad_weight = remove_radial_part(pull, w, _rows(along).sum(0)).to(weight.dtype)
        return grad_input, grad_weight, None, None


class CosineLinearForwardMode(CosineLinearFunction):
    """The same with forward-mode derivatives, which torch.compile cannot trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        CosineLinearFunction.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2], output[0])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, None, None]:
        input, weight, output = ctx.saved_tensors[:3]
        x = prepare(input, ctx.centered, ctx.constant)
        w = prepare(weight, ctx.centered, ctx.constant)
        tangent = torch.zeros_like(output)
        if tangents[0] is not None:
            radial = (tangents[0] * x.values).sum(-1) * x.reduced
            moved = F.linear(tangents[0], w.values) * w.reduced - output * radial.unsqueeze(-1)
            tangent = tangent + moved * x.reciprocal.unsqueeze(-1)
        if tangents[1] is not None:
            radial = (tangents[1] * w.values).sum(-1) * w.reduced
            moved = F.linear(x.values, tangents[1]) * x.reduced.unsqueeze(-1) - output * radial
            tangent = tangent + moved * w.reciprocal
        return tangent.to(output.dtype), None, None


def _rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _outer(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    return a.unsqueeze(-1) * b if isinstance(a, Tensor) else a * b
