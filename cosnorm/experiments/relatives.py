"""Every technique on MNIST, each at the rate that the experiment ``rates`` found for it."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import mnist, rates
from cosnorm.experiments.choosing import searched
from cosnorm.experiments.registry import Experiment

#: Techniques whose steps to an error are compared.
_COUNTED = ("none", "batch", "early_batch", "weight", "scaling")
TECHNIQUES = searched(rates.EXPERIMENT)
for _name in _COUNTED:
    _plain = TECHNIQUES[_name]
    TECHNIQUES[_name] = replace(_plain, settings={**_plain.settings, "error_steps": 200})

EXPERIMENT = Experiment(
    name="relatives",
    title="Test errors on MNIST, every technique at a rate chosen on held-out training examples",
    techniques=TECHNIQUES,
    scales={
        "smoke": replace(
            mnist.EXPERIMENT.scales["smoke"],
            epochs=8,
            rates={},
            rates_from="rates/smoke",
            note="scikit-learn's 8x8 digits and a small network, rates from `rates` at scale smoke: for "
            "seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            mnist.EXPERIMENT.scales["short"],
            rates_from="rates/short",
            note="The paper's network and data for a tenth of its epochs, rates from `rates` at scale short.",
            threads=1,
        ),
        "paper": replace(
            mnist.EXPERIMENT.scales["paper"],
            settings={},
            rates_from="rates/short",
            note="The paper's network, data and epochs; the rates are those of scale short.",
        ),
    },
    std=mnist.EXPERIMENT.std,
    constant=mnist.EXPERIMENT.constant,
    recorded="loss and number of misclassified examples after every epoch, of training and test set",
    printed={},
    source="",
    test_examples=mnist.EXPERIMENT.test_examples,
)
