"""Curves over training: each technique's mean over seeds in a band, or every run for itself."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cosnorm import evidence
from cosnorm.plots import style
from cosnorm.record import Record
from cosnorm.training.observers import FACTORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: For each technique the curves of its runs, all of one length.
Curves = Mapping[str, Sequence[Sequence[float]]]
#: Maps a run to one positive number for each epoch from ``first`` on.
CurveMeasure = Callable[[Record], Sequence[float]]
#: What `overfitting` calls the curves on its axis.
_RISING = {"test_error": "test errors", "test_loss": "test loss"}
#: Below one error a logarithmic axis has nothing to show.
_LEAST_ERROR = 0.5


def test_error_curves(
    records: Sequence[Record],
    paper: Mapping[str, float] | None = None,  # noqa: PT028 (not a test, for all its name)
    *,
    title: str = "",  # noqa: PT028
    figsize: tuple[float, float] = style.SIZE,  # noqa: PT028
) -> Figure:
    """Test error against epoch: each technique's mean over seeds with its 95 % band.

    The band is Student's interval for the mean at each epoch by itself; a single seed has none.

    Parameters
    ----------
    records
        Of one experiment at one scale. Diverged runs are left out of the mean and counted in the label.
    paper
        The paper's number of test errors by technique, drawn as a dashed grey line.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> records = evidence.load("mnist", "smoke")
    >>> figure = test_error_curves(records, title="All four techniques learn the digits")
    """
    style.finished_runs(records)  # at least one
    figure, axes = style.new_figure(title, figsize)
    epochs, tail = records[0].settings["epochs"], records[0].settings["tail"]
    axes.set(xlabel="epoch", ylabel=style.errors_axis(records[0]), yscale="log")
    axes.set_xlim(1 - (margin := 0.02 * (epochs - 1)), epochs + margin)  # markers at the ends are whole
    groups = style.by_technique(records)  # also those that only diverged: they keep their line style
    curves = {name: [r.curves["test_error"] for r in runs if not r.diverged] for name, runs in groups.items()}
    lost = {name: len(runs) - len(curves[name]) for name, runs in groups.items()}
    xs = range(1, epochs + 1)
    labels = _draw_means(axes, curves, xs, tail=tail, lost=lost) + _draw_paper(axes, paper, ".0f")
    with style.keep_limits(axes):
        _draw_bands(axes, curves, xs, floor=_LEAST_ERROR)
    style.plain_ticks(axes)
    style.label_ends(axes, labels, epochs)
    return figure


def noise_curves(
    noisy: Sequence[Record],
    quiet: Sequence[Record],
    paper: Mapping[str, float] | None = None,
    *,
    title: str = "",
) -> Figure:
    """Test error with and without noise on the same axes, as in the paper's Figure 4.

    Parameters
    ----------
    noisy
        Runs with dropout or small batches. Where every run of a technique diverged, the technique has no
        curve and is named in a corner.
    quiet
        The same techniques without noise, from another experiment with the same data, scale and epochs.
    paper
        As for :func:`cosnorm.plots.test_error_curves`.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> quiet = [r for r in evidence.load("mnist", "short") if r.technique in ("none", "cosine")]
    >>> figure = noise_curves(evidence.load("noise", "short"), quiet)
    """
    if not noisy or not quiet:
        raise ValueError("the figure compares runs with noise and without; give at least one of each")
    if len({_setup(r) for r in (*noisy, *quiet)}) > 1:
        raise ValueError(
            "the runs with and without noise differ in scale, data, network or epochs, so their curves do "
            "not belong on one axis; load both at one scale"
        )
    # The quiet runs are controls of the noisy ones: for the drawing they belong to the same experiment.
    controls = [replace(r, experiment=noisy[0].experiment) for r in quiet]
    figure = test_error_curves([*controls, *noisy], paper, title=title)
    lost = {name: runs for name, runs in style.by_technique(noisy).items() if all(r.diverged for r in runs)}
    for row, (technique, runs) in enumerate(lost.items()):
        text, place = (
            f"{style.label(technique)}: {len(runs)} of {len(runs)} runs diverged",
            (0.98, 0.97 - 0.08 * row),
        )
        figure.axes[0].annotate(text, place, xycoords="axes fraction", ha="right", va="top")
    return figure


def _setup(record: Record) -> tuple[object, ...]:
    data, settings = record.provenance["dataset_sha256"], record.settings
    return record.scale, data, tuple(settings["sizes"]), settings["epochs"], settings["tail"]


def overfitting(
    records: Sequence[Record],
    paper: Mapping[str, float] | None = None,
    *,
    curve: str = "test_error",
    title: str = "",
    figsize: tuple[float, float] = style.SIZE,
) -> Figure:
    """A test curve relative to its minimum so far: each technique's mean over seeds with its 95 % band.

    A technique that still improves stays at 1, and one that overfits rises. A curve that fluctuates lies
    above 1 as well, but does not rise.

    Parameters
    ----------
    records
        Of one experiment at one scale. Diverged runs are left out.
    paper
        The paper's ratio by technique, drawn as a dashed grey line.
    curve
        ``"test_error"`` or ``"test_loss"``.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> figure = overfitting(evidence.load("mnist", "smoke"), curve="test_loss")
    """
    if curve not in _RISING:
        raise ValueError(f"curve must be one of {', '.join(_RISING)}, got {curve!r}")
    finished = style.finished_runs(records)
    figure, axes = style.new_figure(title, figsize)
    epochs = len(finished[0].curves[curve])
    axes.set(
        xlabel="epoch", ylabel=f"{_RISING[curve]} over the lowest so far", yscale="log", xlim=(1, epochs)
    )
    curves = {name: [rises(r, curve) for r in runs] for name, runs in style.by_technique(finished).items()}
    xs = range(1, epochs + 1)
    labels = _draw_means(axes, curves, xs) + _draw_paper(axes, paper, ".2f")
    with style.keep_limits(axes):
        _draw_bands(axes, curves, xs, floor=1.0)
    top = axes.get_ylim()[1]
    axes.set_ylim(1 - 0.03 * (top - 1), top)
    style.plain_ticks(axes)
    # Ratios are so close to 1 that ticks at multiples of powers of ten would leave one or none.
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    style.label_ends(axes, labels, epochs)
    return figure


def rises(record: Record, curve: str = "test_error") -> list[float]:
    """A run's curve divided by its minimum so far: one number for each epoch, each at least 1.

    A run without test errors stays at 1. If it makes some later, there is no ratio, which is an error.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> min(rises(evidence.load("mnist", "smoke")[0]))
    1.0
    """
    values = record.curves[curve]
    lowest = list(itertools.accumulate(values, min))
    if any(low == 0 < value for value, low in zip(values, lowest, strict=True)):
        raise ValueError(f"{record.name} has a {curve} of 0 and later more: there is no ratio to draw")
    return [value / low if low else 1.0 for value, low in zip(values, lowest, strict=True)]


def measured_curves(
    records: Sequence[Record], measure: CurveMeasure, name: str, *, first: int = 1, title: str = ""
) -> Figure:
    """Any measure of a run after each epoch: the mean over finished runs with a 95 % band, on a log axis.

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

    Examples
    --------
    >>> from cosnorm import evidence
    >>> records = evidence.load("mnist", "smoke")
    >>> figure = measured_curves(records, lambda run: run.curves["test_loss"], "test loss, nats")
    """
    groups = style.by_technique(style.finished_runs(records))
    curves = {technique: [list(measure(r)) for r in runs] for technique, runs in groups.items()}
    for technique, found in curves.items():
        if any(value <= 0 for curve in found for value in curve):
            raise ValueError(
                f"a measured number of {technique!r} is not positive, which a log axis cannot show"
            )
    figure, axes = style.new_figure(title)
    last = first - 1 + max(len(found[0]) for found in curves.values())
    axes.set(xlabel="epoch", ylabel=name, yscale="log")
    xs = range(first, last + 1)
    labels = _draw_means(axes, curves, xs, markersize=4, markevery=1)
    _draw_bands(axes, curves, xs)
    axes.set_xlim(first, last)
    style.plain_ticks(axes, style.MEASURES)
    style.label_ends(axes, labels, last)
    return figure


def scaled_inputs(
    records: Sequence[Record], *, title: str = "", figsize: tuple[float, float] = style.SIZE
) -> Figure:
    """Test errors after the last epoch if every test input is multiplied by a factor: means, 95 % intervals.

    Parameters
    ----------
    records
        Of one experiment at one scale that observes ``scaled_inputs``. Diverged runs are left out.

    Examples
    --------
    >>> from cosnorm import experiments
    >>> run, = experiments.run("magnitude", ["cosine"], scale="smoke", seeds=1, device="cpu")
    >>> figure = scaled_inputs([run])
    """
    finished = style.finished_runs(records)
    for r in finished:
        if "test_error_scaled" not in r.curves:
            raise ValueError(
                f"{r.name} holds no errors on scaled inputs; run it with observe=('scaled_inputs',)"
            )
    figure, axes = style.new_figure(title, figsize)
    axes.set(xlabel="factor on every test input", xscale="log", xlim=(FACTORS[0] / 1.1, FACTORS[-1]))
    axes.set(ylabel=style.errors_axis(records[0]), yscale="log")
    groups = style.by_technique(finished)
    curves = {name: [r.curves["test_error_scaled"][-1] for r in runs] for name, runs in groups.items()}
    labels = _draw_means(axes, curves, FACTORS)
    with style.keep_limits(axes):
        for technique, found in curves.items():
            for factor, values in zip(FACTORS, zip(*found, strict=True), strict=True):
                if (band := evidence.interval(values)) is not None:
                    ends = [max(band.low, _LEAST_ERROR), band.high]
                    axes.plot([factor] * 2, ends, color=style.color_of(technique), linewidth=1)
    style.log_ticks(axes.yaxis, style.MEASURES)
    axes.set_xticks(FACTORS, [f"{factor:g}" for factor in FACTORS])
    axes.minorticks_off()
    style.label_ends(axes, labels, FACTORS[-1])
    return figure


def lowest_by_depth(
    records: Sequence[Record], paper: Mapping[int, float] | None = None, *, title: str = ""
) -> Figure:
    """Lowest test error of each run by the number of weight layers: one mark per seed, mean and interval.

    Parameters
    ----------
    records
        Of one technique in networks of several depths, one experiment at one scale. Diverged runs are left
        out.
    paper
        The paper's lowest error by number of weight layers, drawn dashed and grey.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> figure = lowest_by_depth(evidence.load("depth", "short"), {2: 155, 3: 143, 4: 140, 5: 129})
    """
    _require_one_technique(records)
    found = by_depth(records)
    figure, axes = style.new_figure(title)
    technique = style.norm_of(records[0].technique)
    color, marks = style.color_of(technique), {**style.look(technique), "linestyle": "none", "alpha": 0.5}
    for depth, values in found.items():
        axes.plot([depth - 0.08] * len(values), values, **marks)
        mean, band, place = statistics.fmean(values), evidence.interval(values), depth + 0.08
        axes.plot([place - 0.06, place + 0.06], [mean, mean], color=color, linewidth=2)
        if band is not None:
            axes.plot([place, place], [band.low, band.high], color=color, linewidth=1)
    if paper:
        axes.plot(*zip(*sorted(paper.items()), strict=True), "o--", color=style.REFERENCE, linewidth=1.0)
        end = max(paper), paper[max(paper)]
        style.annotate_beside(axes, "paper", end, 8, color=style.REFERENCE, annotation_clip=False)
    depths: list[int] = sorted({*found, *(paper or {})})
    axes.set(xticks=depths, xlim=(depths[0] - 0.4, depths[-1] + 0.4), xlabel="weight layers")
    axes.set_ylabel(f"lowest of {records[0].settings['epochs']} {style.errors_axis(records[0])}")
    name, corner = style.label(technique), (0.99, 0.97)
    axes.annotate(name, corner, xycoords="axes fraction", color=style.ink(color), ha="right", va="top")
    return figure


def curves_by_depth(
    records: Sequence[Record], paper: Mapping[int, float] | None = None, *, title: str = ""
) -> Figure:
    """Test error against epoch, with one panel for each number of weight layers.

    A panel has a thin line for every run, a thick one for their mean, and in grey the means of the other
    depths.

    Parameters
    ----------
    records
        As for :func:`cosnorm.plots.lowest_by_depth`.
    paper
        The paper's lowest error by number of weight layers, a dashed grey line in its panel.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> figure = curves_by_depth(evidence.load("depth", "short"), title="No depth stands out")
    """
    _require_one_technique(records)
    found = _curves_by_depth(records)
    figure, panels = style.new_panels(title, len(found))
    color = style.color_of(records[0].technique)
    means = {depth: mean_curve(curves) for depth, curves in found.items()}
    for axes, (depth, curves) in zip(panels, found.items(), strict=True):
        epochs = range(1, len(curves[0]) + 1)
        for other, mean in means.items():
            if other != depth:
                axes.plot(epochs, mean, color=style.REFERENCE, linewidth=0.8, alpha=0.5)
        for curve in curves:
            axes.plot(epochs, curve, color=color, linewidth=0.7)
        axes.plot(epochs, means[depth], color=color, linewidth=2)
        if paper and depth in paper:
            axes.axhline(paper[depth], **style.REFERENCE_LINE | {"zorder": 2})
        axes.set_title(f"{depth} weight layers (n = {len(curves)})", fontsize=10)
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        style.plain_ticks(axes, style.COUNTS if high < 8 * low else style.MEASURES)
    figure.supxlabel("epoch", fontsize=11)
    figure.supylabel(style.errors_axis(records[0]), fontsize=11)
    return figure


def by_depth(records: Sequence[Record]) -> dict[int, list[float]]:
    """Lowest test errors of the finished runs, by number of weight layers in ascending order."""
    return {
        depth: [float(min(curve)) for curve in curves] for depth, curves in _curves_by_depth(records).items()
    }


def _curves_by_depth(records: Sequence[Record]) -> dict[int, list[list[int]]]:
    found: dict[int, list[list[int]]] = {}
    for r in sorted(records, key=lambda r: len(r.settings["sizes"])):
        if not r.diverged:
            found.setdefault(len(r.settings["sizes"]) - 1, []).append(r.curves["test_error"])
    return found


def _require_one_technique(records: Sequence[Record]) -> None:
    style.finished_runs(records, "; load records of `depth`")
    if len({style.norm_of(r.technique) for r in records}) > 1:
        raise ValueError("the figure needs records of one technique in one experiment at one scale")


def mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """The mean over runs, epoch by epoch."""
    return [statistics.fmean(values) for values in zip(*curves, strict=True)]


def _draw_means(
    axes: Axes,
    curves: Curves,
    xs: Sequence[float],
    *,
    tail: int = 1,
    lost: Mapping[str, int] | None = None,
    **more: Any,
) -> list[style.EndLabel]:
    """Draw each technique's mean; its label goes to the height of the last ``tail`` numbers' mean."""
    labels: list[style.EndLabel] = []
    for technique, dashes in style.line_styles(curves).items():
        if not curves[technique]:
            continue
        means = mean_curve(curves[technique])
        step = max(1, len(means) // 8)
        drawn = {**style.look(technique), "linestyle": dashes, "markevery": (step - 1, step), **more}
        axes.plot(xs[: len(means)], means, **drawn)
        count = f"n = {len(curves[technique])}"
        if lost and lost[technique]:
            count += f", {lost[technique]} diverged"
        height, name = statistics.fmean(means[-tail:]), f"{style.label(technique)} ({count})"
        labels.append((height, name, style.color_of(technique)))
    return labels


def _draw_paper(axes: Axes, paper: Mapping[str, float] | None, form: str) -> list[style.EndLabel]:
    labels: list[style.EndLabel] = []
    for technique, value in (paper or {}).items():
        axes.axhline(value, **style.REFERENCE_LINE)
        labels.append((value, f"paper, {style.label(technique)}: {value:{form}}", style.REFERENCE))
    return labels


def _draw_bands(axes: Axes, curves: Curves, xs: Sequence[float], *, floor: float | None = None) -> None:
    """Draw intervals around means, cut off at ``floor``, without one at a tenth of the mean.

    On a logarithmic axis a band that reaches below 0 would otherwise leave the figure.
    """
    for technique, found in curves.items():
        drawn = style.bands(zip(*found, strict=True))
        if drawn:
            floors = [mean / 10 for mean in mean_curve(found)] if floor is None else floor
            low = np.maximum([band.low for band in drawn], floors)
            high = [band.high for band in drawn]
            axes.fill_between(
                xs[: len(drawn)], low, high, color=style.color_of(technique), alpha=0.15, linewidth=0
            )
