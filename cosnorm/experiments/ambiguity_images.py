"""What the paper leaves open about its convolutional network: other readings on CIFAR-10.

Each competitor is one of :mod:`cosnorm.experiments.cifar10`, images not distorted, with one thing read
otherwise.

==================  =====================================================================================
name ends in        reading
==================  =====================================================================================
``-latest``         S = αY + (1-α)S with α = 0.9999, as written: the average is the latest parameters
``-variance``       weights start with variance 0.1, as written, in place of standard deviation 0.1
``-tutorial``       they start with standard deviation 0.05, as the convolutions of TensorFlow's tutorial
``-small-batch``    the batch holds 64 images in place of 128
==================  =====================================================================================
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from cosnorm.experiments import cifar10
from cosnorm.experiments.registry import Technique

NORMS = ("none", "cosine")
#: By the end of the name.
READINGS: dict[str, dict[str, Any]] = {
    "latest": {"average": 1 - 0.9999},
    "variance": {"std": math.sqrt(0.1)},
    "tutorial": {"std": 0.05},
    "small-batch": {"batch_size": 64},
}

_SCALES = cifar10.EXPERIMENT.scales
_RATES = {norm: cifar10.EXPERIMENT.techniques[norm].learning_rate for norm in NORMS}


def _competitors() -> dict[str, Technique]:
    found = {norm: Technique(_RATES[norm], "paper") for norm in NORMS}
    for what, settings in READINGS.items():
        for norm in NORMS:
            found[f"{norm}-{what}"] = Technique(_RATES[norm], "paper", norm, settings, against=norm)
    return found


TECHNIQUES = _competitors()

EXPERIMENT = replace(
    cifar10.EXPERIMENT,
    name="ambiguity_images",
    title="Test errors on CIFAR-10 under other readings of what the paper leaves open",
    techniques=TECHNIQUES,
    scales={
        "smoke": replace(
            _SCALES["smoke"],
            rates={name: cifar10.RATES_SMALL[t.norm or name] for name, t in TECHNIQUES.items()},
            settings={**_SCALES["smoke"].settings, "images": cifar10.STILL},
            epochs=5,
            seeds=1,
            note="scikit-learn's 8x8 digits and a small network, each technique's rate in `cifar10` for all "
            "its readings: for seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            _SCALES["short"],
            epochs=4,
            settings={**_SCALES["short"].settings, "images": cifar10.STILL},
            note="The paper's network, data and rates for four epochs, images not distorted.",
        ),
        "paper": replace(
            _SCALES["paper"],
            epochs=160,
            lengths={},
            settings={**_SCALES["paper"].settings, "images": cifar10.STILL},
            note="The paper's network, data and rates, images not distorted; 62 500 steps of 128 images.",
        ),
    },
    printed={},
    source="",
    fractions=False,
)
