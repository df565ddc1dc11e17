"""The matrix: how much each technique's output changes under each transformation, at random points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Literal

import torch
from torch import Tensor

from cosnorm.invariances.layers import Point, random_point
from cosnorm.invariances.transformations import TRANSFORMATIONS, Setting, Transformation
from cosnorm.techniques import TECHNIQUES

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
        """One technique a line."""
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
    inference or a stream carries along. Only "data set" takes them anew, from the transformed data.

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

    Raises
    ------
    ValueError
        If a technique is unknown or needs a convolution, or there is no technique or no seed.

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
