"""The cosine of every input row with every weight row, with the derivatives of Equations 11 and 12."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from cosnorm._kept import can_watch, keep, kept
from cosnorm._vectors import (
    HALF,
    Vectors,
    known,
    may_reuse,
    prepare,
    prepare_both,
    remember_signature,
    subtract,
    times,
)


def apply(input: Tensor, weight: Tensor, centered: bool, constant: float) -> Tensor:
    """The cosines, bounded and differentiable, by the function that suits how it is called."""
    if can_watch(input, weight):
        return CosineLinear.apply(input, weight, centered, constant)
    traced = CosineLinearCompiled if torch.compiler.is_compiling() else CosineLinearTransformed
    return traced.apply(input, weight, centered, constant)[0]


def cosines(x: Vectors, w: Vectors) -> Tensor:
    """Equation 3 for prepared rows: products first, lengths after. Rounding may leave [-1, 1] by a hair."""
    if x.mean is not None and w.mean is not None:
        count = x.values.shape[-1]
        products = add_product(torch.outer(x.mean * count, w.mean), x.values, w.values.mT)
    else:
        products = F.linear(x.values, w.values).to(x.reduced.dtype)
    if x.constant and x.scale is None:
        products += x.constant * w.constant
    elif x.constant and x.scale is not None and w.scale is not None:
        products += (x.constant * x.scale).unsqueeze(-1) * (w.constant * w.scale)
    return products.mul_(x.reduced.unsqueeze(-1)).mul_(w.reduced)


def gradients(
    needed: Sequence[bool], grad: Tensor, cosine: Tensor, x: Vectors, w: Vectors
) -> tuple[Tensor | None, Tensor | None]:
    """Equations 12 and 11: with respect to the input, and to the weight summed over the batch.

    Both begin with the upstream gradient divided by the two lengths, which is the one thing here
    that is as large as the output.
    """
    grad = grad.to(x.reduced.dtype)
    along = grad * cosine
    input_along, weight_along = along.sum(-1), along.sum(0)
    del along  # its memory serves for what follows
    scaled = times(grad * w.reduced, x.reduced.unsqueeze(-1)).to(x.values.dtype)
    grad_input = grad_weight = None
    if needed[0]:
        grad_input = tangents(scaled, w, x, x.reduced, input_along * x.reduced)
    if needed[1]:
        grad_weight = tangents(scaled.mT, x, w, weight_along * w.reduced.square())
    return grad_input, grad_weight


def tangents(scaled: Tensor, others: Vectors, rows: Vectors, *factors: Tensor) -> Tensor:
    """Pull each of ``rows`` towards ``others`` by ``scaled``, less the row times its ``factors``.

    What goes along a row is written first and the product added to it: a matrix product adds to a
    matrix in the time it takes to write one, so a pass over the rows is saved. Of inputs, several
    factors keep squares of reciprocal lengths within range; weights are many, and get one.
    """
    if rows.values.dtype in HALF:
        pull = (scaled @ others.values).to(rows.reduced.dtype)
        gradient = subtract(pull, rows.values, functools.reduce(torch.mul, factors).unsqueeze(-1))
        gradient = gradient if rows.scale is None else times(gradient, rows.scale.unsqueeze(-1))
        return gradient.to(scaled.dtype)
    first, *more = (factor.unsqueeze(-1) for factor in factors)
    radial = rows.values * first
    for factor in more:
        radial = times(radial, factor)
    if rows.mean is not None and others.mean is not None:
        shift = functools.reduce(torch.mul, factors, rows.mean)
        radial += (scaled @ others.mean - shift).unsqueeze(-1)
    if may_reuse(radial, scaled):
        return add_product(radial, scaled, others.values)
    return scaled @ others.values - radial


def add_product(taken: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a @ b - taken``, in the memory of ``taken``, by an operation that torch's FLOP counter knows."""
    return torch.addmm(taken, a, b, beta=-1, out=taken)


def tangent(input: Tensor, weight: Tensor, options: tuple[bool, float], moves: Sequence[Any]) -> Tensor:
    """How the cosines move when input and weight move by ``moves`` (None: not at all)."""
    x, w = prepare(input, *options), prepare(weight, *options)
    output = cosines(x, w)
    total = torch.zeros_like(output)
    if moves[0] is not None:
        radial = (moves[0] * x.values).sum(-1) * x.reduced
        moved = F.linear(moves[0], w.values) * w.reduced - output * radial.unsqueeze(-1)
        total = total + moved * x.reciprocal.unsqueeze(-1)
    if moves[1] is not None:
        radial = (moves[1] * w.values).sum(-1) * w.reduced
        moved = F.linear(x.values, moves[1]) * x.reduced.unsqueeze(-1) - output * radial
        total = total + moved * w.reciprocal
    return total.to(input.dtype)


class CosineLinear(Function):
    """For ordinary calls: keeps the output itself and two vectors of reciprocal lengths.

    When a graph of the backward pass is asked for, all of it is computed again from the inputs, so
    that second derivatives see it.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, centered: bool, constant: float) -> Tensor:
        x, w = prepare_both(input, weight, centered, constant)
        output = cosines(x, w).clamp_(-1.0, 1.0).to(input.dtype)
        ctx.options = centered, constant
        ctx.save_for_forward(input, weight)
        keep(ctx, output, input, x.reciprocal, x.mean, weight, w.reciprocal, w.mean)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cosine, saved = kept(ctx)
        if torch.is_grad_enabled():
            x, w = (prepare(rows, *ctx.options) for rows in (saved[0], saved[3]))
            cosine = cosines(x, w)
        else:
            x, w = known(*saved[:3], *ctx.options), known(*saved[3:], *ctx.options)
            cosine = cosines(x, w) if cosine is None else cosine
        return *gradients(ctx.needs_input_grad, grads[0], cosine, x, w), None, None

    @staticmethod
    def jvp(ctx: Any, *moves: Tensor | None) -> Tensor:
        input, weight = ctx.saved_tensors
        return tangent(input, weight, ctx.options, moves)


class CosineLinearCompiled(Function):
    """For torch.compile, which cannot watch an output: keeps the cosines besides, not yet bounded.

    They are an output only so that they can be kept.
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
        input, weight, centered, constant = inputs
        ctx.options = centered, constant
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input, weight, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if grads[0] is None:
            return (None,) * 4
        input, weight, cosine, input_reciprocal, weight_reciprocal = ctx.saved_tensors
        again, (centered, constant) = torch.is_grad_enabled(), ctx.options
        x = prepare(input, centered, constant, None if again else input_reciprocal)
        w = prepare(weight, centered, constant, None if again else weight_reciprocal)
        cosine = cosines(x, w) if again else cosine
        return *gradients(ctx.needs_input_grad, grads[0], cosine, x, w), None, None


class CosineLinearTransformed(CosineLinearCompiled):
    """For the transforms of torch.func: forward mode besides, which torch.compile cannot trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        CosineLinearCompiled.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2], *output[1:])

    @staticmethod
    def jvp(ctx: Any, *moves: Tensor | None) -> tuple[Tensor | None, ...]:
        input, weight, *_ = ctx.saved_tensors
        return tangent(input, weight, ctx.options, moves), None, None, None
