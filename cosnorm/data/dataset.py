"""A dataset in memory, the status of its files, and the error of a failed load."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cosnorm.data.rows import SparseRows

State = Literal["embedded", "ready", "missing", "damaged"]


class DatasetError(RuntimeError):
    """A dataset cannot be obtained. The message names the file, what is wrong with it, and what to do."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification dataset in memory, with its official split into training and test examples.

    Parameters
    ----------
    name : str
        The name it is loaded by.
    train_inputs, test_inputs : ndarray of uint8, shape (N, *shape), or SparseRows
        Raw inputs; ``shape`` is ``(28, 28)`` for MNIST. Divide by ``maximum`` to get values in [0, 1]. Text
        comes as features, in a :class:`cosnorm.data.SparseRows`.
    train_targets, test_targets : ndarray of int64, shape (N,)
        The class of each example, an index into ``classes``.
    classes : tuple of str
        The name of each class.
    maximum : float
        The largest value that an input can take; 1.0 for text, which a few test inputs may exceed.
    sha256 : str
        Hash of what the data was read from; records contain it.
    """

    name: str
    train_inputs: NDArray[np.uint8] | SparseRows
    train_targets: NDArray[np.int64]
    test_inputs: NDArray[np.uint8] | SparseRows
    test_targets: NDArray[np.int64]
    classes: tuple[str, ...]
    maximum: float
    sha256: str

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def features(self) -> int:
        """Number of values of one example."""
        return math.prod(self.train_inputs.shape[1:])

    def hold_out(self, count: int) -> Dataset:
        """Split the training set: its last ``count`` examples replace the test set.

        Use it to choose settings without the test set. If the examples are sorted by class, as in text,
        ``count`` examples are drawn at random instead, always the same ones.

        Examples
        --------
        >>> from cosnorm import data
        >>> data.load("digits").hold_out(300)
        Dataset('digits', 1142 training and 300 test examples of shape (8, 8), 10 classes)
        """
        if not 0 < count < len(self.train_targets):
            raise ValueError(
                f"count must be from 1 to {len(self.train_targets) - 1}, so that both parts have examples, "
                f"got {count}"
            )
        kept, held = self._split(count)
        return replace(
            self,
            train_inputs=self.train_inputs[kept],
            train_targets=self.train_targets[kept],
            test_inputs=self.train_inputs[held],
            test_targets=self.train_targets[held],
        )

    def _split(self, count: int) -> tuple[slice, slice] | tuple[NDArray[np.int64], NDArray[np.int64]]:
        total = len(self.train_targets)
        if np.any(np.diff(self.train_targets) < 0):
            return slice(total - count), slice(total - count, total)
        held = drawn(count, total, seed=0)
        return np.setdiff1d(np.arange(total), held), held

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self.train_targets)} training and {len(self.test_targets)} test "
            f"examples of shape {self.train_inputs.shape[1:]}, {self.num_classes} classes)"
        )


@dataclass(frozen=True)
class DatasetStatus:
    """Where a dataset's files are and whether they are intact; see :func:`cosnorm.data.status`."""

    name: str
    location: Path | None  #: the folder of the files
    state: State  #: "ready": every file has its official SHA-256
    detail: str  #: one or more lines: what was found, and what is wrong with it


def drawn(count: int, total: int, seed: int) -> NDArray[np.int64]:
    """``count`` of the numbers from 0 to ``total`` - 1, drawn without replacement, in ascending order.

    They are those with the smallest of ``total`` raw words of NumPy's PCG64, whose stream, unlike the methods
    of ``Generator``, is guaranteed not to change with the version of NumPy (NumPy enhancement proposal 19).
    """
    return np.sort(np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")[:count])
