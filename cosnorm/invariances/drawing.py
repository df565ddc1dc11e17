"""The matrix as a figure: techniques down, transformations across, one sign for each verdict."""

from __future__ import annotations

import textwrap
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from cosnorm import plots
from cosnorm.invariances.measuring import MEANINGS, Matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Color and kind of the sign for each verdict; the three differ in shape too.
_SIGNS: dict[str, dict[str, Any]] = {
    "same": {"marker": "o", "color": plots.COLORS["cosine"], "markersize": 9},
    "scales": {
        "marker": "o", "color": plots.COLORS["cosine"], "markersize": 9,
        "fillstyle": "left", "markerfacecoloralt": "white",
    },
    "changes": {"marker": "_", "color": plots.REFERENCE, "markersize": 5},
}  # fmt: skip
#: Inches for a line of text, and characters of a technique's name that fit on it.
_LINE, _WIDTH = 0.17, 27


def figure(matrix: Matrix, title: str) -> Figure:
    """Draw a matrix; rows that no transformation tells apart share a line.

    Parameters
    ----------
    matrix
        As from :func:`cosnorm.invariances.matrix`.
    title
        The answer that the figure gives.

    Examples
    --------
    >>> from cosnorm.invariances import matrix
    >>> drawn = figure(matrix(["cosine", "none"], seeds=[0]), "Length does not matter to a cosine")
    """
    names = [
        textwrap.wrap("; ".join(row.label for row in rows), _WIDTH) for rows in matrix.grouped().values()
    ]
    heights = [_LINE * max(len(lines), 2) for lines in names]
    drawn, axes = plots.new_figure("", (6.0, sum(heights) + 2.6))
    drawn.suptitle(title, x=0.01, ha="left", fontsize=12)
    tops = [sum(heights[:k]) for k in range(len(heights) + 1)]
    middles = [(top + bottom) / 2 for top, bottom in pairwise(tops)]
    for pattern, middle in zip(matrix.grouped(), middles, strict=True):
        for column, verdict in enumerate(pattern):
            axes.plot(column, middle, linestyle="none", **_SIGNS[verdict])
    for top in tops[1:-1]:
        axes.axhline(top, color="#DDDDDD", linewidth=0.6, zorder=0)
    axes.set_yticks(middles, ["\n".join(lines) for lines in names], fontsize=9)
    _head(axes, matrix, tops[-1])
    _legend(drawn)
    return drawn


def _head(axes: Any, matrix: Matrix, bottom: float) -> None:
    """The columns' names above them, and lines between columns about different things."""
    columns = matrix.transformations
    axes.set(xlim=(-0.6, len(columns) - 0.4), ylim=(bottom, 0))
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), [t.label for t in columns], rotation=90, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    ends = [len(list(group)) for _, group in groupby(columns, key=lambda t: t.of)]
    for end in [sum(ends[: k + 1]) for k in range(len(ends) - 1)]:
        axes.axvline(end - 0.5, color=plots.REFERENCE, linewidth=0.8)


def _legend(drawn: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="none", label=MEANINGS[v], **sign) for v, sign in _SIGNS.items()]
    drawn.legend(
        handles=handles, loc="outside lower left", ncols=1, fontsize=9, handletextpad=0.4, frameon=False
    )
