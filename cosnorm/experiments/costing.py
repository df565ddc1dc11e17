"""What a run of an experiment costs, known before its data is loaded."""

from __future__ import annotations

from typing import NamedTuple

from cosnorm.experiments.registry import Experiment
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
