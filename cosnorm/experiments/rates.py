"""Which learning rate suits each technique: one grid for all, judged on held-out training examples."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import mnist
from cosnorm.experiments.choosing import RATES, best, competitor, sweep
from cosnorm.experiments.registry import Technique
from cosnorm.techniques import TECHNIQUES

__all__ = ["EXPERIMENT", "NORMS", "RATES", "best", "competitor"]

#: Rates beyond the grid, for how high a rate a cosine network tolerates; they are not chosen from.
FURTHER = {"cosine": (100.0, 300.0)}
#: Factors for the learning rate of a scale and shift behind a cosine; 1 is the grid itself.
GAINS = {"cosine_affine": (0.1, 0.01)}

#: Every technique that a fully connected network can use, but for single parts of others.
NORMS = tuple(
    name
    for name, recipe in TECHNIQUES.items()
    if not recipe.needs_positions and name not in ("detach_mean", "detach_std", "group")
)

_COMPETITORS = {
    norm: Technique(None, "ours", settings={"hidden_bias": False} if norm == "weight" else {})
    for norm in NORMS
}

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
            seeds=3,
            note="The paper's network. The last 10 000 training images are held out and judged on; the test "
            "images are not used. Two epochs are enough to find the order of magnitude.",
            threads=1,
            validation=10_000,
        ),
        "paper": replace(
            mnist.EXPERIMENT.scales["paper"],
            epochs=50,
            seeds=3,
            settings={},
            note="As short, for a quarter of the paper's epochs and with three seeds.",
            validation=10_000,
        ),
    },
    {**_COMPETITORS, "weight-biased": Technique(None, "ours", norm="weight")},
    further=FURTHER,
    gains=GAINS,
)
