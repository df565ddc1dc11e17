"""The cost of a run, estimated before its data is loaded: by arithmetic, and by a short trial."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from cosnorm.data import SparseRows
from cosnorm.experiments.experiment import Experiment
from cosnorm.training import Curves, Replica, train
from cosnorm.training.cost import operations


class Amount(NamedTuple):
    """Numbers of examples of a dataset, and of the entries of a sparse one's mean example."""

    train: int
    test: int
    nonzeros: float | None = None


#: By dataset; a test compares them with the downloaded data. For sparse data the entries are those of the
#: training examples with the default preparation, which other settings change by a few percent.
AMOUNTS = {
    "digits": Amount(1442, 355),
    "docstrings": Amount(1600, 400, 66.9),
    "mnist": Amount(60_000, 10_000),
    "newsgroups": Amount(11_200, 7500, 124.2),
    "cifar10": Amount(50_000, 10_000),
    "cifar100": Amount(50_000, 10_000),
    "svhn": Amount(73_257, 26_032),
}


def run_operations(experiment: Experiment, scale: str, technique: str) -> float:
    """Floating-point operations of one run; see :func:`cosnorm.training.cost.operations`.

    For models that the engine does not train (:attr:`Experiment.fitter`) these are the operations of one step
    of the solver, because the number of steps is not known in advance.

    Examples
    --------
    >>> from cosnorm import experiments
    >>> f"{run_operations(experiments.get('mnist'), 'paper', 'cosine'):.3g}"
    '1.18e+14'
    """
    _, chosen = experiment.scale(scale)
    train, test, nonzeros = AMOUNTS[chosen.dataset]
    held = chosen.validation
    replica = experiment.replica(technique, scale, 0, rate=1.0)  # the rate does not matter
    return operations(replica, train - held, held or test, nonzeros)


#: Shape of one example of each dataset of images.
SHAPES = {
    "digits": (8, 8),
    "mnist": (28, 28),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "svhn": (3, 32, 32),
}
#: Approximate seconds of a trial, and its largest number of epochs.
TRIAL_SECONDS = 0.6
_TRIAL_EPOCHS = 40
#: Operations of one epoch of a trial: some tenths of a second on one core.
_TRIAL_OPERATIONS = 1e10


@dataclass(frozen=True)
class Trial:
    """Times an epoch of a network on random examples of the right shape."""

    dataset: str  # gives the shape of the examples
    replica: Replica  # without its seed, learning rate and number of epochs, which change nothing
    train: int  # examples of a real epoch
    test: int

    @property
    def key(self) -> str:
        """A hash of everything but the numbers of examples, by which a finished trial is found again."""
        text = json.dumps([self.dataset, asdict(self.replica)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def steps(self) -> int:
        """Steps of one of the short epochs of the trial."""
        batch, nonzeros = self.replica.batch_size, AMOUNTS[self.dataset].nonzeros
        one = operations(self.replica, batch, 0, nonzeros)
        fewest = 3 if batch > 1 else 50
        return max(fewest, min(math.ceil(self.train / batch), int(_TRIAL_OPERATIONS / one)))

    def seconds(self) -> float:
        """Measured seconds of a real epoch on one otherwise idle core.

        The short epochs have training and test examples in the same proportion. Processor time is measured,
        so that other programs on this machine do not count.
        """
        batch, whole = self.replica.batch_size, math.ceil(self.train / self.replica.batch_size)
        steps = min(self.steps, whole)
        share = min(1.0, steps * batch / self.train)
        every = self.replica.error_steps
        replica = replace(
            self.replica,
            epochs=_TRIAL_EPOCHS,
            error_steps=None if every is None else max(1, round(every * steps / whole)),
        )
        examples = _Examples(
            *_random_examples(self.dataset, replica, max(1, round(share * self.train))),
            *_random_examples(self.dataset, replica, max(1, round(share * self.test))),
            255.0 if AMOUNTS[self.dataset].nonzeros is None else 1.0,
        )
        watch = _Watch()
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            train([replica], examples, device="cpu", on_epoch=watch)
        except _EnoughError:
            pass
        finally:
            torch.set_num_threads(before)
        return float(np.median(np.diff(watch.times))) / share


class _EnoughError(Exception):
    """A trial has lasted long enough."""


class _Watch:
    # Notes when epochs end; the first one, in which memory is allocated and caches fill, is not timed.

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, replica: Replica, curves: Curves) -> None:
        self.times.append(time.thread_time())
        if len(self.times) >= 3 and self.times[-1] - self.times[0] > TRIAL_SECONDS:
            raise _EnoughError


def trial(experiment: Experiment, scale: str, technique: str) -> Trial:
    """The trial that times an epoch of a competitor."""
    _, chosen = experiment.scale(scale)
    count, test, _ = AMOUNTS[chosen.dataset]
    held = chosen.validation
    replica = experiment.replica(technique, scale, 0, rate=1.0)
    still = replace(replica, learning_rate=1e-3, gain_rate=1.0, epochs=1)
    return Trial(chosen.dataset, still, count - held, held or test)


@dataclass
class _Examples:
    # What the engine reads of a dataset.
    train_inputs: np.ndarray | SparseRows
    train_targets: np.ndarray
    test_inputs: np.ndarray | SparseRows
    test_targets: np.ndarray
    maximum: float


def _random_examples(
    dataset: str, replica: Replica, count: int
) -> tuple[np.ndarray | SparseRows, np.ndarray]:
    draw = np.random.default_rng(0)
    targets = draw.integers(0, replica.sizes[-1], count)
    nonzeros = AMOUNTS[dataset].nonzeros
    if nonzeros is None:
        return draw.integers(0, 256, (count, *SHAPES[dataset]), dtype=np.uint8), targets
    # Words are as frequent as their rank is low (Zipf): most of them are in few documents.
    width, entries = replica.sizes[0], round(nonzeros)
    columns = [np.unique((width ** draw.random(2 * entries)).astype(int) - 1)[:entries] for _ in range(count)]
    rows = np.repeat(np.arange(count), [len(row) for row in columns])
    flat = np.concatenate(columns)
    return SparseRows.from_entries(rows, flat, draw.random(len(flat)), shape=(count, width)), targets
