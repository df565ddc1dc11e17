"""What runs score in the end: by seed, as differences, before and after a change, and by learning rate."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cosnorm import evidence
from cosnorm.evidence import Difference, Receipt
from cosnorm.experiments import choosing
from cosnorm.plots import style
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: For each technique the scores of its runs.
Scores = Mapping[str, Sequence[float]]
#: Differences up to here are drawn to scale, larger ones on a logarithmic scale.
_LINEAR = 100.0
#: Scores that differ by more than this factor, as when a technique learned nothing, get a logarithmic axis.
_SPAN = 8.0


def seed_scores(
    records: Sequence[Record], paper: Mapping[str, float] | None = None, *, title: str = ""
) -> Figure:
    """Test errors of each run, averaged over its last epochs: one row per technique, one mark per seed.

    A thin line marks the mean over seeds. The axis is logarithmic where errors differ by more than a factor
    of two.

    Parameters
    ----------
    records
        Of one experiment at one scale. Diverged runs have no mark and are counted in the row's name.
    paper
        The paper's number of test errors by technique, drawn as a grey tick.

    Examples
    --------
    >>> figure = seed_scores(evidence.load("mnist", "smoke"), title="The seeds of all techniques overlap")
    """
    style.finished_runs(records)  # at least one
    groups, names = style.by_technique(records), []
    figure, axes = style.new_figure(title, (6.0, 1.4 + 0.42 * len(groups)))
    for row, (technique, runs) in enumerate(groups.items()):
        color, scores = style.color_of(technique), list(evidence.scores(records, technique).values())
        axes.plot(scores, [row] * len(scores), **style.look(technique), linestyle="none")
        if scores:
            axes.plot([statistics.fmean(scores)] * 2, [row - 0.25, row + 0.25], color=color, linewidth=1)
        if paper and technique in paper:
            value = paper[technique]
            axes.plot(value, row, "|", color=style.REFERENCE, markersize=18)
            above = {"ha": "center", "va": "bottom", "fontsize": 9}
            axes.annotate("paper", (value, row - 0.24), color=style.REFERENCE, **above)
        lost = sum(r.diverged for r in runs)
        names.append(style.label(technique) + (f"\n({lost} diverged)" if lost else ""))
    axes.set(yticks=range(len(groups)), yticklabels=names, ylim=(len(groups) - 0.4, -0.6))
    axes.set_xlabel(f"{style.errors_axis(records[0])}, mean of the last epochs")
    low, high = axes.get_xlim()
    if low > 0 and high > 2 * low:  # a linear axis would crowd most rows at its end
        axes.set_xscale("log")
        style.log_ticks(axes.xaxis, style.COUNTS, "{x:,g}")
    return figure


def place_in_distribution(receipt: Receipt, *, title: str = "") -> Figure:
    """A reader's score among the stored ones of the same technique: one dot per seed.

    Parameters
    ----------
    receipt
        As from :func:`cosnorm.evidence.receipt`.
    title
        By default the receipt's verdict on the band.

    Examples
    --------
    >>> figure = place_in_distribution(evidence.receipt(evidence.load("mnist", "smoke")[0]))
    """
    if receipt.score is None:
        raise ValueError(f"there is no score to place: {receipt.verdict}")
    where = {True: "inside", False: "outside", None: "beside"}[receipt.inside]
    figure, axes = style.new_figure(title or f"Your run lies {where} the stored runs' band", (6.0, 2.0))
    run, technique = receipt.record, receipt.record.technique
    color = style.color_of(technique)
    if receipt.band is not None:
        axes.axvspan(max(receipt.band.low, 0), receipt.band.high, color=color, alpha=0.15, linewidth=0)
    seen: dict[float, int] = {}
    for value in receipt.stored.values():
        axes.plot(value, seen.get(value, 0), **style.look(technique), linestyle="none")
        seen[value] = seen.get(value, 0) + 1
    top = max([*seen.values(), 1])
    axes.plot(receipt.score, top, "v", color="black", markersize=9)
    style.annotate_beside(axes, "yours", (receipt.score, top), 8)
    tail = run.final["tail"]
    epochs = "last epoch" if tail == 1 else f"mean of the last {tail} epochs"
    name = f"test errors (of {run.settings['test_examples']}), {style.label(technique)}, {epochs}"
    axes.set(ylim=(-0.7, top + 0.8), yticks=[], xlabel=name)
    axes.spines["left"].set_visible(False)
    return figure


def differences(
    records: Sequence[Record], baseline: str = "none", *, level: float = 0.95, title: str = ""
) -> Figure:
    r"""Test errors of each technique minus the baseline's, fewest errors on top.

    Differences are those of :func:`cosnorm.evidence.difference`. The thick line is the interval of one
    difference at ``level``. The thin line, for :math:`m` techniques, is the interval at
    :math:`1 - (1 - \text{level}) / m`, so that by Bonferroni's inequality all of them hold together with
    probability ``level``. Names are black, and lines in full color, where the thin line excludes 0.

    Parameters
    ----------
    records
        Of one experiment at one scale. Diverged runs are left out; a technique with a single finished run
        has no interval.
    baseline
        The technique to compare with.
    level
        Probability with which an interval holds the expected difference.

    Examples
    --------
    >>> figure = differences(evidence.load("relatives", "smoke"), title="Digits tell little apart")
    """
    style.require_one_experiment(records)
    found = evidence.differences(records, baseline)
    if not found:
        raise ValueError(f"there is nothing to compare with {baseline!r}; choose a baseline that was run")
    figure, axes = style.new_figure(title, (style.SIZE[0], 1.3 + 0.27 * len(found)))
    order = sorted(found, key=lambda name: found[name].mean, reverse=True)
    joint = 1 - (1 - level) / len(found)
    decided = [_draw_difference(axes, row, name, found[name], level, joint) for row, name in enumerate(order)]
    axes.axvline(0, **style.REFERENCE_LINE)
    axes.set_xscale("symlog", linthresh=_LINEAR, linscale=2)
    reach = max(abs(side) for side in axes.get_xlim())
    ticks = [side * 10.0**power for power in (3, 4) if 10**power < reach for side in (-1, 1)]
    ticks = sorted([*ticks, -_LINEAR, -_LINEAR / 2, 0, _LINEAR / 2, _LINEAR])
    axes.set_xticks(ticks, [f"{tick:+,.0f}".replace("-", "\u2212") if tick else "0" for tick in ticks])
    axes.minorticks_off()
    total = records[0].settings["test_examples"]
    axes.set_xlabel(
        f"test errors more than {style.label(baseline)} (of {total:,}; to scale up to {_LINEAR:g})"
    )
    axes.set_yticks(range(len(order)), [style.label(technique) for technique in order])
    for text, dark in zip(axes.get_yticklabels(), decided, strict=True):
        text.set_color("black" if dark else style.REFERENCE)
    axes.set_ylim(-0.7, len(order) - 0.3)
    return figure


def _draw_difference(
    axes: Axes, row: int, name: str, found: Difference, level: float, joint_level: float
) -> bool:
    """Draw one technique's mean and its two intervals; returns whether the wider one excludes 0."""
    one, joint = found.at(level), found.at(joint_level)
    decided = joint is not None and (joint.low > 0 or joint.high < 0)
    faint = {"color": style.color_of(name), "alpha": 1.0 if decided else 0.45}
    if one and joint:
        axes.plot([joint.low, joint.high], [row] * 2, linewidth=1.0, **faint)
        axes.plot([one.low, one.high], [row] * 2, linewidth=3.2, **faint)
    axes.plot(found.mean, row, **style.look(name), markersize=6)
    return decided


