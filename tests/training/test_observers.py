"""What is recorded besides losses and errors, against a direct computation from the trained network."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from training.problems import conv_replica, outcome, pictures, replica, tiny, vectors

from cosnorm.networks import mlp
from cosnorm.training import inputs, train
from cosnorm.training.observers import (
    FACTORS,
    OBSERVERS,
    PERCENTILES,
    UNITS,
    lengths,
    percentiles_of,
    preactivation,
    watch_preactivations,
)
from cosnorm.training.state import evaluate

EVERYTHING = tuple(OBSERVERS)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", ["none", "cosine", "batch"])
def test_preactivations_are_what_enters_the_last_relu(norm: str, networks: list[nn.Sequential]) -> None:
    dataset = tiny()
    (curves,) = train([replica(norm, sizes=(6, 9, 8, 3), observe=EVERYTHING)], dataset, device="cpu")
    layers = list(networks[0].eval())
    last = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.ReLU))
    values = nn.Sequential(*layers[:last])(vectors(dataset.test_inputs)).detach().numpy()
    assert values.shape == (30, 8)
    low, middle, high = np.percentile(values, PERCENTILES, axis=0)
    expected = np.stack([low, middle, high], axis=1)[:UNITS]
    np.testing.assert_allclose(curves.observed["preactivation"][-1], expected, rtol=1e-9, atol=1e-12)
    # torch's median of an even number is the lower middle one.
    assert curves.observed["preactivation_spread"][-1] == pytest.approx(np.sort(high - low)[3], rel=1e-9)
    scale = np.sort(np.sqrt((values**2).mean(0)))[3]
    assert curves.observed["preactivation_scale"][-1] == pytest.approx(scale, rel=1e-9)


@pytest.mark.parametrize("norm", ["none", "cosine"])
def test_errors_on_scaled_inputs(norm: str, networks: list[nn.Sequential]) -> None:
    dataset = tiny()
    (curves,) = train([replica(norm, std=1.0, observe=("scaled_inputs",))], dataset, device="cpu")
    with torch.no_grad():
        expected = [
            int(
                (
                    networks[0](vectors(dataset.test_inputs) * factor).argmax(1).numpy()
                    != dataset.test_targets
                ).sum()
            )
            for factor in FACTORS
        ]
    assert curves.observed["test_error_scaled"][-1] == expected
    assert expected[FACTORS.index(1.0)] == curves.test_error[-1]
    assert (len(set(expected)) > 1) == (norm == "none")


def test_lengths_are_medians_over_the_units_of_each_layer(networks: list[nn.Sequential]) -> None:
    (curves,) = train([replica("cosine", sizes=(6, 9, 7, 3), observe=("lengths",))], tiny(), device="cpu")
    weights = [m.weight.detach().numpy() for m in networks[0] if isinstance(m, nn.Linear)]
    expected = [np.median(np.linalg.norm(weight, axis=1)) for weight in weights]
    np.testing.assert_allclose(curves.observed["weight_length"][-1], expected, rtol=1e-6)
    assert len(expected) == 3


def test_the_first_112_images_are_counted_by_themselves(networks: list[nn.Sequential]) -> None:
    dataset = tiny(test_examples=150)
    (curves,) = train([replica("none", observe=("first_112",))], dataset, device="cpu")
    with torch.no_grad():
        wrong = networks[0](vectors(dataset.test_inputs)).argmax(1).numpy() != dataset.test_targets
    assert curves.observed["test_error_first_112"][-1] == int(wrong[:112].sum())
    assert 0 < int(wrong[:112].sum()) < int(wrong.sum())
    (few,) = train([replica("none", observe=("first_112",))], tiny(), device="cpu")
    assert few.observed["test_error_first_112"] == few.test_error, "30 test examples are all among them"


def test_every_epoch_has_its_entry() -> None:
    (curves,) = train([replica(observe=EVERYTHING)], tiny(), device="cpu")
    assert {name: len(values) for name, values in curves.observed.items()} == dict.fromkeys(
        (
            "preactivation",
            "preactivation_spread",
            "preactivation_scale",
            "test_error_scaled",
            "weight_length",
            "test_error_first_112",
        ),
        4,
    )
    assert len({str(entry) for entry in curves.observed["preactivation"]}) == 4


@pytest.mark.parametrize("norm", ["none", "batch", "online"])
def test_observing_changes_nothing(norm: str) -> None:
    (plain,), (seen,) = (train([replica(norm, observe=o)], tiny(), device="cpu") for o in ((), EVERYTHING))
    assert {**outcome(seen), "observed": {}} == outcome(plain)


def test_observations_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = train([replica("batch", observe=EVERYTHING)], tiny(), device="cpu")
    monkeypatch.setattr(inputs, "EVALUATION_CHUNK", 7)
    (chunked,) = train([replica("batch", observe=EVERYTHING)], tiny(), device="cpu")
    for name, values in whole.observed.items():
        np.testing.assert_allclose(np.array(chunked.observed[name]), np.array(values), rtol=1e-4, atol=1e-6)


def test_a_convolutional_network_is_observed_too() -> None:
    (curves,) = train([conv_replica(observe=EVERYTHING, average=0.9)], pictures(), device="cpu")
    assert np.array(curves.observed["preactivation"]).shape == (2, 5, 3)
    assert np.array(curves.observed["weight_length"]).shape == (2, 4)


def test_averages_are_what_is_observed() -> None:
    """As in evaluation: averaging leaves the descent alone and changes what is seen of it."""
    settings = replica("none", average=0.9, learning_rate=1.0, observe=("preactivation",))
    (averaged,) = train([settings], tiny(), device="cpu")
    (plain,) = train([replica("none", learning_rate=1.0, observe=("preactivation",))], tiny(), device="cpu")
    assert averaged.train_loss == plain.train_loss
    assert averaged.observed["preactivation"] != plain.observed["preactivation"]


def test_huge_values_stay_finite() -> None:
    """Squares overflow float32 long before the values do, and a record holds no infinity."""
    dataset = tiny()
    network = mlp((6, 8, 3), "none", std=1e25, seed=0)
    examples = inputs.place(dataset, "test", torch.device("cpu"), None, flat=True)
    state: Any = SimpleNamespace(
        network=network,
        averages={},
        device=torch.device("cpu"),
        replica=replica(observe=("preactivation",)),
    )
    with watch_preactivations(state) as seen:
        evaluate(state, examples)
    for observer in (preactivation, lengths):
        for value in observer(state, examples, seen).values():
            assert all(math.isfinite(entry) for entry in np.array(value).flatten())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 20, 21, 10_000])
def test_percentiles_are_torchs_to_the_last_bit(count: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(count)
    values = torch.randn(40, count, generator=generator, dtype=dtype)
    values[0] = 0
    values[1] = values[1].round()
    values[2] *= 1e30
    values[3, -1] = math.nan
    values[4, 0] = -math.inf
    expected = torch.quantile(values, torch.tensor(PERCENTILES, dtype=dtype) / 100, dim=1).T
    torch.testing.assert_close(percentiles_of(values), expected, rtol=0, atol=0, equal_nan=True)
