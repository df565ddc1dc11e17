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


class Patches(NamedTuple):
    """The input of a cosine convolution, prepared for a product; maps are ``(N, groups, *out)``.

    ``values`` is what the filters slide over under ``geometry``, ``appended`` the component that
    every patch has besides, ``reduced`` the reciprocal length of the patches of ``values`` and
    ``reciprocal`` that of the patches as they came (they differ in float16 only).

    Where ``centered``, lengths are those of centred patches, but ``values`` still contain their
    means: for the product it is enough that the filters have none. ``shifted`` says that the values
    are padded, and each sample's large mean is gone.
    """

    values: Tensor
    geometry: Geometry
    appended: Tensor | float | None
    reduced: Tensor
    reciprocal: Tensor
    centered: bool
    shifted: bool

    def part(self, samples: slice) -> Patches:
        """Some of the samples."""
        appended = self.appended[samples] if isinstance(self.appended, Tensor) else self.appended
        return self._replace(
            values=self.values[samples],
            appended=appended,
            reduced=self.reduced[samples],
            reciprocal=self.reciprocal[samples],
        )


def prepare_patches(
    input: Tensor,
    window: tuple[int, ...],
    geometry: Geometry,
    centered: bool,
    constant: float,
    reciprocal: Tensor | None = None,
    shifted: bool | None = None,
) -> Patches:
    """Make :class:`Patches` of ``input``; what is already known is not computed again.

    ``shifted`` None means that each sample's mean is subtracted if it is large.
    """
    dtype = accumulation_dtype(input.dtype)
    values, appended = input, constant or None
    if shifted is None and centered:
        reciprocal = _reciprocal_where_means_are_small(input, window, geometry, appended)
    shifted = centered and (reciprocal is None if shifted is None else shifted)
    if shifted:
        values, appended = shift(input.to(dtype), constant, geometry)
        geometry = geometry.without_padding()
    if reciprocal is None:
        if centered:
            squares = _centered_squares(*pixels(values, geometry.groups), values, window, geometry, appended)
        else:
            squares = box(_squares_of_pixels(values, geometry.groups), window, geometry) + constant**2
        reciprocal = reciprocal_root(squares)
    if input.dtype != torch.float16:
        return Patches(values.to(input.dtype), geometry, appended, reciprocal, reciprocal, centered, shifted)
    scale = power_of_two_above(smallest_positive(reciprocal))
    values = (values * scale).to(input.dtype)
    appended = None if appended is None else appended * scale
    return Patches(values, geometry, appended, reciprocal / scale, reciprocal, centered, shifted)


def shift(input: Tensor, constant: float, geometry: Geometry) -> tuple[Tensor, Tensor | None]:
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
    return join(padded - mean), constant - mean.squeeze(2) if constant else None


def patch_mean(x: Patches, window: tuple[int, ...]) -> Tensor:
    """The mean of every patch of ``x.values``, its appended component included."""
    channels = split(x.values.to(x.reduced.dtype), x.geometry.groups)
    total = box(channels.sum(2), window, x.geometry)
    count = channels.shape[2] * math.prod(window)
    return total / count if x.appended is None else (total + x.appended) / (count + 1)


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
    deviations: Tensor,
    means: Tensor,
    values: Tensor,
    window: tuple[int, ...],
    geometry: Geometry,
    appended: Tensor | float | None,
) -> Tensor:
    """The squared length of every centred patch: spread within each pixel, plus spread between pixels.

    No small difference of large sums appears, and a constant patch gives an exact zero.
    """
    depth = values.shape[1] // geometry.groups
    within = box(deviations, window, geometry)
    parts = []
    for part in blocks(means, math.prod(window)):
        seen = windows(means[part], window, geometry)
        start = seen[..., :1]
        rest = seen - start
        offset = rest.mean(-1, keepdim=True)
        squares = depth * (rest - offset).square().sum(-1)
        if appended is not None:
            count = depth * math.prod(window)
            own = appended[part] if isinstance(appended, Tensor) else appended
            gap = own - (start + offset).squeeze(-1)
            squares = squares + gap.square() * (count / (count + 1))
        parts.append(squares)
    return within + (parts[0] if len(parts) == 1 else torch.cat(parts))


def _reciprocal_where_means_are_small(
    input: Tensor, window: tuple[int, ...], geometry: Geometry, appended: float | None
) -> Tensor | None:
    """Reciprocal lengths of the centred patches of unshifted input, or None where a shift is wiser."""
    if input.device.type != "cpu" or input.dtype in HALF or not may_reuse(input):
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
    return reciprocal_root(_centered_squares(deviations, means, input, window, geometry, appended))


def smallest_positive(maps: Tensor) -> Tensor:
    """Per sample, the smallest entry above 0, or 0 where there is none; shaped ``(N, 1, *ones)``."""
    smallest = torch.where(maps > 0, maps, torch.inf).amin(tuple(range(1, maps.dim())), keepdim=True)
    return torch.where(smallest < torch.inf, smallest, 0.0)


def largest_or_one(maps: Tensor) -> Tensor:
    """Per sample, the largest entry, or 1 where all are 0; shaped ``(N, 1, *ones)``."""
    largest = maps.amax(tuple(range(1, maps.dim())), keepdim=True)
    return torch.where(largest > 0, largest, 1.0).detach()
