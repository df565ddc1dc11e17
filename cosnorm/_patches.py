"""What a cosine convolution sees of its input: patches that are never copied out, and their lengths.

A patch's length needs only the sum of squares under the window: the channels are summed first,
and the one map that is left is summed under the window.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm._vectors import HALF, accumulation_dtype, may_reuse, power_of_two_above, reciprocal_root
from cosnorm._windows import Geometry, blocks, box, join, split, windows

#: A sample is shifted first where the square of its mean is more than so many times its variance.
_TOLERATED = 16

#: A power of two that float16 holds, with room for sums of a few.
_LARGEST_HALF = 2.0**13


class Patches(NamedTuple):
    """The input of a cosine convolution, prepared for a product; maps are ``(N, groups, *out)``.

    ``values`` is what the filters slide over under ``geometry``; ``constant`` is the component that
    every patch has besides, appended after centering. ``reciprocal`` is the reciprocal length of the
    patches as they came.

    Where ``centered``, lengths are those of centered patches, but ``values`` still contain their
    means: for the product it is enough that the filters have none. ``shifted`` says that the values
    are padded, and each sample's large mean is gone; in half precision that would round them.

    A flat patch (centered: one of equal numbers; else one of zeros) has the constant for its length,
    which may be shorter than the rounding of a product with ``values`` is large. ``flat`` marks such
    patches (None: there are none, or their products are exact zeros), and ``inner`` is ``reciprocal``
    with 0 for them. ``reduced`` is what a product with ``values`` is multiplied by: ``inner``, or
    ``reciprocal`` where a graph is kept, less a power of two in float16.
    """

    values: Tensor
    geometry: Geometry
    constant: float
    reduced: Tensor
    reciprocal: Tensor
    inner: Tensor
    flat: Tensor | None
    centered: bool
    shifted: bool

    def part(self, samples: slice) -> Patches:
        """Some of the samples."""
        return self._replace(
            values=self.values[samples],
            reduced=self.reduced[samples],
            reciprocal=self.reciprocal[samples],
            inner=self.inner[samples],
            flat=None if self.flat is None else self.flat[samples],
        )


def prepare_patches(
    input: Tensor,
    window: tuple[int, ...],
    geometry: Geometry,
    centered: bool,
    constant: float,
    *,
    look: bool = False,
    inner: Tensor | None = None,
    shifted: bool | None = None,
) -> Patches:
    """Make :class:`Patches` of ``input``; what is already known is not computed again.

    ``look`` says that numbers may be looked at to save work; ``inner`` and ``shifted`` are what an
    earlier call found.
    """
    dtype = accumulation_dtype(input.dtype)
    values, squares = input, None
    look = look and input.device.type == "cpu"
    half = input.dtype in HALF
    if centered and look and inner is None and not half:
        squares = _squares_where_means_are_small(input, window, geometry)
    if shifted is None:
        shifted = centered and squares is None and not half
    if shifted:
        values = shift(input, geometry)
        geometry = geometry.without_padding()
    rounded = constant != 0 and (centered or input.dtype == torch.float16)
    flat = None
    if inner is None:
        if squares is None and centered:
            exact = values.to(dtype)
            squares = _centered_squares(*pixels(exact, geometry.groups), exact, window, geometry)
        elif squares is None:
            squares = box(_squares_of_pixels(values, geometry.groups), window, geometry)
        reciprocal = inner = reciprocal_root(squares + constant**2)
        flat = _marked(squares < torch.finfo(dtype).tiny, look) if rounded else None
        if flat is not None:
            inner = reciprocal.masked_fill(flat, 0.0)
    else:
        reciprocal = inner
        flat = _marked(inner == 0, look) if rounded else None
        if flat is not None:
            reciprocal = inner.masked_fill(flat, _reciprocal_of(constant, dtype))
    reduced = reciprocal if torch.is_grad_enabled() else inner
    if input.dtype == torch.float16:
        scale = power_of_two_above(smallest_positive(inner))
        if centered:  # values may be larger than the lengths of their centered patches
            largest = values.detach().abs().amax(tuple(range(1, values.dim())), keepdim=True)
            scale = torch.minimum(scale, _LARGEST_HALF / power_of_two_above(largest.to(dtype)))
        values, reduced = values * scale, reduced / scale
    values = values.to(input.dtype)
    return Patches(values, geometry, constant, reduced, reciprocal, inner, flat, centered, shifted)


def _marked(flat: Tensor, look: bool) -> Tensor | None:
    return None if look and not bool(flat.any()) else flat


def _reciprocal_of(constant: float, dtype: torch.dtype) -> float:
    """:func:`reciprocal_root` of the square of one number."""
    square, kind = constant**2, torch.finfo(dtype)
    if square > kind.max:
        return math.nan
    return 0.0 if square < kind.tiny else 1 / abs(constant)


def shift(input: Tensor, geometry: Geometry) -> Tensor:
    """Pad, and take each sample's mean away where it exceeds the spread.

    A centred cosine ignores such a shift; rounding does not: it would drown small patches of a
    sample whose large mean stays, and those of a sample with a few large entries whose mean goes.
    """
    channels = split(input.detach(), geometry.groups)
    within = list(range(2, channels.dim()))
    count = channels.shape[2:].numel()
    mean = channels.mean(within, keepdim=True)
    squares = torch.linalg.vector_norm(channels, dim=within, keepdim=True).square() / count
    mean = torch.where(mean.square() > squares - mean.square(), mean, 0.0)
    padded = split(F.pad(input, geometry.both_sides()), geometry.groups)
    return join(padded - mean)


def patch_mean(x: Patches, window: tuple[int, ...]) -> Tensor:
    """The mean of every patch of ``x.values``."""
    channels = split(x.values.to(x.reduced.dtype), x.geometry.groups)
    return box(channels.sum(2), window, x.geometry) / (channels.shape[2] * math.prod(window))


def pixels(values: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Over the channels of each group: the sum of squared deviations, and the mean; maps ``(N, G, *in)``."""
    channels = split(values, groups)
    if channels.shape[2] == 1:
        return torch.zeros_like(values), values
    first = channels[:, :, :1]
    rest = channels - first
    offset = rest.mean(2, keepdim=True)
    return (rest - offset).square().sum(2), (first + offset).squeeze(2)


