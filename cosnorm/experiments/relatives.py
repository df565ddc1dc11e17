"""Every technique on MNIST, each at the rate that the experiment ``rates`` found for it."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import mnist
from cosnorm.experiments.registry import Experiment, Technique

#: The rate of the fewest validation errors in the records of ``rates`` at scale short (a test compares).
CHOSEN: dict[str, float] = {
    "none": 0.3,
    "cosine": 10.0,
    "centered": 10.0,
    "weight": 3.0,
    "weight_learned": 0.3,
    "weight_decay": 0.3,
    "max_norm": 1.0,
    "scaling": 0.03,
    "batch": 3.0,
    "mean_only_batch": 0.3,
    "cosine_mean_only": 1.0,
    "cosine_affine": 1.0,
    "early_batch": 1.0,
    "layer": 1.0,
    "layer_simple": 0.1,
    "detach": 0.1,
    "adanorm": 0.3,
    "propagation": 1.0,
    "online": 1.0,
}
#: The same at scale smoke.
CHOSEN_SMOKE: dict[str, float] = {
    "none": 0.3,
    "cosine": 3.0,
    "centered": 3.0,
    "weight": 0.3,
    "weight_learned": 0.3,
    "weight_decay": 0.3,
    "max_norm": 0.3,
    "scaling": 0.3,
    "batch": 0.1,
    "mean_only_batch": 1.0,
    "cosine_mean_only": 0.3,
    "cosine_affine": 0.1,
    "early_batch": 0.1,
    "layer": 0.1,
    "layer_simple": 0.1,
    "detach": 0.1,
    "adanorm": 0.1,
    "propagation": 0.3,
    "online": 0.3,
}

EXPERIMENT = Experiment(
    name="relatives",
    title="Test errors on MNIST, every technique at a rate chosen on held-out training examples",
    techniques={norm: Technique(CHOSEN[norm], "ours") for norm in CHOSEN},
    scales={
        "smoke": replace(
            mnist.EXPERIMENT.scales["smoke"],
            epochs=8,
            rates=CHOSEN_SMOKE,
            note="scikit-learn's 8x8 digits and a small network, rates from `rates` at scale smoke: for "
            "seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            mnist.EXPERIMENT.scales["short"],
            epochs=8,
            note="The paper's network and data for a twenty-fifth of its epochs, rates from `rates` at scale "
            "short.",
            threads=1,
        ),
        "paper": replace(
            mnist.EXPERIMENT.scales["paper"],
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
