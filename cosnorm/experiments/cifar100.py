"""CIFAR-100, which the abstract of the paper's later version names: the network and pipeline of CIFAR-10.

No table of that version was at hand. Rates, epochs and the choice to distort the training images are ours.
"""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import cifar10
from cosnorm.experiments.registry import Technique

#: Those of the paper's CIFAR-10 where it has one; batch, weight and layer norm get one guess each, which
#: is not tuned: `rates_cifar10` compares rates.
RATES = {"none": 0.01, "cosine": 10.0, "centered": 10.0, "batch": 0.1, "weight": 0.1, "layer": 0.1}
TECHNIQUES = {
    norm: Technique(rate, "ours", settings={"hidden_bias": False} if norm == "weight" else {})
    for norm, rate in RATES.items()
}
SIZES = (*cifar10.SIZES[:-1], 100)

_SCALES = cifar10.EXPERIMENT.scales

EXPERIMENT = replace(
    cifar10.EXPERIMENT,
    name="cifar100",
    title="Test errors on CIFAR-100 of a convolutional network, one normalization technique against another",
    techniques=TECHNIQUES,
    scales={
        "smoke": replace(
            _SCALES["smoke"],
            rates=cifar10.RATES_SMALL,
            settings={**_SCALES["smoke"].settings, "images": cifar10.DISTORTED},
            note="scikit-learn's 8x8 digits, ten classes of them, and a small network with rates as in "
            "`cifar10`: for seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            _SCALES["short"],
            dataset="cifar100",
            sizes=SIZES,
            epochs=20,
            settings={**_SCALES["short"].settings, "images": cifar10.DISTORTED},
            note="Network and pipeline of `cifar10` with distorted images, rates carried over from there or "
            "guessed, 20 epochs.",
        ),
        "paper": replace(
            _SCALES["paper"],
            dataset="cifar100",
            sizes=SIZES,
            epochs=320,
            lengths={},
            settings={**_SCALES["paper"].settings, "images": cifar10.DISTORTED},
            note="Network and pipeline of `cifar10` with distorted images, rates carried over from there or "
            "guessed; 125 000 steps.",
        ),
    },
    printed={},
    source="",
    fractions=False,
)
