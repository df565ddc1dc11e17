"""Test error by the number of layers, as in the paper's Figure 5: the curves, and the lowest of each run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cosnorm import evidence
from cosnorm.plots.identity import COLORS, MARKERS, REFERENCE, label, norm_of
from cosnorm.plots.labels import ink
from cosnorm.plots.panels import new_panels
from cosnorm.plots.style import new_figure
from cosnorm.plots.ticks import COUNTS, MEASURES, plain_ticks
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def lowest_by_depth(
    records: Sequence[Record], paper: Mapping[int, float] | None = None, *, title: str = ""
) -> Figure:
    """Lowest test error of each run against its weight layers: a mark a seed, and the mean's 95 % interval.

    Parameters
    ----------
    records
        Of networks of several depths, one experiment at one scale, of one technique. Diverged runs are left
        out and counted in the axis.
    paper
        The paper's lowest error by number of weight layers, drawn dashed and grey.
    title
        The answer that the figure gives.

    Raises
    ------
    ValueError
        If there is no finished run, or there are runs of several experiments, scales or techniques.

    Examples
    --------
    >>> figure = lowest_by_depth(evidence.load("depth", "short"), {2: 155, 3: 143, 4: 140, 5: 129})
    """
    _check(records)
    found = by_depth(records)
    figure, axes = new_figure(title)
    technique = norm_of(records[0].technique)
    color = COLORS[technique]
    for depth, values in found.items():
        axes.plot([depth - 0.08] * len(values), values, MARKERS[technique], color=color, alpha=0.5)
        _draw_mean(axes, depth + 0.08, values, color)
    if paper:
        axes.plot(*zip(*sorted(paper.items()), strict=True), "o--", color=REFERENCE, linewidth=1.0)
        last = max(paper)
        axes.annotate(
            "paper",
            (last, paper[last]),
            xytext=(8, 0),
            textcoords="offset points",
            color=REFERENCE,
            va="center",
            annotation_clip=False,
        )
    depths: list[int] = sorted({*found, *(paper or {})})
    total, epochs = records[0].settings["test_examples"], records[0].settings["epochs"]
    axes.set(xticks=depths, xlim=(depths[0] - 0.4, depths[-1] + 0.4), xlabel="weight layers")
    axes.set(ylabel=f"lowest of {epochs} test errors (of {total:,})")
    axes.annotate(
        label(technique), (0.99, 0.97), xycoords="axes fraction", color=ink(color), ha="right", va="top"
    )
    return figure


def curves_by_depth(
    records: Sequence[Record], paper: Mapping[int, float] | None = None, *, title: str = ""
) -> Figure:
    """Test error against epoch, a panel for each number of weight layers.

    Parameters
    ----------
    records
        As for :func:`lowest_by_depth`.
    paper
        The paper's lowest error by number of weight layers, a dashed grey line in its panel.
    title
        The answer that the figure gives.

    Returns
    -------
    matplotlib.figure.Figure
        In each panel a thin line for every run, a thick one for their mean, and in grey the means of the
        other depths.

    Raises
    ------
    ValueError
        As for :func:`lowest_by_depth`.

    Examples
    --------
    >>> figure = curves_by_depth(evidence.load("depth", "short"), title="No depth stands out")
    """
    _check(records)
    found = _curves(records)
    figure, panels = new_panels(title, len(found))
    technique = norm_of(records[0].technique)
    means = {depth: [statistics.fmean(v) for v in zip(*c, strict=True)] for depth, c in found.items()}
    for axes, (depth, curves) in zip(panels, found.items(), strict=True):
        epochs = range(1, len(curves[0]) + 1)
        for other, mean in means.items():
            if other != depth:
                axes.plot(epochs, mean, color=REFERENCE, linewidth=0.8, alpha=0.5)
        for curve in curves:
            axes.plot(epochs, curve, color=COLORS[technique], linewidth=0.7)
        axes.plot(epochs, means[depth], color=COLORS[technique], linewidth=2)
        if depth in (paper or {}):
            axes.axhline((paper or {})[depth], color=REFERENCE, linestyle=(0, (4, 3)), linewidth=1.0)
        axes.set_title(f"{depth} weight layers (n = {len(curves)})", fontsize=10)
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        plain_ticks(axes, COUNTS if high < 8 * low else MEASURES)
    figure.supxlabel("epoch", fontsize=11)
    figure.supylabel(f"test errors (of {records[0].settings['test_examples']:,})", fontsize=11)
    return figure


def _check(records: Sequence[Record]) -> None:
    if len({(r.experiment, r.scale, norm_of(r.technique)) for r in records}) > 1:
        raise ValueError("the figure needs records of one technique in one experiment at one scale")
    if all(r.diverged for r in records):
        raise ValueError("there is no finished run to draw; load records of `depth`")


def _curves(records: Sequence[Record]) -> dict[int, list[list[int]]]:
    """Test errors by epoch of the finished runs, by number of weight layers in ascending order."""
    found: dict[int, list[list[int]]] = {}
    for r in sorted(records, key=lambda r: len(r.settings["sizes"])):
        if not r.diverged:
            found.setdefault(len(r.settings["sizes"]) - 1, []).append(r.curves["test_error"])
    return found


def by_depth(records: Sequence[Record]) -> dict[int, list[float]]:
    """Lowest test errors of the finished runs, by number of weight layers in ascending order."""
    return {depth: [float(min(curve)) for curve in curves] for depth, curves in _curves(records).items()}


def _draw_mean(axes: Axes, place: float, values: Sequence[float], color: str) -> None:
    mean, band = statistics.fmean(values), evidence.interval(values)
    axes.plot([place - 0.06, place + 0.06], [mean, mean], color=color, linewidth=2)
    if band is not None:
        axes.plot([place, place], [band.low, band.high], color=color, linewidth=1)
