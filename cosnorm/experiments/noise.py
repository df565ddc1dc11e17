"""Figure 4 and Table 2 of the paper: batches of one example, and dropout (§5.1.3)."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import mnist
from cosnorm.experiments.registry import Printed, Technique

#: The paper's "drop rate" 0.8 of the input is read as the rate of keeping, as in Srivastava et al. (2014).
DROPOUT = (0.2, 0.5)

EXPERIMENT = replace(
    mnist.EXPERIMENT,
    name="noise",
    title="Test errors on MNIST with noise: dropout, and batches of one example",
    techniques={
        # Either the kept units are scaled up in training, or all units are scaled down in testing (Srivastava
        # et al., 2014, section 4). The paper does not say which; a plain network needs another rate in each.
        "none-dropout": Technique(1.0, "paper", "none", {"dropout": DROPOUT}),
        "none-dropout-scaled": Technique(
            1.0,
            "paper",
            "none",
            {"dropout": DROPOUT, "dropout_convention": "testing"},
            against="none-dropout",
        ),
        "cosine-dropout": Technique(10.0, "paper", "cosine", {"dropout": DROPOUT}, against="none-dropout"),
        # The paper names no rate. A hundredth of the batches' rate makes a hundred steps of one example
        # go about as far as one of a hundred.
        "cosine-batch-1": Technique(0.1, "ours", "cosine", {"batch_size": 1}),
    },
    scales={
        "smoke": replace(
            mnist.EXPERIMENT.scales["smoke"],
            epochs=4,
            seeds=2,
            rates={
                "none-dropout": 0.5,
                "none-dropout-scaled": 0.5,
                "cosine-dropout": 3.0,
                "cosine-batch-1": 0.06,
            },
            note="scikit-learn's 8x8 digits and a small network, rates as in `mnist`, a fiftieth of it for "
            "single examples: for seeing the code work, no evidence for a ranking.",
        ),
        "short": mnist.EXPERIMENT.scales["short"],
        "paper": mnist.EXPERIMENT.scales["paper"],
    },
    printed={
        "none-dropout": Printed(127.333, 29.107),
        "none-dropout-scaled": Printed(127.333, 29.107),
        "cosine-dropout": Printed(113.647, 32.273),
        "cosine-batch-1": Printed(130.0, 0.0),
    },
    source="Luo et al. (2017), Table 2",
)
