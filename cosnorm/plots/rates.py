"""Error against learning rate, one small panel a technique."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cosnorm.experiments import choosing
from cosnorm.plots.identity import COLORS, MARKERS, REFERENCE, label, norm_of
from cosnorm.plots.panels import new_panels
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: By technique and rate the mean number of errors; ``None`` where a run diverged.
Sweep = Mapping[str, Mapping[float, float | None]]


def by_rate(records: Sequence[Record]) -> dict[str, dict[float, float | None]]:
    """Mean error over the last epochs and over seeds, by technique and learning rate.

    Techniques go by what their competitors are called before ``-at-``. Where a rate was tried with several
    factors for the rate of scale and shift, the best of them counts.

    Parameters
    ----------
    records
        Of a sweep over rates, such as ``rates``.

    Returns
    -------
    dict
        Rates in ascending order; counts of examples, ``None`` where at least one run diverged, as in
        :func:`cosnorm.experiments.choosing.best`.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> min(by_rate(evidence.load("rates", "smoke"))["cosine"])
    0.01
    """
    found: dict[str, dict[float, dict[str, list[float | None]]]] = {}
    for r in sorted(records, key=lambda r: r.settings["learning_rate"]):
        key = r.technique.partition("-at-")[0] if "-at-" in r.technique else r.settings["norm"]
        points = found.setdefault(key, {}).setdefault(r.settings["learning_rate"], {})
        points.setdefault(r.technique, []).append(r.final["test_error_mean"])
    return {
        key: {rate: _least(map(_mean, points.values())) for rate, points in rates.items()}
        for key, rates in found.items()
    }


def _least(means: Iterable[float | None]) -> float | None:
    return min((mean for mean in means if mean is not None), default=None)


def _mean(values: Sequence[float | None]) -> float | None:
    finished = [value for value in values if value is not None]
    return statistics.fmean(finished) if len(finished) == len(values) else None


def error_against_rate(
    records: Sequence[Record], *, baseline: str = "none", title: str = "", columns: int | None = None
) -> Figure:
    """Error against learning rate: a panel for each technique, the baseline in grey behind it.

    A ring marks the rate with the fewest errors, a cross at the top a rate at which a run diverged, and the
    dashed line what guessing gives.

    Parameters
    ----------
    records
        Of one sweep at one scale, such as ``evidence.load("rates", "short")``; choose among them for fewer
        panels.
    baseline
        The technique drawn in grey in every panel but its own, if it is among the records.
    title
        The answer that the figure gives.
    columns
        Panels side by side, as for :func:`cosnorm.plots.new_panels`.

    Returns
    -------
    matplotlib.figure.Figure
        Six inches wide; its height grows with the number of rows.

    Raises
    ------
    ValueError
        If there are no records, or they are of several experiments or scales.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> sweep = [r for r in evidence.load("rates", "smoke") if r.settings["norm"] in ("none", "cosine")]
    >>> figure = error_against_rate(sweep, columns=2, title="A cosine network wants a higher rate")
    """
    if len({(r.experiment, r.scale) for r in records}) != 1:
        raise ValueError(
            "the panels need records of one sweep at one scale, and at least one record; "
            'load them with evidence.load("rates", "short")'
        )
    sweep, chosen = by_rate(records), choosing.best(records)
    figure, panels = new_panels(title, len(sweep), columns=columns)
    settings = records[0].settings
    chance = settings["test_examples"] * (1 - 1 / settings["sizes"][-1])
    low = min((value for rates in sweep.values() for value in rates.values() if value), default=1.0)
    for axes, technique in zip(panels, sweep, strict=True):
        axes.set(xscale="log", yscale="log", ylim=(low / 1.3, chance * 1.9))
        _plain_ticks(axes)
        axes.axhline(chance, color=REFERENCE, linestyle=(0, (4, 3)), linewidth=0.8)
        if technique != baseline and baseline in sweep:
            axes.plot(*_finished(sweep[baseline]), color=REFERENCE, linewidth=1.0, alpha=0.6)
        _draw(axes, technique, sweep[technique], chosen[technique], chance * 1.45)
    figure.supxlabel("learning rate", fontsize=11)
    kind = "validation" if settings.get("held_out") else "test"
    figure.supylabel(f"{kind} errors (of {settings['test_examples']:,})", fontsize=11)
    return figure


def _finished(rates: Mapping[float, float | None]) -> tuple[list[float], list[float]]:
    """Rates at which every run finished, and their errors."""
    pairs = [(rate, value) for rate, value in rates.items() if value is not None]
    return [rate for rate, _ in pairs], [value for _, value in pairs]


def _draw(axes: Axes, technique: str, rates: Mapping[float, float | None], chosen: float, top: float) -> None:
    color = COLORS[norm_of(technique)]
    axes.plot(
        *_finished(rates), color=color, marker=MARKERS[norm_of(technique)], markersize=3.5, linewidth=1.3
    )
    lost = [rate for rate, value in rates.items() if value is None]
    axes.plot(lost, [top] * len(lost), "x", color=color, markersize=4.5)
    best = rates[chosen]
    if best is not None:
        axes.plot(chosen, best, "o", color=color, markersize=9, markerfacecolor="none")
    axes.set_title(label(technique), color=color, fontsize=10)


def _plain_ticks(axes: Axes) -> None:
    """Rates and counts as they are read, in place of powers of ten."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(LogLocator(base=10, numticks=9))
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
    # Ticks only where they have names: a grid full of them would make up a fifth of the file.
    place = axes.get_subplotspec()
    axes.tick_params(
        left=place is None or place.is_first_col(), bottom=axes.xaxis.get_tick_params()["labelbottom"]
    )
