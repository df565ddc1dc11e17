"""Figure 5 of the paper: cosine networks of two to five weight layers (§5.1.4)."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments.experiment import Printed, Technique
from cosnorm.experiments.paper import MNIST

#: Lowest test error in the paper, by the number of weight layers.
MINIMA = {2: 155, 3: 143, 4: 140, 5: 129}


def competitor(layers: int) -> str:
    """The name of the network with so many weight layers, such as ``cosine-3-layers``."""
    return f"cosine-{layers}-layers"


DEPTH = replace(
    MNIST,
    name="depth",
    title="Test errors on MNIST of cosine networks with two to five weight layers",
    techniques={
        competitor(layers): Technique(
            10.0, "paper", "cosine", {"layers": layers}, None if layers == 2 else competitor(2)
        )
        for layers in MINIMA
    },
    scales={
        "smoke": replace(MNIST.scales["smoke"], rates={competitor(layers): 3.0 for layers in MINIMA}),
        "short": replace(
            MNIST.scales["short"],
            epochs=10,
            note="The paper's networks, data and rate for a twentieth of its epochs.",
        ),
        "paper": MNIST.scales["paper"],
    },
    printed={competitor(layers): Printed(minimum=minimum) for layers, minimum in MINIMA.items()},
    source="Luo et al. (2017), section 5.1.4",
)
