"""What changes a layer's output and what does not: every technique against every transformation.

A :class:`Transformation` changes the :class:`Setting` of a layer at a random :class:`Point`; :func:`matrix`
tries all of them on all techniques, and :func:`figure` draws the result.
"""

from __future__ import annotations

import copy
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Generator, Tensor, nn

from cosnorm import plots
from cosnorm.relatives import Standardize, UpdateRule, set_population_statistics
from cosnorm.techniques import TECHNIQUES, Slot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "TRANSFORMATIONS",
    "Cell",
    "Matrix",
    "Point",
    "Row",
    "Setting",
    "Transformation",
    "figure",
    "matrix",
    "random_point",
]

#: The unit, example and feature that are changed alone: neither the first nor the last.
PLACE = 1

View = Callable[[Tensor], Tensor]
Apply = Callable[["Setting", float, Generator], "Changed"]


@dataclass(frozen=True)
class Setting:
    """Everything that a layer's output depends on except its other parameters.

    Attributes
    ----------
    weight
        Of the layer, ``(units, features, *kernel)``.
    dataset
        What the statistics of inference are taken from, ``(n, features, *positions)``.
    batch
        The inputs, ``(B, features, *positions)``.
    training
        The mode of the layer.
    """

    weight: Tensor
    dataset: Tensor
    batch: Tensor
    training: bool


def _whole(output: Tensor) -> Tensor:
    return output


@dataclass(frozen=True)
class Changed:
    """A transformed setting and what to compare its output with.

    Attributes
    ----------
    setting
        The transformed one.
    seen
        Which part of the output afterwards is compared.
    same
        What that part is, in terms of the output before, if the layer ignores the transformation.
    along
        What it is if the output takes up the factor exactly; ``None`` where there is no factor.
    """

    setting: Setting
    seen: View = _whole
    same: View = _whole
    along: View | None = None


@dataclass(frozen=True)
class Transformation:
    """One way to change a setting.

    Attributes
    ----------
    key, label
        The name in code and in figures.
    of
        What it changes: the weights, the inputs, or neither.
    amount
        Whether it multiplies by a positive factor, adds a number, or has no size.
    apply
        Maps a setting, a size and a generator for what is drawn to the changed setting.
    """

    key: str
    label: str
    of: Literal["weights", "inputs", "circumstances"]
    amount: Literal["factor", "number", "none"]
    apply: Apply


def _times(values: Tensor, factor: float, dim: int | None) -> Tensor:
    if dim is None:
        return values * factor
    values = values.clone()
    values.select(dim, PLACE).mul_(factor)
    return values


def _plus(values: Tensor, number: float, dim: int | None) -> Tensor:
    if dim is None:
        return values + number
    values = values.clone()
    values.select(dim, PLACE).add_(number)
    return values


def _scale(*parts: str, dim: int | None = None, output_dim: int | None = None, along: bool = True) -> Apply:
    def apply(setting: Setting, factor: float, _: Generator) -> Changed:
        scaled = {part: _times(getattr(setting, part), factor, dim) for part in parts}
        return Changed(
            replace(setting, **scaled), along=(lambda y: _times(y, factor, output_dim)) if along else None
        )

    return apply


def _shift(*parts: str, dim: int | None = None) -> Apply:
    def apply(setting: Setting, number: float, _: Generator) -> Changed:
        return Changed(
            replace(setting, **{part: _plus(getattr(setting, part), number, dim) for part in parts})
        )

    return apply


def _add_vector(setting: Setting, number: float, draw: Generator) -> Changed:
    vector = torch.randn(setting.weight.shape[1:], generator=draw, dtype=setting.weight.dtype)
    return Changed(replace(setting, weight=setting.weight + number * vector))


def _rotate(setting: Setting, _: float, draw: Generator) -> Changed:
    # A rotation moves every example, which a random order need not.
    by = int(torch.randint(1, len(setting.batch), (), generator=draw))
    return Changed(replace(setting, batch=setting.batch.roll(by, 0)), same=lambda y: y.roll(by, 0))


def _replace_batch_mates(setting: Setting, _: float, draw: Generator) -> Changed:
    # The example that is kept is the last, so that those replaced came before it in a stream.
    batch = torch.randn(setting.batch.shape, generator=draw, dtype=setting.batch.dtype)
    batch[-1] = setting.batch[-1]
    return Changed(replace(setting, batch=batch), seen=lambda y: y[-1], same=lambda y: y[-1])


