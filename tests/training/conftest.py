"""What the tests of the engine share: float64, and a look at the networks that are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch import nn
from training import problems

from cosnorm.networks import mlp
from cosnorm.training import state


@pytest.fixture
def float64() -> Iterator[None]:
    with problems.default_dtype():
        yield


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> list[nn.Sequential]:
    """The dense networks that the engine trains, in the order in which they are made."""
    trained: list[nn.Sequential] = []

    def keep(*arguments: Any, **options: Any) -> nn.Sequential:
        trained.append(mlp(*arguments, **options))
        return trained[-1]

    monkeypatch.setattr(state, "mlp", keep)
    return trained
