"""What a run of an experiment costs, known before its data is loaded: by arithmetic, and by a short trial."""

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


#: By dataset. A test compares them with the data where it is at hand; for sparse data the entries are those
#: of the training examples as prepared without settings, which other settings change by a few percent.
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

    Of a run that the engine does not train (:attr:`Experiment.fitter`), those of one step of its solver: how
    many steps that takes is not known before.

    Raises
    ------
    ValueError
        If there is no such technique or scale.

    Examples
    --------
    >>> from cosnorm import experiments
    >>> f"{run_operations(experiments.get('mnist'), 'paper', 'cosine'):.3g}"
    '1.18e+14'
    """
    _, chosen = experiment.scale(scale)
    train, test, nonzeros = AMOUNTS[chosen.dataset]
    held = chosen.validation
    replica = experiment.replica(technique, scale, 0, rate=1.0)  # any, for it changes nothing
    return operations(replica, train - held, held or test, nonzeros)


#: Shape of one example of each dataset of images.
SHAPES = {
    "digits": (8, 8),
    "mnist": (28, 28),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "svhn": (3, 32, 32),
}
#: Seconds that a trial lasts, about, and epochs that it makes at most.
TRIAL_SECONDS = 0.6
_TRIAL_EPOCHS = 40
#: Operations of one epoch of a trial: some tenths of a second on one core.
_TRIAL_OPERATIONS = 1e10


@dataclass(frozen=True)
class Trial:
    """A network on made-up examples of the right shape, to see how long an epoch of it takes.

    Attributes
    ----------
    dataset
        Whose shape the examples have.
    replica
        The network; seed, learning rate and number of epochs are left out, for they change nothing.
    train, test
        Numbers of examples of a real epoch.
    """

    dataset: str
    replica: Replica
    train: int
    test: int

    @property
    def key(self) -> str:
        """What names it among the trials that were made before: all but the numbers of examples."""
        text = json.dumps([self.dataset, asdict(self.replica)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def steps(self) -> int:
        """Steps of one of its short epochs."""
        batch, nonzeros = self.replica.batch_size, AMOUNTS[self.dataset].nonzeros
        one = operations(self.replica, batch, 0, nonzeros)
        fewest = 3 if batch > 1 else 50
        return max(fewest, min(math.ceil(self.train / batch), int(_TRIAL_OPERATIONS / one)))

    def seconds(self) -> float:
        """Seconds of a real epoch on a processor core that has nothing else to do, measured.

        The short epochs have training and test examples in the same proportion. What is measured is the time
        of the processor, so that other programs on this machine do not count.
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
        classes = replica.sizes[-1]
        examples = _made_up(self.dataset, replica, max(1, round(share * self.train)), classes)
        examples.test_inputs, examples.test_targets = _inputs(
            self.dataset, replica, max(1, round(share * self.test)), classes
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
        return watch.median / share


class _EnoughError(Exception):
    """A trial has lasted long enough."""


class _Watch:
    """Notes when epochs end; the first one, in which memory is taken and caches fill, does not count."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, replica: Replica, curves: Curves) -> None:
        self.times.append(time.thread_time())
        if len(self.times) >= 3 and self.times[-1] - self.times[0] > TRIAL_SECONDS:
            raise _EnoughError

    @property
    def median(self) -> float:
        lasted = np.diff(self.times)
        return float(np.median(lasted))


def trial(experiment: Experiment, scale: str, technique: str) -> Trial:
    """The trial that tells how long an epoch of a competitor takes.

    Raises
    ------
    ValueError
        If there is no such technique or scale.
    """
    _, chosen = experiment.scale(scale)
    count, test, _ = AMOUNTS[chosen.dataset]
    held = chosen.validation
    replica = experiment.replica(technique, scale, 0, rate=1.0)
    still = replace(replica, learning_rate=1e-3, gain_rate=1.0, epochs=1)
    return Trial(chosen.dataset, still, count - held, held or test)


@dataclass
class _Examples:
    """Made-up examples, as the engine takes them."""

    train_inputs: np.ndarray | SparseRows
    train_targets: np.ndarray
    test_inputs: np.ndarray | SparseRows
    test_targets: np.ndarray
    maximum: float


def _made_up(dataset: str, replica: Replica, count: int, classes: int) -> _Examples:
    inputs, targets = _inputs(dataset, replica, count, classes)
    return _Examples(inputs, targets, inputs, targets, 1.0 if isinstance(inputs, SparseRows) else 255.0)


def _inputs(
    dataset: str, replica: Replica, count: int, classes: int
) -> tuple[np.ndarray | SparseRows, np.ndarray]:
    """So many examples and their classes."""
    draw = np.random.default_rng(0)
    targets = draw.integers(0, classes, count)
    nonzeros = AMOUNTS[dataset].nonzeros
    if nonzeros is None:
        return draw.integers(0, 256, (count, *SHAPES[dataset]), dtype=np.uint8), targets
    # Words are as frequent as their rank is low (Zipf): most of them are in few documents.
    width, entries = replica.sizes[0], round(nonzeros)
    columns = [np.unique((width ** draw.random(2 * entries)).astype(int) - 1)[:entries] for _ in range(count)]
    rows = np.repeat(np.arange(count), [len(row) for row in columns])
    flat = np.concatenate(columns)
    return SparseRows.from_entries(rows, flat, draw.random(len(flat)), shape=(count, width)), targets
