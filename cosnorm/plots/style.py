"""The look of every figure: what a technique looks like, sizes and fonts, ticks, labels and panels.

Experiments that train one technique under several conditions, ``cosine`` and ``cosine-augmented``, draw all
of them in its color and marker and tell them apart by the style of the line.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cosnorm import evidence
from cosnorm.evidence import Interval
from cosnorm.networks import WHOLE
from cosnorm.record import Record
from cosnorm.techniques import TECHNIQUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_RECIPES = {**TECHNIQUES, **WHOLE}
#: Okabe and Ito's palette, told apart with every common color blindness, for the paper's techniques (its
#: yellow is too faint for lines); Tol's muted colors and darker ones for the rest, near their family's.
COLORS: dict[str, str] = {
    **{name: recipe.color for name, recipe in _RECIPES.items()},
    "weight-biased": "#66A182",
    "logistic": "#525252",
    "ridge": "#8A8A8A",
}
#: A second sign of the technique, for print without color.
MARKERS: dict[str, str] = {
    **{name: recipe.marker for name, recipe in _RECIPES.items()},
    "weight-biased": "$V$",
    "logistic": "$L$",
    "ridge": "$R$",
}
#: What a technique is called in figures.
LABELS: dict[str, str] = {
    **{name: recipe.label for name, recipe in _RECIPES.items()},
    "tutorial": "tutorial network",
    "weight-biased": "weight norm with bias",
    "logistic": "logistic regression",
    "ridge": "ridge classifier",
}
#: Of the conditions in a figure, in the order in which they come; the technique as it is comes first.
LINE_STYLES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (12, 3)))
#: The paper's own figures, and everything else that is only there to compare with.
REFERENCE = "#6B6B6B"
#: The dashed line at a value to compare with.
REFERENCE_LINE: Any = {"color": REFERENCE, "linestyle": (0, (4, 3)), "linewidth": 1.0, "zorder": 1}
#: Height at the end of a curve, the text of its label and its color.
EndLabel = tuple[float, str, str]

#: Inches. At 360 pixels a phone shows the text of such a figure at about 60 % of its size.
SIZE = (6.0, 3.6)

_STYLE: Any = {
    "figure.figsize": SIZE,
    "figure.facecolor": "white",  # also on a dark page: the palette is made for white
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 11.0,
    "axes.titlesize": 12.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 11.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "legend.fontsize": 10.0,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "svg.hashsalt": "cosnorm",
    "svg.fonttype": "path",
}
#: No date and no version: the same figure is the same file.
_METADATA = {"Date": None, "Creator": None}
#: Multiples of a power of ten that get a tick: for counts of errors, and for other measures.
COUNTS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
MEASURES = (1.0, 2.0, 5.0)


def norm_of(technique: str) -> str:
    """The technique in a name that may also hold a condition.

    Examples
    --------
    >>> norm_of("cosine-3-layers"), norm_of("max_norm")
    ('cosine', 'max_norm')
    """
    return technique.partition("-")[0]


def label(technique: str) -> str:
    """The name in figures: that of the technique, and its condition after a comma.

    Examples
    --------
    >>> label("max_norm"), label("cosine-3-layers")
    ('max norm', 'cosine, 3 layers')
    """
    if technique in LABELS:
        return LABELS[technique]
    condition = technique.partition("-")[2]
    name = LABELS[norm_of(technique)]
    return f"{name}, {condition.replace('-', ' ')}" if condition else name


def color_of(technique: str) -> str:
    """The color of a technique, whatever its condition."""
    return COLORS[norm_of(technique)]


def look(technique: str) -> dict[str, Any]:
    """Color and marker of a technique, as arguments of ``Axes.plot``."""
    return {"color": color_of(technique), "marker": MARKERS[norm_of(technique)]}


def line_styles(techniques: Iterable[str]) -> dict[str, Any]:
    """A line style for each technique: the same for the same condition, whichever technique is under it."""
    conditions = {technique: technique.partition("-")[2] for technique in techniques}
    # A stable sort: no condition comes first, and all others keep their order.
    order = sorted(dict.fromkeys(conditions.values()), key=bool)
    return {
        technique: LINE_STYLES[order.index(condition) % len(LINE_STYLES)]
        for technique, condition in conditions.items()
    }


def ink(color: str) -> str:
    """A color as dark as letters on white have to be: a contrast of at least 4.5 (WCAG 2.2, 1.4.3).

    Examples
    --------
    >>> ink("#000000"), ink("#56B4E9")
    ('#000000', '#3C7DA2')
    """
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = to_rgb(color)
    while _contrast_with_white(red, green, blue) < 4.5:
        red, green, blue = 0.99 * red, 0.99 * green, 0.99 * blue
    return to_hex((red, green, blue)).upper()


def _contrast_with_white(*color: float) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 1.05 / (luminance + 0.05)


def by_technique(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The runs of each technique, in the order in which techniques first appear."""
    found: dict[str, list[Record]] = {}
    for r in records:
        found.setdefault(r.technique, []).append(r)
    return found


