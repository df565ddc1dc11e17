"""Errors every so many steps: the right ones, at the right steps, and training does not notice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training.problems import DENSE, conv_replica, documents, outcome, pictures, replica, tiny

from cosnorm.training import ImageSettings, train
from cosnorm.training.sparse import sparse_techniques


def both(make: Any, norm: str, dataset: Any, every: int, **changes: Any) -> tuple[Any, Any]:
    """The outcome without and with errors every so many steps."""
    (plain,) = train([make(norm, **changes)], dataset, device="cpu")
    (counted,) = train([make(norm, **changes, error_steps=every)], dataset, device="cpu")
    return outcome(plain), outcome(counted)


@pytest.mark.parametrize("norm", DENSE)
def test_training_does_not_notice(norm: str) -> None:
    changes = {"sizes": (6, 24, 12, 3), "dropout": (0.2, 0.5), "average": 0.9}
    plain, counted = both(replica, norm, tiny(), 1, **changes)
    seen = counted["observed"].pop("test_error_steps")
    assert counted == plain
    assert [len(epoch) for epoch in seen] == [4] * 4
    assert [epoch[-1] for epoch in seen] == plain["test_error"]


@pytest.mark.parametrize("norm", sparse_techniques())
def test_training_from_sparse_rows_does_not_notice(norm: str) -> None:
    plain, counted = both(replica, norm, documents()[0], 1, sizes=(24, 8, 3))
    seen = counted["observed"].pop("test_error_steps")
    assert counted == plain
    assert [epoch[-1] for epoch in seen] == plain["test_error"]


@pytest.mark.parametrize("norm", ["cosine", "batch", "online"])
def test_training_on_images_does_not_notice(norm: str) -> None:
    images = ImageSettings(crop=6, whiten=True, augment=True)
    plain, counted = both(
        conv_replica, norm, pictures(), 2, sizes=(72, 6, 3), images=images, magnitude=2.0, average=0.9
    )
    assert [len(epoch) for epoch in counted["observed"].pop("test_error_steps")] == [1, 2]
    assert counted == plain


def test_steps_are_counted_over_the_whole_run() -> None:
    """Four steps an epoch and every third counted: steps 3, 6, 9, 12 of 16, and 12 ends the third epoch."""
    plain, counted = both(replica, "cosine", tiny(), 3, learning_rate=5.0)
    _, every = both(replica, "cosine", tiny(), 1, learning_rate=5.0)
    (third,), (sixth,), (ninth, twelfth), (fifteenth,) = counted["observed"]["test_error_steps"]
    whole = [errors for epoch in every["observed"]["test_error_steps"] for errors in epoch]
    assert [third, sixth, ninth, twelfth, fifteenth] == [whole[step - 1] for step in (3, 6, 9, 12, 15)]
    assert twelfth == plain["test_error"][2]
    assert len(set(whole)) >= 3, "the errors of these steps differ"


def test_batches_left_over_are_steps_too() -> None:
    """Batches of 16 make three steps of 40 examples."""
    _, counted = both(replica, "cosine", tiny(), 2, batch_size=16)
    assert [len(epoch) for epoch in counted["observed"]["test_error_steps"]] == [1, 2, 1, 2]


def test_none_may_fall_into_an_epoch() -> None:
    _, counted = both(replica, "cosine", tiny(), 9)
    assert [len(epoch) for epoch in counted["observed"]["test_error_steps"]] == [0, 0, 1, 0]


def test_the_end_of_an_epoch_is_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from cosnorm.training import engine

    asked: list[Any] = []
    evaluate = engine.evaluate
    monkeypatch.setattr(engine, "evaluate", lambda *a: asked.append(a) or evaluate(*a))
    both(replica, "cosine", tiny(), 2)
    assert len(asked) == 4 + 2 * 4


def test_averages_are_what_is_evaluated() -> None:
    """The network itself jumps about at this rate, its average has hardly left the start."""
    changes = {"learning_rate": 20.0, "epochs": 2}
    _, slow = both(replica, "none", tiny(), 1, average=0.999999, **changes)
    _, plain = both(replica, "none", tiny(), 1, **changes)
    assert slow["train_loss"] == plain["train_loss"]
    assert slow["observed"]["test_error_steps"] != plain["observed"]["test_error_steps"]
    assert slow["observed"]["test_error_steps"][1][-1] == slow["test_error"][1]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", ["none", "cosine", "batch", "cosine_affine"])
def test_a_stack_counts_the_same(norm: str) -> None:
    changes: dict[str, Any] = {"error_steps": 3, "average": 0.9, "dropout": (0.2, 0.5)}
    changes |= {"gain_rate": 0.3} if norm in ("batch", "cosine_affine") else {}
    replicas = [replica(norm, seed=seed, **changes) for seed in range(3)]
    together = train(replicas, tiny(), device="cpu", stacked=True)
    for each, stacked in zip(replicas, together, strict=True):
        (alone,) = train([each], tiny(), device="cpu")
        assert stacked.observed == alone.observed
        assert stacked.train_loss == pytest.approx(alone.train_loss, rel=1e-9)
        assert stacked.at_once == 3


def test_a_run_that_diverges_keeps_the_lists_of_the_epochs_before() -> None:
    (curves,) = train([replica("none", learning_rate=1e30, error_steps=1)], tiny(), device="cpu")
    assert curves.diverged_epoch is not None
    assert len(curves.observed.get("test_error_steps", [])) == len(curves.test_error)
    assert not torch.is_inference_mode_enabled()
