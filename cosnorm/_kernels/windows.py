"""The patches under a moving window, which are never copied out, and their lengths.

A patch's length needs only the sum of squares under the window: the channels are summed first, and the one
map that is left is summed under the window.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm._kernels.vectors import HALF, accumulation_dtype, may_reuse, power_of_two_above, reciprocal_root

#: Elements worked on at a time on a CPU, so that intermediate results stay in its cache.
_BLOCK = 2**19

#: A sample is shifted first where the square of its mean is more than so many times its variance.
_TOLERATED = 16

#: A power of two that float16 holds, with room for sums of a few.
_LARGEST_HALF = 2.0**13


class Geometry(NamedTuple):
    """How the window moves: one entry per spatial dimension, symmetric padding with zeros."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def without_padding(self) -> Geometry:
        return self._replace(padding=(0,) * len(self.padding))

    def both_sides(self) -> list[int]:
        """The padding as :func:`torch.nn.functional.pad` wants it: last dimension first."""
        return [side for width in reversed(self.padding) for side in (width, width)]


def convolve(values: Tensor, filters: Tensor, geometry: Geometry) -> Tensor:
    stride, padding, dilation, groups = geometry
    none = [0] * len(stride)
    return torch.convolution(values, filters, None, stride, padding, dilation, False, none, groups)


def convolution_gradient(
    grad: Tensor, values: Tensor, filters: Tensor, geometry: Geometry, of_filters: bool
) -> Tensor:
    stride, padding, dilation, groups = geometry
    none = [0] * len(stride)
    mask = [not of_filters, of_filters, False]
    grads = torch.ops.aten.convolution_backward(
        grad, values, filters, None, stride, padding, dilation, False, none, groups, mask
    )
    return grads[int(of_filters)]


def box(maps: Tensor, window: tuple[int, ...], geometry: Geometry) -> Tensor:
    """Sum each map ``(N, G, *in)`` under the moving window. Sums over zeros are exact zeros."""
    precise = _exact(maps)
    ones = precise.new_ones((maps.shape[1], 1, *window))
    return convolve(precise, ones, geometry._replace(groups=maps.shape[1])).to(maps.dtype)


def box_transposed(maps: Tensor, like: Tensor, window: tuple[int, ...], geometry: Geometry) -> Tensor:
    """Add each window's entry of ``maps`` to every position that it covers: the transpose of :func:`box`."""
    stride, padding, dilation, _ = geometry
    reach = [gap * (size - 1) for size, gap in zip(window, dilation, strict=True)]
    around = tuple(far - width for far, width in zip(reach, padding, strict=True))
    if all(step == 1 for step in stride) and min(around) >= 0:  # a box again, and faster as such
        return box(maps, window, geometry._replace(padding=around))
    beyond = [
        size + 2 * width - far - 1 - (out - 1) * step
        for size, out, step, width, far in zip(
            like.shape[2:], maps.shape[2:], stride, padding, reach, strict=True
        )
    ]
    groups, precise = maps.shape[1], _exact(maps)
    ones = precise.new_ones((groups, 1, *window))
    spread = torch.convolution(precise, ones, None, stride, padding, dilation, True, beyond, groups)
    return spread.to(maps.dtype)


def _exact(maps: Tensor) -> Tensor:
    # In float32 cuDNN might use TF32 (10-bit mantissa), except in grouped convolutions.
    return maps.double() if maps.device.type == "cuda" and maps.shape[1] == 1 else maps


def windows(maps: Tensor, window: tuple[int, ...], geometry: Geometry) -> Tensor:
    """All windows of maps ``(N, G, *in)``, copied to ``(N, G, *out, prod(window))``."""
    maps = F.pad(maps, geometry.both_sides()) if any(geometry.padding) else maps
    for axis, (size, step, gap) in enumerate(zip(window, geometry.stride, geometry.dilation, strict=True)):
        maps = maps.unfold(2 + axis, gap * (size - 1) + 1, step)[..., ::gap]
    return maps.reshape(*maps.shape[: 2 + len(window)], math.prod(window))


