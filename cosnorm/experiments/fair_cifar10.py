"""CIFAR-10 with every technique at the rate that ``rates_cifar10`` found for it."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import cifar10, rates_cifar10
from cosnorm.experiments.choosing import fair

_SCALES = {
    name: replace(scale, settings=rates_cifar10.EXPERIMENT.scales[name].settings)
    for name, scale in cifar10.EXPERIMENT.scales.items()
}

EXPERIMENT = fair(
    cifar10.EXPERIMENT,
    "fair_cifar10",
    "Test errors on CIFAR-10, every technique at a rate chosen on held-out training images",
    rates_cifar10.EXPERIMENT,
    {
        "smoke": replace(
            _SCALES["smoke"],
            note="scikit-learn's 8x8 digits and a small network, rates from `rates_cifar10` at scale smoke: "
            "for seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            _SCALES["short"],
            epochs=20,
            note="The paper's network, images not distorted, for 20 epochs, rates from `rates_cifar10` at "
            "scale short.",
        ),
        "paper": replace(
            _SCALES["paper"],
            epochs=160,
            lengths={},
            note="The paper's network, images not distorted; 62 500 steps, rates from `rates_cifar10` at "
            "scale paper.",
        ),
    },
)
