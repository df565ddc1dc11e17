"""Figures of other things than scores: images, distributions, pre-activations, readings of the paper."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosnorm.plots import style
from cosnorm.record import Record
from cosnorm.training.observers import PERCENTILES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from cosnorm.register import Judgement, Score

#: Points at which a density is drawn: enough for a smooth ridge, few enough for a small file.
_POINTS = 48
#: How far a ridge rises, where the next begins at 1.
_HEIGHT = 1.7
#: Characters of a line below the axis of readings.
_WIDTH = 15
#: Distance of two techniques, where that of two readings is 1.
_STEP = 0.05


def pictures(
    rows: Mapping[str, Sequence[NDArray[np.floating]]], columns: Sequence[str] = (), *, title: str = ""
) -> Figure:
    """A grid of images: one row for each name, one column for each image of a row.

    Parameters
    ----------
    rows
        For each name equally many images, ``(H, W)`` for gray or ``(H, W, 3)`` for red, green and blue, from
        0 to 1; values outside are cut off.
    columns
        What is written above the columns; empty for nothing.

    Examples
    --------
    >>> gray = np.linspace(0, 1, 12).reshape(3, 4)
    >>> figure = pictures({"as it is": [gray], "negative": [1 - gray]}, title="A negative")
    """
    counts = {len(images) for images in rows.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError("every row needs the same number of images, at least one")
    count = counts.pop()
    if columns and len(columns) != count:
        raise ValueError(f"{count} columns of images need as many names, got {len(columns)}")
    for image in (image for images in rows.values() for image in images):
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError(f"an image has the shape (H, W) or (H, W, 3), got {image.shape}")
    figure, outer = style.new_figure("", (6.0, 0.75 + 5.0 / count * len(rows)))
    outer.remove()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, wrap=True)
    grid = figure.subplots(len(rows), count, squeeze=False)
    for place, (name, images) in enumerate(rows.items()):
        for axes, image in zip(grid[place], images, strict=True):
            axes.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        grid[place][0].set_ylabel(name)
    for axes, text in zip(grid[0], columns, strict=False):
        axes.set_title(text, loc="center", fontsize=10)
    return figure


def ridgelines(
    values: Mapping[str, Mapping[str, NDArray[np.floating]]],
    name: str,
    *,
    limits: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """How a distribution changes: one panel per technique, one ridge per moment, time going down.

    A ridge is a kernel estimate of the density, scaled to one height: compare shapes, not areas.

    Parameters
    ----------
    values
        For each technique and moment a sample: any shape, at least two different numbers. All techniques
        have the same moments.
    name
        What is drawn, with its unit: the horizontal axis.
    limits
        Limits of that axis, the same for all panels; by default each panel has its own, from its least to
        its greatest value.

    Examples
    --------
    >>> sample = np.random.default_rng(0).normal(size=100)
    >>> figure = ridgelines({"cosine": {"start": sample, "end": sample + 1}}, "pre-activation")
    """
    moments = {tuple(rows) for rows in values.values()}
    if len(moments) != 1 or moments == {()}:
        raise ValueError("ridgelines need at least one technique, and the same moments for each of them")
    figure, panels = style.new_panels(
        title, len(values), columns=min(len(values), 2), height=2.2, sharex=limits is not None
    )
    for axes, (technique, rows) in zip(panels, values.items(), strict=True):
        _draw_ridges(axes, technique, rows, limits)
    figure.supxlabel(name, fontsize=11)
    return figure


def _draw_ridges(
    axes: Axes,
    technique: str,
    rows: Mapping[str, NDArray[np.floating]],
    limits: tuple[float, float] | None,
) -> None:
    from matplotlib.colors import to_rgb
    from scipy.stats import gaussian_kde

    color = style.color_of(technique)
    pale = tuple(0.7 + 0.3 * part for part in to_rgb(color))  # not transparent: a ridge hides what is behind
    samples = [np.ravel(sample).astype(float) for sample in rows.values()]
    if any(np.ptp(sample) == 0 for sample in samples):
        raise ValueError(f"a sample of {technique!r} has no spread, so it has no density to draw")
    low, high = limits or (min(map(np.min, samples)), max(map(np.max, samples)))
    points = np.linspace(low, high, _POINTS)
    for row, sample in enumerate(samples):
        density = gaussian_kde(sample)(points)
        ridge = -row + _HEIGHT * density / density.max()
        axes.fill_between(points, -row, ridge, color=pale, linewidth=0, zorder=2 * row)
        axes.plot(points, ridge, color=color, linewidth=0.9, zorder=2 * row + 1)
    axes.set(yticks=[-row for row in range(len(rows))], yticklabels=list(rows), xlim=(low, high))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(style.label(technique), color=color, fontsize=10)


def preactivation_percentiles(
    records: Sequence[Record], unit: int = 0, *, one_axis: bool = True, title: str = ""
) -> Figure:
    """The 15th, 50th and 85th percentile of what enters a unit's ReLU, as in the paper's Figure 3.

    There is one panel per technique, with the median as a line in a band between the outer percentiles.

    Parameters
    ----------
    records
        With the curve ``preactivation``, of one experiment at one scale. For each technique the finished run
        with the lowest seed is drawn: a unit of one network, as in the paper.
    unit
        Which of the recorded units of the last hidden layer.
    one_axis
        Whether all panels have the same vertical axis, or each its own.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> figure = preactivation_percentiles(evidence.load("preactivation", "short"), one_axis=False)
    """
    from matplotlib.ticker import MaxNLocator

    finished = style.finished_runs(records, "; load records of `preactivation`")
    drawn = {name: min(runs, key=lambda r: r.seed) for name, runs in style.by_technique(finished).items()}
    figure, panels = style.new_panels(title, len(drawn), sharey=one_axis)
    for axes, (technique, r) in zip(panels, drawn.items(), strict=True):
        levels, color = percentiles(r, unit), style.color_of(technique)
        epochs = range(1, len(levels) + 1)
        axes.axhline(0, color="black", linewidth=0.5)
        axes.fill_between(epochs, levels[:, 0], levels[:, -1], color=color, alpha=0.2, linewidth=0)
        for place in range(len(PERCENTILES)):
            axes.plot(epochs, levels[:, place], color=color, linewidth=1.6 if place == 1 else 0.8)
        axes.set_title(style.label(technique), color=color, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    figure.supxlabel("epoch", fontsize=11)
    figure.supylabel("pre-activation", fontsize=11)
    return figure


def percentiles(record: Record, unit: int) -> NDArray[np.float64]:
    """Percentiles of one unit's pre-activation over the test examples, of shape ``(epochs, 3)``."""
    curve = record.curves.get("preactivation")
    if not curve:
        raise ValueError(
            f"{record.name} holds no pre-activations; use records of `preactivation`, or train with "
            'Replica(observe=("preactivation",))'
        )
    if not 0 <= unit < len(curve[0]):
        raise ValueError(
            f"{record.name} holds units 0 to {len(curve[0]) - 1} of the last hidden layer, not {unit}"
        )
    return np.array(curve, dtype=float)[:, unit]