def before_and_after(
    before: Scores,
    after: Scores,
    names: tuple[str, str],
    axis: str,
    *,
    notes: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """An open marker at each technique's mean before, a filled one after, and a line between; lowest on top.

    Parameters
    ----------
    before, after
        Scores of the runs by technique; techniques in both are drawn. Each run is a small grey tick.
    names
        What the two are called in the legend.
    axis
        Label of the axis of scores.
    notes
        Written after a technique's name, such as its two rates.

    Examples
    --------
    >>> figure = before_and_after({"none": [9.0]}, {"none": [7.0]}, ("0.1", "0.3"), "test errors")
    """
    order = [technique for technique in after if before.get(technique) and after[technique]]
    if not order:
        raise ValueError("no technique has scores both before and after; give some that were run in both")
    order.sort(key=lambda technique: statistics.fmean(after[technique]), reverse=True)
    figure, axes = style.new_figure(title, (style.SIZE[0], 1.6 + 0.45 * len(order)))
    for row, technique in enumerate(order):
        rows = row + 0.22, row - 0.22
        means = [statistics.fmean(scores[technique]) for scores in (before, after)]
        for scores, height in zip((before, after), rows, strict=True):
            runs = scores[technique]
            axes.plot(runs, [height] * len(runs), "|", color=style.REFERENCE, markersize=7)
        axes.plot(means, rows, color=style.color_of(technique), linewidth=1.0)
        axes.plot(means[0], rows[0], **style.look(technique), markersize=7, markerfacecolor="white")
        axes.plot(means[1], rows[1], **style.look(technique), markersize=7)
    for name, fill in zip(names, ("white", style.REFERENCE), strict=True):
        axes.plot([], [], "o", color=style.REFERENCE, markerfacecolor=fill, label=name)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)  # a long title needs the top
    texts = [f"{style.label(technique)}{(notes or {}).get(technique, '')}" for technique in order]
    axes.set_yticks(range(len(order)), texts)
    axes.set(xlabel=axis, ylim=(-0.6, len(order) - 0.4))
    runs = [run for scores in (before, after) for technique in order for run in scores[technique]]
    if 0 < _SPAN * min(runs) < max(runs):
        axes.set_xscale("log")
        style.log_ticks(axes.xaxis, style.MEASURES)
    return figure


