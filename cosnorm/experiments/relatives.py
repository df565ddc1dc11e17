"""Every technique on MNIST, each at the rate that the experiment ``rates`` found for it."""

from __future__ import annotations

from cosnorm.experiments.rates import NORMS
from cosnorm.experiments.registry import Experiment, Scale, Technique

#: The rate of the fewest validation errors in the records of ``rates`` at scale short (a test compares).
CHOSEN: dict[str, float] = dict.fromkeys(NORMS, 0.3)
#: The same at scale smoke.
CHOSEN_SMOKE: dict[str, float] = dict.fromkeys(NORMS, 0.3)

EXPERIMENT = Experiment(
    name="relatives",
    title="Test errors on MNIST, every technique at a rate chosen on held-out training examples",
    techniques={norm: Technique(CHOSEN[norm], "ours") for norm in NORMS},
    scales={
        "smoke": Scale(
            dataset="digits",
            sizes=(64, 100, 100, 10),
            batch_size=50,
            epochs=8,
            seeds=3,
            rates=CHOSEN_SMOKE,
            note="scikit-learn's 8x8 digits and a small network, rates from `rates` at scale smoke: for "
            "seeing the code work, no evidence for a ranking.",
            threads=1,
        ),
        "short": Scale(
            dataset="mnist",
            sizes=(784, 1000, 1000, 10),
            batch_size=100,
            epochs=10,
            seeds=3,
            note="The paper's network and data for a twentieth of its epochs, rates from `rates` at scale "
            "short.",
            threads=1,
        ),
        "paper": Scale(
            dataset="mnist",
            sizes=(784, 1000, 1000, 10),
            batch_size=100,
            epochs=200,
            seeds=5,
            note="The paper's network, data and epochs; the rates are those of scale short.",
        ),
    },
    std=0.1,
    constant=1e-4,
    recorded="loss and number of misclassified examples after every epoch, of training and test set",
    claims=(1, 13, 18, 20, 21, 23, 24),
    printed={},
    source="",
    test_examples=10_000,
)
