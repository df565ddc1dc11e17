"""Test errors when every test input is longer or shorter than those of training."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cosnorm import evidence
from cosnorm.plots.checks import require_one_kind
from cosnorm.plots.identity import COLORS, MARKERS, label, line_styles, norm_of
from cosnorm.plots.labels import label_ends
from cosnorm.plots.style import SIZE, new_figure
from cosnorm.plots.ticks import MEASURES, plain_ticks
from cosnorm.record import Record
from cosnorm.training.observers import FACTORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The curve of records that holds the errors, one list of ``FACTORS`` numbers an epoch.
CURVE = "test_error_scaled"


def scaled_inputs(
    records: Sequence[Record], *, title: str = "", figsize: tuple[float, float] = SIZE
) -> Figure:
    """Test errors after the last epoch against the factor on the test inputs: means and 95 % intervals.

    Parameters
    ----------
    records
        Of one experiment at one scale that observes ``scaled_inputs``. Diverged runs are left out.
    title
        The answer that the figure gives.
    figsize
        Width and height in inches.

    Raises
    ------
    ValueError
        If there are no records, or they are of several experiments or scales, none finished, or one does
        not hold errors on scaled inputs.

    Examples
    --------
    >>> from cosnorm import experiments
    >>> run, = experiments.run("magnitude", ["cosine"], scale="smoke", seeds=1, device="cpu")
    >>> figure = scaled_inputs([run])
    """
    require_one_kind(records)
    finished = [r for r in records if not r.diverged]
    if not finished:
        raise ValueError("every run diverged: there are no errors to draw")
    missing = [r.name for r in finished if CURVE not in r.curves]
    if missing:
        raise ValueError(
            f"{missing[0]} holds no errors on scaled inputs; run it with observe=('scaled_inputs',)"
        )
    figure, axes = new_figure(title, figsize)
    total = records[0].settings["test_examples"]
    axes.set(xlabel="factor on every test input", xscale="log", xlim=(FACTORS[0] / 1.1, FACTORS[-1]))
    axes.set(ylabel=f"test errors (of {total:,})", yscale="log")
    labels = _draw_means(axes, finished)
    limits = axes.get_ylim()
    _draw_intervals(axes, finished)
    axes.set_ylim(limits)  # an interval of few seeds can be so wide that it would flatten every curve
    _factor_ticks(axes)
    label_ends(axes, labels, int(FACTORS[-1]))
    return figure


def _by_factor(runs: Sequence[Record]) -> list[tuple[int, ...]]:
    """The errors of all runs after their last epoch, factor by factor."""
    return list(zip(*(r.curves[CURVE][-1] for r in runs), strict=True))


def _draw_means(axes: Axes, records: Sequence[Record]) -> list[tuple[float, str, str]]:
    """One curve a competitor; returns height, text and color of its label."""
    labels: list[tuple[float, str, str]] = []
    for technique, style in line_styles(list(dict.fromkeys(r.technique for r in records))).items():
        runs = [r for r in records if r.technique == technique]
        means = [statistics.fmean(values) for values in _by_factor(runs)]
        color, marker = COLORS[norm_of(technique)], MARKERS[norm_of(technique)]
        axes.plot(FACTORS, means, color=color, linestyle=style, marker=marker)
        labels.append((means[-1], f"{label(technique)} (n = {len(runs)})", color))
    return labels


def _draw_intervals(axes: Axes, records: Sequence[Record]) -> None:
    for technique in dict.fromkeys(r.technique for r in records):
        runs = [r for r in records if r.technique == technique]
        for factor, values in zip(FACTORS, _by_factor(runs), strict=True):
            band = evidence.interval(values)
            if band is not None:
                ends = [max(band.low, 0.5), band.high]  # below one error a logarithm has nothing to show
                axes.plot([factor] * 2, ends, color=COLORS[norm_of(technique)], linewidth=1)


def _factor_ticks(axes: Axes) -> None:
    """The factors themselves across."""
    from matplotlib.ticker import NullLocator

    plain_ticks(axes, MEASURES)
    axes.set_xticks(FACTORS, [f"{factor:g}" for factor in FACTORS])
    axes.xaxis.set_minor_locator(NullLocator())
