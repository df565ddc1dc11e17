"""Distributions at several moments, one above the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cosnorm.plots.identity import COLORS, label, norm_of
from cosnorm.plots.panels import new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: Places at which a density is drawn: enough for a smooth ridge, few enough for a small file.
_PLACES = 48
#: How far a ridge rises, where the next begins at 1.
_HEIGHT = 1.7


def ridgelines(
    values: Mapping[str, Mapping[str, NDArray[np.floating]]],
    name: str,
    *,
    limits: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """How a distribution changes: a panel a technique, in it a ridge for each moment, time going down.

    Parameters
    ----------
    values
        By technique and moment a sample: any shape, at least two different numbers. All techniques have
        the same moments.
    name
        What is drawn, with its unit: the horizontal axis.
    limits
        Of that axis, the same for all panels; without it each panel has its own, from its least to its
        greatest value.
    title
        The answer that the figure gives.

    Returns
    -------
    matplotlib.figure.Figure
        A ridge is a kernel estimate of the density, scaled to one height: compare shapes, not areas.

    Raises
    ------
    ValueError
        If there is nothing to draw, the moments differ, or a sample has no spread.

    Examples
    --------
    >>> sample = np.random.default_rng(0).normal(size=100)
    >>> figure = ridgelines({"cosine": {"start": sample, "end": sample + 1}}, "pre-activation")
    """
    moments = {tuple(rows) for rows in values.values()}
    if len(moments) != 1 or moments == {()}:
        raise ValueError("ridgelines need at least one technique, and the same moments for each of them")
    figure, panels = new_panels(
        title, len(values), columns=min(len(values), 2), height=2.2, sharex=limits is not None
    )
    for axes, (technique, rows) in zip(panels, values.items(), strict=True):
        _draw(axes, technique, rows, limits)
    figure.supxlabel(name, fontsize=11)
    return figure


def _pale(color: str) -> tuple[float, float, float]:
    """The color mixed with white: a ridge hides what is behind it."""
    from matplotlib.colors import to_rgb

    red, green, blue = (0.7 + 0.3 * part for part in to_rgb(color))
    return red, green, blue


def _draw(
    axes: Axes,
    technique: str,
    rows: Mapping[str, NDArray[np.floating]],
    limits: tuple[float, float] | None,
) -> None:
    from scipy.stats import gaussian_kde

    color = COLORS[norm_of(technique)]
    samples = [np.ravel(sample).astype(float) for sample in rows.values()]
    if any(np.ptp(sample) == 0 for sample in samples):
        raise ValueError(f"a sample of {technique!r} has no spread, so it has no density to draw")
    low, high = limits or (min(map(np.min, samples)), max(map(np.max, samples)))
    places = np.linspace(low, high, _PLACES)
    for row, sample in enumerate(samples):
        density = gaussian_kde(sample)(places)
        ridge = -row + _HEIGHT * density / density.max()
        axes.fill_between(places, -row, ridge, color=_pale(color), linewidth=0, zorder=2 * row)
        axes.plot(places, ridge, color=color, linewidth=0.9, zorder=2 * row + 1)
    axes.set(yticks=[-row for row in range(len(rows))], yticklabels=list(rows), xlim=(low, high))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(label(technique), color=color, fontsize=10)
