"""Figure 3 of the paper: what enters the last ReLU, over training and over examples (§5.1.2)."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import mnist

_TECHNIQUES = {name: t for name, t in mnist.EXPERIMENT.techniques.items() if t.norm is None}
_SETTINGS = {"observe": ("preactivation",)}

EXPERIMENT = replace(
    mnist.EXPERIMENT,
    name="preactivation",
    techniques=_TECHNIQUES,
    title="Pre-activations of the last hidden layer on MNIST, over training and over examples",
    scales={
        "smoke": replace(
            mnist.EXPERIMENT.scales["smoke"],
            rates={k: rate for k, rate in mnist.EXPERIMENT.scales["smoke"].rates.items() if k in _TECHNIQUES},
            settings=_SETTINGS,
        ),
        "short": replace(
            mnist.EXPERIMENT.scales["short"],
            epochs=8,
            settings=_SETTINGS,
            note="The paper's network, data and rates for a twenty-fifth of its epochs.",
        ),
        "paper": replace(mnist.EXPERIMENT.scales["paper"], settings=_SETTINGS),
    },
    # At the paper's scale these are the runs of `mnist`, and no run is trained twice.
    recorded="after every epoch loss and errors, and over the test examples the 15th, 50th and 85th "
    "percentile of the pre-activations of the last hidden layer's first units, with the median "
    "spread of all its units",
    printed={},
    source="Luo et al. (2017), Figure 3",
)
