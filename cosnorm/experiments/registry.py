"""Every experiment by name."""

from __future__ import annotations

from cosnorm.experiments import ambiguity, depth, fair, later, linear, paper
from cosnorm.experiments.experiment import Experiment


def registry() -> dict[str, Experiment]:
    """Every experiment by name: the paper's first, then what its later abstract names, then ours."""
    experiments = (
        *(paper.MNIST, paper.PREACTIVATION, paper.NOISE, depth.DEPTH, paper.NEWSGROUPS, linear.LINEAR),
        *(paper.CIFAR10, later.TUTORIAL, later.CIFAR100, later.SVHN, later.MAGNITUDE),
        *(ambiguity.AMBIGUITY, ambiguity.AMBIGUITY_IMAGES, fair.RATES_MNIST, fair.RELATIVES),
        *(fair.RATES_NEWSGROUPS, fair.FAIR_NEWSGROUPS, fair.RATES_CIFAR10, fair.FAIR_CIFAR10),
        *ambiguity.AMBIGUITY_TEXT,
    )
    return {experiment.name: experiment for experiment in experiments}


def get(name: str) -> Experiment:
    """An experiment by name.

    Examples
    --------
    >>> get("mnist").techniques["cosine"].learning_rate
    10.0
    """
    known = registry()
    if name not in known:
        raise ValueError(f"there is no experiment {name!r}; choose from {', '.join(known)}")
    return known[name]
