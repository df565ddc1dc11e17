"""Tick labels that are numbers a reader would say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of a decade, for counts of errors; and for other measures.
COUNTS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
MEASURES = (1.0, 2.0, 5.0)


def plain_ticks(axes: Axes, of_decade: Sequence[float] = COUNTS) -> None:
    """Whole epochs across, and on a logarithmic axis upwards 150, 200, 300 in place of powers of ten."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=of_decade))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
