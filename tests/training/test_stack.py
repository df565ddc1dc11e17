"""A replica alone and the same one in a stack: one result, for every technique and everything that varies."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from training.problems import (
    DENSE,
    assert_close,
    conv_replica,
    outcome,
    pictures,
    replica,
    three,
    tiny,
    vectors,
)

from cosnorm.techniques import TECHNIQUES
from cosnorm.training import Curves, ImageSettings, Replica, engine, train
from cosnorm.training.step import StackedSteps

STACKABLE = [name for name in DENSE if TECHNIQUES[name].stackable]
#: Long enough for max norm to shorten vectors.
STD = {"max_norm": 1.0}
#: Techniques with a rule, with statistics kept between batches and with fixed ones, and the paper's.
SOME = ("cosine", "max_norm", "batch", "propagation")


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """For each stack how many replicas it trained in each of its steps."""
    seen: list[list[int]] = []

    class Spy(StackedSteps):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            seen.append(self.counts)

        def _reset(self) -> None:
            super()._reset()
            self.counts = getattr(self, "counts", [])

        def step(self, indices: Tensor) -> None:
            self.counts.append(len(indices))
            super().step(indices)

    monkeypatch.setattr(engine, "StackedSteps", Spy)
    return seen


def apart(replicas: Sequence[Replica], dataset: SimpleNamespace) -> list[Curves]:
    return [train([each], dataset, device="cpu", stacked=False)[0] for each in replicas]


def agree(replicas: Sequence[Replica], dataset: SimpleNamespace) -> None:
    """Train together and apart, compare, and see that the replicas differ at all."""
    alone = apart(replicas, dataset)
    together = train(replicas, dataset, device="cpu", stacked=True)
    for one, two in zip(alone, together, strict=True):
        assert len(one.test_loss) == replicas[0].epochs
        assert_close(one, two)
    assert len({curves.train_loss[-1] for curves in together}) == len(replicas)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", STACKABLE)
def test_every_technique(norm: str, stacks: list[list[int]]) -> None:
    """Batches of 16 leave one of 8 examples."""
    agree(three(replica(norm, sizes=(6, 24, 12, 3), batch_size=16, std=STD.get(norm, 0.1))), tiny())
    assert stacks == [[3] * 3 * 4]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", [name for name, recipe in TECHNIQUES.items() if recipe.stackable])
def test_every_technique_with_convolutions(norm: str, stacks: list[list[int]]) -> None:
    agree(three(conv_replica(norm, learning_rate=0.1, std=STD.get(norm, 0.1))), pictures())
    assert stacks == [[3] * 3 * 2]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", SOME)
@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": (0.2, 0.5)},
        {"average": 0.9},
        {"magnitude": 3.0},
        {"dropout": (0.0, 0.3), "average": 0.99, "magnitude": 2.0, "batch_size": 16},
        {"observe": ("scaled_inputs", "lengths")},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_everything_that_varies(norm: str, changes: dict[str, Any], stacks: list[list[int]]) -> None:
    agree(three(replica(norm, **changes)), tiny())
    assert len(stacks) == 1


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", ["none", "cosine", "batch"])
@pytest.mark.parametrize("whiten", [False, True])
def test_distorted_images_of_a_convolutional_network(
    norm: str, whiten: bool, stacks: list[list[int]]
) -> None:
    images = ImageSettings(crop=6, whiten=whiten, augment=True)
    agree(three(conv_replica(norm, sizes=(72, 6, 3), images=images, average=0.9, magnitude=2.0)), pictures())
    assert len(stacks) == 1


@pytest.mark.usefixtures("float64")
def test_distorted_images_of_a_dense_network(stacks: list[list[int]]) -> None:
    images = ImageSettings(crop=6, whiten=True, augment=True)
    agree(three(replica(sizes=(72, 6, 3), images=images, dropout=(0.2, 0.5))), pictures())
    assert len(stacks) == 1


@pytest.mark.usefixtures("float64")
def test_batches_of_one_example(stacks: list[list[int]]) -> None:
    agree(three(replica(batch_size=1, epochs=2, learning_rate=0.05)), tiny(12))
    assert stacks == [[3] * 24]


@pytest.mark.parametrize("norm", SOME)
def test_in_float32_the_same_errors(norm: str) -> None:
    """What the runs compute in: equal to rounding, which five epochs on this problem do not enlarge."""
    replicas = three(replica(norm, epochs=5))
    for one, two in zip(
        apart(replicas, tiny()), train(replicas, tiny(), device="cpu", stacked=True), strict=True
    ):
        assert_close(one, two, 1e-4)


def test_only_what_differs_in_seed_and_rate_is_stacked(stacks: list[list[int]]) -> None:
    mixed = [*three(replica("none")), replica("cosine"), replica("none", epochs=2), *three(replica("online"))]
    mixed = [mixed[place] for place in (3, 0, 5, 1, 4, 6, 2, 7)]
    together = train(mixed, tiny(), device="cpu", stacked=True)
    assert stacks == [[3] * 16]
    for one, two in zip(apart(mixed, tiny()), together, strict=True):
        assert_close(one, two, 1e-4)


def test_a_stack_has_a_largest_size(stacks: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LARGEST_STACK", 2)
    replicas = [replica(seed=seed, epochs=1) for seed in range(5)]
    together = train(replicas, tiny(), device="cpu", stacked=True)
    assert stacks == [[2] * 4] * 2  # the fifth goes alone
    assert [curves.at_once for curves in together] == [2, 2, 2, 2, 1]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", ["none", "batch", "max_norm"])
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_one_replica_diverges_and_the_others_do_not_notice(
    norm: str, lost: int, stacks: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, averages and magnitudes are there because each is drawn or kept a replica a row."""
    replicas = three(replica(norm, dropout=(0.2, 0.5), average=0.9, magnitude=2.0))
    alone = apart(replicas, tiny())
    evaluate = engine.evaluate

    def spoilt(state: Any, examples: Any) -> tuple[float, int]:
        loss, errors = evaluate(state, examples)
        return (float("nan") if state.replica == replicas[lost] and state.epoch == 1 else loss), errors

    monkeypatch.setattr(engine, "evaluate", spoilt)
    together = train(replicas, tiny(), device="cpu", stacked=True)
    assert stacks == [[3] * 8 + [2] * 8], "what has diverged costs nothing any more"
    for place, (one, two) in enumerate(zip(alone, together, strict=True)):
        if place == lost:
            assert two.diverged_epoch == 2
            assert two.train_loss == pytest.approx(one.train_loss[:1], rel=1e-9)
        else:
            assert_close(one, two)


