"""Names written at the ends of curves, in place of a legend."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]], epochs: int) -> None:
    """Write the names of curves and references behind their ends, moved apart where they would touch.

    A line leads from an end to its name.
    """
    from matplotlib.transforms import ScaledTranslation

    ordered = sorted(labels)
    heights = _spread([height for height, _, _ in ordered], *axes.get_ylim(), gap=0.085)
    figure = axes.get_figure(root=True)
    assert figure is not None
    behind = axes.transData + ScaledTranslation(18 / 72, 0, figure.dpi_scale_trans)
    for (end, label, color), height in zip(ordered, heights, strict=True):
        axes.annotate(
            label,
            (epochs, max(end, axes.get_ylim()[0])),
            xytext=(epochs, height),
            textcoords=behind,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3}
            | {"relpos": (0, 0.5)},
            color=ink(color),
            fontsize=10,
            va="center",
        )


def ink(color: str) -> str:
    """A color as dark as letters on white have to be: a contrast of at least 4.5 (WCAG 2.2, 1.4.3).

    Examples
    --------
    >>> ink("#000000"), ink("#56B4E9")
    ('#000000', '#3C7DA2')
    """
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = to_rgb(color)
    while _contrast_with_white(red, green, blue) < 4.5:
        red, green, blue = 0.99 * red, 0.99 * green, 0.99 * blue
    return to_hex((red, green, blue)).upper()


def _contrast_with_white(*color: float) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 1.05 / (luminance + 0.05)


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
    least = gap / 2  # the lowest name stands above the axis
    most = max(1 - gap * (len(values) - 1), least)
    bases = [min(max(statistics.fmean(block), least), most) for block in blocks for _ in block]
    return [low * math.exp((base + k * gap) * span) for k, base in enumerate(bases)]
