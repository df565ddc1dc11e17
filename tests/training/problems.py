"""Small problems for the engine, and what of a result must repeat."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from cosnorm.data import SparseRows
from cosnorm.techniques import TECHNIQUES
from cosnorm.training import Curves, Replica

#: Techniques of dense networks.
DENSE = [name for name, recipe in TECHNIQUES.items() if not recipe.needs_positions]


def tiny(train_examples: int = 40, test_examples: int = 30, classes: int = 3) -> SimpleNamespace:
    """Bytes in two dimensions whose class is the column with the most light: learnable, not trivial."""
    rng = np.random.default_rng(7)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        inputs = rng.integers(0, 101, (count, 2, 3), dtype=np.uint8)
        return inputs, inputs.astype(np.int64).sum(1).argmax(1) % classes

    return _dataset(draw(train_examples), draw(test_examples), 100.0)


def pictures(train_examples: int = 20, test_examples: int = 12) -> SimpleNamespace:
    """Square images of two channels, one half of them lighter than the other: the class says which."""
    rng = np.random.default_rng(8)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        targets = rng.integers(0, 3, count)
        inputs = rng.integers(0, 128, (count, 2, 8, 8), dtype=np.uint8)
        inputs[targets == 1, :, :4] += 100
        inputs[targets == 2, 0] += 100
        return inputs, targets

    return _dataset(draw(train_examples), draw(test_examples), 255.0)


def documents(train_examples: int = 40, test_examples: int = 30) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Sparse rows, and the same as bytes: 128 is a power of two, so both are equal to the last bit."""
    rng = np.random.default_rng(9)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        targets = rng.integers(0, 3, count)
        inputs = rng.integers(1, 129, (count, 24), dtype=np.uint8) * (rng.random((count, 24)) < 0.15)
        inputs[np.arange(count), targets * 8 + rng.integers(0, 8, count)] = 128
        inputs[0] = 0
        return inputs.astype(np.uint8), targets

    dense = _dataset(draw(train_examples), draw(test_examples), 128.0)
    rows = {name: sparse_rows(getattr(dense, name)) for name in ("train_inputs", "test_inputs")}
    return SimpleNamespace(**{**vars(dense), **rows, "maximum": 1.0}), dense


def sparse_rows(inputs: np.ndarray) -> SparseRows:
    """The rows of a matrix of bytes, divided by 128."""
    rows, columns = np.nonzero(inputs)
    values = inputs[rows, columns].astype(np.float32) / 128
    return SparseRows.from_entries(rows, columns, values, shape=inputs.shape)


def _dataset(
    training: tuple[np.ndarray, np.ndarray], testing: tuple[np.ndarray, np.ndarray], maximum: float
) -> SimpleNamespace:
    return SimpleNamespace(
        train_inputs=training[0],
        train_targets=training[1],
        test_inputs=testing[0],
        test_targets=testing[1],
        maximum=maximum,
    )


def replica(norm: str = "cosine", **changes: Any) -> Replica:
    """A network for :func:`tiny`."""
    base = Replica((6, 8, 3), norm, learning_rate=0.5, batch_size=10, epochs=4, seed=0)
    return dataclasses.replace(base, **changes)


def conv_replica(norm: str = "cosine", **changes: Any) -> Replica:
    """A network for :func:`pictures`."""
    settings = {"sizes": (128, 6, 3), "channels": (3, 2), "kernel_size": 3, "batch_size": 8, "epochs": 2}
    return replica(norm, **{**settings, **changes})


def vectors(inputs: np.ndarray) -> torch.Tensor:
    """Inputs of :func:`tiny` as a dense network gets them."""
    return torch.from_numpy(inputs.reshape(len(inputs), -1) / 100).to(torch.get_default_dtype())


def three(settings: Replica) -> list[Replica]:
    """The same with other seeds and learning rates."""
    changes = [{}, {"seed": 1, "learning_rate": 0.2}, {"seed": 2, "learning_rate": 0.7}]
    return [dataclasses.replace(settings, **change) for change in changes]


def outcome(curves: Curves) -> dict[str, Any]:
    """Everything but the time it took and the company it had."""
    return {**dataclasses.asdict(curves), "seconds": None, "at_once": None}


def assert_close(one: Curves, two: Curves, tolerance: float = 1e-9) -> None:
    """The same errors, and the same losses and observations to a relative tolerance."""
    assert (one.train_error, one.test_error) == (two.train_error, two.test_error)
    assert one.diverged_epoch == two.diverged_epoch
    assert one.observed.keys() == two.observed.keys()
    pairs = [(one.train_loss, two.train_loss), (one.test_loss, two.test_loss)]
    pairs += [(one.observed[name], two.observed[name]) for name in one.observed]
    for first, second in pairs:
        np.testing.assert_allclose(np.array(first), np.array(second), rtol=tolerance, atol=tolerance)


@contextmanager
def default_dtype(dtype: torch.dtype = torch.float64) -> Iterator[None]:
    """Compute in float64, where two ways to the same result agree to many digits, or in another dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
