"""Steps recorded as CUDA graphs do what plain steps do. On a machine without CUDA none of this runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from training.problems import (
    DENSE,
    assert_close,
    conv_replica,
    default_dtype,
    documents,
    pictures,
    replica,
    three,
    tiny,
)

from cosnorm.training import Curves, ImageSettings, Replica, cuda_graph, engine, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

NOISY = {"dropout": (0.2, 0.5), "average": 0.9, "magnitude": 2.0}


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each step that was replayed."""
    replayed: list[int] = []
    call = cuda_graph.CapturedStep.__call__

    def spy(step: cuda_graph.CapturedStep, indices: torch.Tensor) -> None:
        replayed.append(indices.shape[1])
        call(step, indices)

    monkeypatch.setattr(cuda_graph.CapturedStep, "__call__", spy)
    return replayed


def both(replicas: list[Replica], dataset: Any, **options: Any) -> tuple[list[Curves], list[Curves]]:
    """With and without graphs."""
    recorded = train(replicas, dataset, device="cuda", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine._Unit, "_capturable", lambda *_: False)
        return recorded, train(replicas, dataset, device="cuda", **options)


def agree(replicas: list[Replica], dataset: Any, tolerance: float = 1e-6, **options: Any) -> None:
    for one, two in zip(*both(replicas, dataset, **options), strict=True):
        assert_close(one, two, tolerance)


@pytest.mark.parametrize("norm", DENSE)
@pytest.mark.parametrize("stacked", [False, True])
def test_every_technique(norm: str, stacked: bool, captured: list[int]) -> None:
    agree(three(replica(norm, sizes=(6, 24, 12, 3), batch_size=16)), tiny(), stacked=stacked)
    assert captured, "steps were to be replayed"
    assert set(captured) == {16}, "the last batch of 8 is no common size"


@pytest.mark.parametrize("stacked", [False, True])
def test_everything_that_varies(stacked: bool, captured: list[int]) -> None:
    agree(three(replica("batch", **NOISY)), tiny(), stacked=stacked)
    assert captured


@pytest.mark.parametrize("stacked", [False, True])
def test_distorted_images_of_a_convolutional_network(stacked: bool, captured: list[int]) -> None:
    images = ImageSettings(crop=6, whiten=True, augment=True)
    settings = conv_replica(sizes=(72, 6, 3), images=images, average=0.9, magnitude=2.0)
    agree(three(settings), pictures(), 1e-5, stacked=stacked)
    assert captured


def test_recording_changes_no_state(captured: list[int]) -> None:
    """The first step of all would be made four times if the warm-up were not undone."""
    settings = replica("batch", batch_size=40, epochs=1, **NOISY)
    agree([settings], tiny(), 1e-7, stacked=False)
    assert captured == [40]


def test_a_stack_that_loses_a_replica_records_anew(captured: list[int], monkeypatch: Any) -> None:
    replicas = three(replica("none", **NOISY))
    evaluate: Callable[..., tuple[float, int]] = engine.evaluate

    def spoilt(state: Any, examples: Any) -> tuple[float, int]:
        loss, errors = evaluate(state, examples)
        return (float("nan") if state.replica.seed == 1 and state.epoch == 1 else loss), errors

    monkeypatch.setattr(engine, "evaluate", spoilt)
    recorded, plain = both(replicas, tiny(), stacked=True)
    assert [curves.diverged_epoch for curves in recorded] == [None, 2, None]
    for one, two in zip(recorded, plain, strict=True):
        assert_close(one, two, 1e-6)


def test_streams_do_not_disturb_each_other(captured: list[int]) -> None:
    replicas = [replica(norm, **NOISY) for norm in ("none", "cosine", "batch", "layer")]
    one_by_one, together = (train(replicas, tiny(), device="cuda", parallel=n) for n in (1, 4))
    for one, two in zip(one_by_one, together, strict=True):
        assert_close(one, two, 1e-6)


@pytest.mark.parametrize("norm", ["none", "cosine", "batch", "max_norm"])
def test_as_on_the_processor(norm: str) -> None:
    """Without dropout, whose masks are drawn on the device, one seed is one course everywhere."""
    with default_dtype():
        settings = replica(norm, average=0.9, magnitude=2.0)
        (one,), (two,) = (train([settings], tiny(), device=device) for device in ("cpu", "cuda"))
        assert_close(one, two)
        sparse, _ = documents()
        settings = replica(norm, sizes=(24, 8, 3))
        (one,), (two,) = (train([settings], sparse, device=device) for device in ("cpu", "cuda"))
        assert_close(one, two, 1e-7)
