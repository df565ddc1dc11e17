"""What the paper leaves open about its text: 20 Newsgroups prepared in other ways.

Each experiment is :mod:`cosnorm.experiments.newsgroups` with one setting of the preparation changed, and is
read beside it. With our preparation every feature is divided by its largest value, so that another formula
for the inverse document frequency would cancel; what is left to sweep is the words that count, the term
frequency and the documents' length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from cosnorm.experiments import newsgroups
from cosnorm.experiments.registry import Experiment, Scale

NORMS = ("none", "cosine", "batch", "weight", "max_norm")


class Reading(NamedTuple):
    """One other preparation, and how many words of each dataset it leaves."""

    words: str
    preparation: dict[str, Any]
    features: dict[str, int]


_ALL_WORDS = {"docstrings": 2987, "newsgroups": 21_566}

#: By the end of the experiment's name.
READINGS = {
    "words": Reading(
        "words in more than five documents",
        {"min_documents": 6},
        {"docstrings": 2656, "newsgroups": 18_989},
    ),
    "counts": Reading("term frequency 1 + log n", {"tf": "log"}, _ALL_WORDS),
    "unclipped": Reading("values above 1 in test documents left as they are", {"clip": False}, _ALL_WORDS),
    "lengths": Reading("documents of length 1 before the scaling", {"length": "unit"}, _ALL_WORDS),
}


def _scale(scale: Scale, reading: Reading) -> Scale:
    return replace(
        scale,
        sizes=(reading.features[scale.dataset], *scale.sizes[1:]),
        rates={norm: rate for norm, rate in scale.rates.items() if norm in NORMS},
        preparation=reading.preparation,
        note=f"As `newsgroups` at this scale, but {reading.words}. {scale.note}",
    )


def _experiment(name: str, reading: Reading) -> Experiment:
    base = newsgroups.EXPERIMENT
    return replace(
        base,
        name=f"ambiguity_text_{name}",
        title=f"Test errors on 20 Newsgroups with {reading.words}",
        techniques={norm: base.techniques[norm] for norm in NORMS},
        scales={key: _scale(scale, reading) for key, scale in base.scales.items()},
    )


EXPERIMENTS = tuple(_experiment(name, reading) for name, reading in READINGS.items())
