"""Vectors as a cosine sees them: centered if asked, one component appended after that, and their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)

#: What the backward pass need not compute again, see :mod:`cosnorm._kernels.autograd`.
Saved: TypeAlias = Sequence[Tensor | None] | None


class Vectors(NamedTuple):
    """Row vectors of shape ``(..., n)``, prepared for a product.

    ``values`` is the row itself, or the row less its mean. In float16 it is that times a power of
    two that brings its length to between 1 and 2, so that no product overflows and no rounding is
    added. ``reduced`` is the reciprocal length of ``values``, ``reciprocal`` that of the row as it
    came, and ``scale`` the power of two between them (None: they are the same). ``mean`` is what is
    still to be subtracted from ``values`` (None: nothing). ``constant`` is the component appended to
    the row after its mean was subtracted; it counts in the lengths and is not in ``values``.
    """

    values: Tensor
    constant: float
    reduced: Tensor
    reciprocal: Tensor
    scale: Tensor | None
    mean: Tensor | None = None
    shifted = None  # only patches may be


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in HALF else dtype


def reciprocal_root(squares: Tensor) -> Tensor:
    """1 / sqrt(squares): 0 where the squared length underflows, NaN where it overflows."""
    # So a vector that is too short counts as zero, and one that is too long does not give a cosine of 0.
    marked = torch.nan_to_num(squares, nan=torch.nan, posinf=torch.nan)
    return F.threshold(marked, torch.finfo(squares.dtype).tiny, torch.inf).rsqrt()


def power_of_two_above(positive: Tensor) -> Tensor:
    # Not below each entry, and 1 where the entry is 0.
    return torch.exp2(torch.log2(torch.where(positive > 0, positive, 1.0)).ceil()).detach()


def center(rows: Tensor) -> Tensor:
    # After the first component: a row of equal numbers then gives exact zeros, and a mean far above the
    # spread costs no digits.
    first = rows[..., :1] if rows.shape[-1] else rows.new_zeros(*rows.shape[:-1], 1)
    rest = rows - first
    return rest - rest.mean(-1, keepdim=True)


def prepare(rows: Tensor, centered: bool, constant: float, reciprocal: Tensor | None = None) -> Vectors:
    dtype = accumulation_dtype(rows.dtype)
    values = center(rows.to(dtype)) if centered else rows
    if reciprocal is None:
        reciprocal = reciprocal_root(squared_lengths(values) + constant**2)
    if rows.dtype != torch.float16:
        return Vectors(values.to(rows.dtype), constant, reciprocal, reciprocal, None)
    scale = power_of_two_above(reciprocal)
    values = (values * scale.unsqueeze(-1)).to(rows.dtype)
    return Vectors(values, constant, reciprocal / scale, reciprocal, scale)


def prepare_uncentered(rows: Tensor, constant: float) -> Vectors | None:
    """As :func:`prepare` with ``centered``, but the product subtracts the mean: that saves writing a matrix.

    None if a mean is so large that the squared length would be a small difference of large numbers.
    """
    if rows.device.type != "cpu" or rows.dtype in HALF:
        return None
    squares = squared_lengths(rows)
    mean = rows.sum(-1) / max(rows.shape[-1], 1)
    taken = rows.shape[-1] * mean.square()
    if not bool((taken <= squares / 4).all()):
        return None
    reciprocal = reciprocal_root(squares - taken + constant**2)
    return Vectors(rows, constant, reciprocal, reciprocal, None, mean)


def squared_lengths(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=-1, dtype=accumulation_dtype(rows.dtype)).square()


def remove_radial_part(grad: Tensor, vectors: Vectors, cosine_dot: Tensor) -> Tensor:
    """Equations 11 and 12: project ``grad`` orthogonally to each vector, and divide by its length.

    ``grad`` is the gradient with respect to the unit vectors, and ``cosine_dot`` the inner product of the
    upstream gradient with the cosines, which is the component of ``grad`` along the vector.
    """
    coefficient = (cosine_dot * vectors.reduced).unsqueeze(-1)
    return multiply(subtract(grad, vectors.values, coefficient), vectors.reciprocal.unsqueeze(-1))


def subtract(grad: Tensor, values: Tensor, coefficient: Tensor) -> Tensor:
    """``grad - coefficient * values``, written into ``grad`` if it is safe to overwrite."""
    grad, values = grad.to(coefficient.dtype), values.to(coefficient.dtype)
    if may_reuse(grad, values, coefficient):
        return grad.addcmul_(values, coefficient, value=-1)
    return torch.addcmul(grad, values, coefficient, value=-1)


def multiply(fresh: Tensor, factor: Tensor) -> Tensor:
    return fresh.mul_(factor) if may_reuse(fresh, factor) else fresh * factor


def may_reuse(fresh: Tensor, *others: Tensor) -> bool:
    """Whether ``fresh``, which was just computed, may be overwritten by a result that involves ``others``.

    Not while a graph is recorded or something traces. Not under vmap, which lacks rules for some in-place
    operations and cannot write many examples into the memory of one.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    return not any(
        functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)
        for tensor in (fresh, *others)
    )
