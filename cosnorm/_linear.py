"""The cosine of every input row with every weight row, with the derivatives of Equations 11 and 12."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from cosnorm._vectors import Vectors, prepare, remember_signature, remove_radial_part, subtract


def cosines(x: Vectors, w: Vectors) -> Tensor:
    """Equation 3 for prepared rows: products first, lengths after. Rounding may leave [-1, 1] by a hair."""
    products = F.linear(x.values, w.values).to(x.reduced.dtype)
    if x.appended is not None and w.appended is not None:
        products = products + _outer(x.appended, w.appended)
    return products.mul_(x.reduced.unsqueeze(-1)).mul_(w.reduced)


class CosineLinearFunction(Function):
    """Saves its inputs, the cosines and the two vectors of reciprocal lengths.

    The cosines are saved before they are clamped to [-1, 1], so that what follows the layer may
    work in place. All that is saved besides the inputs is an output only so that it can be saved:
    when a graph of the backward pass is asked for, it is computed again from the inputs, so that
    second derivatives see it.
    """

    generate_vmap_rule = True

    @staticmethod
    @remember_signature
    def forward(
        input: Tensor, weight: Tensor, centered: bool, constant: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, w = prepare(input, centered, constant), prepare(weight, centered, constant)
        cosine = cosines(x, w)
        output = cosine.clamp(-1.0, 1.0).to(input.dtype)
        return output, cosine.to(input.dtype), x.reciprocal, w.reciprocal

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        input, weight, ctx.centered, ctx.constant = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input, weight, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if grads[0] is None:
            return (None,) * 4
        input, weight, cosine, input_reciprocal, weight_reciprocal = ctx.saved_tensors
        again = torch.is_grad_enabled()
        x = prepare(input, ctx.centered, ctx.constant, None if again else input_reciprocal)
        w = prepare(weight, ctx.centered, ctx.constant, None if again else weight_reciprocal)
        grad = grads[0].to(x.reduced.dtype)
        along = grad * (cosines(x, w) if again else cosine)
        scaled = (grad * w.reduced).to(input.dtype)
        grad_input = grad_weight = None
        if ctx.needs_input_grad[0]:
            pull = scaled @ w.values
            grad_input = remove_radial_part(pull, x, along.sum(-1)).to(input.dtype)
        if ctx.needs_input_grad[1]:
            grad_weight = weight_gradient(scaled, x, w, along).to(weight.dtype)
        return grad_input, grad_weight, None, None


def weight_gradient(scaled: Tensor, x: Vectors, w: Vectors, along: Tensor) -> Tensor:
    """Equation 11 summed over the batch, as one product and one pass over the weight.

    That pass is what a cosine costs, so the division by the length is folded into the product.
    """
    directions = (x.values * x.reduced.unsqueeze(-1)).to(scaled.dtype)
    pull = _rows(scaled).mT @ _rows(directions)
    coefficient = _rows(along).sum(0) * w.reduced.square()
    gradient = subtract(pull, w.values, coefficient.unsqueeze(-1))
    return gradient if w.scale is None else gradient * w.scale.unsqueeze(-1)


class CosineLinearForwardMode(CosineLinearFunction):
    """The same with forward-mode derivatives, which torch.compile cannot trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        CosineLinearFunction.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2], *output[1:])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors[:2]
        x = prepare(input, ctx.centered, ctx.constant)
        w = prepare(weight, ctx.centered, ctx.constant)
        output = cosines(x, w)
        tangent = torch.zeros_like(output)
        if tangents[0] is not None:
            radial = (tangents[0] * x.values).sum(-1) * x.reduced
            moved = F.linear(tangents[0], w.values) * w.reduced - output * radial.unsqueeze(-1)
            tangent = tangent + moved * x.reciprocal.unsqueeze(-1)
        if tangents[1] is not None:
            radial = (tangents[1] * w.values).sum(-1) * w.reduced
            moved = F.linear(x.values, tangents[1]) * x.reduced.unsqueeze(-1) - output * radial
            tangent = tangent + moved * w.reciprocal
        return tangent.to(input.dtype), None, None, None


def _rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _outer(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    return a.unsqueeze(-1) * b if isinstance(a, Tensor) else a * b