def blocks(maps: Tensor, factor: int = 1) -> list[slice]:
    """Ranges of samples to work through in turn, with ``factor`` elements for each of ``maps``."""
    # Elementwise steps over a whole batch are bound by memory; over a few samples they stay in the cache.
    each = max(1, maps.shape[1:].numel() * factor)
    step = max(1, _BLOCK // each)
    if maps.device.type != "cpu" or len(maps) <= step or not may_reuse(maps):
        return [slice(None)]
    return [slice(start, start + step) for start in range(0, len(maps), step)]


def split(channels: Tensor, groups: int) -> Tensor:
    """``(N, C, *rest)`` to ``(N, groups, C / groups, *rest)``, a view."""
    samples, count, *rest = channels.shape
    return channels.view(samples, groups, count // groups, *rest)


def join(groups: Tensor) -> Tensor:
    return groups.reshape(len(groups), groups.shape[1] * groups.shape[2], *groups.shape[3:])


def per_group(maps: Tensor, groups: int) -> Tensor:
    return split(maps, groups).sum(2)


def over_filters(maps: Tensor, filters: Tensor) -> Tensor:
    """``(N, groups, *out)`` times ``(N, filters, *out)``, each map with the filters of its group."""
    groups = maps.shape[1]
    return filters * maps if groups == 1 else join(split(filters, groups) * maps.unsqueeze(2))


def column(vector: Tensor, maps: Tensor) -> Tensor:
    return vector.view(-1, *[1] * (maps.dim() - 2))


class Patches(NamedTuple):
    """The input of a cosine convolution, prepared for a product; maps are ``(N, groups, *out)``.

    ``values`` is what the filters slide over under ``geometry``; ``constant`` is the component that is
    appended to every patch after centering. ``full_reciprocal`` is the reciprocal length of each patch.

    If ``centered``, lengths are those of centered patches, but ``values`` still contain the patches' means:
    for the product it is enough that the filters have none. ``shifted`` says that the values were padded and
    the large mean of a sample subtracted (not in half precision, where that would round them).

    A flat patch (of equal numbers if centered, else of zeros) has the constant for its length, and the
    rounding error of its product with ``values`` may be larger. ``flat`` marks such patches (None if there
    are none, or if their products are exact zeros), and ``reciprocal`` is 0 for them. A product with
    ``values`` is multiplied by ``reduced``: that is ``reciprocal``, or ``full_reciprocal`` while a graph is
    recorded, divided by a power of two in float16.
    """

    values: Tensor
    geometry: Geometry
    constant: float
    reduced: Tensor
    full_reciprocal: Tensor
    reciprocal: Tensor
    flat: Tensor | None
    centered: bool
    shifted: bool
    mean = None  # it stays in the values

    def part(self, samples: slice) -> Patches:
        return self._replace(
            values=self.values[samples],
            reduced=self.reduced[samples],
            full_reciprocal=self.full_reciprocal[samples],
            reciprocal=self.reciprocal[samples],
            flat=None if self.flat is None else self.flat[samples],
        )


def prepare_patches(
    input: Tensor,
    window: tuple[int, ...],
    geometry: Geometry,
    centered: bool,
    constant: float,
    *,
    eager: bool = False,
    reciprocal: Tensor | None = None,
    shifted: bool | None = None,
) -> Patches:
    # ``eager`` allows looking at numbers to save work; ``reciprocal`` and ``shifted`` are an earlier call's.
    dtype = accumulation_dtype(input.dtype)
    values, squares = input, None
    eager = eager and input.device.type == "cpu"
    half = input.dtype in HALF
    if centered and eager and reciprocal is None and not half:
        squares = _squares_if_means_are_small(input, window, geometry)
    if shifted is None:
        shifted = centered and squares is None and not half
    if shifted:
        values = shift(input, geometry)
        geometry = geometry.without_padding()
    rounded = constant != 0 and (centered or input.dtype == torch.float16)
    if reciprocal is None:
        if squares is None and centered:
            exact = values.to(dtype)
            squares = _centered_squares(*pixels(exact, geometry.groups), exact, window, geometry)
        elif squares is None:
            squares = box(_squares_of_pixels(values, geometry.groups), window, geometry)
        full_reciprocal = reciprocal = reciprocal_root(squares + constant**2)
        flat = _drop_if_none(squares < torch.finfo(dtype).tiny, eager) if rounded else None
        if flat is not None:
            reciprocal = full_reciprocal.masked_fill(flat, 0.0)
    else:
        full_reciprocal = reciprocal
        flat = _drop_if_none(reciprocal == 0, eager) if rounded else None
        if flat is not None:
            full_reciprocal = reciprocal.masked_fill(flat, _reciprocal_of(constant, dtype))
    reduced = full_reciprocal if torch.is_grad_enabled() else reciprocal
    if input.dtype == torch.float16:
        scale = power_of_two_above(smallest_positive(reciprocal))
        if centered:  # values may be larger than the lengths of their centered patches
            largest = values.detach().abs().amax(tuple(range(1, values.dim())), keepdim=True)
            scale = torch.minimum(scale, _LARGEST_HALF / power_of_two_above(largest.to(dtype)))
        values, reduced = values * scale, reduced / scale
    values = values.to(input.dtype)
    return Patches(values, geometry, constant, reduced, full_reciprocal, reciprocal, flat, centered, shifted)


def _drop_if_none(flat: Tensor, eager: bool) -> Tensor | None:
    return None if eager and not bool(flat.any()) else flat


def _reciprocal_of(constant: float, dtype: torch.dtype) -> float:
    # As reciprocal_root of the square.
    square, kind = constant**2, torch.finfo(dtype)
    if square > kind.max:
        return math.nan
    return 0.0 if square < kind.tiny else 1 / abs(constant)


def shift(input: Tensor, geometry: Geometry) -> Tensor:
    """Pad, and subtract each sample's mean where it exceeds the standard deviation.

    A centered cosine does not depend on such a shift, but its rounding error does: a large mean would drown
    the contrast of small patches, and so would subtracting the mean of a sample with a few large entries.
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
    # Spread within each pixel, plus spread between pixels: no small difference of large sums appears, and a
    # patch of equal numbers gives an exact zero.
    depth = values.shape[1] // geometry.groups
    within = box(deviations, window, geometry)
    parts = []
    for part in blocks(means, math.prod(window)):
        seen = windows(means[part], window, geometry)
        rest = seen - seen[..., :1]
        parts.append(depth * (rest - rest.mean(-1, keepdim=True)).square().sum(-1))
    return within + (parts[0] if len(parts) == 1 else torch.cat(parts))


def _squares_if_means_are_small(input: Tensor, window: tuple[int, ...], geometry: Geometry) -> Tensor | None:
    # Of the centered patches of unshifted input, or None if a shift is more precise.
    if not may_reuse(input):
        return None
    parts = [pixels(input[part], geometry.groups) for part in blocks(input)]
    deviations, means = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
    inside = list(range(2, means.dim()))
    depth = input.shape[1] // geometry.groups
    mean = means.mean(inside, keepdim=True)
    within = deviations.mean(inside, keepdim=True) / depth
    variance = within + (means - mean).square().mean(inside, keepdim=True)
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
