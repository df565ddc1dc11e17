"""Which learning rate suits each technique: one grid for all, judged on held-out training examples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from cosnorm.experiments import mnist
from cosnorm.experiments.registry import Experiment, Technique
from cosnorm.record import Record
from cosnorm.techniques import TECHNIQUES

#: The grid, a factor of about three from rate to rate.
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

#: Every technique that a fully connected network can use, but for single parts of others.
NORMS = tuple(
    name
    for name, recipe in TECHNIQUES.items()
    if not recipe.needs_positions and name not in ("detach_mean", "detach_std", "group")
)


def competitor(norm: str, rate: float) -> str:
    """The name of a technique at a rate, such as ``cosine-at-3``."""
    return f"{norm}-at-{rate:g}"


def best(records: Sequence[Record]) -> dict[str, float]:
    """By technique the rate whose runs misclassify fewest held-out examples, over their last epochs.

    The smaller of rates that are equal in this. A rate at which a run diverged is not chosen.
    """
    scores: dict[str, dict[float, list[float]]] = {}
    for r in records:
        errors = math.inf if r.diverged else r.final["test_error_mean"]
        scores.setdefault(r.settings["norm"], {}).setdefault(r.settings["learning_rate"], []).append(errors)
    return {
        norm: min(by_rate, key=lambda rate: (statistics.fmean(by_rate[rate]), rate))
        for norm, by_rate in scores.items()
    }


EXPERIMENT = Experiment(
    name="rates",
    title="Validation errors on MNIST, every technique at each learning rate of one grid",
    techniques={
        competitor(norm, rate): Technique(rate, "ours", norm=norm) for norm in NORMS for rate in RATES
    },
    scales={
        "smoke": replace(
            mnist.EXPERIMENT.scales["smoke"],
            epochs=3,
            seeds=1,
            rates={},
            note="scikit-learn's 8x8 digits, a fifth of the training images held out: for seeing the code "
            "work.",
            validation=288,
        ),
        "short": replace(
            mnist.EXPERIMENT.scales["short"],
            epochs=2,
            seeds=1,
            note="The paper's network. The last 10 000 training images are held out and judged on; the test "
            "images are not used. Two epochs and one seed: enough to find the order of magnitude.",
            threads=1,
            validation=10_000,
        ),
        "paper": replace(
            mnist.EXPERIMENT.scales["paper"],
            epochs=50,
            seeds=3,
            note="As short, for a quarter of the paper's epochs and with three seeds.",
            validation=10_000,
        ),
    },
    std=mnist.EXPERIMENT.std,
    constant=mnist.EXPERIMENT.constant,
    recorded="loss and number of misclassified examples after every epoch, of training and held-out examples",
    claims=(11,),
    printed={},
    source="",
    test_examples=10_000,
)
