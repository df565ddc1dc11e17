"""Figure 6 and Table 3 of the paper: text, 20 Newsgroups (§5.2)."""

from __future__ import annotations

from cosnorm.experiments.registry import Experiment, Printed, Scale, Technique

#: Test documents that the paper's errors are out of.
TEST_DOCUMENTS = 7500


#: The rates of the fewest validation errors in the records of `rates_newsgroups` at scale smoke (a test
#: compares).
RATES_SMALL = {
    "none": 1.0,
    "cosine": 3.0,
    "centered": 10.0,
    "batch": 3.0,
    "weight": 10.0,
    "max_norm": 1.0,
    "layer": 1.0,
}


def _printed(error: float, variance: float) -> Printed:
    """The paper's mean test error and its variance in millionths, as counts of documents."""
    return Printed(error * TEST_DOCUMENTS, variance * 1e-6 * TEST_DOCUMENTS**2)


EXPERIMENT = Experiment(
    name="newsgroups",
    title="Test errors on 20 Newsgroups, one normalization technique against another",
    techniques={
        "none": Technique(0.1, "paper"),
        "cosine": Technique(10.0, "paper"),
        "centered": Technique(10.0, "ours"),
        "batch": Technique(1.0, "paper"),
        "weight": Technique(1.0, "paper", settings={"hidden_bias": False}),
        "max_norm": Technique(0.1, "paper"),
        "layer": Technique(1.0, "ours"),
        "weight-biased": Technique(1.0, "paper", norm="weight"),
    },
    scales={
        "smoke": Scale(
            dataset="docstrings",
            sizes=(2987, 100, 100, 10),
            batch_size=50,
            epochs=6,
            seeds=2,
            rates={**RATES_SMALL, "weight-biased": 0.3},
            note="Docstrings of ten parts of scientific Python, and a small network, on which weight norm "
            "with a bias learns little in so few epochs. Rates from `rates_newsgroups` at scale smoke, one "
            "grid for all, judged on held-out documents: for seeing the code work, "
            "no evidence for a ranking.",
            threads=1,
        ),
        "short": Scale(
            dataset="newsgroups",
            sizes=(21_566, 1000, 1000, 20),
            batch_size=100,
            epochs=20,
            seeds=5,
            note="The paper's network, data and rates for 20 epochs; the paper does not say how many it "
            "made.",
        ),
        "paper": Scale(
            dataset="newsgroups",
            sizes=(21_566, 1000, 1000, 20),
            batch_size=100,
            epochs=200,
            seeds=5,
            note="The paper's network, data and rates; 200 epochs, as on MNIST, for the paper names no "
            "number.",
        ),
    },
    std=0.1,
    constant=1e-4,
    recorded="loss and number of misclassified documents after every epoch, of training and test set",
    printed={
        "none": _printed(0.457, 2.146),
        "cosine": _printed(0.294, 0.301),
        "batch": _printed(0.451, 4.749),
        "weight": _printed(0.308, 0.312),
        "max_norm": _printed(0.299, 29.598),
    },
    source="Luo et al. (2017), Table 3",
    test_examples=TEST_DOCUMENTS,
    fractions=True,
)
