"""Sparse examples: a matrix of which only the nonzero entries are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A matrix in compressed sparse rows (CSR), one example per row.

    Row i has ``values[offsets[i]:offsets[i + 1]]`` in the columns ``columns[offsets[i]:offsets[i + 1]]``,
    which ascend, each at most once; every other feature of the example is zero.

    Parameters
    ----------
    values : ndarray of float32, shape (E,)
        The entries, row after row.
    columns : ndarray of int32, shape (E,)
        The column of each entry.
    offsets : ndarray of int64, shape (N + 1,)
        Where each row begins in ``values``; the last is E. A wrong dtype is an error, not a silent copy.
    width : int
        Number of features.

    Examples
    --------
    >>> rows = SparseRows.from_entries([0, 0, 2], [1, 3, 0], [0.5, 1.0, 2.0], shape=(3, 4))
    >>> rows
    SparseRows(3 rows of width 4, 3 entries)
    >>> rows[2:].dense()
    array([[2., 0., 0., 0.]], dtype=float32)
    """

    values: NDArray[np.float32]
    columns: NDArray[np.int32]
    offsets: NDArray[np.int64]
    width: int

    def __post_init__(self) -> None:
        _check_types(self)
        _check_places(self)

    @classmethod
    def from_entries(
        cls,
        rows: Sequence[int] | NDArray[np.integer],
        columns: Sequence[int] | NDArray[np.integer],
        values: Sequence[float] | NDArray[Any],
        *,
        shape: tuple[int, int],
    ) -> SparseRows:
        """Make the matrix of the given ``shape`` from entries that are sorted by row and then by column."""
        count, width = shape
        places = np.asarray(rows, dtype=np.int64)
        if len(places) and (places[0] < 0 or places[-1] >= count or np.any(np.diff(places) < 0)):
            raise ValueError(f"the row numbers must ascend from 0 to at most {count - 1}")
        offsets = np.searchsorted(places, np.arange(count + 1))
        return cls(np.asarray(values, np.float32), np.asarray(columns, np.int32), offsets, width)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self), self.width

    @property
    def nbytes(self) -> int:
        """Size of the three arrays in bytes."""
        return self.values.nbytes + self.columns.nbytes + self.offsets.nbytes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: slice | NDArray[np.integer]) -> SparseRows:
        """The rows of a slice or of an array of row numbers, in that order and with repetitions."""
        chosen = self._chosen(index)
        lengths = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        # An entry keeps its distance from the beginning of its row.
        entries = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], lengths)
        return SparseRows(self.values[entries], self.columns[entries], offsets, self.width)

    def dense(self) -> NDArray[np.float32]:
        """The matrix as an ordinary array, (N, width)."""
        full = np.zeros(self.shape, np.float32)
        full[np.repeat(np.arange(len(self)), np.diff(self.offsets)), self.columns] = self.values
        return full

    def __repr__(self) -> str:
        return f"SparseRows({len(self)} rows of width {self.width}, {len(self.values)} entries)"

    def _chosen(self, index: slice | NDArray[np.integer]) -> NDArray[np.int64]:
        if isinstance(index, slice):
            return np.arange(len(self))[index]
        chosen = np.asarray(index)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise TypeError(
                f"rows are chosen by a slice or a one-dimensional array of integers, got {index!r}; "
                "for one row take rows[i : i + 1], for a mask rows[numpy.flatnonzero(mask)]"
            )
        return np.arange(len(self))[chosen.astype(np.int64)]


def _check_types(rows: SparseRows) -> None:
    for name, dtype in (("values", np.float32), ("columns", np.int32), ("offsets", np.int64)):
        array = getattr(rows, name)
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != dtype:
            raise ValueError(f"{name} must be a one-dimensional array of {np.dtype(dtype)}")


def _check_places(rows: SparseRows) -> None:
    offsets, columns = rows.offsets, rows.columns
    if len(rows.values) != len(columns):
        raise ValueError(f"there are {len(rows.values)} values and {len(columns)} columns for them")
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(columns) or np.any(np.diff(offsets) < 0):
        raise ValueError(f"offsets must ascend from 0 to the number of entries, {len(columns)}")
    if len(columns) and not (columns.min() >= 0 and columns.max() < rows.width):
        raise ValueError(f"columns must be from 0 to {rows.width - 1}, the last of {rows.width} features")
    ascends = np.diff(columns) > 0
    borders = offsets[1:-1]
    ascends[borders[(borders > 0) & (borders < len(columns))] - 1] = True
    if not ascends.all():
        raise ValueError("the columns of a row must ascend, each at most once")