def _switch_mode(setting: Setting, _: float, __: Generator) -> Changed:
    return Changed(replace(setting, training=not setting.training))


_ROWS: tuple[tuple[Any, ...], ...] = (
    ("row_scale", "one row times a", "weights", "factor", _scale("weight", dim=0, output_dim=1)),
    ("row_shift", "one row plus c", "weights", "number", _shift("weight", dim=0)),
    ("matrix_scale", "all rows times a", "weights", "factor", _scale("weight")),
    ("matrix_shift", "all rows plus c", "weights", "number", _shift("weight")),
    ("matrix_vector", "all rows plus one vector", "weights", "number", _add_vector),
    ("example_scale", "one example times a", "inputs", "factor", _scale("batch", dim=0, output_dim=0)),
    ("example_shift", "one example plus c", "inputs", "number", _shift("batch", dim=0)),
    ("batch_scale", "batch times a", "inputs", "factor", _scale("batch")),
    ("batch_shift", "batch plus c", "inputs", "number", _shift("batch")),
    ("feature_scale", "one feature times a", "inputs", "factor", _scale("batch", dim=1, along=False)),
    ("feature_shift", "one feature plus c", "inputs", "number", _shift("batch", dim=1)),
    ("dataset_scale", "data set times a", "inputs", "factor", _scale("dataset", "batch")),
    ("dataset_shift", "data set plus c", "inputs", "number", _shift("dataset", "batch")),
    ("order", "order of examples", "circumstances", "none", _rotate),
    ("company", "other examples", "circumstances", "none", _replace_batch_mates),
    ("mode", "training or inference", "circumstances", "none", _switch_mode),
)
#: In the order of the matrix's columns. In the labels, a and c are any positive factor and any number.
TRANSFORMATIONS: tuple[Transformation, ...] = tuple(Transformation(*row) for row in _ROWS)

#: Features, units (which group norm divides into two), examples of a batch and of the data set.
FEATURES, UNITS, BATCH, DATASET = 10, 6, 7, 40
#: Replaces the number under a root: torch's batch norm refuses 0, and this is below float64's rounding error.
TINY = 1e-30
#: Height and width of an image, and of the window.
SIZE, KERNEL = 6, 3


@dataclass(frozen=True)
class Point:
    """A layer of one technique, with a setting to start from.

    Attributes
    ----------
    technique
        A key of :data:`cosnorm.techniques.TECHNIQUES`.
    layer
        Its modules in float64, no statistics taken yet.
    start
        The setting before any transformation.
    """

    technique: str
    layer: nn.Sequential
    start: Setting

    def prepared(self, setting: Setting) -> nn.Sequential:
        """A copy of the layer in a setting, ready for its batch.

        Statistics are taken from the setting's data set with the weights of the *start*: what the layer
        keeps between batches was computed before anyone changed the weights.
        """
        layer = copy.deepcopy(self.layer)
        _take_statistics(layer, setting.dataset)
        with torch.no_grad():
            _weight_of(layer).copy_(setting.weight)
        _rule(self.technique, layer).step()
        return layer.train(setting.training)

    @torch.no_grad()
    def output(self, setting: Setting) -> Tensor:
        """The layer's output for the setting's batch, ``(B, units, *positions)``."""
        return self.prepared(setting)(setting.batch)


def random_point(
    technique: str, seed: int = 0, *, convolution: bool = False, as_used: bool = False, training: bool = True
) -> Point:
    """A hidden layer with random weights, a random batch and a random data set, in float64.

    Shifts and biases are 0, as at the start of training: a shift after the normalization cannot break an
    invariance, but would hide that an output takes up a factor. Gains are random.

    Parameters
    ----------
    technique
        A key of :data:`cosnorm.techniques.TECHNIQUES`.
    seed
        Of all that is random; torch's global generator is left alone.
    convolution
        A 3 x 3 convolution in place of a dense layer; a "feature" then is a channel.
    as_used
        Keep what the book's networks add to the equations: the numbers under roots (1e-5), the constant
        that cosines append (1e-4), the zeros around an image. Without it the layer is the equation.
    training
        The mode to start in.

    Examples
    --------
    >>> point = random_point("cosine")
    >>> bool(point.output(point.start).abs().max() <= 1)
    True
    """
    if technique not in TECHNIQUES:
        raise ValueError(f"unknown technique {technique!r}; choose from {', '.join(TECHNIQUES)}")
    if TECHNIQUES[technique].needs_positions and not convolution:
        raise ValueError(f"{technique!r} takes its statistics over positions; ask for convolution=True")
    draw = torch.Generator().manual_seed(seed)
    positions = (SIZE, SIZE) if convolution else ()
    with torch.random.fork_rng(devices=[]):  # torch's layers draw first weights of their own
        layer = _build(technique, (FEATURES, *positions), KERNEL if convolution else None)
    if not as_used:
        _remove_guards(layer)
    _draw_parameters(layer, draw)
    dataset, batch = (
        0.5 + torch.randn(count, FEATURES, *positions, generator=draw, dtype=torch.float64)
        for count in (DATASET, BATCH)
    )
    return Point(technique, layer, Setting(_weight_of(layer).detach().clone(), dataset, batch, training))


