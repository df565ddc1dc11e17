"""Minibatches of sparse rows, drawn by index on the device where the rows live."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm.data.rows import SparseRows

__all__ = ["SparseBatch", "SparseExamples"]


class Moments(NamedTuple):
    """Of vectors with n components: mean, and sum of the squared deviations from it; float64, one a vector.

    From these two every length follows as a sum of squares, so that none is lost to a difference.
    """

    mean: Tensor
    spread: Tensor


@dataclass(frozen=True, eq=False)
class SparseBatch:
    """Rows of a sparse matrix, compressed (CSR), on a device.

    Attributes
    ----------
    columns
        ``(nnz,)``, int64: the feature of each entry, row after row.
    values
        ``(nnz,)``, floating point: the entries.
    offsets
        ``(B + 1,)``, int64: row ``i`` holds the entries ``offsets[i]`` to ``offsets[i + 1]``.
    width
        Number of features.
    """

    columns: Tensor
    values: Tensor
    offsets: Tensor
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def rows(self) -> Tensor:
        """``(nnz,)``, int64: the row of each entry."""
        places = torch.arange(len(self), device=self.offsets.device)
        return places.repeat_interleave(self.offsets.diff(), output_size=len(self.columns))

    def times(self, table: Tensor) -> Tensor:
        """The product with a matrix ``(width, units)`` of the values' dtype: ``(B, units)``."""
        return weighted_sums(table, self.columns, self.values, self.offsets)

    @cached_property
    def sums(self) -> Tensor:
        """Sum of each row, ``(B,)``, float64."""
        return self._sum(self.values.double())

    @cached_property
    def moments(self) -> Moments:
        """Of each row, its zeros included."""
        mean = self.sums / self.width
        deviations = self._sum((self.values.double() - mean[self.rows]).square())
        zeros = self.width - self.offsets.diff()
        return Moments(mean, deviations + zeros * mean.square())

    def _sum(self, entries: Tensor) -> Tensor:
        # In a fixed order on every device, which adding by index is not on CUDA.
        places = torch.arange(len(entries), device=entries.device)
        return weighted_sums(entries.unsqueeze(1), places, torch.ones_like(entries), self.offsets).squeeze(1)


def weighted_sums(table: Tensor, columns: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """For each slice of ``columns`` between two offsets the sum of its table rows, each times its weight."""
    if not len(columns):  # torch refuses an empty table
        return table.new_zeros(len(offsets) - 1, table.shape[1])
    return F.embedding_bag(
        columns, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class SparseExamples:
    """A split of a dataset with sparse inputs, on a device.

    Parameters
    ----------
    rows
        The inputs, N of them.
    targets
        Classes, ``(N,)``, integer.
    device
        Where to keep them.

    Attributes
    ----------
    targets
        ``(N,)``, int64.

    Raises
    ------
    ValueError
        If there is not one target for each row.

    Examples
    --------
    >>> import numpy as np
    >>> rows = SparseRows(
    ...     np.array([0.5, 1.0], np.float32), np.array([2, 0], np.int32), np.array([0, 1, 1, 2]), 3
    ... )
    >>> batch = SparseExamples(rows, np.array([0, 1, 0]), "cpu").batch(torch.tensor([2, 1, 0]))
    >>> batch.columns, batch.offsets
    (tensor([0, 2]), tensor([0, 1, 1, 2]))
    """

    def __init__(self, rows: SparseRows, targets: np.ndarray, device: torch.device | str) -> None:
        if targets.shape != (len(rows),):
            raise ValueError(
                f"targets must hold one class for each of the {len(rows)} rows, got shape {targets.shape}"
            )
        # Copies: an array that is read-only must not be shared with a tensor.
        self.targets = torch.from_numpy(targets.astype(np.int64)).to(device)
        self.width = rows.width
        self._values = torch.from_numpy(np.array(rows.values)).to(device)
        self._columns = torch.from_numpy(np.array(rows.columns)).to(device)
        self._offsets = torch.from_numpy(rows.offsets.astype(np.int64)).to(device)

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> SparseBatch:
        """The rows at ``indices``, ``(B,)`` integer on the same device, in that order, repeats included.

        Values are in torch's default dtype.
        """
        begin = self._offsets[indices]
        counts = self._offsets[indices + 1] - begin
        offsets = F.pad(counts.cumsum(0), (1, 0))
        total = int(offsets[-1])
        shifts = (begin - offsets[:-1]).repeat_interleave(counts, output_size=total)
        entries = shifts + torch.arange(total, device=shifts.device)
        values = self._values[entries].to(torch.get_default_dtype())
        return SparseBatch(self._columns[entries].long(), values, offsets, self.width)
