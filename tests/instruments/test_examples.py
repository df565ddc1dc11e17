"""Every example in the docstrings of the instruments does what it says."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch

MODULES = ["covariate_shift", "lengths", "smoothness", "statistics_gradient", "widths"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    torch.manual_seed(0)
    found = doctest.testmod(importlib.import_module(f"cosnorm.instruments.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