def test_divergence_down_to_one_and_to_none(stacks: list[list[int]]) -> None:
    good = replica("none")
    wild = [replica("none", seed=seed, learning_rate=1e38) for seed in (1, 2)]
    first, kept, second = train([wild[0], good, wild[1]], tiny(), device="cpu", stacked=True)
    assert first.diverged_epoch == second.diverged_epoch == 1
    assert first.test_error == second.train_loss == []
    assert stacks == [[3] * 4 + [1] * 12]
    assert_close(kept, apart([good], tiny())[0], 1e-4)
    stacks.clear()
    assert [c.diverged_epoch for c in train(wild, tiny(), device="cpu", stacked=True)] == [1, 1]
    assert stacks == [[2] * 4]


@pytest.mark.parametrize("norm", SOME)
def test_a_stack_repeats_to_the_bit(norm: str) -> None:
    replicas = three(replica(norm, dropout=(0.2, 0.5)))
    one, two = (train(replicas, tiny(), device="cpu", stacked=True) for _ in range(2))
    assert [outcome(curves) for curves in one] == [outcome(curves) for curves in two]


def test_a_replica_of_a_stack_is_left_with_its_own_trained_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views of the stack: what is evaluated is what was descended."""
    made: list[Any] = []
    state_of = engine.TrainingState
    monkeypatch.setattr(engine, "TrainingState", lambda *a: made.append(state_of(*a)) or made[-1])
    replicas = three(replica("batch"))
    together = train(replicas, tiny(), device="cpu", stacked=True)
    inputs = vectors(tiny().test_inputs)
    for state, curves in zip(made, together, strict=True):
        with torch.no_grad():
            wrong = state.network.eval()(inputs).argmax(1).numpy() != tiny().test_targets
        assert int(wrong.sum()) == curves.test_error[-1]