def readings(judgement: Judgement, *, title: str = "") -> Figure:
    """Mean test errors of each technique under each reading of an open point, ours at the left.

    Where lines cross, the reading decides the ranking. Intervals are Student's 95 % intervals, of each mean
    by itself; they end at the edge of the axes. A reading under which all runs of a technique diverged has a
    cross at the errors of guessing.

    Parameters
    ----------
    judgement
        As from :func:`cosnorm.register.judge`.
    title
        By default one made from the numbers.

    Examples
    --------
    >>> from cosnorm import register
    >>> figure = readings(register.judge(register.get("text-epochs")))
    """
    if not judgement.drawable or judgement.total is None or judgement.classes is None:
        raise ValueError(f"{judgement.point.key} has no runs under two readings; {judgement.summary}")
    scores = judgement.scores
    places = [r.label for r in judgement.point.readings if any(s.reading == r.label for s in scores)]
    norms = list(dict.fromkeys(score.norm for score in scores))
    # Techniques stand side by side, so that no interval hides another; the last one at the place itself.
    shifts = {norm: _STEP * (k - (len(norms) - 1)) for k, norm in enumerate(norms)}
    figure, axes = style.new_figure(title or headline(judgement), (6.0, 3.8))
    guessing = judgement.total * (1 - 1 / judgement.classes)
    labels = []
    for norm in norms:
        mine = sorted((s for s in scores if s.norm == norm), key=lambda s: places.index(s.reading))
        xs = [places.index(s.reading) + shifts[norm] for s in mine]
        labels.append(_draw_readings(axes, norm, mine, xs, guessing))
    axes.set(yscale="log", ylabel=f"test errors (of {judgement.total:,})", xlim=(-0.35, len(places) - 0.95))
    axes.margins(y=0.12)
    with style.keep_limits(axes):
        for score in scores:
            if score.interval is not None:
                x = places.index(score.reading) + shifts[score.norm]
                # Below one error a logarithmic axis has nothing to show.
                ends = [max(score.interval.low, 0.5), score.interval.high]
                axes.plot([x, x], ends, color=style.color_of(score.norm), linewidth=3.0, alpha=0.3)
    ours = judgement.point.ours.label
    names = [f"{place} (ours)" if place == ours else place for place in places]
    centers = [place - _STEP * (len(norms) - 1) / 2 for place in range(len(places))]
    axes.set_xticks(centers, [textwrap.fill(name, _WIDTH) for name in names])
    style.log_ticks(axes.yaxis)
    style.label_ends(axes, labels, len(places) - 1)
    return figure


def _draw_readings(
    axes: Axes, norm: str, scores: Sequence[Score], xs: Sequence[float], guessing: float
) -> style.EndLabel:
    """Draw one technique's line through its scores at ``xs``."""
    heights = [guessing if score.mean is None else score.mean for score in scores]
    axes.plot(xs, heights, **style.look(norm), linewidth=1.2)
    lost = [x for x, score in zip(xs, scores, strict=True) if not score.values]
    if lost:
        axes.plot(lost, [guessing] * len(lost), "x", color="black", markersize=9, zorder=5)
    diverged = sum(score.diverged for score in scores)
    return (
        heights[-1],
        style.label(norm) + (f" ({diverged} diverged)" if diverged else ""),
        style.color_of(norm),
    )


def headline(judgement: Judgement) -> str:
    """What the judgement found, in a few words fit for the title of a figure.

    Examples
    --------
    >>> from cosnorm import register
    >>> headline(register.judge(register.get("crop")))
    'Another reading has not been trained'
    """
    flipped = dict.fromkeys(c.rival for c in judgement.comparisons if c.verdict == "flips")
    if flipped:
        names = ["the plain network" if name == "none" else style.label(name) for name in flipped]
        return f"Another reading changes the order of cosine and {' and '.join(names)}"
    if not judgement.comparisons:
        return "Another reading has not been trained"
    undecided = judgement.count("undecided")
    missing = judgement.point.declared - len(judgement.comparisons)
    if not undecided and not missing:
        return "No reading changes cosine's place"
    counts = {"undecided": undecided, "without runs": missing}
    parts = [f"{count} of {judgement.point.declared} {what}" for what, count in counts.items() if count]
    return f"No order flips: {', '.join(parts)}"
