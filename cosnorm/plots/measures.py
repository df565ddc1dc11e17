"""Anything that can be measured of a run after each epoch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cosnorm.plots.checks import bands
from cosnorm.plots.identity import COLORS, MARKERS, label, line_styles, norm_of
from cosnorm.plots.labels import label_ends
from cosnorm.plots.style import new_figure
from cosnorm.plots.ticks import MEASURES, plain_ticks
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of one run, a number for each epoch from ``first`` on; above zero.
CurveMeasure = Callable[[Record], Sequence[float]]


def measured_curves(
    records: Sequence[Record], measure: CurveMeasure, name: str, *, first: int = 1, title: str = ""
) -> Figure:
    """A measured curve of each technique: mean over its finished runs with a 95 % band, on a log axis.

    Parameters
    ----------
    records
        Of one experiment at one scale.
    measure
        Maps a run to a positive number for each epoch.
    name
        What is measured, with its unit: the vertical axis.
    first
        The epoch of the first number.
    title
        The answer that the figure gives.

    Raises
    ------
    ValueError
        If there is no finished run, runs of several experiments or scales, or a number is not positive.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> records = evidence.load("mnist", "smoke")
    >>> figure = measured_curves(records, lambda run: run.curves["test_loss"], "test loss, nats")
    """
    if len({(r.experiment, r.scale) for r in records}) > 1:
        raise ValueError("a figure needs records of one experiment at one scale")
    runs = [r for r in records if not r.diverged]
    if not runs:
        raise ValueError("there is no finished run to measure; every run diverged, or none was given")
    figure, axes = new_figure(title)
    axes.set(xlabel="epoch", ylabel=name, yscale="log")
    labels: list[tuple[float, str, str]] = []
    last = first
    for technique, style in line_styles(list(dict.fromkeys(r.technique for r in runs))).items():
        curves = [list(measure(r)) for r in runs if r.technique == technique]
        if any(value <= 0 for curve in curves for value in curve):
            raise ValueError(
                f"a measured number of {technique!r} is not positive, which a log axis cannot show"
            )
        last = max(last, first + len(curves[0]) - 1)
        height = _draw(axes, technique, curves, first, style)
        labels.append((height, f"{label(technique)} (n = {len(curves)})", COLORS[norm_of(technique)]))
    axes.set_xlim(first, last)
    plain_ticks(axes, MEASURES)
    label_ends(axes, labels, last)
    return figure


def _draw(axes: Axes, technique: str, curves: list[list[float]], first: int, style: Any) -> float:
    """Mean and band; returns the height of the mean's end."""
    columns = list(zip(*curves, strict=True))
    epochs = range(first, first + len(columns))
    means = [statistics.fmean(values) for values in columns]
    color = COLORS[norm_of(technique)]
    axes.plot(epochs, means, color=color, linestyle=style, marker=MARKERS[norm_of(technique)], markersize=4)
    drawn = bands(columns)
    if drawn:
        # A band that reaches below 0 would leave the axis: it is cut at a tenth of the mean.
        low = [max(band.low, mean / 10) for band, mean in zip(drawn, means, strict=True)]
        high = [band.high for band in drawn]
        axes.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
    return means[-1]
