"""20 Newsgroups with every technique at the rate that ``rates_newsgroups`` found for it."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import newsgroups, rates_newsgroups
from cosnorm.experiments.choosing import fair

_SCALES = newsgroups.EXPERIMENT.scales

EXPERIMENT = fair(
    newsgroups.EXPERIMENT,
    "fair_newsgroups",
    "Test errors on 20 Newsgroups, every technique at a rate chosen on held-out training documents",
    rates_newsgroups.EXPERIMENT,
    {
        "smoke": replace(
            _SCALES["smoke"],
            note="Docstrings and a small network, rates from `rates_newsgroups` at scale smoke: for seeing "
            "the code work, no evidence for a ranking.",
        ),
        "short": replace(
            _SCALES["short"],
            note="The paper's network and data, epochs as in `newsgroups`, rates from `rates_newsgroups` at "
            "scale short.",
        ),
        "paper": replace(
            _SCALES["paper"],
            note="The paper's network and data for 200 epochs, rates from `rates_newsgroups` at scale paper.",
        ),
    },
)
