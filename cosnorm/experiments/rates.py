"""Which learning rate suits each technique: one grid for all, judged on held-out training examples."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import mnist
from cosnorm.experiments.choosing import RATES, best, competitor, sweep
from cosnorm.techniques import TECHNIQUES

__all__ = ["EXPERIMENT", "NORMS", "RATES", "best", "competitor"]

#: Every technique that a fully connected network can use, but for single parts of others.
NORMS = tuple(
    name
    for name, recipe in TECHNIQUES.items()
    if not recipe.needs_positions and name not in ("detach_mean", "detach_std", "group")
)

EXPERIMENT = sweep(
    mnist.EXPERIMENT,
    "rates",
    "Validation errors on MNIST, every technique at each learning rate of one grid",
    {
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
    NORMS,
)
