"""A reader's score among the stored ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosnorm.evidence import Receipt
from cosnorm.plots.identity import COLORS, MARKERS, label, norm_of
from cosnorm.plots.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def place_in_distribution(receipt: Receipt, *, title: str = "") -> Figure:
    """The reader's score among the stored ones of the same technique: one dot a seed.

    Parameters
    ----------
    receipt
        As from :func:`cosnorm.evidence.receipt`.
    title
        The answer that the figure gives; without one the receipt's verdict on the band.

    Raises
    ------
    ValueError
        If the reader's run diverged, so that there is no score to place.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> figure = place_in_distribution(evidence.receipt(evidence.load("mnist", "smoke")[0]))
    """
    if receipt.score is None:
        raise ValueError(f"there is no score to place: {receipt.verdict}")
    where = {True: "inside", False: "outside", None: "beside"}[receipt.inside]
    figure, axes = new_figure(title or f"Your run lies {where} the stored runs' band", (6.0, 2.0))
    technique, tail = receipt.record.technique, receipt.record.final["tail"]
    color = COLORS[norm_of(technique)]
    if receipt.band is not None:
        axes.axvspan(max(receipt.band.low, 0), receipt.band.high, color=color, alpha=0.15, linewidth=0)
    seen: dict[float, int] = {}
    for value in receipt.stored.values():
        axes.plot(value, seen.get(value, 0), MARKERS[norm_of(technique)], color=color)
        seen[value] = seen.get(value, 0) + 1
    top = max([*seen.values(), 1])
    axes.plot(receipt.score, top, "v", color="black", markersize=9)
    axes.annotate("yours", (receipt.score, top), xytext=(8, 0), textcoords="offset points", va="center")
    axes.set(
        ylim=(-0.7, top + 0.8),
        yticks=[],
        xlabel=f"test errors (of {receipt.record.settings['test_examples']}), {label(technique)}, "
        + ("last epoch" if tail == 1 else f"mean of the last {tail} epochs"),
    )
    axes.spines["left"].set_visible(False)
    return figure
