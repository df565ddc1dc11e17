"""Every run by itself: one mark a seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cosnorm import evidence
from cosnorm.plots.checks import require_one_kind
from cosnorm.plots.identity import COLORS, MARKERS, REFERENCE, label, norm_of
from cosnorm.plots.style import new_figure
from cosnorm.plots.ticks import COUNTS
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def seed_scores(
    records: Sequence[Record], paper: Mapping[str, float] | None = None, *, title: str = ""
) -> Figure:
    """Test errors of each run, mean of its last epochs: a row a technique, a mark a seed.

    Parameters
    ----------
    records
        Of one experiment at one scale. Diverged runs have no mark and are counted in the row's name.
    paper
        The paper's figure by technique, a count of test errors, drawn as a grey tick.
    title
        The answer that the figure gives.

    Returns
    -------
    matplotlib.figure.Figure
        A thin line marks the mean over seeds. The axis is logarithmic where errors differ by more than
        a factor of two.

    Raises
    ------
    ValueError
        If there are no records, or they are of several experiments or scales, or every run diverged.

    Examples
    --------
    >>> figure = seed_scores(evidence.load("mnist", "smoke"), title="The seeds of all techniques overlap")
    """
    require_one_kind(records)
    if all(r.diverged for r in records):
        raise ValueError("every run diverged: there is no score to draw")
    techniques = list(dict.fromkeys(r.technique for r in records))
    figure, axes = new_figure(title, (6.0, 1.4 + 0.42 * len(techniques)))
    for row, technique in enumerate(techniques):
        _draw_row(axes, row, technique, list(evidence.scores(records, technique).values()))
        if technique in (paper or {}):
            _draw_paper(axes, row, (paper or {})[technique])
    axes.set(
        yticks=range(len(techniques)),
        yticklabels=[_name(records, technique) for technique in techniques],
        ylim=(len(techniques) - 0.4, -0.6),
        xlabel=f"test errors (of {records[0].settings['test_examples']:,}), mean of the last epochs",
    )
    _widen(axes)
    return figure


def _widen(axes: Axes) -> None:
    """A logarithmic axis with counts for ticks, where a linear one would crowd most rows at its end."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    low, high = axes.get_xlim()
    if low > 0 and high > 2 * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=COUNTS))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.xaxis.set_minor_locator(NullLocator())


def _draw_row(axes: Axes, row: int, technique: str, scores: Sequence[float]) -> None:
    color = COLORS[norm_of(technique)]
    axes.plot(scores, [row] * len(scores), MARKERS[norm_of(technique)], color=color)
    if scores:
        mean = statistics.fmean(scores)
        axes.plot([mean, mean], [row - 0.25, row + 0.25], color=color, linewidth=1)


def _draw_paper(axes: Axes, row: int, value: float) -> None:
    axes.plot(value, row, "|", color=REFERENCE, markersize=18)
    axes.annotate("paper", (value, row - 0.24), color=REFERENCE, ha="center", va="bottom", fontsize=9)


def _name(records: Sequence[Record], technique: str) -> str:
    lost = sum(r.diverged for r in records if r.technique == technique)
    return label(technique) + (f"\n({lost} diverged)" if lost else "")
