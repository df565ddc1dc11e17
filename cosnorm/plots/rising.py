"""How far a curve has come up again from its lowest point."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cosnorm.plots.checks import bands, require_one_kind
from cosnorm.plots.identity import COLORS, MARKERS, REFERENCE, label, line_styles, norm_of
from cosnorm.plots.labels import label_ends
from cosnorm.plots.style import SIZE, new_figure
from cosnorm.plots.ticks import plain_ticks
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What the curves are called on the axis.
CURVES = {"test_error": "test errors", "test_loss": "test loss"}


def overfitting(
    records: Sequence[Record],
    paper: Mapping[str, float] | None = None,
    *,
    curve: str = "test_error",
    title: str = "",
    figsize: tuple[float, float] = SIZE,
) -> Figure:
    """A test curve over its own lowest value so far: each technique's mean over seeds with its 95 % band.

    A technique that still improves stays at 1; one that overfits rises. A restless curve lies above 1
    as well, but does not rise.

    Parameters
    ----------
    records
        Of one experiment at one scale. Diverged runs are left out.
    paper
        The paper's ratio by technique, drawn as a dashed grey line.
    curve
        ``"test_error"`` or ``"test_loss"``.
    title
        The answer that the figure gives.
    figsize
        Width and height in inches.

    Raises
    ------
    ValueError
        If there are no records, or they are of several experiments or scales, every run diverged, or there
        is no such curve.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> figure = overfitting(evidence.load("mnist", "smoke"), curve="test_loss")
    """
    require_one_kind(records)
    if curve not in CURVES:
        raise ValueError(f"curve must be one of {', '.join(CURVES)}, got {curve!r}")
    finished = [r for r in records if not r.diverged]
    if not finished:
        raise ValueError("every run diverged: there is no curve to draw")
    figure, axes = new_figure(title, figsize)
    epochs = len(finished[0].curves[curve])
    axes.set(xlabel="epoch", ylabel=f"{CURVES[curve]} over the lowest so far", yscale="log", xlim=(1, epochs))
    labels = _draw_means(axes, finished, curve)
    for technique, value in (paper or {}).items():
        axes.axhline(value, color=REFERENCE, linestyle=(0, (4, 3)), linewidth=1.0, zorder=1)
        labels.append((value, f"paper, {label(technique)}: {value:.2f}", REFERENCE))
    limits = axes.get_ylim()
    _draw_bands(axes, finished, curve)
    # Not those with the bands: one of few seeds can be so wide that it would flatten every curve.
    axes.set_ylim(1 - 0.03 * (limits[1] - 1), limits[1])
    _ratio_ticks(axes)
    label_ends(axes, labels, epochs)
    return figure


def rises(record: Record, curve: str = "test_error") -> list[float]:
    """A run's curve over its lowest value so far, one number an epoch, each at least 1.

    A run with no test errors stays at 1 until it makes one, which no ratio can tell.

    Raises
    ------
    ValueError
        If the curve rises from zero.

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


def _draw_means(axes: Axes, records: Sequence[Record], curve: str) -> list[tuple[float, str, str]]:
    labels: list[tuple[float, str, str]] = []
    for technique, style in line_styles(list(dict.fromkeys(r.technique for r in records))).items():
        runs = [r for r in records if r.technique == technique]
        by_epoch = list(zip(*(rises(r, curve) for r in runs), strict=True))
        means = [statistics.fmean(values) for values in by_epoch]
        color, step = COLORS[norm_of(technique)], max(1, len(means) // 8)
        look = {"marker": MARKERS[norm_of(technique)], "markevery": (step - 1, step)}
        axes.plot(range(1, len(means) + 1), means, color=color, linestyle=style, **look)
        labels.append((means[-1], f"{label(technique)} (n = {len(runs)})", color))
    return labels


def _draw_bands(axes: Axes, records: Sequence[Record], curve: str) -> None:
    for technique in dict.fromkeys(r.technique for r in records):
        by_epoch = zip(*(rises(r, curve) for r in records if r.technique == technique), strict=True)
        drawn = bands(by_epoch)
        if drawn:
            axes.fill_between(
                range(1, len(drawn) + 1),
                [max(band.low, 1.0) for band in drawn],
                [max(band.high, 1.0) for band in drawn],
                color=COLORS[norm_of(technique)],
                alpha=0.15,
                linewidth=0,
            )


def _ratio_ticks(axes: Axes) -> None:
    """Ratios lie so close to 1 that ticks of a decade would leave one or none."""
    from matplotlib.ticker import MaxNLocator

    plain_ticks(axes)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
