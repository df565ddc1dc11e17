"""What a cosine sees of a vector: centered if asked, one component appended after that, and its length."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., object])


def remember_signature(forward: AnyFunction) -> AnyFunction:
    """Keep what ``autograd.Function`` asks of its ``forward`` at every call: 2 % of a layer's time."""
    forward.__signature__ = inspect.signature(forward)  # pyright: ignore[reportFunctionMemberAccess]
    return forward


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


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type lengths are computed in: float32 for half precision, else the type itself."""
    return torch.float32 if dtype in HALF else dtype


def reciprocal_root(squares: Tensor) -> Tensor:
    """1 / sqrt(squares): 0 where the squared length underflows, NaN where it overflows.

    The first makes so short a vector count as zero; the second keeps a length outside the range
    from passing for a cosine of 0.
    """
    marked = torch.nan_to_num(squares, nan=torch.nan, posinf=torch.nan)
    return F.threshold(marked, torch.finfo(squares.dtype).tiny, torch.inf).rsqrt()


def power_of_two_above(positive: Tensor) -> Tensor:
    """The smallest power of two not below each entry, and 1 where the entry is 0."""
    return torch.exp2(torch.log2(torch.where(positive > 0, positive, 1.0)).ceil()).detach()


def center(rows: Tensor) -> Tensor:
    """Subtract from each row its mean.

    The first component goes before the mean does. A row of equal numbers then gives exact zeros, and
    a mean far above the spread costs no digits.
    """
    first = rows[..., :1] if rows.shape[-1] else rows.new_zeros(*rows.shape[:-1], 1)
    rest = rows - first
    return rest - rest.mean(-1, keepdim=True)


def prepare(rows: Tensor, centered: bool, constant: float, reciprocal: Tensor | None = None) -> Vectors:
    """Make :class:`Vectors` of ``rows``; a ``reciprocal`` that is already known is not computed again."""
    dtype = accumulation_dtype(rows.dtype)
    values = center(rows.to(dtype)) if centered else rows
    if reciprocal is None:
        reciprocal = reciprocal_root(squared_lengths(values) + constant**2)
    if rows.dtype != torch.float16:
        return Vectors(values.to(rows.dtype), constant, reciprocal, reciprocal, None)
    scale = power_of_two_above(reciprocal)
    values = (values * scale.unsqueeze(-1)).to(rows.dtype)
    return Vectors(values, constant, reciprocal / scale, reciprocal, scale)


def prepare_both(input: Tensor, weight: Tensor, centered: bool, constant: float) -> tuple[Vectors, Vectors]:
    """Prepare the rows of both; when centred, without writing either matrix anew where that is exact."""
    if centered:
        x, w = prepare_uncentered(input, constant), prepare_uncentered(weight, constant)
        if x is not None and w is not None:
            return x, w
    return prepare(input, centered, constant), prepare(weight, centered, constant)


def prepare_uncentered(rows: Tensor, constant: float) -> Vectors | None:
    """As :func:`prepare` with ``centered``, but leaving the subtraction of the mean to later.

    Where means are so large that the squared length would be a small difference of large numbers,
    the answer is None.
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


def known(rows: Tensor, reciprocal: Tensor, mean: Tensor | None, centered: bool, constant: float) -> Vectors:
    """What :func:`prepare_both` made of ``rows``, from what was kept of it."""
    if mean is None:
        return prepare(rows, centered, constant, reciprocal)
    return Vectors(rows, constant, reciprocal, reciprocal, None, mean)


def squared_lengths(rows: Tensor) -> Tensor:
    """Of vectors in the last dimension, in float32 for half precision."""
    return torch.linalg.vector_norm(rows, dim=-1, dtype=accumulation_dtype(rows.dtype)).square()


def remove_radial_part(pull: Tensor, vectors: Vectors, along: Tensor) -> Tensor:
    """Equations 11 and 12: take from ``pull`` its part along the vector, and divide by the length.

    ``along`` is the gradient's inner product with the cosines. What is left is orthogonal to the
    vector, since a cosine does not change when the vector is stretched.
    """
    coefficient = (along * vectors.reduced).unsqueeze(-1)
    return times(subtract(pull, vectors.values, coefficient), vectors.reciprocal.unsqueeze(-1))


def subtract(pull: Tensor, values: Tensor, coefficient: Tensor) -> Tensor:
    """``pull - coefficient * values``, in the memory of ``pull`` where nothing else can need it."""
    pull, values = pull.to(coefficient.dtype), values.to(coefficient.dtype)
    if may_reuse(pull, values, coefficient):
        return pull.addcmul_(values, coefficient, value=-1)
    return torch.addcmul(pull, values, coefficient, value=-1)


def times(fresh: Tensor, factor: Tensor) -> Tensor:
    """``fresh * factor``, in the memory of ``fresh`` where nothing else can need it."""
    return fresh.mul_(factor) if may_reuse(fresh, factor) else fresh * factor


def may_reuse(fresh: Tensor, *others: Tensor) -> bool:
    """Whether ``fresh``, just computed, may be overwritten by what is computed with ``others``.

    Not where a graph is kept or something traces, nor under vmap, which has no rule for some
    operations in place and cannot write many examples into the memory of one.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    return not any(
        functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)
        for tensor in (fresh, *others)
    )
