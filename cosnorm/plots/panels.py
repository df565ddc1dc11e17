"""Several small panels side by side under one title."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cosnorm.plots.style import _STYLE, SIZE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_panels(
    title: str,
    count: int,
    *,
    columns: int | None = None,
    height: float = 1.5,
    sharex: bool = True,
    sharey: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels in the book's style; places that are left over stay empty.

    Parameters
    ----------
    title
        The answer that the figure gives.
    count
        Number of panels.
    columns
        Panels side by side; without it two for up to four panels, else three, which a phone can show.
    height
        Of a panel, in inches; the figure is six inches wide.
    sharex, sharey
        Whether all panels have one axis.

    Examples
    --------
    >>> figure, panels = new_panels("Four answers", 4)
    >>> len(panels)
    4
    """
    import matplotlib as mpl

    columns = columns or (min(count, 2) if count <= 4 else 3)
    rows = math.ceil(count / columns)
    figure, single = new_figure("", (SIZE[0], 0.9 + height * rows))
    single.remove()
    with mpl.rc_context(_STYLE):
        grid = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, wrap=True)
    panels = [axes for row in grid for axes in row]
    for place, axes in enumerate(panels):
        axes.tick_params(labelsize=9)
        if place + columns >= count:  # the lowest panel of a column names the axis, in a short row as well
            axes.tick_params(labelbottom=True)
        axes.set_visible(place < count)
    return figure, panels[:count]
