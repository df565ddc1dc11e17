"""What a dataset is once it is in memory, and the one error that loading can end in."""

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
        The raw inputs: ``shape`` is ``(28, 28)`` for MNIST. Divide by ``maximum`` to reach [0, 1]. Text
        comes as features that are ready for use, in a :class:`cosnorm.data.SparseRows`.
    train_targets, test_targets : ndarray of int64, shape (N,)
        The class of each example, an index into ``classes``.
    classes : tuple of str
        The name of each class.
    maximum : float
        The largest value that an input can take; 1.0 for text, which a few test inputs may exceed.
    sha256 : str
        What the data was read from, in one figure: records carry it. Each loader says what it covers.
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
        """How many classes there are."""
        return len(self.classes)

    @property
    def features(self) -> int:
        """How many numbers one example has when it is flattened into a vector."""
        return math.prod(self.train_inputs.shape[1:])

    def hold_out(self, count: int) -> Dataset:
        """The same training set split: its last ``count`` examples stand in for the test set.

        For choosing settings without a look at the test set, which is not in the result. Where the
        examples are sorted by class, as text is, the last ones would be of one class: ``count`` drawn at
        random are taken instead, always the same.

        Raises
        ------
        ValueError
            If ``count`` is not between 1 and one less than the number of training examples.

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
        """Which training examples :meth:`hold_out` keeps, and which it holds out."""
        total = len(self.train_targets)
        if np.any(np.diff(self.train_targets) < 0):
            return slice(total - count), slice(total - count, total)
        held = drawn(count, total, seed=0)
        return np.setdiff1d(np.arange(total), held), held

    def __repr__(self) -> str:
        """The sizes, never the arrays."""
        return (
            f"Dataset({self.name!r}, {len(self.train_targets)} training and {len(self.test_targets)} test "
            f"examples of shape {self.train_inputs.shape[1:]}, {self.num_classes} classes)"
        )


@dataclass(frozen=True)
class DatasetStatus:
    """Where a dataset's files are and whether they are sound; see :func:`cosnorm.data.status`.

    Parameters
    ----------
    name : str
        The dataset's name.
    location : Path or None
        The folder that holds its files; None when they are embedded or nowhere.
    state : {"embedded", "ready", "missing", "damaged"}
        "ready" means that every file is there and has its official SHA-256.
    detail : str
        One or more lines for a person: what was found, and what is wrong with it.
    """

    name: str
    location: Path | None
    state: State
    detail: str


def drawn(count: int, total: int, seed: int) -> NDArray[np.int64]:
    """``count`` of the numbers from 0 to ``total`` - 1, drawn without replacement, in ascending order.

    They are those with the smallest of ``total`` raw words of NumPy's PCG64. Unlike the methods of
    ``Generator``, its stream is guaranteed to stay the same (NumPy enhancement proposal 19), so the choice is
    the same on every machine and with every version of NumPy.
    """
    return np.sort(np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")[:count])