def require_one_experiment(records: Sequence[Record], hint: str = "") -> None:
    """Raise ValueError, with a hint what to do, unless all records belong to one experiment and scale."""
    if len({(r.experiment, r.scale) for r in records}) != 1:
        raise ValueError(
            f"a figure needs records of one experiment at one scale, and at least one record{hint}"
        )


def finished_runs(records: Sequence[Record], hint: str = "") -> list[Record]:
    """The runs that did not diverge; an error if there are none, or several experiments or scales."""
    require_one_experiment(records, hint)
    finished = [r for r in records if not r.diverged]
    if not finished:
        raise ValueError(f"every run diverged: there is no finished run to draw{hint}")
    return finished


def errors_axis(record: Record) -> str:
    """The name of an axis of test errors."""
    return f"test errors (of {record.settings['test_examples']:,})"


def bands(columns: Iterable[Sequence[float]]) -> list[Interval]:
    """The 95 % interval of each mean, of zero width where all runs agree; empty for single runs."""
    return [
        evidence.interval(values) or Interval(values[0], values[0]) for values in columns if len(values) > 1
    ]


@contextmanager
def keep_limits(axes: Axes) -> Iterator[None]:
    """Draw intervals without moving the vertical axis: one of few seeds could flatten every curve."""
    limits = axes.get_ylim()
    yield
    axes.set_ylim(limits)


def use_book_style() -> None:
    """Set matplotlib to the book's style; in a notebook also show figures as reproducible SVG.

    Called in the first cell of every chapter. ``matplotlib.rcdefaults()`` undoes it.

    Examples
    --------
    >>> use_book_style()
    """
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(_STYLE)
    matplotlib.rcParams["axes.prop_cycle"] = cycler(color=list(COLORS.values()))
    _inline_svg()


def _inline_svg() -> None:
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return
    import matplotlib.pyplot  # noqa: F401  (its first import sets up the inline backend, and would undo this)
    from matplotlib_inline.config import InlineBackend

    backend = InlineBackend.instance(parent=shell)
    backend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": _METADATA}
    backend.figure_formats = {"svg"}


def to_svg(figure: Figure) -> str:
    """A figure as SVG text: the same text each time for the same figure.

    Examples
    --------
    >>> to_svg(new_figure("nothing yet")[0]).startswith("<?xml")
    True
    """
    import io

    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata=_METADATA)
    return buffer.getvalue()


