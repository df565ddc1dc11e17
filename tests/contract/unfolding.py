"""Literal patches in torch, differentiable: what a convolution is when nothing is clever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from oracles import Patches
from torch import Tensor


def patches(
    x: Tensor, window: Sequence[int], groups: int = 1, **geometry: Any
) -> tuple[Tensor, tuple[int, ...]]:
    """``(N, C, *in)`` -> ``(N, groups, positions, C / groups * window)``, and the sizes of the output.

    In the order of a filter's entries. ``geometry`` holds stride, padding, dilation and padding_mode.
    """
    places = Patches(x.shape[2:], window, **geometry)
    index = torch.from_numpy(places.index)
    entries = F.pad(x.flatten(2), (0, 1)).index_select(2, index.flatten())
    n, channels = x.shape[:2]
    split = entries.reshape(n, groups, channels // groups, *index.shape).movedim(2, 3)
    return split.reshape(n, groups, len(index), -1), places.output


def unfolded(
    x: Tensor,
    w: Tensor,
    product: Callable[..., Tensor],
    *,
    centered: bool = False,
    constant: float = 0.0,
    groups: int = 1,
    **geometry: Any,
) -> Tensor:
    """A layer as ``product`` of patches and filters: ``(..., B, d)``, ``(..., m, d)`` -> ``(..., B, m)``.

    With a weight of two dimensions there is nothing to unfold, and it is the linear layer.
    """
    if w.dim() == 2:
        return product(x, w, centered=centered, constant=constant)
    found, out = patches(x, w.shape[2:], groups, **geometry)
    parts = [
        product(found[:, group], filters.flatten(1), centered=centered, constant=constant)
        for group, filters in enumerate(w.chunk(groups))
    ]
    return torch.cat([part.transpose(1, 2).unflatten(2, out) for part in parts], dim=1)
