"""The book's style: sizes, fonts, and the same SVG each time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cosnorm.plots.identity import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches. At 360 pixels a phone shows the text of such a figure at about 60 % of its size.
SIZE = (6.0, 3.6)

_STYLE: Any = {
    "figure.figsize": SIZE,
    "figure.facecolor": "white",  # also on a dark page: the palette is made for white
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 11.0,
    "axes.titlesize": 12.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 11.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "legend.fontsize": 10.0,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "svg.hashsalt": "cosnorm",
    "svg.fonttype": "path",
}
#: No date and no version: the same figure is the same file.
_METADATA = {"Date": None, "Creator": None}


def use_book_style() -> None:
    """Set matplotlib to the book's style; in a notebook also make inline figures repeatable SVG.

    Called in the first cell of every chapter. The style stays until matplotlib's settings are changed
    again (``matplotlib.rcdefaults()`` undoes it).

    Examples
    --------
    >>> use_book_style()
    """
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(_STYLE)
    matplotlib.rcParams["axes.prop_cycle"] = cycler(color=list(COLORS.values()))
    _inline_svg()


def _inline_svg() -> None:
    """Tell a running IPython to show figures as SVG without a date; do nothing elsewhere."""
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return
    import matplotlib.pyplot  # noqa: F401  (its first import sets up the inline backend, and would undo this)
    from matplotlib_inline.config import InlineBackend

    backend = InlineBackend.instance(parent=shell)
    backend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": _METADATA}
    backend.figure_formats = {"svg"}


def to_svg(figure: Figure) -> str:
    """A figure as SVG text, the same for the same figure each time.

    Examples
    --------
    >>> to_svg(new_figure("nothing yet")[0]).startswith("<?xml")
    True
    """
    import io

    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata=_METADATA)
    return buffer.getvalue()


def new_figure(title: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """An empty figure in the book's style, with one pair of axes.

    It is not known to pyplot, so a notebook shows it once, where it is the last value of a cell.

    Parameters
    ----------
    title
        The answer that the figure gives.
    size
        Width and height in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_title(title, wrap=True)
    return figure, axes
