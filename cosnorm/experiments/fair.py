"""The learning-rate searches, and the comparisons in which every technique has the rate that they chose.

The protocol has two steps. First every technique is trained at each rate of one grid and judged on held-out
training examples. Then each is trained at its best rate, and the test set is used once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cosnorm.experiments.choosing import RATES, Search, competitor
from cosnorm.experiments.experiment import Experiment, Scale, Technique
from cosnorm.experiments.paper import CIFAR10, MNIST, NEWSGROUPS, STILL
from cosnorm.techniques import TECHNIQUES


def sweep(
    base: Experiment,
    name: str,
    title: str,
    scales: Mapping[str, Scale],
    techniques: Mapping[str, Technique],
    rates: Sequence[float] = RATES,
    further: Mapping[str, Sequence[float]] | None = None,
    gains: Mapping[str, Sequence[float]] | None = None,
) -> Experiment:
    """A search: techniques on the data and networks of ``base``, each at every one of ``rates``.

    Parameters
    ----------
    scales
        Each must hold out some training examples, see :attr:`Scale.validation`.
    techniques
        By name; their own rates are ignored.
    rates
        The grid that all techniques share; a rate is chosen from this grid alone.
    further
        Rates beyond the grid for some techniques, which show how high a rate they tolerate.
    gains
        For some techniques further factors for the rate of the scale and shift that they learn, each tried
        with every rate of the grid.
    """
    if not all(scale.validation for scale in scales.values()):
        raise ValueError(f"{name}: every scale of a sweep must hold out training examples (validation)")
    found: dict[str, Technique] = {}
    for key, technique in techniques.items():
        plain = replace(technique, source="ours", norm=technique.norm or key)
        for rate in (*rates, *(further or {}).get(key, ())):
            found[competitor(key, rate)] = replace(plain, learning_rate=rate)
        for gain in (gains or {}).get(key, ()):
            tried = replace(plain, settings={**technique.settings, "gain_rate": gain})
            for rate in rates:
                found[f"{competitor(key, rate)}-gain-{gain:g}"] = replace(tried, learning_rate=rate)
    return replace(
        base,
        name=name,
        title=title,
        techniques=found,
        scales=scales,
        recorded="loss and number of misclassified examples after every epoch, of training and held-out "
        "examples",
        printed={},
        source="",
        fractions=False,
    )


def chosen_rate(source: str, norm: str, folder: Path | str | None = None) -> float:
    """The learning rate that a search chooses for a technique without further settings.

    Parameters
    ----------
    source
        Experiment and scale of the search, such as ``"rates/short"``.
    norm, folder
        As for :meth:`cosnorm.experiments.choosing.Search.choose`.
    """
    name, _, scale = source.partition("/")
    searches = {search.name: search for search in (RATES_MNIST, RATES_NEWSGROUPS, RATES_CIFAR10)}
    return Search(searches[name]).choose(scale, norm, folder=folder).rate


def _to_search(*norms: str) -> dict[str, Technique]:
    return {
        norm: Technique(None, "ours", settings={"hidden_bias": False} if norm == "weight" else {})
        for norm in norms
    }


def searched(swept: Experiment) -> dict[str, Technique]:
    """The techniques of a sweep by name, with open rates, which its records choose."""
    found: dict[str, Technique] = {}
    for name, technique in swept.techniques.items():
        key = name.partition("-at-")[0]
        norm = None if technique.norm == key else technique.norm
        found.setdefault(key, Technique(None, "ours", norm=norm, settings=technique.settings))
    return found


def fair(
    base: Experiment, name: str, title: str, swept: Experiment, scales: Mapping[str, Scale]
) -> Experiment:
    """A comparison on the test set: the techniques of ``swept``, each at the rate that its records choose."""
    return replace(
        base,
        name=name,
        title=title,
        techniques=searched(swept),
        scales={
            key: replace(scale, rates={}, rates_from=f"{swept.name}/{key}") for key, scale in scales.items()
        },
        printed={},
        source="",
        fractions=False,
        search=Search(swept),
    )


# -- MNIST ------------------------------------------------------------------------------------------------

#: Rates beyond the grid, which show how high a rate a cosine network tolerates; never chosen.
FURTHER = {"cosine": (100.0, 300.0)}
#: Factors for the learning rate of a scale and shift after a cosine; 1 is the grid itself.
GAINS = {"cosine_affine": (0.1, 0.01)}

#: Every technique that a fully connected network can use, except single parts of others.
NORMS = tuple(
    name
    for name, recipe in TECHNIQUES.items()
    if not recipe.needs_positions and name not in ("detach_mean", "detach_std", "group")
)

RATES_MNIST = sweep(
    MNIST,
    "rates",
    "Validation errors on MNIST, every technique at each learning rate of one grid",
    {
        "smoke": replace(
            MNIST.scales["smoke"],
            epochs=3,
            seeds=1,
            rates={},
            note="scikit-learn's 8x8 digits, a fifth of the training images held out: for seeing the code "
            "work.",
            validation=288,
        ),
        "short": replace(
            MNIST.scales["short"],
            epochs=2,
            seeds=3,
            note="The paper's network. The last 10 000 training images are held out and judged on; the test "
            "images are not used. Two epochs are enough to find the order of magnitude.",
            threads=1,
            validation=10_000,
        ),
        "paper": replace(
            MNIST.scales["paper"],
            epochs=50,
            seeds=3,
            settings={},
            note="As short, for a quarter of the paper's epochs and with three seeds.",
            validation=10_000,
        ),
    },
    {**_to_search(*NORMS), "weight-biased": Technique(None, "ours", norm="weight")},
    further=FURTHER,
    gains=GAINS,
)


_RELATIVES = searched(RATES_MNIST)
for _name in ("none", "batch", "early_batch", "weight", "scaling"):  # their steps to an error are compared
    _plain = _RELATIVES[_name]
    _RELATIVES[_name] = replace(_plain, settings={**_plain.settings, "error_steps": 200})

RELATIVES = Experiment(
    name="relatives",
    title="Test errors on MNIST, every technique at a rate chosen on held-out training examples",
    techniques=_RELATIVES,
    scales={
        "smoke": replace(
            MNIST.scales["smoke"],
            epochs=8,
            rates={},
            rates_from="rates/smoke",
            note="scikit-learn's 8x8 digits and a small network, rates from `rates` at scale smoke: for "
            "seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            MNIST.scales["short"],
            rates_from="rates/short",
            note="The paper's network and data for a tenth of its epochs, rates from `rates` at scale short.",
            threads=1,
        ),
        "paper": replace(
            MNIST.scales["paper"],
            settings={},
            rates_from="rates/short",
            note="The paper's network, data and epochs; the rates are those of scale short.",
        ),
    },
    std=MNIST.std,
    constant=MNIST.constant,
    recorded="loss and number of misclassified examples after every epoch, of training and test set",
    printed={},
    source="",
    test_examples=MNIST.test_examples,
    search=Search(RATES_MNIST),
)


# -- 20 Newsgroups ----------------------------------------------------------------------------------------


RATES_NEWSGROUPS = sweep(
    NEWSGROUPS,
    "rates_newsgroups",
    "Validation errors on 20 Newsgroups, every technique at each learning rate of one grid",
    {
        "smoke": replace(
            NEWSGROUPS.scales["smoke"],
            epochs=3,
            seeds=1,
            rates={},
            note="Docstrings and a small network, a fifth of the training documents held out: for seeing the "
            "code work.",
            validation=320,
        ),
        "short": replace(
            NEWSGROUPS.scales["short"],
            epochs=4,
            seeds=1,
            note="The paper's network. 2000 training documents drawn at random are held out and judged on; "
            "the test documents are not used. Four epochs and one seed: enough to find the order of "
            "magnitude.",
            threads=1,
            validation=2000,
        ),
        "paper": replace(
            NEWSGROUPS.scales["paper"],
            epochs=50,
            seeds=3,
            note="As short, for fifty epochs and with three seeds.",
            validation=2000,
        ),
    },
    {name: t for name, t in NEWSGROUPS.techniques.items() if t.norm is None},
)


FAIR_NEWSGROUPS = fair(
    NEWSGROUPS,
    "fair_newsgroups",
    "Test errors on 20 Newsgroups, every technique at a rate chosen on held-out training documents",
    RATES_NEWSGROUPS,
    {
        "smoke": replace(
            NEWSGROUPS.scales["smoke"],
            note="Docstrings and a small network, rates from `rates_newsgroups` at scale smoke: for seeing "
            "the code work, no evidence for a ranking.",
        ),
        "short": replace(
            NEWSGROUPS.scales["short"],
            note="The paper's network and data, epochs as in `newsgroups`, rates from `rates_newsgroups` at "
            "scale short.",
        ),
        "paper": replace(
            NEWSGROUPS.scales["paper"],
            note="The paper's network and data for 200 epochs, rates from `rates_newsgroups` at scale paper.",
        ),
    },
)


# -- CIFAR-10 ---------------------------------------------------------------------------------------------

#: With the lower rates that a convolutional network without normalization may need.
_IMAGE_GRID = (0.001, 0.003, *RATES)

_STILL = {
    name: replace(scale, settings={**scale.settings, "images": STILL, "error_steps": None, "observe": ()})
    for name, scale in CIFAR10.scales.items()
}

RATES_CIFAR10 = sweep(
    CIFAR10,
    "rates_cifar10",
    "Validation errors on CIFAR-10, every technique at each learning rate of one grid",
    {
        "smoke": replace(
            _STILL["smoke"],
            epochs=2,
            seeds=1,
            rates={},
            note="scikit-learn's 8x8 digits and a small network, a fifth of the training images held out: "
            "for seeing the code work.",
            validation=288,
        ),
        "short": replace(
            _STILL["short"],
            epochs=2,
            seeds=1,
            note="The paper's network, images not distorted. The last 5000 training images are held out and "
            "judged on; the test images are not used. Two epochs and one seed: enough to find the order of "
            "magnitude.",
            validation=5000,
        ),
        "paper": replace(
            _STILL["paper"],
            epochs=32,
            lengths={},
            seeds=1,
            note="As short, for 32 epochs: a twentieth of the steps of `cifar10`.",
            validation=5000,
        ),
    },
    _to_search("none", "cosine", "centered", "batch", "weight", "layer"),
    _IMAGE_GRID,
)


FAIR_CIFAR10 = fair(
    CIFAR10,
    "fair_cifar10",
    "Test errors on CIFAR-10, every technique at a rate chosen on held-out training images",
    RATES_CIFAR10,
    {
        "smoke": replace(
            _STILL["smoke"],
            note="scikit-learn's 8x8 digits and a small network, rates from `rates_cifar10` at scale smoke: "
            "for seeing the code work, no evidence for a ranking.",
        ),
        "short": replace(
            _STILL["short"],
            epochs=20,
            note="The paper's network, images not distorted, for 20 epochs, rates from `rates_cifar10` at "
            "scale short.",
        ),
        "paper": replace(
            _STILL["paper"],
            epochs=160,
            lengths={},
            note="The paper's network, images not distorted; 62 500 steps, rates from `rates_cifar10` at "
            "scale paper.",
        ),
    },
)
