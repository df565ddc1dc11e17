"""Two scores for each technique, one before and one after something was changed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cosnorm.plots.identity import COLORS, MARKERS, REFERENCE, label, norm_of
from cosnorm.plots.style import SIZE, new_figure
from cosnorm.plots.ticks import MEASURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: By technique the scores of its runs.
Scores = Mapping[str, Sequence[float]]
#: Scores that differ by more than this factor, as when one technique learned nothing, are drawn on a
#: logarithmic axis.
SPAN = 8.0


def before_and_after(
    before: Scores,
    after: Scores,
    names: tuple[str, str],
    axis: str,
    *,
    notes: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """An open marker at each technique's mean before, a filled one after, a line between; lowest on top.

    Parameters
    ----------
    before, after
        Scores by technique, one a run; those of both are drawn. Each run is a small grey tick.
    names
        What the two are called in the legend.
    axis
        Label of the axis of scores.
    notes
        Written behind a technique's name, such as its two rates.
    title
        The answer that the figure gives.

    Raises
    ------
    ValueError
        If no technique has scores in both.

    Examples
    --------
    >>> figure = before_and_after({"none": [9.0]}, {"none": [7.0]}, ("0.1", "0.3"), "test errors")
    """
    order = [technique for technique in after if before.get(technique) and after[technique]]
    if not order:
        raise ValueError("no technique has scores both before and after; give some that were run in both")
    order.sort(key=lambda technique: statistics.fmean(after[technique]), reverse=True)
    figure, axes = new_figure(title, (SIZE[0], 1.6 + 0.45 * len(order)))
    for place, technique in enumerate(order):
        color, marker = COLORS[norm_of(technique)], MARKERS[norm_of(technique)]
        means = [statistics.fmean(scores[technique]) for scores in (before, after)]
        for scores, shift in ((before, 0.22), (after, -0.22)):
            runs = scores[technique]
            axes.plot(runs, [place + shift] * len(runs), "|", color=REFERENCE, markersize=7)
        axes.plot(means, [place + 0.22, place - 0.22], color=color, linewidth=1.0)
        axes.plot(means[0], place + 0.22, marker=marker, color=color, markersize=7, markerfacecolor="white")
        axes.plot(means[1], place - 0.22, marker=marker, color=color, markersize=7)
    for name, fill in zip(names, ("white", REFERENCE), strict=True):
        axes.plot([], [], "o", color=REFERENCE, markerfacecolor=fill, label=name)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)  # a long title needs the top
    texts = [f"{label(technique)}{(notes or {}).get(technique, '')}" for technique in order]
    axes.set_yticks(range(len(order)), texts)
    axes.set(xlabel=axis, ylim=(-0.6, len(order) - 0.4))
    runs = [run for scores in (before, after) for technique in order for run in scores[technique]]
    if 0 < SPAN * min(runs) < max(runs):
        _logarithmic(axes)
    return figure


def _logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=MEASURES))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
