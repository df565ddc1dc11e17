"""Every figure of the book, drawn from records: one color and marker a technique, the same SVG each time.

Competitors that are one technique under several conditions, ``cosine`` and ``cosine-augmented``, share its
color and marker and differ in the style of their lines.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cosnorm import evidence
from cosnorm.evidence import Receipt
from cosnorm.record import Record
from cosnorm.techniques import TECHNIQUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's palette, told apart with every common color blindness, for the paper's techniques (its
#: yellow is too faint for lines); Tol's muted colors and darker ones for the rest, near their family's.
COLORS: dict[str, str] = {
    "none": "#000000",
    "cosine": "#0072B2",
    "centered": "#56B4E9",
    "batch": "#D55E00",
    "weight": "#009E73",
    "max_norm": "#E69F00",
    "layer": "#CC79A7",
    "weight_learned": "#44AA99",
    "weight_decay": "#999933",
    "scaling": "#117733",
    "mean_only_batch": "#A03A13",
    "cosine_mean_only": "#332288",
    "early_batch": "#CC6677",
    "layer_simple": "#AA4499",
    "detach": "#882255",
    "detach_mean": "#B5739D",
    "detach_std": "#5E1A3E",
    "adanorm": "#7B5EA7",
    "group": "#B8860B",
    "instance": "#6B6B1A",
    "propagation": "#3D6F8E",
    "online": "#7A5230",
}
#: A second sign of the technique, for print without color.
MARKERS: dict[str, str] = {
    "none": "o",
    "cosine": "s",
    "centered": "D",
    "batch": "^",
    "weight": "v",
    "max_norm": "P",
    "layer": "X",
    "weight_learned": "<",
    "weight_decay": "h",
    "scaling": ">",
    "mean_only_batch": "d",
    "cosine_mean_only": "p",
    "early_batch": "*",
    "layer_simple": "x",
    "detach": "+",
    "detach_mean": "1",
    "detach_std": "2",
    "adanorm": "H",
    "group": "8",
    "instance": "3",
    "propagation": "|",
    "online": "4",
}
#: What a technique is called in figures.
LABELS: dict[str, str] = {name: recipe.label for name, recipe in TECHNIQUES.items()}
#: Of the conditions in a figure, in the order in which they come; the technique as it is comes first.
LINE_STYLES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (12, 3)))
#: The paper's own figures, and everything else that is only there to compare with.
REFERENCE = "#6B6B6B"

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


def use_book_style() -> None:
    """Set matplotlib to the book's style; in a notebook also make inline figures repeatable SVG.

    Called in the first cell of every chapter. The style stays until matplotlib's settings are changed
    again (``matplotlib.rcdefaults()`` undoes it).

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
    """Tell a running IPython to show figures as SVG without a date; do nothing elsewhere."""
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


def norm_of(technique: str) -> str:
    """The technique that a competitor's name begins with.

    Examples
    --------
    >>> norm_of("cosine-3-layers"), norm_of("max_norm")
    ('cosine', 'max_norm')
    """
    return technique.partition("-")[0]


def label(technique: str) -> str:
    """What a competitor is called in figures: the technique, and after a comma what is special.

    Examples
    --------
    >>> label("max_norm"), label("cosine-3-layers")
    ('max norm', 'cosine, 3 layers')
    """
    condition = technique.partition("-")[2]
    name = LABELS[norm_of(technique)]
    return f"{name}, {condition.replace('-', ' ')}" if condition else name


def line_styles(techniques: Sequence[str]) -> dict[str, Any]:
    """A line style for each competitor: the same for the same condition, whichever technique is under it."""
    conditions = {technique: technique.partition("-")[2] for technique in techniques}
    # Stable: what has no condition goes first, all else keeps its order.
    order = sorted(dict.fromkeys(conditions.values()), key=bool)
    return {
        technique: LINE_STYLES[order.index(condition) % len(LINE_STYLES)]
        for technique, condition in conditions.items()
    }


def to_svg(figure: Figure) -> str:
    """A figure as SVG text, the same for the same figure each time.

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

    It is not known to pyplot, so a notebook shows it once, where it is the last value of a cell.

    Parameters
    ----------
    title
        The answer that the figure gives.
    size
        Width and height in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_title(title, wrap=True)
    return figure, axes


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
    >>> records = evidence.load("mnist", "smoke")
    >>> figure = test_error_curves(records, title="All four techniques learn the digits")
    """
    if len({(r.experiment, r.scale) for r in records}) != 1:
        raise ValueError("a figure needs records of one experiment at one scale, and at least one record")
    if all(r.diverged for r in records):
        raise ValueError("every run diverged: there is no curve to draw")
    figure, axes = new_figure(title, figsize)
    total, epochs = records[0].settings["test_examples"], records[0].settings["epochs"]
    axes.set(xlabel="epoch", ylabel=f"test errors (of {total:,})", yscale="log", xlim=(1, epochs))
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
    _plain_ticks(axes)
    _label_ends(axes, labels, epochs)
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
        bands = [evidence.interval(values) for values in _by_epoch(runs)]
        drawn = [band for band in bands if band is not None]
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


def _label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]], epochs: int) -> None:
    """Write the names of curves and references behind their ends, moved apart where they would touch."""
    ordered = sorted(labels)
    heights = _spread([height for height, _, _ in ordered], *axes.get_ylim(), gap=0.085)
    for (_, label, color), height in zip(ordered, heights, strict=True):
        axes.annotate(
            label,
            (epochs, height),
            xytext=(6, 0),
            textcoords="offset points",
            annotation_clip=False,
            color=color,
            fontsize=10,
            va="center",
        )


def _spread(values: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Move ascending heights on a logarithmic axis apart to at least ``gap`` of its length, order kept.

    What touches is moved as one block to where its members would lie on average: the least moving
    in squares.
    """
    span = math.log(high / low)
    blocks: list[list[float]] = []  # of places, each less the room that the labels below it take
    for k, value in enumerate(values):
        blocks.append([math.log(max(value, low) / low) / span - k * gap])
        while len(blocks) > 1 and statistics.fmean(blocks[-2]) >= statistics.fmean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    room = 1 - gap * (len(values) - 1)
    bases = [min(max(statistics.fmean(block), 0.0), room) for block in blocks for _ in block]
    return [low * math.exp((base + k * gap) * span) for k, base in enumerate(bases)]


def _plain_ticks(axes: Axes) -> None:
    """Whole epochs, and counts such as 150, 200, 300 instead of powers of ten."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


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
    >>> figure = place_in_distribution(evidence.receipt(evidence.load("mnist", "smoke")[0]))
    """
    if receipt.score is None:
        raise ValueError(f"there is no score to place: {receipt.verdict}")
    where = {True: "inside", False: "outside", None: "beside"}[receipt.inside]
    figure, axes = new_figure(title or f"Your run lies {where} the stored runs' band", (6.0, 2.0))
    technique = receipt.record.technique
    color = COLORS[norm_of(technique)]
    if receipt.band is not None:
        axes.axvspan(receipt.band.low, receipt.band.high, color=color, alpha=0.15, linewidth=0)
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
        f"mean of the last {receipt.record.final['tail']} epochs",
    )
    axes.spines["left"].set_visible(False)
    return figure
