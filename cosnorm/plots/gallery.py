"""Images side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosnorm.plots.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def pictures(
    rows: Mapping[str, Sequence[NDArray[np.floating]]], columns: Sequence[str] = (), *, title: str = ""
) -> Figure:
    """A grid of images: one row for each name, one column for each image of a row.

    Parameters
    ----------
    rows
        By name as many images as any other row has, ``(H, W)`` for gray or ``(H, W, 3)`` for red, green
        and blue, from 0 to 1; values outside are cut off.
    columns
        What is written above the columns; empty for nothing.
    title
        The answer that the figure gives.

    Raises
    ------
    ValueError
        If there are no images, rows differ in their numbers, there are other numbers of columns than of
        names for them, or an image has another shape.

    Examples
    --------
    >>> gray = np.linspace(0, 1, 12).reshape(3, 4)
    >>> figure = pictures({"as it is": [gray], "negative": [1 - gray]}, title="A negative")
    """
    counts = {len(images) for images in rows.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError("every row needs the same number of images, at least one")
    count = counts.pop()
    if columns and len(columns) != count:
        raise ValueError(f"{count} columns of images need as many names, got {len(columns)}")
    for image in (image for images in rows.values() for image in images):
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError(f"an image has the shape (H, W) or (H, W, 3), got {image.shape}")
    figure, outer = new_figure("", (6.0, 0.75 + 5.0 / count * len(rows)))
    outer.remove()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, wrap=True)
    grid = figure.subplots(len(rows), count, squeeze=False)
    for place, (name, images) in enumerate(rows.items()):
        for axes, image in zip(grid[place], images, strict=True):
            axes.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        grid[place][0].set_ylabel(name)
    for axes, text in zip(grid[0], columns, strict=False):
        axes.set_title(text, loc="center", fontsize=10)
    return figure
