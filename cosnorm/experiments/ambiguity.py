"""What the paper leaves open: do other readings change the ranking on MNIST, CIFAR-10 and 20 Newsgroups?

Each competitor is one of ``mnist`` with one thing read differently, and is compared with our reading.

====================  ==================================================================================
name ends in          reading
====================  ==================================================================================
``-variance``         weights start with variance 0.1, as written, in place of standard deviation 0.1
``-unbiased``         hidden units of the baseline and of max norm have no bias
``-plain-output``     the output layer has no bias
``-constant-...``     the cosines' constant is 0, 0.01 or 1 in place of 0.0001
``-dropout``          our reading of "drop rate 0.8, 0.5": 0.8 of the input is kept
``-dropout-literal``  0.8 of the input is dropped
====================  ==================================================================================
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

from cosnorm.experiments.experiment import Experiment, Technique
from cosnorm.experiments.paper import CIFAR10, IMAGE_RATES, MNIST, NEWSGROUPS, NOISE, STILL

#: The techniques of Tables 1 and 3.
NORMS = ("none", "cosine", "batch", "weight", "max_norm")
#: "0.1 variance", read literally.
STD = math.sqrt(0.1)
#: "Drop rate 0.8, 0.5", read literally.
DROPOUT = (0.8, 0.5)
CONSTANTS = (0.0, 0.01, 1.0)

_OURS = MNIST.techniques


def _read(norm: str, what: str, **settings: Any) -> dict[str, Technique]:
    plain = _OURS[norm]
    return {
        f"{norm}-{what}": replace(plain, norm=norm, settings={**plain.settings, **settings}, against=norm)
    }


def _dropped(norm: str) -> dict[str, Technique]:
    ours = NOISE.techniques[f"{norm}-dropout"]
    literal = replace(ours, settings={"dropout": DROPOUT}, against=f"{norm}-dropout")
    return {f"{norm}-dropout": replace(ours, against=norm), f"{norm}-dropout-literal": literal}


def _competitors() -> dict[str, Technique]:
    found = {norm: _OURS[norm] for norm in NORMS}
    for norm in NORMS:
        found |= _read(norm, "variance", std=STD)
    for norm in ("none", "max_norm"):
        found |= _read(norm, "unbiased", hidden_bias=False)
    for norm in ("none", "cosine"):
        found |= _read(norm, "plain-output", output_bias=False)
    for constant in CONSTANTS:
        found |= _read("cosine", f"constant-{constant:g}", constant=constant)
    return found | _dropped("none") | _dropped("cosine")


TECHNIQUES = _competitors()

AMBIGUITY = replace(
    MNIST,
    name="ambiguity",
    title="Test errors on MNIST under other readings of what the paper leaves open",
    techniques=TECHNIQUES,
    scales={
        "smoke": replace(
            MNIST.scales["smoke"],
            epochs=8,
            seeds=2,
            rates={name: MNIST.scales["smoke"].rates[t.norm or name] for name, t in TECHNIQUES.items()},
            note="scikit-learn's 8x8 digits and a small network, each technique's rate in `mnist` for all "
            "its readings: for seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            MNIST.scales["short"],
            epochs=5,
            note="The paper's network and data for a fortieth of its epochs, the paper's rate for every "
            "reading of a technique.",
        ),
        "paper": replace(
            MNIST.scales["paper"],
            seeds=3,
            note="The paper's network, data, epochs and rates, the same rate for every reading.",
        ),
    },
    printed={},
    source="",
)


# -- The convolutional network ----------------------------------------------------------------------------

# Each competitor is one of ``cifar10`` on undistorted images, with one thing read differently.
#
# ==================  =====================================================================================
# name ends in        reading
# ==================  =====================================================================================
# ``-latest``         S = αY + (1-α)S with α = 0.9999, as written: the average is the latest parameters
# ``-variance``       weights start with variance 0.1, as written, in place of standard deviation 0.1
# ``-tutorial``       they start with standard deviation 0.05, as the convolutions of TensorFlow's tutorial
# ``-small-batch``    the batch holds 64 images in place of 128
# ==================  =====================================================================================

IMAGE_NORMS = ("none", "cosine")
#: By the end of the name.
_IMAGE_READINGS: dict[str, dict[str, Any]] = {
    "latest": {"average": 1 - 0.9999},
    "variance": {"std": math.sqrt(0.1)},
    "tutorial": {"std": 0.05},
    "small-batch": {"batch_size": 64},
}

_IMAGE_TECHNIQUES = {norm: Technique(CIFAR10.techniques[norm].learning_rate, "paper") for norm in IMAGE_NORMS}
_IMAGE_TECHNIQUES |= {
    f"{norm}-{what}": replace(_IMAGE_TECHNIQUES[norm], norm=norm, settings=settings, against=norm)
    for what, settings in _IMAGE_READINGS.items()
    for norm in IMAGE_NORMS
}

AMBIGUITY_IMAGES = replace(
    CIFAR10,
    name="ambiguity_images",
    title="Test errors on CIFAR-10 under other readings of what the paper leaves open",
    techniques=_IMAGE_TECHNIQUES,
    scales={
        "smoke": replace(
            CIFAR10.scales["smoke"],
            rates={name: IMAGE_RATES[t.norm or name] for name, t in _IMAGE_TECHNIQUES.items()},
            settings={**CIFAR10.scales["smoke"].settings, "images": STILL},
            epochs=5,
            seeds=1,
            note="scikit-learn's 8x8 digits and a small network, each technique's rate in `cifar10` for all "
            "its readings: for seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            CIFAR10.scales["short"],
            epochs=4,
            settings={**CIFAR10.scales["short"].settings, "images": STILL},
            note="The paper's network, data and rates for four epochs, images not distorted.",
        ),
        "paper": replace(
            CIFAR10.scales["paper"],
            epochs=160,
            lengths={},
            settings={**CIFAR10.scales["paper"].settings, "images": STILL},
            note="The paper's network, data and rates, images not distorted; 62 500 steps of 128 images.",
        ),
    },
    printed={},
    source="",
    fractions=False,
)


# -- The text ---------------------------------------------------------------------------------------------

# Each experiment is ``newsgroups`` with one setting of the preparation changed. Our preparation divides every
# feature by its largest value, so that another formula for the inverse document frequency would cancel. The
# vocabulary, the term frequency and the documents' length remain.


class Reading(NamedTuple):
    """Another preparation, and the number of words that it leaves of each dataset."""

    words: str
    preparation: dict[str, Any]
    features: dict[str, int]


_ALL_WORDS = {"docstrings": 2987, "newsgroups": 21_566}

#: By the end of the experiment's name.
TEXT_READINGS = {
    "words": Reading(
        "words in more than five documents",
        {"min_documents": 6},
        {"docstrings": 2656, "newsgroups": 18_989},
    ),
    "counts": Reading("term frequency 1 + log n", {"tf": "log"}, _ALL_WORDS),
    "unclipped": Reading("values above 1 in test documents left as they are", {"clip": False}, _ALL_WORDS),
    "lengths": Reading("documents of length 1 before the scaling", {"length": "unit"}, _ALL_WORDS),
}


def _text_experiment(name: str, reading: Reading) -> Experiment:
    return replace(
        NEWSGROUPS,
        name=f"ambiguity_text_{name}",
        title=f"Test errors on 20 Newsgroups with {reading.words}",
        techniques={norm: NEWSGROUPS.techniques[norm] for norm in NORMS},
        scales={
            key: replace(
                scale,
                sizes=(reading.features[scale.dataset], *scale.sizes[1:]),
                rates={norm: rate for norm, rate in scale.rates.items() if norm in NORMS},
                preparation=reading.preparation,
                note=f"As `newsgroups` at this scale, but {reading.words}. {scale.note}",
            )
            for key, scale in NEWSGROUPS.scales.items()
        },
    )


AMBIGUITY_TEXT = tuple(_text_experiment(name, reading) for name, reading in TEXT_READINGS.items())
