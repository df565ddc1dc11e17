"""Test error against the time that it took."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cosnorm.plots.identity import COLORS, MARKERS, label, line_styles, norm_of
from cosnorm.plots.style import SIZE, new_figure
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def error_against_time(
    records: Sequence[Record], *, title: str = "", figsize: tuple[float, float] = SIZE
) -> Figure:
    """Mean test error of each technique against the seconds that its quickest run took to get there.

    Other programs can only slow a run down, so the quickest of several is nearest to what the technique
    itself takes. Every epoch of a run is taken to last as long. Runs that diverged are left out.

    Parameters
    ----------
    records
        Of one experiment at one scale, from one device.
    title
        The answer that the figure gives.
    figsize
        Width and height in inches.

    Raises
    ------
    ValueError
        If there are no records, they are of several experiments, scales or devices, or all diverged.

    Examples
    --------
    >>> from cosnorm import experiments
    >>> run, = experiments.run("mnist", ["cosine"], scale="smoke", seeds=1, device="cpu")
    >>> figure = error_against_time([run])
    """
    if len({(r.experiment, r.scale, r.provenance["device_name"]) for r in records}) != 1:
        raise ValueError(
            "times compare within one experiment, scale and device; choose records of one device_name"
        )
    finished = [r for r in records if not r.diverged]
    if not finished:
        raise ValueError("every run diverged: there is no curve to draw")
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    figure, axes = new_figure(title, figsize)
    for technique, style in line_styles(list(dict.fromkeys(r.technique for r in finished))).items():
        runs = [r for r in finished if r.technique == technique]
        seconds = min(r.cost["seconds"] / r.settings["epochs"] for r in runs)
        errors = [
            statistics.fmean(epoch) for epoch in zip(*(r.curves["test_error"] for r in runs), strict=True)
        ]
        axes.plot(
            [seconds * epoch for epoch in range(1, len(errors) + 1)],
            errors,
            color=COLORS[norm_of(technique)],
            linestyle=style,
            marker=MARKERS[norm_of(technique)],
            markersize=4,
            label=f"{label(technique)} (n = {len(runs)})",
        )
    total = records[0].settings["test_examples"]
    axes.set(xscale="log", yscale="log")
    for axis, steps in ((axes.xaxis, (1.0, 2.0, 5.0)), (axes.yaxis, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))):
        axis.set_major_locator(LogLocator(base=10, subs=steps))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
    axes.set(xlabel="seconds, by the quickest run", ylabel=f"test errors (of {total:,})")
    axes.legend(fontsize=9, frameon=False)
    return figure
