"""What enters a unit's ReLU over training: percentiles over the test examples, as in the paper's Figure 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosnorm.plots.identity import COLORS, label, norm_of
from cosnorm.plots.panels import new_panels
from cosnorm.record import Record
from cosnorm.training.observers import PERCENTILES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def preactivation_percentiles(
    records: Sequence[Record], unit: int = 0, *, one_axis: bool = True, title: str = ""
) -> Figure:
    """The 15th, 50th and 85th percentile of one unit's pre-activation, epoch by epoch: a panel a technique.

    Parameters
    ----------
    records
        With the curve ``preactivation``, of one experiment at one scale. Of each technique the run with the
        lowest seed that finished is drawn: a unit of one network, as in the paper.
    unit
        Which of the recorded units of the last hidden layer.
    one_axis
        Whether all panels have the same vertical axis, or each its own.
    title
        The answer that the figure gives.

    Returns
    -------
    matplotlib.figure.Figure
        In each panel the median as a line in a band from the 15th to the 85th percentile.

    Raises
    ------
    ValueError
        If there is no finished run, runs of several experiments or scales, a run without such a curve, or no
        unit of that number.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> figure = preactivation_percentiles(evidence.load("preactivation", "short"), one_axis=False)
    """
    if len({(r.experiment, r.scale) for r in records}) > 1:
        raise ValueError("the panels need records of one experiment at one scale")
    runs: dict[str, Record] = {}
    for r in sorted((r for r in records if not r.diverged), key=lambda r: r.seed):
        runs.setdefault(r.technique, r)
    if not runs:
        raise ValueError("there is no finished run to draw; load records of `preactivation`")
    drawn = {r.technique: r for r in records if runs.get(r.technique) is r}
    figure, panels = new_panels(title, len(drawn), sharey=one_axis)
    for axes, r in zip(panels, drawn.values(), strict=True):
        _draw(axes, r.technique, percentiles(r, unit))
    figure.supxlabel("epoch", fontsize=11)
    figure.supylabel("pre-activation", fontsize=11)
    return figure


def percentiles(record: Record, unit: int) -> NDArray[np.float64]:
    """Percentiles of one unit's pre-activation over the test examples, of shape ``(epochs, 3)``.

    Raises
    ------
    ValueError
        If the run has no such curve, or no unit of that number in it.
    """
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


def _draw(axes: Axes, technique: str, levels: NDArray[np.float64]) -> None:
    from matplotlib.ticker import MaxNLocator

    color, epochs = COLORS[norm_of(technique)], range(1, len(levels) + 1)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.fill_between(epochs, levels[:, 0], levels[:, -1], color=color, alpha=0.2, linewidth=0)
    for place in range(len(PERCENTILES)):
        axes.plot(epochs, levels[:, place], color=color, linewidth=1.6 if place == 1 else 0.8)
    axes.set_title(label(technique), color=color, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
