"""Differences from a baseline, with intervals that hold for all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cosnorm import evidence
from cosnorm.evidence import Difference, Interval
from cosnorm.plots.identity import COLORS, MARKERS, REFERENCE, label, norm_of
from cosnorm.plots.style import SIZE, new_figure
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Differences up to here are drawn to scale, larger ones on a logarithmic scale.
LINEAR = 100.0


def differences(
    records: Sequence[Record], baseline: str = "none", *, level: float = 0.95, title: str = ""
) -> Figure:
    r"""Test errors of each technique minus the baseline's, fewest errors on top.

    Differences are those of :func:`cosnorm.evidence.difference`. The thick line is the interval of one at
    ``level``; the thin one, for :math:`m` techniques, the same at :math:`1 - (1 - \text{level}) / m`, so that
    by Bonferroni's inequality all of them hold together with probability ``level``. Names in black, and lines
    in full color, have the thin line on one side of 0.

    Parameters
    ----------
    records
        Of one experiment at one scale. Diverged runs are left out.
    baseline
        The technique to compare with.
    level
        Probability with which an interval holds the expected difference.
    title
        The answer that the figure gives.

    Returns
    -------
    matplotlib.figure.Figure
        Techniques without a finished run are left out; those with a single one have no interval.

    Raises
    ------
    ValueError
        If there are no records, they are of several experiments or scales, or the baseline has no finished
        run.

    Examples
    --------
    >>> figure = differences(evidence.load("relatives", "smoke"), title="Digits tell little apart")
    """
    if len({(r.experiment, r.scale) for r in records}) != 1:
        raise ValueError(
            "the differences need records of one experiment at one scale, and at least one record"
        )
    found = evidence.differences(records, baseline)
    if not found:
        raise ValueError(f"there is nothing to compare with {baseline!r}; choose a baseline that was run")
    figure, axes = new_figure(title, (SIZE[0], 1.3 + 0.27 * len(found)))
    order = sorted(found, key=lambda name: found[name].mean, reverse=True)
    decided = [_draw(axes, place, name, found[name], level, len(found)) for place, name in enumerate(order)]
    axes.axvline(0, color=REFERENCE, linestyle=(0, (4, 3)), linewidth=1.0, zorder=1)
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=2)
    reach = max(abs(side) for side in axes.get_xlim())
    ticks = [side * 10.0**power for power in (3, 4) if 10**power < reach for side in (-1, 1)]
    ticks = sorted([*ticks, -LINEAR, -LINEAR / 2, 0, LINEAR / 2, LINEAR])
    axes.set_xticks(ticks, [f"{tick:+,.0f}".replace("-", "\u2212") if tick else "0" for tick in ticks])
    axes.minorticks_off()
    total = records[0].settings["test_examples"]
    axes.set_xlabel(f"test errors more than {label(baseline)} (of {total:,}; to scale up to {LINEAR:g})")
    axes.set_yticks(range(len(order)), [label(technique) for technique in order])
    for text, dark in zip(axes.get_yticklabels(), decided, strict=True):
        text.set_color("black" if dark else REFERENCE)
    axes.set_ylim(-0.7, len(order) - 0.3)
    return figure


def _draw(axes: Axes, place: int, name: str, found: Difference, level: float, count: int) -> bool:
    """Draw one technique's mean and its two intervals; whether the wider one leaves 0 out."""
    one, together = found.at(level), found.at(1 - (1 - level) / count)
    decided = together is not None and _beyond(together)
    style = {"color": COLORS[norm_of(name)], "alpha": 1.0 if decided else 0.45}
    if one and together:
        axes.plot([together.low, together.high], [place] * 2, linewidth=1.0, **style)
        axes.plot([one.low, one.high], [place] * 2, linewidth=3.2, **style)
    axes.plot(found.mean, place, marker=MARKERS[norm_of(name)], color=style["color"], markersize=6)
    return decided


def _beyond(interval: Interval) -> bool:
    """Whether an interval leaves 0 out."""
    return interval.low > 0 or interval.high < 0
