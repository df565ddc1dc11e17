"""Claim 10's cause: does a network that ignores the length of its input need no inputs of other lengths?

The paper says that distorted images help a cosine network less, because it does not see magnitudes. Here the
distortion is of magnitude alone: every training input is multiplied by a factor of its own, between a quarter
and four, and every network is also tested on scaled inputs.
"""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import mnist
from cosnorm.experiments.registry import Technique

#: Largest factor on the training inputs; the smallest is its inverse.
FACTOR = 4.0
NORMS = ("none", "cosine", "centered", "batch")

_SETTINGS = {"observe": ("scaled_inputs",)}
_SCALES = mnist.EXPERIMENT.scales


def competitor(norm: str) -> str:
    """The name of a technique that trains on inputs of other lengths."""
    return f"{norm}-scaled"


def _scaled(norm: str) -> Technique:
    plain = mnist.EXPERIMENT.techniques[norm]
    return replace(plain, norm=norm, settings={"magnitude": FACTOR}, against=norm)


EXPERIMENT = replace(
    mnist.EXPERIMENT,
    name="magnitude",
    title="Test errors on MNIST with training inputs scaled by random factors, and without",
    techniques={
        **{norm: mnist.EXPERIMENT.techniques[norm] for norm in NORMS},
        **{competitor(norm): _scaled(norm) for norm in NORMS},
    },
    scales={
        "smoke": replace(
            _SCALES["smoke"],
            rates={
                name: rate
                for norm, rate in _SCALES["smoke"].rates.items()
                if norm in (*NORMS, "centered")
                for name in (norm, competitor(norm))
            }
            | dict.fromkeys(("centered", competitor("centered")), 3.0),
            epochs=10,
            settings=_SETTINGS,
            note="scikit-learn's 8x8 digits and a small network, rates as in `mnist` and the same with and "
            "without scaling: for seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            _SCALES["short"],
            epochs=8,
            seeds=7,
            settings=_SETTINGS,
            note="The paper's network, data and rates for a twenty-fifth of its epochs.",
        ),
        "paper": replace(_SCALES["paper"], settings=_SETTINGS),
    },
    recorded="loss and number of misclassified examples after every epoch, of training and test set, and the "
    "errors on the test set with every input multiplied by 1/4, 1/2, 1, 2 and 4",
    printed={},
    source="",
)
