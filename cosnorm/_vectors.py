"""What a cosine sees of a vector: centred if asked, one component appended, and its reciprocal length."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., object])


def remember_signature(forward: AnyFunction) -> AnyFunction:
    """Keep what ``autograd.Function`` asks of its ``forward`` at every call: 2 % of a layer's time."""
    forward.__signature__ = inspect.signature(forward)  # pyright: ignore[reportFunctionMemberAccess]
    return forward


class Vectors(NamedTuple):
    """Row vectors of shape ``(..., n)``, prepared for a product.

    ``values`` is the row itself in float32 and float64. In half precision it is the row times a
    power of two that brings its length to between 1 and 2, so that no product overflows and no
    rounding is added. ``reduced`` is the reciprocal length of ``values``, ``reciprocal`` that of
    the row as it came, and ``scale`` the power of two between them (None: they are the same).
    """

    values: Tensor
    appended: Tensor | float | None
    reduced: Tensor
    reciprocal: Tensor
    scale: Tensor | None


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type lengths are computed in: float32 for half precision, else the type itself."""
    return torch.float32 if dtype in HALF else dtype


def reciprocal_root(squares: Tensor) -> Tensor:
    """1 / sqrt(squares): 0 where the squared length underflows, NaN where it overflows.

    The first makes so short a vector count as zero; the second keeps a length outside the range
    from passing for a cosine of 0.
    """
    zero = squares < torch.finfo(squares.dtype).tiny
    safe = squares.masked_fill(zero, 1.0)
    return (safe.sqrt() / safe).masked_fill(zero, 0.0)  # inf / inf is NaN


def power_of_two_above(positive: Tensor) -> Tensor:
    """The smallest power of two not below each entry, and 1 where the entry is 0."""
    return torch.exp2(torch.log2(torch.where(positive > 0, positive, 1.0)).ceil()).detach()


def center(rows: Tensor, constant: float) -> tuple[Tensor, Tensor | None]:
    """Subtract from each row (and from its appended component) their mean.

    The first component goes before the mean does. A constant row then gives exact zeros, and a
    mean far above the spread costs no digits.
    """
    first = rows[..., :1] if rows.shape[-1] else rows.new_zeros(*rows.shape[:-1], 1)
    rest = rows - first
    if not constant:
        return rest - rest.mean(-1, keepdim=True), None
    count = rows.shape[-1] + 1
    appended = constant - first
    mean = (rest.sum(-1, keepdim=True) + appended) / count
    return rest - mean, (appended - mean).squeeze(-1)


def prepare(rows: Tensor, centered: bool, constant: float, reciprocal: Tensor | None = None) -> Vectors:
    """Make :class:`Vectors` of ``rows``; a ``reciprocal`` that is already known is not computed again."""
    dtype = accumulation_dtype(rows.dtype)
    values, appended = center(rows.to(dtype), constant) if centered else (rows, constant or None)
    if reciprocal is None:
        squares = torch.linalg.vector_norm(values, dim=-1, dtype=dtype).square()
        reciprocal = reciprocal_root(squares if appended is None else squares + appended**2)
    if rows.dtype not in HALF:
        return Vectors(values, appended, reciprocal, reciprocal, None)
    scale = power_of_two_above(reciprocal)
    values = (values * scale.unsqueeze(-1)).to(rows.dtype)
    appended = None if appended is None else appended * scale
    return Vectors(values, appended, reciprocal / scale, reciprocal, scale)


def remove_radial_part(pull: Tensor, vectors: Vectors, along: Tensor) -> Tensor:
    """Equations 11 and 12: take from ``pull`` its part along the vector, and divide by the length.

    ``along`` is the gradient's inner product with the cosines. What is left is orthogonal to the
    vector, since a cosine does not change when the vector is stretched.
    """
    coefficient = (along * vectors.reduced).unsqueeze(-1)
    tangent = subtract(pull, vectors.values, coefficient)
    reciprocal = vectors.reciprocal.unsqueeze(-1)
    return tangent.mul_(reciprocal) if may_reuse(tangent) else tangent * reciprocal


def subtract(pull: Tensor, values: Tensor, coefficient: Tensor) -> Tensor:
    """``pull - coefficient * values``, in the memory of ``pull`` where nothing else can need it."""
    pull, values = pull.to(coefficient.dtype), values.to(coefficient.dtype)
    if may_reuse(pull):
        return pull.addcmul_(values, coefficient, value=-1)
    return torch.addcmul(pull, values, coefficient, value=-1)


def may_reuse(fresh: Tensor) -> bool:
    """Whether a tensor just computed may be overwritten: no graph is kept, and no vmap is at work.

    vmap has no rule for ``addcmul_`` and would loop over the batch instead.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return not torch._C._functorch.is_batchedtensor(fresh)  # pyright: ignore[reportAttributeAccessIssue]
