"""How long training takes: in seconds, in steps, in epochs, and beside other layers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cosnorm import evidence
from cosnorm.evidence import steps_of_epoch
from cosnorm.plots import curves, style
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: For each contender one time per round, in any unit.
Rounds = Mapping[str, Sequence[float]]


def error_against_time(
    records: Sequence[Record], *, title: str = "", figsize: tuple[float, float] = style.SIZE
) -> Figure:
    """Mean test error of each technique against the seconds that its quickest run took to get there.

    Other programs can only slow a run down, so the quickest of several is nearest to what the technique
    itself takes. All epochs of a run are taken to last equally long.

    Parameters
    ----------
    records
        Of one experiment at one scale, from one device. Diverged runs are left out.

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
    finished = style.finished_runs(records)
    figure, axes = style.new_figure(title, figsize)
    groups = style.by_technique(finished)
    for technique, dashes in style.line_styles(groups).items():
        runs = groups[technique]
        seconds = min(r.cost["seconds"] / r.settings["epochs"] for r in runs)
        errors = curves.mean_curve([r.curves["test_error"] for r in runs])
        elapsed = [seconds * epoch for epoch in range(1, len(errors) + 1)]
        name = f"{style.label(technique)} (n = {len(runs)})"
        axes.plot(elapsed, errors, **style.look(technique), linestyle=dashes, markersize=4, label=name)
    axes.set(xscale="log", yscale="log")
    style.log_ticks(axes.xaxis, style.MEASURES)
    style.log_ticks(axes.yaxis)
    axes.set(xlabel="seconds, by the quickest run", ylabel=style.errors_axis(records[0]))
    axes.legend(fontsize=9, frameon=False)
    return figure


def steps_to_reach(
    records: Sequence[Record],
    technique: str,
    baseline: str,
    *,
    title: str = "",
    figsize: tuple[float, float] = style.SIZE,
) -> Figure:
    """Test errors of a technique and a baseline by step, and when each gets as low as the baseline does.

    Each run is a thin line, because a mean would mix runs that got there at different times. The dashed line
    is the mean of the baseline's lowest errors. The vertical lines are at the mean number of steps that
    :func:`cosnorm.evidence.reach` finds, seed by seed.

    Parameters
    ----------
    records
        Of one experiment at one scale.
    technique, baseline
        Two of its techniques.

    Examples
    --------
    >>> figure = steps_to_reach(evidence.load("mnist", "smoke"), "cosine", "none")
    """
    style.require_one_experiment(records)
    targets = evidence.lowest(records, baseline)
    figure, axes = style.new_figure(title, figsize)
    axes.set(xlabel="steps of training", ylabel=style.errors_axis(records[0]), xscale="log", yscale="log")
    for name in (baseline, technique):
        runs = [r for r in records if r.technique == name and not r.diverged]
        if not runs:
            raise ValueError(f"no run of {name!r} finished: there is no curve to draw")
        for run in runs:
            errors = run.curves["test_error"]
            steps = [steps_of_epoch(run) * epoch for epoch in range(1, len(errors) + 1)]
            every = max(1, len(errors) // 8)
            axes.plot(steps, errors, **style.look(name), markevery=(every - 1, every), linewidth=1.0)
    level = statistics.fmean(targets.values())
    axes.axhline(level, **style.REFERENCE_LINE)
    edge = {"xycoords": ("axes fraction", "data"), "fontsize": 10}
    style.annotate_beside(
        axes,
        f"lowest of\n{style.label(baseline)}: {level:,.0f}",
        (1.0, level),
        6,
        color=style.REFERENCE,
        **edge,
    )
    for row, name in enumerate((baseline, technique)):
        _mark_steps(axes, name, evidence.reach(records, name, targets), row)
    style.log_ticks(axes.xaxis, text="{x:,g}")
    style.log_ticks(axes.yaxis)
    return figure


def _mark_steps(axes: Axes, technique: str, reached: evidence.Reach | None, row: int) -> None:
    """A vertical line at the mean number of steps, its text in the given row from the top."""
    color = style.color_of(technique)
    if reached is None or reached.steps is None:
        text, x = f"{style.label(technique)}: not reached", axes.get_xlim()[1]
    else:
        axes.axvline(reached.steps, color=color, linewidth=0.8, linestyle=":")
        text, x = f"{style.label(technique)}: {reached.steps:,.0f} steps", reached.steps
    low, high = axes.get_xlim()
    side, offset = ("left", 4) if x**2 < low * high else ("right", -4)  # the middle of a logarithmic axis
    at = {"xycoords": ("data", "axes fraction"), "ha": side, "va": "top", "fontsize": 10}
    style.annotate_beside(axes, text, (x, 1.0 - 0.08 * row), offset, color=style.ink(color), **at)


def first_passages(records: Sequence[Record], levels: Sequence[int]) -> dict[str, dict[int, float]]:
    """Mean number of epochs until a run first makes no more than a given number of test errors.

    Parameters
    ----------
    records
        Of one experiment at one scale.
    levels
        Numbers of test errors.

    Returns
    -------
    dict
        By technique and level. A level that some run of a technique did not reach is left out, because the
        mean of the others would flatter the technique.

    Examples
    --------
    >>> first_passages(evidence.load("mnist", "smoke"), [355])["cosine"]
    {355: 1.0}
    """
    found: dict[str, dict[int, float]] = {}
    for technique, runs in style.by_technique(records).items():
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
    figsize: tuple[float, float] = style.SIZE,
) -> Figure:
    """Epochs until a number of test errors is first reached, level by level: one line per technique.

    Parameters
    ----------
    records, levels
        As for :func:`cosnorm.plots.first_passages`.

    Examples
    --------
    >>> figure = epochs_to_errors(evidence.load("mnist", "smoke"), [50, 30, 20])
    """
    from matplotlib.ticker import FixedLocator

    style.require_one_experiment(records)
    passages = {name: line for name, line in first_passages(records, levels).items() if line}
    if not passages:
        raise ValueError(f"no technique made as few errors as {max(levels)} in every run; raise the levels")
    figure, axes = style.new_figure(title, figsize)
    for technique, line in passages.items():
        axes.plot(list(line), list(line.values()), **style.look(technique), label=style.label(technique))
    axes.set(xscale="log", yscale="log", xlabel=f"{style.errors_axis(records[0])}, fewer to the right")
    axes.set_ylabel("epochs until first reached")
    axes.invert_xaxis()
    style.log_ticks(axes.xaxis, text="{x:,g}")
    axes.xaxis.set_major_locator(FixedLocator(list(levels)))
    style.log_ticks(axes.yaxis, (1.0, 2.0, 3.0, 5.0), "{x:,g}")
    axes.legend(loc="upper left")  # lines rise to the right, and end where others go on
    return figure


