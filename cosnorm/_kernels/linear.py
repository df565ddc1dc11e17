"""The cosine of every input row with every weight row, with the derivatives of Equations 11 and 12."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm._kernels.vectors import (
    HALF,
    Saved,
    Vectors,
    may_reuse,
    multiply,
    prepare,
    prepare_uncentered,
    reciprocal_root,
    remove_radial_part,
    subtract,
)


class LinearCosine(NamedTuple):
    """The kernel of dense rows, see :mod:`cosnorm._kernels.autograd`."""

    centered: bool
    constant: float

    def prepare(
        self, input: Tensor, weight: Tensor, saved: Saved = None, eager: bool = False, shifted: None = None
    ) -> tuple[Vectors, Vectors]:
        if saved is not None:
            input_reciprocal, weight_reciprocal, *means = saved
            input_mean, weight_mean = means or (None, None)
            x = self._of(input, input_reciprocal, input_mean)
            return x, self._of(weight, weight_reciprocal, weight_mean)
        if eager and self.centered and not torch.is_grad_enabled():
            x, w = (prepare_uncentered(rows, self.constant) for rows in (input, weight))
            if x is not None and w is not None:
                return x, w
        return self._of(input), self._of(weight)

    def _of(self, rows: Tensor, reciprocal: Tensor | None = None, mean: Tensor | None = None) -> Vectors:
        if mean is None or reciprocal is None:
            return prepare(rows, self.centered, self.constant, reciprocal)
        return Vectors(rows, self.constant, reciprocal, reciprocal, None, mean)

    def cosines(self, x: Vectors, w: Vectors, shape: torch.Size) -> Tensor:
        if x.mean is not None and w.mean is not None:
            count = x.values.shape[-1]
            products = product_minus(torch.outer(x.mean * count, w.mean), x.values, w.values.mT)
        else:
            products = F.linear(x.values, w.values).to(x.reduced.dtype)
        if x.constant and x.scale is None:
            products += x.constant * w.constant
        elif x.constant and x.scale is not None and w.scale is not None:
            products += (x.constant * x.scale).unsqueeze(-1) * (w.constant * w.scale)
        return products.mul_(x.reduced.unsqueeze(-1)).mul_(w.reduced)

    def gradients(
        self, needed: Sequence[bool], grad: Tensor, cosine: Tensor, x: Vectors, w: Vectors, shape: torch.Size
    ) -> tuple[Tensor | None, Tensor | None]:
        # Both begin with the upstream gradient divided by the two lengths; nothing else is that large.
        grad = grad.to(x.reduced.dtype)
        product = grad * cosine
        input_dot, weight_dot = product.sum(-1), product.sum(0)
        del product  # its memory serves for what follows
        scaled = multiply(grad * w.reduced, x.reduced.unsqueeze(-1)).to(x.values.dtype)
        grad_input = grad_weight = None
        if needed[0]:
            grad_input = _row_gradient(scaled, w, x, x.reduced, input_dot * x.reduced)
        if needed[1]:
            grad_weight = _row_gradient(scaled.mT, x, w, weight_dot * w.reduced.square())
        return grad_input, grad_weight

    def tangent(self, input: Tensor, weight: Tensor, tangents: Sequence[Any]) -> Tensor:
        x, w = self.prepare(input, weight)
        output = self.cosines(x, w, weight.shape)
        total = torch.zeros_like(output)
        if tangents[0] is not None:
            radial = (tangents[0] * x.values).sum(-1) * x.reduced
            moved = F.linear(tangents[0], w.values) * w.reduced - output * radial.unsqueeze(-1)
            total = total + moved * x.reciprocal.unsqueeze(-1)
        if tangents[1] is not None:
            radial = (tangents[1] * w.values).sum(-1) * w.reduced
            moved = F.linear(x.values, tangents[1]) * x.reduced.unsqueeze(-1) - output * radial
            total = total + moved * w.reciprocal
        return total.to(input.dtype)


def _row_gradient(scaled: Tensor, others: Vectors, rows: Vectors, *radial_factors: Tensor) -> Tensor:
    """``scaled @ others`` minus each row times its ``radial_factors``.

    The radial part is written first and the product added to it, which saves a pass over the rows. Inputs
    have several factors, which keeps squares of reciprocal lengths in range; weights are many and have one.
    """
    if rows.values.dtype in HALF:
        products = (scaled @ others.values).to(rows.reduced.dtype)
        gradient = subtract(products, rows.values, functools.reduce(torch.mul, radial_factors).unsqueeze(-1))
        gradient = gradient if rows.scale is None else multiply(gradient, rows.scale.unsqueeze(-1))
        return gradient.to(scaled.dtype)
    first, *more = (factor.unsqueeze(-1) for factor in radial_factors)
    radial = rows.values * first
    for factor in more:
        radial = multiply(radial, factor)
    if rows.mean is not None and others.mean is not None:
        shift = functools.reduce(torch.mul, radial_factors, rows.mean)
        radial += (scaled @ others.mean - shift).unsqueeze(-1)
    if may_reuse(radial, scaled):
        return product_minus(radial, scaled, others.values)
    return scaled @ others.values - radial


def product_minus(subtrahend: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a @ b - subtrahend``, written into ``subtrahend`` by an operation that torch's FLOP counter knows."""
    return torch.addmm(subtrahend, a, b, beta=-1, out=subtrahend)