def new_figure(title: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """An empty figure in the book's style, with one pair of axes.

    It is not known to pyplot, so a notebook shows it once, where it is the last value of a cell. ``size`` is
    its width and height in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_title(title, wrap=True)
    return figure, axes


def new_panels(
    title: str,
    count: int,
    *,
    columns: int | None = None,
    height: float = 1.5,
    sharex: bool = True,
    sharey: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels in the book's style; places that are left over stay empty.

    Parameters
    ----------
    columns
        Number of panels side by side; by default two for up to four panels, else three, which a phone can
        show.
    height
        Height of a panel in inches; the figure is six inches wide.
    sharex, sharey
        Whether all panels have the same axis.

    Examples
    --------
    >>> figure, panels = new_panels("Four answers", 4)
    >>> len(panels)
    4
    """
    import matplotlib as mpl

    columns = columns or (min(count, 2) if count <= 4 else 3)
    rows = math.ceil(count / columns)
    figure, single = new_figure("", (SIZE[0], 0.9 + height * rows))
    single.remove()
    with mpl.rc_context(_STYLE):
        grid = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, wrap=True)
    panels = [axes for row in grid for axes in row]
    for place, axes in enumerate(panels):
        axes.tick_params(labelsize=9)
        if place + columns >= count:  # the lowest panel of a column names the axis, in a short row as well
            axes.tick_params(labelbottom=True)
        axes.set_visible(place < count)
    return figure, panels[:count]


def plain_ticks(axes: Axes, of_decade: Sequence[float] = COUNTS) -> None:
    """Whole epochs across, and on a logarithmic axis upwards 150, 200, 300 in place of powers of ten."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    log_ticks(axes.yaxis, of_decade)


def log_ticks(
    axis: Axis, of_decade: Sequence[float] = COUNTS, text: str = "{x:g}", *, most: int | None = None
) -> None:
    """Plain numbers for ticks on a logarithmic axis, ``most`` of them at most, and no minor ticks."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_major_locator(LogLocator(base=10, subs=of_decade, numticks=most))
    axis.set_major_formatter(StrMethodFormatter(text))
    axis.set_minor_locator(NullLocator())


def annotate_beside(axes: Axes, text: str, place: tuple[float, float], by: float, **more: Any) -> None:
    """Write a text beside a place, ``by`` points to its right."""
    axes.annotate(text, place, xytext=(by, 0), textcoords="offset points", **{"va": "center", **more})


def label_ends(axes: Axes, labels: Sequence[EndLabel], end: float) -> None:
    """Name curves and references to the right of their ends at ``end``, in place of a legend.

    Names that would touch are moved apart; a line leads from each end to its name.
    """
    from matplotlib.transforms import ScaledTranslation

    ordered = sorted(labels)
    heights = _spread([level for level, _, _ in ordered], *axes.get_ylim(), gap=0.085)
    figure = axes.get_figure(root=True)
    assert figure is not None
    behind = axes.transData + ScaledTranslation(18 / 72, 0, figure.dpi_scale_trans)
    for (level, name, color), height in zip(ordered, heights, strict=True):
        axes.annotate(
            name,
            (end, max(level, axes.get_ylim()[0])),
            xytext=(end, height),
            textcoords=behind,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3}
            | {"relpos": (0, 0.5)},
            color=ink(color),
            fontsize=10,
            va="center",
        )


def _spread(values: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Move ascending heights on a logarithmic axis apart to at least ``gap`` of its length, order kept.

    Labels that touch are moved as one block to the average of the places its members would like, which
    minimizes the sum of squared moves.
    """
    span = math.log(high / low)
    blocks: list[list[float]] = []  # of places, each less the room that the labels below it take
    for k, value in enumerate(values):
        blocks.append([math.log(max(value, low) / low) / span - k * gap])
        while len(blocks) > 1 and statistics.fmean(blocks[-2]) >= statistics.fmean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    least = gap / 2  # the lowest name stands above the axis
    most = max(1 - gap * (len(values) - 1), least)
    bases = [min(max(statistics.fmean(block), least), most) for block in blocks for _ in block]
    return [low * math.exp((base + k * gap) * span) for k, base in enumerate(bases)]
