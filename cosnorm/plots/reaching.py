"""How many steps it takes to get as low as a baseline ever gets."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cosnorm import evidence
from cosnorm.evidence import steps_of_epoch
from cosnorm.plots.checks import require_one_kind
from cosnorm.plots.identity import COLORS, MARKERS, REFERENCE, label, norm_of
from cosnorm.plots.labels import ink
from cosnorm.plots.style import SIZE, new_figure
from cosnorm.plots.ticks import COUNTS, plain_ticks
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def steps_to_reach(
    records: Sequence[Record],
    technique: str,
    baseline: str,
    *,
    title: str = "",
    figsize: tuple[float, float] = SIZE,
) -> Figure:
    """Test errors by step of a technique and of its baseline, and when each is as low as the baseline gets.

    Parameters
    ----------
    records
        Of one experiment at one scale.
    technique, baseline
        Two of its competitors.
    title
        The answer that the figure gives.
    figsize
        Width and height in inches.

    Returns
    -------
    matplotlib.figure.Figure
        Each run is a thin line, so that nothing is averaged over runs that got there at other times. The
        dashed line is the mean of the baseline's lowest errors; what is written at the vertical ones is
        the mean number of steps that :func:`cosnorm.evidence.reach` finds, seed by seed.

    Raises
    ------
    ValueError
        If there are no records, or they are of several experiments or scales, or one of the two has no
        run that finished.

    Examples
    --------
    >>> figure = steps_to_reach(evidence.load("mnist", "smoke"), "cosine", "none")
    """
    require_one_kind(records)
    targets = evidence.lowest(records, baseline)
    figure, axes = new_figure(title, figsize)
    total = records[0].settings["test_examples"]
    axes.set(xlabel="steps of training", ylabel=f"test errors (of {total:,})", xscale="log", yscale="log")
    for name in (baseline, technique):
        runs = [r for r in records if r.technique == name and not r.diverged]
        if not runs:
            raise ValueError(f"no run of {name!r} finished: there is no curve to draw")
        for run in runs:
            _draw_run(axes, name, run)
    level = statistics.fmean(targets.values())
    axes.axhline(level, color=REFERENCE, linestyle=(0, (4, 3)), linewidth=1.0, zorder=1)
    axes.annotate(
        f"lowest of\n{label(baseline)}: {level:,.0f}",
        (1.0, level),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        color=REFERENCE,
        fontsize=10,
        va="center",
    )
    for place, name in enumerate((baseline, technique)):
        _mark(axes, name, evidence.reach(records, name, targets), place)
    _step_ticks(axes)
    return figure


def _draw_run(axes: Axes, technique: str, run: Record) -> None:
    errors = run.curves["test_error"]
    steps = [steps_of_epoch(run) * epoch for epoch in range(1, len(errors) + 1)]
    every = max(1, len(errors) // 8)
    axes.plot(
        steps,
        errors,
        color=COLORS[norm_of(technique)],
        marker=MARKERS[norm_of(technique)],
        markevery=(every - 1, every),
        linewidth=1.0,
    )


def _mark(axes: Axes, technique: str, reached: evidence.Reach | None, place: int) -> None:
    """A vertical line at the mean number of steps, its name at the top."""
    color = COLORS[norm_of(technique)]
    if reached is None or reached.steps is None:
        text, x = f"{label(technique)}: not reached", axes.get_xlim()[1]
    else:
        axes.axvline(reached.steps, color=color, linewidth=0.8, linestyle=":")
        text, x = f"{label(technique)}: {reached.steps:,.0f} steps", reached.steps
    low, high = axes.get_xlim()
    side, offset = ("left", 4) if x**2 < low * high else ("right", -4)  # the middle of a logarithmic axis
    axes.annotate(
        text,
        (x, 1.0 - 0.08 * place),
        xycoords=("data", "axes fraction"),
        xytext=(offset, 0),
        textcoords="offset points",
        color=ink(color),
        fontsize=10,
        ha=side,
        va="top",
    )


def _step_ticks(axes: Axes) -> None:
    """Counts on both axes, of which the horizontal one is logarithmic here too."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    plain_ticks(axes)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=COUNTS))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
