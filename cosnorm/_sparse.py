"""The cosine of sparse input rows with every weight row: nothing the size of the dense input is made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from cosnorm._kept import keep, kept
from cosnorm._vectors import prepare, reciprocal_root, remove_radial_part


def apply(input: Tensor, weight: Tensor, centered: bool, constant: float) -> Tensor:
    """The cosines, bounded, and differentiable once with respect to the weight."""
    return SparseCosineLinear.apply(input, weight, centered, constant)


def reciprocal_lengths(input: Tensor, centered: bool, constant: float) -> Tensor:
    """Of the rows of a CSR matrix. A centred one is summed from squares, those of the zeros as well."""
    begins, values = input.crow_indices(), input.values()
    stored = begins.diff()

    def row_sums(entries: Tensor) -> Tensor:
        return torch.segment_reduce(entries, "sum", offsets=begins, initial=0.0)

    if not centered:
        return reciprocal_root(row_sums(values.square()) + constant**2)
    width = input.shape[1]
    mean = (row_sums(values) + constant) / max(1, width + bool(constant))
    squares = row_sums((values - mean.repeat_interleave(stored)).square())
    squares = squares + (width - stored) * mean.square()
    return reciprocal_root(squares + (constant - mean).square() if constant else squares)


class SparseCosineLinear(Function):
    """As :class:`cosnorm._linear.CosineLinear`, for input in CSR layout, which gets no gradient.

    Input rows keep their means: for the product it is enough that the weight rows have none.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, centered: bool, constant: float) -> Tensor:
        reciprocal = reciprocal_lengths(input, centered, constant)
        w = prepare(weight, centered, constant)
        products = torch.sparse.mm(input, w.values.mT)
        if w.appended is not None:
            products += w.appended * constant
        output = products.mul_(reciprocal.unsqueeze(-1)).mul_(w.reduced).clamp_(-1.0, 1.0)
        ctx.options = centered, constant
        keep(ctx, output, input, weight, reciprocal, w.reciprocal)
        return output

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        cosine, (input, weight, reciprocal, weight_reciprocal) = kept(ctx)
        centered, constant = ctx.options
        if cosine is None:  # a later layer worked in place
            cosine = SparseCosineLinear.apply(input, weight, centered, constant)
        w = prepare(weight, centered, constant, weight_reciprocal)
        scaled = grads[0] * reciprocal.unsqueeze(-1)
        pull = torch.sparse.mm(input.mT, scaled).mT.contiguous()
        if centered:
            total = pull.sum(1) + constant * scaled.sum(0)
            pull -= (total / max(1, input.shape[1] + bool(constant))).unsqueeze(-1)
        return None, remove_radial_part(pull, w, (grads[0] * cosine).sum(0)), None, None
