"""Text through the engine: sparse rows take the course of the same inputs as bytes."""

from __future__ import annotations

import numpy as np
import pytest
from training.problems import assert_close, documents, outcome, replica

from cosnorm.training import inputs, train
from cosnorm.training.sparse import sparse_techniques

SIZES = (24, 24, 12, 3)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", sparse_techniques())
@pytest.mark.parametrize("size", [10, 16])
def test_as_dense(norm: str, size: int) -> None:
    sparse, dense = documents()
    settings = replica(norm, sizes=SIZES, batch_size=size, epochs=5)
    (one,), (two,) = (train([settings], dataset, device="cpu") for dataset in (dense, sparse))
    assert_close(one, two, 1e-7)
    assert one.train_loss[-1] != one.train_loss[0]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", ["none", "cosine", "layer"])
def test_batches_of_one_document(norm: str) -> None:
    sparse, dense = documents()
    settings = replica(norm, sizes=SIZES, batch_size=1, epochs=2, learning_rate=0.05)
    (one,), (two,) = (train([settings], dataset, device="cpu") for dataset in (dense, sparse))
    assert_close(one, two, 1e-7)


@pytest.mark.usefixtures("float64")
def test_preactivations_are_observed() -> None:
    sparse, dense = documents()
    settings = replica(sizes=SIZES, observe=("preactivation",))
    (one,), (two,) = (train([settings], dataset, device="cpu") for dataset in (dense, sparse))
    assert_close(one, two, 1e-7)
    assert np.array(two.observed["preactivation"]).shape == (4, 5, 3)


def test_max_norm_keeps_its_radius() -> None:
    """With weights that begin outside of the ball the rule of the first layer decides the course."""
    sparse, dense = documents()
    settings = replica("max_norm", sizes=SIZES, std=1.0, learning_rate=0.1)
    (one,), (two,) = (train([settings], dataset, device="cpu") for dataset in (dense, sparse))
    (free,) = train([replica("none", sizes=SIZES, std=1.0, learning_rate=0.1)], sparse, device="cpu")
    assert_close(one, two, 1e-3)
    assert two.train_loss[-1] != pytest.approx(free.train_loss[-1], rel=0.01)


def test_replicas_are_trained_one_by_one_even_where_stacks_are_asked_for() -> None:
    sparse, _ = documents()
    replicas = [replica(sizes=SIZES, seed=seed) for seed in (0, 1)]
    stacked = train(replicas, sparse, device="cpu", stacked=True)
    threads = train(replicas, sparse, device="cpu", parallel=2)
    apart = [train([each], sparse, device="cpu")[0] for each in replicas]
    assert [outcome(c) for c in stacked] == [outcome(c) for c in apart] == [outcome(c) for c in threads]
    assert stacked[0].at_once == 1


def test_evaluation_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    sparse, _ = documents()
    (whole,) = train([replica("batch", sizes=SIZES)], sparse, device="cpu")
    monkeypatch.setattr(inputs, "EVALUATION_CHUNK", 7)
    (chunked,) = train([replica("batch", sizes=SIZES)], sparse, device="cpu")
    assert_close(whole, chunked, 1e-5)
