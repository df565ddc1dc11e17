"""The learning rate of each technique on 20 Newsgroups: one grid for all, judged on held-out documents."""

from __future__ import annotations

from dataclasses import replace

from cosnorm.experiments import newsgroups
from cosnorm.experiments.choosing import sweep

_SCALES = newsgroups.EXPERIMENT.scales

EXPERIMENT = sweep(
    newsgroups.EXPERIMENT,
    "rates_newsgroups",
    "Validation errors on 20 Newsgroups, every technique at each learning rate of one grid",
    {
        "smoke": replace(
            _SCALES["smoke"],
            epochs=3,
            seeds=1,
            rates={},
            note="Docstrings and a small network, a fifth of the training documents held out: for seeing the "
            "code work.",
            validation=320,
        ),
        "short": replace(
            _SCALES["short"],
            epochs=4,
            seeds=1,
            note="The paper's network. 2000 training documents drawn at random are held out and judged on; "
            "the test documents are not used. Four epochs and one seed: enough to find the order of "
            "magnitude.",
            threads=1,
            validation=2000,
        ),
        "paper": replace(
            _SCALES["paper"],
            epochs=50,
            seeds=3,
            note="As short, for fifty epochs and with three seeds.",
            validation=2000,
        ),
    },
    {name: t for name, t in newsgroups.EXPERIMENT.techniques.items() if t.norm is None},
)
