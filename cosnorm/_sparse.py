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


def reciprocal_lengths(input: Tensor, centered: bool, constant: float) -> tuple[Tensor, Tensor]:
    """Of the rows of a CSR matrix, with 0 besides for those whose product with the weights is rounding.

    A centered length is summed from squares, those of the zeros as well. Rows of equal numbers have the
    constant for their length then, and only the other of the two results says so.
    """
    begins, values, width = input.crow_indices(), input.values(), input.shape[1]
    stored = begins.diff()

    def row_sums(entries: Tensor) -> Tensor:
        return torch.segment_reduce(entries, "sum", offsets=begins, initial=0.0)

    if not centered:
        reciprocal = reciprocal_root(row_sums(values.square()) + constant**2)
        return reciprocal, reciprocal
    # As for dense rows, the first component goes before the mean does; it is 0 unless all are stored.
    full = (stored == width) & (stored > 0)
    first = values.new_zeros(len(stored)).masked_scatter(full, values[begins[:-1][full]])
    values = values - first.repeat_interleave(stored)
    mean = row_sums(values) / max(1, width)
    squares = row_sums((values - mean.repeat_interleave(stored)).square())
    squares = squares + (width - stored) * mean.square()
    reciprocal = reciprocal_root(squares + constant**2)
    return reciprocal, reciprocal.masked_fill(squares < torch.finfo(squares.dtype).tiny, 0.0)


class SparseCosineLinear(Function):
    """As :class:`cosnorm._linear.CosineLinear`, for input in CSR layout, which gets no gradient.

    Input rows keep their means: for the product it is enough that the weight rows have none.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, centered: bool, constant: float) -> Tensor:
        reciprocal, inner = reciprocal_lengths(input, centered, constant)
        w = prepare(weight, centered, constant)
        products = torch.sparse.mm(input, w.values.mT)
        if centered and constant:
            products.masked_fill_((inner == 0).unsqueeze(-1), 0.0)
        if constant:
            products += constant * constant
        output = products.mul_(reciprocal.unsqueeze(-1)).mul_(w.reduced).clamp_(-1.0, 1.0)
        ctx.options = centered, constant
        keep(ctx, output, input, weight, inner, w.reciprocal)
        return output

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        cosine, (input, weight, inner, weight_reciprocal) = kept(ctx)
        centered, constant = ctx.options
        if cosine is None:  # a later layer worked in place
            cosine = SparseCosineLinear.apply(input, weight, centered, constant)
        w = prepare(weight, centered, constant, weight_reciprocal)
        scaled = grads[0] * inner.unsqueeze(-1)
        pull = torch.sparse.mm(input.mT, scaled).mT.contiguous()
        if centered:
            pull -= pull.sum(1, keepdim=True) / max(1, input.shape[1])
        return None, remove_radial_part(pull, w, (grads[0] * cosine).sum(0)), None, None