def _weight_of(layer: nn.Module) -> nn.Parameter:
    # The one parameter that holds a vector for every unit.
    return next(parameter for parameter in layer.parameters() if parameter.dim() > 1)


def _build(technique: str, shape: tuple[int, ...], kernel_size: int | None) -> nn.Sequential:
    recipe = TECHNIQUES[technique]
    layers = recipe.build(Slot(FEATURES, UNITS, kernel_size))
    # The technique begins with data of mean 0 and variance 1, so that is part of it.
    first = [Standardize(shape)] if recipe.standardized else []
    return nn.Sequential(*first, *layers).to(torch.float64)


def _remove_guards(layer: nn.Module) -> None:
    for module in layer.modules():
        for name, least in (("eps", TINY), ("constant", 0.0)):
            if hasattr(module, name):
                setattr(module, name, least)
        if isinstance(module, nn.modules.conv._ConvNd):
            module.padding = (0,) * len(module.kernel_size)


@torch.no_grad()
def _draw_parameters(layer: nn.Module, draw: Generator) -> None:
    for name, parameter in layer.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(generator=draw)
        elif name.endswith("bias"):
            parameter.zero_()
        else:
            parameter.uniform_(0.5, 1.5, generator=draw)


@torch.no_grad()
def _take_statistics(layer: nn.Module, dataset: Tensor) -> None:
    # Exact where the technique defines them so; one pass in training mode for those that follow a stream.
    for module in layer.modules():
        if isinstance(module, Standardize):
            module.fit(dataset)
    layer.train()(dataset)
    set_population_statistics(layer, [dataset])


def _rule(technique: str, layer: nn.Module) -> UpdateRule:
    # Scaling moves lengths on to the next layer, and leaves the function of both as it was.
    return UpdateRule(layer) if technique == "scaling" else TECHNIQUES[technique].rule(layer)


#: A larger relative change is not rounding: float64 rounds at 1e-16, and the inputs grow to 1e2.
ROUNDING = 1e-9
#: The sizes that every transformation is tried at.
AMOUNTS = {"factor": (0.05, 0.5, 20.0), "number": (-3.0, 0.7, 10.0), "none": (1.0,)}

Verdict = Literal["same", "scales", "changes"]
#: How a verdict is shown, and what it says.
SYMBOLS: dict[str, str] = {"same": "●", "scales": "◐", "changes": "·"}
MEANINGS: dict[str, str] = {
    "same": "the output stays the same",
    "scales": "it takes up the factor",
    "changes": "it changes in another way",
}


@dataclass(frozen=True)
class Cell:
    """What one transformation does to the output of one layer.

    Attributes
    ----------
    change
        Largest change of an output over all points and sizes, relative to the largest output.
    off_scale
        The same distance from an output that takes up the factor; ``None`` where there is no factor.
    """

    change: float
    off_scale: float | None = None

    @property
    def verdict(self) -> Verdict:
        """``"same"``, ``"scales"`` or ``"changes"``, up to rounding."""
        if self.change <= ROUNDING:
            return "same"
        return "scales" if self.off_scale is not None and self.off_scale <= ROUNDING else "changes"


@dataclass(frozen=True)
class Row:
    """A technique in one mode, or in both where they are one function.

    Attributes
    ----------
    technique
        A key of :data:`cosnorm.techniques.TECHNIQUES`.
    mode
        ``"both"``, ``"training"`` or ``"inference"``.
    cells
        By the key of the transformation.
    """

    technique: str
    mode: Literal["both", "training", "inference"]
    cells: dict[str, Cell]

    @property
    def label(self) -> str:
        """The technique's name in figures, with the mode where there are two."""
        name = TECHNIQUES[self.technique].label
        return name if self.mode == "both" else f"{name}, {self.mode}"

    @property
    def pattern(self) -> tuple[Verdict, ...]:
        """The verdicts in the order of the transformations."""
        return tuple(cell.verdict for cell in self.cells.values())


