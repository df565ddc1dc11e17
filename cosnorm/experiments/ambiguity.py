"""What the paper leaves open about its dense networks: does another reading change the ranking on MNIST?

Each competitor is one of :mod:`cosnorm.experiments.mnist` with one thing read otherwise, and is compared with
the competitor as we read it.

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
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cosnorm.experiments import mnist, noise
from cosnorm.experiments.registry import Technique

#: The techniques of Table 1.
NORMS = ("none", "cosine", "batch", "weight", "max_norm")
#: "0.1 variance", read literally.
STD = math.sqrt(0.1)
#: "Drop rate 0.8, 0.5", read literally.
DROPOUT = (0.8, 0.5)
CONSTANTS = (0.0, 0.01, 1.0)

_OURS = mnist.EXPERIMENT.techniques


def _read(norm: str, what: str, **settings: Any) -> dict[str, Technique]:
    """A technique of ``mnist`` with one reading changed."""
    plain = _OURS[norm]
    return {
        f"{norm}-{what}": replace(plain, norm=norm, settings={**plain.settings, **settings}, against=norm)
    }


def _dropped(norm: str) -> dict[str, Technique]:
    """A technique with dropout, in both readings of the rates."""
    ours = noise.EXPERIMENT.techniques[f"{norm}-dropout"]
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


def _smoke_rates() -> Mapping[str, float]:
    rates = mnist.EXPERIMENT.scales["smoke"].rates
    return {name: rates[technique.norm or name] for name, technique in TECHNIQUES.items()}


EXPERIMENT = replace(
    mnist.EXPERIMENT,
    name="ambiguity",
    title="Test errors on MNIST under other readings of what the paper leaves open",
    techniques=TECHNIQUES,
    scales={
        "smoke": replace(
            mnist.EXPERIMENT.scales["smoke"],
            epochs=8,
            seeds=2,
            rates=_smoke_rates(),
            note="scikit-learn's 8x8 digits and a small network, each technique's rate in `mnist` for all "
            "its readings: for seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            mnist.EXPERIMENT.scales["short"],
            epochs=5,
            note="The paper's network and data for a fortieth of its epochs, the paper's rate for every "
            "reading of a technique.",
        ),
        "paper": replace(
            mnist.EXPERIMENT.scales["paper"],
            seeds=3,
            note="The paper's network, data, epochs and rates, the same rate for every reading.",
        ),
    },
    printed={},
    source="",
)