class SparseRows(NamedTuple):
    """Rows of a CSR matrix. They keep their means: for the product it is enough that the weights have none.

    ``full_reciprocal`` are the reciprocal lengths (None: not computed). ``reciprocal`` is the same with 0 for
    centered rows of equal numbers, because their product with the weights is rounding error.
    """

    values: Tensor
    reciprocal: Tensor
    full_reciprocal: Tensor | None
    mean = shifted = None


class SparseCosine(NamedTuple):
    """The kernel of rows in CSR layout, which get no gradient. Nothing of the dense input's size is made."""

    centered: bool
    constant: float

    def prepare(
        self, input: Tensor, weight: Tensor, saved: Saved = None, eager: bool = False, shifted: None = None
    ) -> tuple[SparseRows, Vectors]:
        if saved is None:
            return SparseRows(input, *self._reciprocal_lengths(input)), prepare(weight, *self)
        input_reciprocal, weight_reciprocal, *_ = saved
        assert input_reciprocal is not None
        return SparseRows(input, input_reciprocal, None), prepare(weight, *self, weight_reciprocal)

    def _reciprocal_lengths(self, input: Tensor) -> tuple[Tensor, Tensor]:
        begins, values, width = input.crow_indices(), input.values(), input.shape[1]
        stored = begins.diff()

        def row_sums(entries: Tensor) -> Tensor:
            return torch.segment_reduce(entries, "sum", offsets=begins, initial=0.0)

        if not self.centered:
            reciprocal = reciprocal_root(row_sums(values.square()) + self.constant**2)
            return reciprocal, reciprocal
        # As for dense rows, the first component goes before the mean does; it is 0 unless all are stored.
        full = (stored == width) & (stored > 0)
        first = values.new_zeros(len(stored)).masked_scatter(full, values[begins[:-1][full]])
        values = values - first.repeat_interleave(stored)
        mean = row_sums(values) / max(1, width)
        squares = row_sums((values - mean.repeat_interleave(stored)).square())
        squares = squares + (width - stored) * mean.square()
        reciprocal = reciprocal_root(squares + self.constant**2)
        return reciprocal.masked_fill(squares < torch.finfo(squares.dtype).tiny, 0.0), reciprocal

    def cosines(self, x: SparseRows, w: Vectors, shape: torch.Size) -> Tensor:
        reciprocal = self._reciprocal_lengths(x.values)[1] if x.full_reciprocal is None else x.full_reciprocal
        products = torch.sparse.mm(x.values, w.values.mT)
        if self.centered and self.constant:
            products.masked_fill_((x.reciprocal == 0).unsqueeze(-1), 0.0)
        if self.constant:
            products += self.constant * self.constant
        return products.mul_(reciprocal.unsqueeze(-1)).mul_(w.reduced).clamp_(-1.0, 1.0)

    def gradients(
        self, needed: Sequence[bool], grad: Tensor, cosine: Tensor, x: SparseRows, w: Vectors, shape: Any
    ) -> tuple[None, Tensor]:
        products = torch.sparse.mm(x.values.mT, grad * x.reciprocal.unsqueeze(-1)).mT.contiguous()
        if self.centered:
            products -= products.sum(1, keepdim=True) / max(1, x.values.shape[1])
        return None, remove_radial_part(products, w, (grad * cosine).sum(0))