def ratios(rounds: Rounds) -> dict[str, list[float]]:
    """Each contender's times divided by those of the first contender in the same round.

    What slows down a whole round, such as another program, cancels.

    Examples
    --------
    >>> ratios({"plain": [1.0, 2.0], "cosine": [1.5, 3.0]})["cosine"]
    [1.5, 1.5]
    """
    if len({len(times) for times in rounds.values()}) != 1 or len(next(iter(rounds.values()))) < 2:
        raise ValueError("every contender needs a time from every round, and quartiles need two rounds")
    first = next(iter(rounds.values()))
    return {
        name: [mine / base for mine, base in zip(times, first, strict=True)] for name, times in rounds.items()
    }


def relative_times(groups: Mapping[str, Rounds], *, title: str = "") -> Figure:
    """Median ratio to the first contender of each group, with the quartiles over rounds.

    Parameters
    ----------
    groups
        For each group, such as a shape of layer, the times of its contenders: one per round, at least two.

    Examples
    --------
    >>> figure = relative_times({"100 x 10": {"plain": [1.0, 2.0], "cosine": [1.5, 3.0]}})
    """
    if not groups:
        raise ValueError("there is nothing to compare; give times for at least one group of contenders")
    compared = {name: ratios(rounds) for name, rounds in groups.items()}
    lines = sum(len(found) for found in compared.values()) + len(compared)
    figure, axes = style.new_figure(title, (style.SIZE[0], 1.1 + 0.25 * lines))
    color, height, places, names = style.COLORS["cosine"], 0, [], []
    cover = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # over the line at 1
    for group, found in compared.items():
        at_edge = {"xycoords": ("axes fraction", "data"), "fontsize": 10, "bbox": cover}
        style.annotate_beside(axes, group, (0, height), 6, color=style.REFERENCE, **at_edge)
        height -= 1
        for name, values in found.items():
            low, middle, high = statistics.quantiles(values, n=4)
            axes.plot([low, high], [height] * 2, color=color, linewidth=2.5, alpha=0.5)
            axes.plot(middle, height, "s", color=color)
            style.annotate_beside(axes, f"{middle:.2f}", (max(middle, high), height), 7, fontsize=10)
            places.append(height)
            names.append(name)
            height -= 1
    axes.axvline(1, **style.REFERENCE_LINE)
    axes.set(xscale="log", xlabel="time of one training step, the first of each group = 1")
    axes.minorticks_off()
    highest = max(2.0, *(max(values) for found in compared.values() for values in found.values()))
    ticks = [tick for tick in (0.5, 1, 1.5, 2, 3, 5, 10, 20, 50) if tick <= highest]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(places, names)
    axes.set_ylim(height + 0.3, 0.7)
    return figure