@dataclass(frozen=True)
class Matrix:
    """The rows; prints as text, and shows as a table in a notebook."""

    rows: tuple[Row, ...]

    def __getitem__(self, key: str | tuple[str, str]) -> Row:
        """The row of a technique; for its statistics of inference, ``matrix[technique, "inference"]``."""
        technique, mode = key if isinstance(key, tuple) else (key, "training")
        for row in self.rows:
            if row.technique == technique and row.mode in ("both", mode):
                return row
        raise KeyError(f"no row {key!r}; there are {', '.join(row.technique for row in self.rows)}")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        """The rows in order."""
        return iter(self.rows)

    def grouped(self) -> dict[tuple[Verdict, ...], tuple[Row, ...]]:
        """The rows that no transformation tells apart, by their common pattern, in order."""
        groups: dict[tuple[Verdict, ...], tuple[Row, ...]] = {}
        for row in self.rows:
            groups[row.pattern] = (*groups.get(row.pattern, ()), row)
        return groups

    @property
    def transformations(self) -> tuple[Transformation, ...]:
        """Those of the columns."""
        return tuple(t for t in TRANSFORMATIONS if t.key in self.rows[0].cells)

    @property
    def legend(self) -> str:
        """What the symbols say."""
        return "; ".join(f"{SYMBOLS[verdict]} {MEANINGS[verdict]}" for verdict in SYMBOLS)

    def __str__(self) -> str:
        """One line per technique."""
        width = max(len(row.label) for row in self.rows)
        lines = [f"{row.label:{width}} {' '.join(SYMBOLS[v] for v in row.pattern)}" for row in self.rows]
        return "\n".join([*lines, self.legend])

    def _repr_html_(self) -> str:
        """A table that scrolls sideways under its first column where it is too wide."""
        pinned = "position:sticky;left:0;text-align:left;background:var(--pst-color-background,Canvas)"
        head = "".join(f"<th scope='col'>{escape(t.label)}</th>" for t in self.transformations)
        body = "".join(
            f"<tr><th scope='row' style='{pinned}'>{escape(row.label)}</th>"
            + "".join(f"<td title='{MEANINGS[v]}'>{SYMBOLS[v]}</td>" for v in row.pattern)
            + "</tr>"
            for row in self.rows
        )
        return (
            f"<div style='overflow-x:auto'><table><thead><tr><th style='{pinned}'></th>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div><p>{escape(self.legend)}</p>"
        )


def matrix(
    techniques: Sequence[str] | None = None,
    *,
    convolution: bool = False,
    as_used: bool = False,
    seeds: Sequence[int] = (0, 1, 2),
) -> Matrix:
    """Try every transformation on a hidden layer of every technique, and see whether its output changes.

    The layer ends before its ReLU (normalization propagation alone includes it). Everything is float64, at
    the random points of :func:`random_point`, each transformation at three sizes. An invariance counts if
    the largest relative change is rounding. What is *not* changed stays: a gain, and the statistics that
    inference or a stream carries along. Only "data set" computes them again, from the transformed data.

    - A technique whose two modes compute different functions has a row for each; in inference its statistics
      are those of the data set, which is what Luo et al. describe. Online normalization continues, in
      training, the stream that the data set began, and its row holds for a stream of any finite length.
    - Max norm is measured after its projection. Weight decay and scaling leave the function of a layer, or of
      two, alone: what they do is in the updates, and their rows are the plain layer's.
    - Early batch norm is the batch norm of its first layer.

    Parameters
    ----------
    techniques
        Keys of :data:`cosnorm.techniques.TECHNIQUES`; ``None`` takes all that the layer allows.
    convolution
        Convolutions without padding in place of dense layers.
    as_used
        With epsilons, constant and padding, which bend exact invariances: see :func:`random_point`. A verdict
        then tells whether the invariance is still exact, and ``change`` how far from it the worst point is.
    seeds
        One random point each.

    Examples
    --------
    >>> found = matrix(["none", "cosine"])
    >>> found["cosine"].cells["example_scale"].verdict, found["none"].cells["example_scale"].verdict
    ('same', 'scales')
    """
    if techniques is None:
        techniques = [key for key, recipe in TECHNIQUES.items() if convolution or not recipe.needs_positions]
    if not techniques or not seeds:
        raise ValueError("a matrix needs at least one technique and one seed")
    rows: list[Row] = []
    for technique in techniques:
        points = [random_point(technique, seed, convolution=convolution, as_used=as_used) for seed in seeds]
        training, inference = (_cells(points, mode) for mode in (True, False))
        if training["mode"].verdict == "same":
            rows.append(Row(technique, "both", training))
        else:
            rows += [Row(technique, "training", training), Row(technique, "inference", inference)]
    return Matrix(tuple(rows))


