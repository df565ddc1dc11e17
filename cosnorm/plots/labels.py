"""Names written at the ends of curves, in place of a legend."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]], epochs: int) -> None:
    """Write the names of curves and references behind their ends, moved apart where they would touch."""
    ordered = sorted(labels)
    heights = _spread([height for height, _, _ in ordered], *axes.get_ylim(), gap=0.085)
    for (_, label, color), height in zip(ordered, heights, strict=True):
        axes.annotate(
            label,
            (epochs, height),
            xytext=(6, 0),
            textcoords="offset points",
            annotation_clip=False,
            color=color,
            fontsize=10,
            va="center",
        )


def _spread(values: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Move ascending heights on a logarithmic axis apart to at least ``gap`` of its length, order kept.

    What touches is moved as one block to where its members would lie on average: the least moving
    in squares.
    """
    span = math.log(high / low)
    blocks: list[list[float]] = []  # of places, each less the room that the labels below it take
    for k, value in enumerate(values):
        blocks.append([math.log(max(value, low) / low) / span - k * gap])
        while len(blocks) > 1 and statistics.fmean(blocks[-2]) >= statistics.fmean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    room = 1 - gap * (len(values) - 1)
    bases = [min(max(statistics.fmean(block), 0.0), room) for block in blocks for _ in block]
    return [low * math.exp((base + k * gap) * span) for k, base in enumerate(bases)]
