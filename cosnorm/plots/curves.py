"""Test error against epoch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cosnorm.plots.checks import bands, require_one_kind
from cosnorm.plots.identity import COLORS, MARKERS, REFERENCE, label, line_styles, norm_of
from cosnorm.plots.labels import label_ends
from cosnorm.plots.style import SIZE, new_figure
from cosnorm.plots.ticks import plain_ticks
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def test_error_curves(
    records: Sequence[Record],
    paper: Mapping[str, float] | None = None,  # noqa: PT028 (not a test, for all its name)
    *,
    title: str = "",  # noqa: PT028
    figsize: tuple[float, float] = SIZE,  # noqa: PT028
) -> Figure:
    """Test error against epoch: each technique's mean over seeds with its 95 % band.

    Parameters
    ----------
    records
        Of one experiment at one scale. Diverged runs are left out of the mean, and said in the label.
    paper
        The paper's figure by technique, a count of test errors, drawn as a dashed grey line.
    title
        The answer that the figure gives.
    figsize
        Width and height in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The band is Student's interval for the mean at each epoch by itself, and is left out for one seed.

    Raises
    ------
    ValueError
        If there are no records, or they are of several experiments or scales, or every run diverged.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> records = evidence.load("mnist", "smoke")
    >>> figure = test_error_curves(records, title="All four techniques learn the digits")
    """
    require_one_kind(records)
    if all(r.diverged for r in records):
        raise ValueError("every run diverged: there is no curve to draw")
    figure, axes = new_figure(title, figsize)
    total, epochs = records[0].settings["test_examples"], records[0].settings["epochs"]
    axes.set(xlabel="epoch", ylabel=f"test errors (of {total:,})", yscale="log")
    axes.set_xlim(1 - (margin := 0.02 * (epochs - 1)), epochs + margin)  # markers at the ends are whole
    labels: list[tuple[float, str, str]] = []
    for technique, style in line_styles(list(dict.fromkeys(r.technique for r in records))).items():
        runs = [r for r in records if r.technique == technique]
        finished = [r for r in runs if not r.diverged]
        if finished:
            lost = f", {len(runs) - len(finished)} diverged" if len(runs) > len(finished) else ""
            height = _draw_mean(axes, technique, finished, style)
            name = f"{label(technique)} (n = {len(finished)}{lost})"
            labels.append((height, name, COLORS[norm_of(technique)]))
    for technique, value in (paper or {}).items():
        axes.axhline(value, color=REFERENCE, linestyle=(0, (4, 3)), linewidth=1.0, zorder=1)
        labels.append((value, f"paper, {label(technique)}: {value:.0f}", REFERENCE))
    limits = axes.get_ylim()
    _draw_bands(axes, records)
    axes.set_ylim(limits)  # a band of few seeds can be so wide that it would flatten every curve
    plain_ticks(axes)
    label_ends(axes, labels, epochs)
    return figure


def _by_epoch(runs: Sequence[Record]) -> list[tuple[int, ...]]:
    """The test errors of all runs, epoch by epoch."""
    return list(zip(*(r.curves["test_error"] for r in runs), strict=True))


def _draw_mean(axes: Axes, technique: str, runs: Sequence[Record], style: Any) -> float:
    """Draw a technique's mean; returns the height of its label: the mean over the last epochs."""
    means = [statistics.fmean(values) for values in _by_epoch(runs)]
    step = max(1, len(means) // 8)
    axes.plot(
        range(1, len(means) + 1),
        means,
        color=COLORS[norm_of(technique)],
        linestyle=style,
        marker=MARKERS[norm_of(technique)],
        markevery=(step - 1, step),
    )
    return statistics.fmean(means[-runs[0].settings["tail"] :])


def _draw_bands(axes: Axes, records: Sequence[Record]) -> None:
    for technique in dict.fromkeys(r.technique for r in records):
        runs = [r for r in records if r.technique == technique and not r.diverged]
        drawn = bands(_by_epoch(runs))
        if drawn:
            # Below one error a logarithmic axis has nothing to show.
            low = [max(band.low, 0.5) for band in drawn]
            axes.fill_between(
                range(1, len(drawn) + 1),
                low,
                [band.high for band in drawn],
                color=COLORS[norm_of(technique)],
                alpha=0.15,
                linewidth=0,
            )
