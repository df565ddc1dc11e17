"""The learning rate of each technique on CIFAR-10: one grid for all, judged on held-out training images."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import cifar10
from cosnorm.experiments.choosing import RATES, sweep
from cosnorm.experiments.registry import Technique

#: With the lower rates that a convolutional network without normalization may need.
GRID = (0.001, 0.003, *RATES)
TECHNIQUES = {
    norm: Technique(None, "ours", settings={"hidden_bias": False} if norm == "weight" else {})
    for norm in ("none", "cosine", "centered", "batch", "weight", "layer")
}

_SCALES = {
    name: replace(
        scale, settings={**scale.settings, "images": cifar10.STILL, "error_steps": None, "observe": ()}
    )
    for name, scale in cifar10.EXPERIMENT.scales.items()
}

EXPERIMENT = sweep(
    cifar10.EXPERIMENT,
    "rates_cifar10",
    "Validation errors on CIFAR-10, every technique at each learning rate of one grid",
    {
        "smoke": replace(
            _SCALES["smoke"],
            epochs=2,
            seeds=1,
            rates={},
            note="scikit-learn's 8x8 digits and a small network, a fifth of the training images held out: "
            "for seeing the code work.",
            validation=288,
        ),
        "short": replace(
            _SCALES["short"],
            epochs=2,
            seeds=1,
            note="The paper's network, images not distorted. The last 5000 training images are held out and "
            "judged on; the test images are not used. Two epochs and one seed: enough to find the order of "
            "magnitude.",
            validation=5000,
        ),
        "paper": replace(
            _SCALES["paper"],
            epochs=32,
            lengths={},
            seeds=1,
            note="As short, for 32 epochs: a twentieth of the steps of `cifar10`.",
            validation=5000,
        ),
    },
    TECHNIQUES,
    GRID,
)
