"""How long training takes to a given error: first passages, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cosnorm import evidence
from cosnorm.evidence import steps_of_epoch
from cosnorm.plots.checks import require_one_kind
from cosnorm.plots.identity import COLORS, MARKERS, label, norm_of
from cosnorm.plots.style import SIZE, new_figure
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def first_passages(records: Sequence[Record], levels: Sequence[int]) -> dict[str, dict[int, float]]:
    """Mean number of epochs until a run makes no more than so many test errors.

    Parameters
    ----------
    records
        Of one experiment at one scale.
    levels
        Numbers of test errors.

    Returns
    -------
    dict
        By technique and level. A level that some run of a technique did not reach, or diverged before, is
        left out: the mean of the others would flatter it.

    Examples
    --------
    >>> first_passages(evidence.load("mnist", "smoke"), [355])["cosine"]
    {355: 1.0}
    """
    found: dict[str, dict[int, float]] = {}
    for technique in dict.fromkeys(r.technique for r in records):
        runs = [r for r in records if r.technique == technique]
        found[technique] = {}
        for level in levels:
            reached = evidence.reach(runs, technique, {r.seed: level for r in runs})
            if reached is not None and reached.steps is not None and reached.n == len(runs):
                found[technique][level] = reached.steps / steps_of_epoch(runs[0])
    return found


def epochs_to_errors(
    records: Sequence[Record],
    levels: Sequence[int],
    *,
    title: str = "",
    figsize: tuple[float, float] = SIZE,
) -> Figure:
    """Epochs until a number of test errors is first reached, level by level; a line a technique.

    Parameters
    ----------
    records
        Of one experiment at one scale.
    levels
        Numbers of test errors; those that not all runs of a technique reached are left out of its line.
    title
        The answer that the figure gives.
    figsize
        Width and height in inches.

    Raises
    ------
    ValueError
        If there are no records, they are of several experiments or scales, or no technique reached any
        of the levels.

    Examples
    --------
    >>> figure = epochs_to_errors(evidence.load("mnist", "smoke"), [50, 30, 20])
    """
    require_one_kind(records)
    passages = {name: line for name, line in first_passages(records, levels).items() if line}
    if not passages:
        raise ValueError(f"no technique made as few errors as {max(levels)} in every run; raise the levels")
    figure, axes = new_figure(title, figsize)
    for technique, line in passages.items():
        norm = norm_of(technique)
        axes.plot(
            list(line), list(line.values()), color=COLORS[norm], marker=MARKERS[norm], label=label(technique)
        )
    total = records[0].settings["test_examples"]
    axes.set(xscale="log", yscale="log", xlabel=f"test errors (of {total:,}), fewer to the right")
    axes.set_ylabel("epochs until first reached")
    axes.invert_xaxis()
    _ticks(axes, levels)
    axes.legend(loc="upper left")  # lines rise to the right, and end where others go on
    return figure


def _ticks(axes: Axes, levels: Sequence[int]) -> None:
    """The levels themselves, and whole epochs."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(FixedLocator(list(levels)))
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 3.0, 5.0)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_locator(NullLocator())