def _squares_of_pixels(values: Tensor, groups: int) -> Tensor:
    dtype = accumulation_dtype(values.dtype)
    parts = [split(values[part].to(dtype), groups).square().sum(2) for part in blocks(values)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _centered_squares(
    deviations: Tensor, means: Tensor, values: Tensor, window: tuple[int, ...], geometry: Geometry
) -> Tensor:
    """The squared length of every centered patch: spread within each pixel, plus spread between pixels.

    No small difference of large sums appears, and a patch of equal numbers gives an exact zero.
    """
    depth = values.shape[1] // geometry.groups
    within = box(deviations, window, geometry)
    parts = []
    for part in blocks(means, math.prod(window)):
        seen = windows(means[part], window, geometry)
        rest = seen - seen[..., :1]
        parts.append(depth * (rest - rest.mean(-1, keepdim=True)).square().sum(-1))
    return within + (parts[0] if len(parts) == 1 else torch.cat(parts))


def _squares_where_means_are_small(
    input: Tensor, window: tuple[int, ...], geometry: Geometry
) -> Tensor | None:
    """Squared lengths of the centered patches of unshifted input, or None where a shift is wiser."""
    if not may_reuse(input):
        return None
    parts = [pixels(input[part], geometry.groups) for part in blocks(input)]
    deviations, means = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
    inside = list(range(2, means.dim()))
    depth = input.shape[1] // geometry.groups
    mean = means.mean(inside, keepdim=True)
    variance = deviations.mean(inside, keepdim=True) / depth + (means - mean).square().mean(
        inside, keepdim=True
    )
    if not bool((mean.square() <= _TOLERATED * variance).all()):
        return None
    return _centered_squares(deviations, means, input, window, geometry)


def smallest_positive(maps: Tensor) -> Tensor:
    """Per sample, the smallest entry above 0, or 0 where there is none; shaped ``(N, 1, *ones)``."""
    smallest = torch.where(maps > 0, maps, torch.inf).amin(tuple(range(1, maps.dim())), keepdim=True)
    return torch.where(smallest < torch.inf, smallest, 0.0)


def largest_or_one(maps: Tensor) -> Tensor:
    """Per sample, the largest entry, or 1 where all are 0; shaped ``(N, 1, *ones)``."""
    largest = maps.amax(tuple(range(1, maps.dim())), keepdim=True)
    return torch.where(largest > 0, largest, 1.0).detach()
