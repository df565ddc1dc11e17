"""Pytest set-up of the contract suite: one thread, warnings are errors, one line for each case skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent

#: What torch says about its own code (in forward mode, inductor, dynamo), which depends on its version.
OF_TORCH = ["ignore::DeprecationWarning:torch", "ignore::FutureWarning:torch"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker this folder uses, so that it also runs alone under strict markers."""
    config.addinivalue_line("markers", "slow: takes seconds rather than milliseconds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A warning from a layer is a fault of the layer: it becomes an error in each test of this folder."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("error", *OF_TORCH), append=False)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """The tensors here are tiny: threads only cost time, and change the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
