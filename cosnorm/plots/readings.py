"""The ranking of techniques under each reading of an open point: where lines cross, a reading decides."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cosnorm.plots.identity import COLORS, MARKERS, label, norm_of
from cosnorm.plots.labels import label_ends
from cosnorm.plots.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosnorm.register import Judgement, Score

#: Characters of a line below the axis.
_WIDTH = 15
#: Distance of two techniques, where that of two readings is 1.
_STEP = 0.05


def readings(judgement: Judgement, *, title: str = "") -> Figure:
    """Mean test errors of each technique under each reading, ours at the left, with 95 % intervals.

    Parameters
    ----------
    judgement
        As from :func:`cosnorm.register.judge`.
    title
        The answer that the figure gives; without it, one made from the numbers.

    Returns
    -------
    matplotlib.figure.Figure
        One line a technique. A reading under which all its runs diverged has a cross at the errors of
        guessing. Intervals are Student's, of each mean by itself; they end at the edge of the axes.

    Raises
    ------
    ValueError
        If there are no runs under our reading and another, so that there is nothing to compare.

    Examples
    --------
    >>> from cosnorm import register
    >>> figure = readings(register.judge(register.get("text-epochs")))
    """
    if not judgement.drawable or judgement.total is None or judgement.classes is None:
        raise ValueError(f"{judgement.point.key} has no runs under two readings; {judgement.summary}")
    places = [
        r.label for r in judgement.point.readings if any(s.reading == r.label for s in judgement.scores)
    ]
    norms = list(dict.fromkeys(score.norm for score in judgement.scores))
    figure, axes = new_figure(title or headline(judgement), (6.0, 3.8))
    guessing = judgement.total * (1 - 1 / judgement.classes)
    heights = _draw_lines(axes, judgement.scores, places, norms, guessing)
    axes.set(yscale="log", ylabel=f"test errors (of {judgement.total:,})", xlim=(-0.35, len(places) - 0.95))
    axes.margins(y=0.12)
    limits = axes.get_ylim()
    _draw_intervals(axes, judgement.scores, places, norms)
    axes.set_ylim(limits)  # an interval of few seeds can be so wide that it would flatten every difference
    ours = judgement.point.ours.label
    names = [f"{place} (ours)" if place == ours else place for place in places]
    centers = [place - _STEP * (len(norms) - 1) / 2 for place in range(len(places))]
    axes.set_xticks(centers, [textwrap.fill(name, _WIDTH) for name in names])
    _plain_ticks(axes)
    label_ends(axes, heights, len(places) - 1)
    return figure


def headline(judgement: Judgement) -> str:
    """What the judgement found, in a few words fit for the title of a figure.

    Examples
    --------
    >>> from cosnorm import register
    >>> headline(register.judge(register.get("crop")))
    'Another reading has not been trained'
    """
    flipped = dict.fromkeys(c.rival for c in judgement.comparisons if c.verdict == "flips")
    if flipped:
        names = [_spoken(name) for name in flipped]
        return f"Another reading changes the order of cosine and {' and '.join(names)}"
    if not judgement.comparisons:
        return "Another reading has not been trained"
    undecided = judgement.count("undecided")
    missing = judgement.point.declared - len(judgement.comparisons)
    if not undecided and not missing:
        return "No reading changes cosine's place"
    counts = {"undecided": undecided, "without runs": missing}
    parts = [f"{count} of {judgement.point.declared} {what}" for what, count in counts.items() if count]
    return f"No order flips: {', '.join(parts)}"


def _spoken(norm: str) -> str:
    return "the plain network" if norm == "none" else label(norm)


def _draw_lines(
    axes: Axes, scores: Sequence[Score], places: Sequence[str], norms: Sequence[str], guessing: float
) -> list[tuple[float, str, str]]:
    """Draw a line a technique; returns where its name goes."""
    labels = []
    for norm in norms:
        found = {score.reading: score for score in scores if score.norm == norm}
        points = [
            (place + _shift(norms, norm), guessing if (mean := found[name].mean) is None else mean)
            for place, name in enumerate(places)
            if name in found
        ]
        color = COLORS[norm_of(norm)]
        axes.plot(*zip(*points, strict=True), color=color, linewidth=1.2, marker=MARKERS[norm_of(norm)])
        lost = [place for place, name in enumerate(places) if name in found and not found[name].values]
        if lost:
            axes.plot(
                [place + _shift(norms, norm) for place in lost],
                [guessing] * len(lost),
                "x",
                color="black",
                markersize=9,
                zorder=5,
            )
        labels.append((points[-1][1], _name(norm, list(found.values())), color))
    return labels


def _draw_intervals(axes: Axes, scores: Sequence[Score], places: Sequence[str], norms: Sequence[str]) -> None:
    for score in scores:
        if score.interval is not None:
            axes.plot(
                [places.index(score.reading) + _shift(norms, score.norm)] * 2,
                # Below one error a logarithmic axis has nothing to show.
                [max(score.interval.low, 0.5), score.interval.high],
                color=COLORS[norm_of(score.norm)],
                linewidth=3.0,
                alpha=0.3,
            )


def _shift(norms: Sequence[str], norm: str) -> float:
    """Techniques side by side, so that no interval hides another; the last one at the place itself."""
    return _STEP * (norms.index(norm) - (len(norms) - 1))


def _name(norm: str, found: Sequence[Score]) -> str:
    lost = sum(score.diverged for score in found)
    return label(norm) + (f" ({lost} diverged)" if lost else "")


def _plain_ticks(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
