"""Every example in the docstrings of the experiments, the evidence and the figures does what it says."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "cosnorm.networks",
    "cosnorm.training.cost",
    "cosnorm.training.engine",
    "cosnorm.record",
    "cosnorm.plots",
    "cosnorm._cli.shared",
    "cosnorm.experiments.costing",
    "cosnorm.experiments.registry",
    "cosnorm.experiments.running",
    "cosnorm.evidence.loading",
    "cosnorm.evidence.placing",
    "cosnorm.evidence.spread",
    "cosnorm.evidence.table",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    import matplotlib as mpl

    with mpl.rc_context():
        found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
