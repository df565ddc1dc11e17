"""Stopped and gone on: whatever the state must hold, the rest of the run comes out the same to the bit."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training.problems import DENSE, assert_close, conv_replica, documents, outcome, pictures, replica, tiny

from cosnorm.training import Curves, Hooks, ImageSettings, Replica, train, train_with
from cosnorm.training.observers import OBSERVERS
from cosnorm.training.sparse import sparse_techniques


class Kept:
    """A checkpoint in memory, written and read as a file would be."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.loaded: list[int] = []

    def load(self) -> dict[str, Any] | None:
        if self.content is None:
            return None
        state = torch.load(io.BytesIO(self.content), weights_only=True)
        self.loaded.append(state["epoch"])
        return state

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        stream = io.BytesIO()
        torch.save(state(), stream)
        self.content = stream.getvalue()


class StopError(Exception):
    """A run is stopped."""


class Keeping(Hooks):
    """Keeps the states of all replicas; stops where it is told."""

    def __init__(self, count: int) -> None:
        self.kept = [Kept() for _ in range(count)]
        self.stop: tuple[int, int] | None = None
        self.told: list[tuple[int, int]] = []
        self.finished: dict[int, Curves] = {}

    def start(self, index: int) -> bool:
        return index not in self.finished

    def checkpoint(self, index: int) -> Any:
        return self.kept[index]

    def epoch(self, index: int, replica: Replica, curves: Curves) -> None:
        if (index, len(curves.test_error)) == self.stop:
            raise StopError
        self.told.append((index, len(curves.test_error)))

    def finish(self, index: int, curves: Curves) -> None:
        self.finished[index] = curves


def stopped_and_resumed(
    replicas: list[Replica], dataset: Any, stops: list[tuple[int, int]], **options: Any
) -> Keeping:
    """Train with stops at these replicas and epochs, then to the end."""
    hooks = Keeping(len(replicas))
    for hooks.stop in stops:
        with pytest.raises(StopError):
            train_with(hooks, replicas, dataset, device="cpu", **options)
    hooks.stop = None
    train_with(hooks, replicas, dataset, device="cpu", **options)
    return hooks


def same_bits(settings: Replica, dataset: Any) -> None:
    (whole,) = train([settings], dataset, device="cpu")
    last = settings.epochs
    hooks = stopped_and_resumed([settings], dataset, [(0, 2), (0, last)] if last > 2 else [(0, 2)])
    assert hooks.kept[0].loaded == ([1, last - 1] if last > 2 else [1])
    assert outcome(hooks.finished[0]) == outcome(whole)
    assert hooks.finished[0].seconds > 0


@pytest.mark.parametrize("norm", DENSE)
def test_every_technique(norm: str) -> None:
    same_bits(replica(norm, sizes=(6, 24, 12, 3)), tiny())


@pytest.mark.parametrize("norm", ["none", "cosine", "batch", "online", "instance"])
def test_distorted_images_of_a_convolutional_network(norm: str) -> None:
    images = ImageSettings(crop=6, whiten=True, augment=True)
    same_bits(conv_replica(norm, sizes=(72, 6, 3), images=images, average=0.9, magnitude=2.0), pictures())


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": (0.2, 0.5)},
        {"average": 0.9},
        {"magnitude": 3.0},
        {"observe": tuple(OBSERVERS)},
        {"error_steps": 3},
        {"error_steps": 3, "average": 0.9, "dropout": (0.2, 0.5), "dropout_convention": "testing"},
        {"batch_size": 1, "learning_rate": 0.05},
        {"batch_size": 16, "dropout": (0.0, 0.5), "average": 0.5, "magnitude": 1.5},
        {"norm": "cosine_affine", "gain_rate": 0.2, "error_steps": 3, "average": 0.9},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_everything_that_varies(changes: dict[str, Any]) -> None:
    same_bits(replica(**changes), tiny())


@pytest.mark.parametrize("norm", sparse_techniques())
def test_sparse_inputs(norm: str) -> None:
    same_bits(replica(norm, sizes=(24, 8, 3), error_steps=3), documents()[0])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", ["cosine", "batch", "max_norm"])
def test_a_stack(norm: str) -> None:
    """Stopped at the second replica, the first has kept one epoch more: two stacks go on."""
    replicas = [
        replica(norm, seed=seed, dropout=(0.2, 0.5), average=0.9, magnitude=2.0, epochs=5)
        for seed in range(4)
    ]
    hooks = stopped_and_resumed(replicas, tiny(), [(2, 3)], stacked=True)
    assert [kept.loaded for kept in hooks.kept] == [[3], [3], [2], [2]]
    assert hooks.finished[0].at_once == 2
    for index, each in enumerate(replicas):
        assert_close(train([each], tiny(), device="cpu")[0], hooks.finished[index])


@pytest.mark.parametrize("stop", [(0, 3), (1, 5)])
def test_in_threads(stop: tuple[int, int]) -> None:
    """One stop a test: how far the other thread has come by then is not ours to say."""
    replicas = [replica(norm, epochs=6) for norm in ("none", "cosine", "batch")]
    whole = train(replicas, tiny(), device="cpu")
    hooks = stopped_and_resumed(replicas, tiny(), [stop], parallel=2)
    assert [outcome(hooks.finished[index]) for index in range(3)] == [outcome(curves) for curves in whole]


def test_no_state_is_kept_of_the_last_epoch() -> None:
    """What follows it is the record, and a state with nothing left to do would be trained on."""
    hooks = Keeping(1)
    train_with(hooks, [replica(epochs=1)], tiny(), device="cpu")
    assert hooks.kept[0].content is None


def test_a_state_holds_no_view_of_what_goes_on() -> None:
    """Kept by reference, a state would change with the next epoch."""
    states: list[dict[str, Any]] = []

    class Referring(Hooks):
        def checkpoint(self, index: int) -> Any:
            return SimpleNamespace(load=lambda: None, save=lambda state: states.append(state()))

    changes = {"dropout": (0.2, 0.5), "average": 0.9}
    for stacked in (False, True):
        states.clear()
        alike = [replica("batch", seed=seed, **changes) for seed in (0, 1)]
        train_with(Referring(), alike, tiny(), device="cpu", stacked=stacked)
        begin = pytest.approx(train(alike[:1], tiny(), device="cpu")[0].train_loss[0], rel=1e-5)
        first, *_, last = (state for state in states if state["curves"]["train_loss"][0] == begin)
        for part in ("network", "averages"):
            changed = [name for name, t in first[part].items() if not torch.equal(t, last[part][name])]
            assert "1.weight" in changed
        assert (first["epoch"], last["epoch"]) == (1, 3)
        assert len(first["curves"]["test_loss"]) == 1