def by_rate(records: Sequence[Record]) -> dict[str, dict[float, float | None]]:
    """Mean error over the last epochs and over seeds, by technique and learning rate.

    The technique is what stands before ``-at-`` in a name. Where a rate was tried with several factors for
    the rate of scale and shift, the best of them counts.

    Parameters
    ----------
    records
        Of a sweep over rates, such as ``rates``.

    Returns
    -------
    dict
        Rates in ascending order; numbers of examples, ``None`` where at least one run diverged, as in
        :func:`cosnorm.experiments.choosing.best`.

    Examples
    --------
    >>> min(by_rate(evidence.load("rates", "smoke"))["cosine"])
    0.01
    """
    found: dict[str, dict[float, dict[str, list[float | None]]]] = {}
    for r in sorted(records, key=lambda r: r.settings["learning_rate"]):
        key = r.technique.partition("-at-")[0] if "-at-" in r.technique else r.settings["norm"]
        points = found.setdefault(key, {}).setdefault(r.settings["learning_rate"], {})
        points.setdefault(r.technique, []).append(r.final["test_error_mean"])
    return {
        key: {rate: _fewest_errors(points.values()) for rate, points in rates.items()}
        for key, rates in found.items()
    }


def _fewest_errors(variants: Iterable[Sequence[float | None]]) -> float | None:
    """The least of the means over runs; variants of which a run diverged do not count."""
    finished = [[value for value in values if value is not None] for values in variants if None not in values]
    return min(map(statistics.fmean, finished), default=None)


def error_against_rate(
    records: Sequence[Record], *, baseline: str = "none", title: str = "", columns: int | None = None
) -> Figure:
    """Error against learning rate: one panel per technique, with the baseline in grey.

    A ring marks the rate with the fewest errors, a cross at the top a rate at which a run diverged, and the
    dashed line the errors of guessing.

    Parameters
    ----------
    records
        Of one sweep at one scale, such as ``evidence.load("rates", "short")``; choose among them for fewer
        panels.
    baseline
        The technique drawn in grey in every panel but its own, if it is among the records.
    columns
        Number of panels side by side, as for :func:`cosnorm.plots.new_panels`.

    Examples
    --------
    >>> sweep = [r for r in evidence.load("rates", "smoke") if r.settings["norm"] in ("none", "cosine")]
    >>> figure = error_against_rate(sweep, columns=2, title="A cosine network wants a higher rate")
    """
    style.require_one_experiment(records, '; load a sweep with evidence.load("rates", "short")')
    sweep, chosen = by_rate(records), choosing.best(records)
    figure, panels = style.new_panels(title, len(sweep), columns=columns)
    settings = records[0].settings
    chance = settings["test_examples"] * (1 - 1 / settings["sizes"][-1])
    low = min((value for rates in sweep.values() for value in rates.values() if value), default=1.0)
    for axes, (technique, rates) in zip(panels, sweep.items(), strict=True):
        axes.set(xscale="log", yscale="log", ylim=(low / 1.3, chance * 1.9))
        _rate_ticks(axes)
        axes.axhline(chance, **style.REFERENCE_LINE | {"linewidth": 0.8, "zorder": 2})
        if technique != baseline and baseline in sweep:
            axes.plot(*_finished(sweep[baseline]), color=style.REFERENCE, linewidth=1.0, alpha=0.6)
        color, best = style.color_of(technique), rates[chosen[technique]]
        axes.plot(*_finished(rates), **style.look(technique), markersize=3.5, linewidth=1.3)
        lost = [rate for rate, value in rates.items() if value is None]
        axes.plot(lost, [chance * 1.45] * len(lost), "x", color=color, markersize=4.5)
        if best is not None:
            axes.plot(chosen[technique], best, "o", color=color, markersize=9, markerfacecolor="none")
        axes.set_title(style.label(technique), color=color, fontsize=10)
    figure.supxlabel("learning rate", fontsize=11)
    kind = "validation" if settings.get("held_out") else "test"
    figure.supylabel(f"{kind} errors (of {settings['test_examples']:,})", fontsize=11)
    return figure


def _finished(rates: Mapping[float, float | None]) -> tuple[list[float], list[float]]:
    """Rates at which every run finished, and their errors."""
    pairs = [(rate, value) for rate, value in rates.items() if value is not None]
    return [rate for rate, _ in pairs], [value for _, value in pairs]


def _rate_ticks(axes: Axes) -> None:
    style.log_ticks(axes.xaxis, (1.0,), most=9)
    style.log_ticks(axes.yaxis, (1.0, 3.0))
    # Ticks only where they have names: a grid full of them would make up a fifth of the file.
    place = axes.get_subplotspec()
    axes.tick_params(
        left=place is None or place.is_first_col(), bottom=axes.xaxis.get_tick_params()["labelbottom"]
    )
