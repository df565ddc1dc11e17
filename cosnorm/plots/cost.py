"""Times of contenders beside the first of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cosnorm.plots.identity import COLORS, REFERENCE
from cosnorm.plots.style import SIZE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: By contender one time a round, in any unit.
Rounds = Mapping[str, Sequence[float]]


def ratios(rounds: Rounds) -> dict[str, list[float]]:
    """Each contender's times divided by the first one's in the same round.

    What slows a whole round, such as another program, cancels.

    Raises
    ------
    ValueError
        If there are no contenders, or they do not have the same number of rounds, at least two.

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
        By group, such as a shape of layer, the times of its contenders.
    title
        The answer that the figure gives.

    Returns
    -------
    matplotlib.figure.Figure
        On a logarithmic axis; the number behind each mark is the median ratio.

    Raises
    ------
    ValueError
        If there are no groups, or one is not as ``ratios`` wants it.

    Examples
    --------
    >>> figure = relative_times({"100 x 10": {"plain": [1.0, 2.0], "cosine": [1.5, 3.0]}})
    """
    if not groups:
        raise ValueError("there is nothing to compare; give times for at least one group of contenders")
    compared = {name: ratios(rounds) for name, rounds in groups.items()}
    lines = sum(len(found) for found in compared.values()) + len(compared)
    figure, axes = new_figure(title, (SIZE[0], 1.1 + 0.25 * lines))
    height, ticks, names = 0, [], []
    for group, found in compared.items():
        axes.annotate(
            group,
            (0, height),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            color=REFERENCE,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},  # over the line at 1
        )
        height -= 1
        for name, values in found.items():
            low, middle, high = statistics.quantiles(values, n=4)
            axes.plot([low, high], [height] * 2, color=COLORS["cosine"], linewidth=2.5, alpha=0.5)
            axes.plot(middle, height, "s", color=COLORS["cosine"])
            axes.annotate(
                f"{middle:.2f}",
                (max(middle, high), height),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=10,
            )
            ticks.append(height)
            names.append(name)
            height -= 1
    axes.axvline(1, color=REFERENCE, linestyle=(0, (4, 3)), linewidth=1.0, zorder=1)
    _ratio_axis(axes, max(max(values) for found in compared.values() for values in found.values()))
    axes.set_yticks(ticks, names)
    axes.set_ylim(height + 0.3, 0.7)
    return figure


def _ratio_axis(axes: Axes, highest: float) -> None:
    ticks = [tick for tick in (0.5, 1, 1.5, 2, 3, 5, 10, 20, 50) if tick <= max(2.0, highest)]
    axes.set(xscale="log", xlabel="time of one training step, the first of each group = 1")
    axes.minorticks_off()
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
