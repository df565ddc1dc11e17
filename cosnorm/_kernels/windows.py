"""How a window moves over maps: convolutions, sums under it, and their transposes."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm._kernels.vectors import may_reuse

#: Elements worked on at a time on a CPU, so that intermediate results stay in its cache.
_BLOCK = 2**19


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