def _cells(points: Sequence[Point], training: bool) -> dict[str, Cell]:
    settings = [replace(point.start, training=training) for point in points]
    outputs = [point.output(setting) for point, setting in zip(points, settings, strict=True)]
    return {
        transformation.key: _cell(transformation, list(zip(points, settings, outputs, strict=True)))
        for transformation in TRANSFORMATIONS
    }


def _cell(transformation: Transformation, cases: Sequence[tuple[Point, Setting, Tensor]]) -> Cell:
    changes: list[float] = []
    distances: list[float] = []
    for seed, (point, setting, before) in enumerate(cases):
        for amount in AMOUNTS[transformation.amount]:
            changed = transformation.apply(setting, amount, torch.Generator().manual_seed(seed))
            after = changed.seen(point.output(changed.setting))
            changes.append(_relative(after, changed.same(before)))
            if changed.along is not None:
                distances.append(_relative(after, changed.along(before)))
    return Cell(max(changes), max(distances) if distances else None)


def _relative(after: Tensor, expected: Tensor) -> float:
    distance = ((after - expected).abs().max() / expected.abs().max()).item()
    return distance if math.isfinite(distance) else math.inf


#: Color and kind of the sign for each verdict; the three differ in shape too.
_SIGNS: dict[str, dict[str, Any]] = {
    "same": {"marker": "o", "color": plots.COLORS["cosine"], "markersize": 9},
    "scales": {
        "marker": "o", "color": plots.COLORS["cosine"], "markersize": 9,
        "fillstyle": "left", "markerfacecoloralt": "white",
    },
    "changes": {"marker": "_", "color": plots.REFERENCE, "markersize": 5},
}  # fmt: skip
#: Inches for a line of text, and characters of a technique's name that fit on it.
_LINE, _WIDTH = 0.17, 27


def figure(matrix: Matrix, title: str) -> Figure:
    """Draw a matrix; rows that no transformation tells apart share a line.

    Parameters
    ----------
    matrix
        As from :func:`cosnorm.invariances.matrix`.
    title
        The answer that the figure gives.

    Examples
    --------
    >>> drawn = figure(matrix(["cosine", "none"], seeds=[0]), "Length does not matter to a cosine")
    """
    names = [
        textwrap.wrap("; ".join(row.label for row in rows), _WIDTH) for rows in matrix.grouped().values()
    ]
    heights = [_LINE * max(len(lines), 2) for lines in names]
    drawn, axes = plots.new_figure("", (6.0, sum(heights) + 2.6))
    drawn.suptitle(title, x=0.01, ha="left", fontsize=12)
    tops = [sum(heights[:k]) for k in range(len(heights) + 1)]
    middles = [(top + bottom) / 2 for top, bottom in pairwise(tops)]
    for pattern, middle in zip(matrix.grouped(), middles, strict=True):
        for column, verdict in enumerate(pattern):
            axes.plot(column, middle, linestyle="none", **_SIGNS[verdict])
    for top in tops[1:-1]:
        axes.axhline(top, color="#DDDDDD", linewidth=0.6, zorder=0)
    axes.set_yticks(middles, ["\n".join(lines) for lines in names], fontsize=9)
    _label_columns(axes, matrix, tops[-1])
    _legend(drawn)
    return drawn


def _label_columns(axes: Any, matrix: Matrix, bottom: float) -> None:
    columns = matrix.transformations
    axes.set(xlim=(-0.6, len(columns) - 0.4), ylim=(bottom, 0))
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), [t.label for t in columns], rotation=90, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    ends = [len(list(group)) for _, group in groupby(columns, key=lambda t: t.of)]
    for end in [sum(ends[: k + 1]) for k in range(len(ends) - 1)]:
        axes.axvline(end - 0.5, color=plots.REFERENCE, linewidth=0.8)


def _legend(drawn: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="none", label=MEANINGS[v], **sign) for v, sign in _SIGNS.items()]
    drawn.legend(
        handles=handles, loc="outside lower left", ncols=1, fontsize=9, handletextpad=0.4, frameon=False
    )
