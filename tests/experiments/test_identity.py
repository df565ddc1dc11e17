"""What a record says was chosen, and which runs are one and the same."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from cosnorm import evidence, experiments
from cosnorm.experiments.identity import NOT_IDENTITY, identity, settings_of
from cosnorm.training import ImageSettings, Replica

MNIST = experiments.plan("mnist", "all", "smoke", 1, "cpu")


def settings(norm: str = "cosine", **changes: Any) -> dict[str, Any]:
    """The settings of a run of mnist with some fields of its replica changed."""
    return settings_of(MNIST.experiment, MNIST.scale, dataclasses.replace(MNIST.replica(norm, 0), **changes))


def test_what_is_not_used_is_recorded_as_none() -> None:
    """So that a record made before a setting existed agrees with one that does not use it."""
    for norm in MNIST.techniques:
        found = settings(norm)
        assert {found[name] for name in ("gain_rate", "dropout_scaled", "error_steps")} == {None}
    assert settings(dropout=(0.2, 0.5))["dropout_scaled"] is None
    assert settings(dropout_convention="testing")["dropout_scaled"] is None, "nothing is dropped"


def test_what_is_used_is_recorded() -> None:
    assert settings("batch", gain_rate=0.1)["gain_rate"] == 0.1
    assert settings(error_steps=200)["error_steps"] == 200
    assert settings(observe=("first_112",))["observed"] == ["first_112"]
    scaled = settings(dropout=(0.2, 0.5), dropout_convention="testing")["dropout_scaled"]
    assert scaled == "in testing: the inputs of each layer are multiplied by the rate of keeping"
    affine = experiments.plan("relatives", "cosine_affine", "smoke", 1, "cpu")
    described = settings_of(affine.experiment, affine.scale, affine.replica("cosine_affine", 0))[
        "hidden_parameters"
    ]
    assert described == "scale from the square root of the number of inputs, shift from 0"


def test_the_output_layer_is_described_as_the_technique_leaves_it() -> None:
    free, bounded = "not normalized", "its weight vectors stay within the radius"
    assert settings("none")["output_layer"] == f"linear with a learned bias from 0, {free}"
    assert settings("none", output_bias=False)["output_layer"] == f"linear without a bias, {free}"
    assert settings("max_norm")["output_layer"] == f"linear with a learned bias from 0; {bounded}"
    assert settings("max_norm", output_bias=False)["output_layer"] == f"linear without a bias; {bounded}"


def test_the_tutorial_describes_itself() -> None:
    plan = experiments.plan("tutorial", "all", "paper", 1, "cpu")
    found = settings_of(plan.experiment, plan.scale, plan.replica("tutorial", 0))
    assert found["weights"].startswith("normal without values beyond two standard deviations")
    assert found["initial_std"] is None
    assert found["norm_settings"]["weight_decay"] == 0.004
    assert found["images"] == dataclasses.asdict(ImageSettings(crop=24, whiten=True, augment=True))
    assert (found["average"], found["error_steps"], found["observed"]) == (0.9999, 1000, ["first_112"])


@pytest.mark.parametrize("technique", ["none", "cosine", "batch"])
def test_a_record_and_its_plan_have_one_identity(technique: str) -> None:
    records = [r for r in evidence.load("mnist", "smoke") if r.technique == technique]
    assert len({identity(r.settings, r.seed) for r in records}) == len(records) >= 3
    for r in records:
        assert identity(settings(technique), r.seed) == identity(r.settings, r.seed)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 100},
        {"epochs": 3},
        {"observe": ("lengths", "preactivation")},
        {"error_steps": 7},
    ],
)
def test_length_and_observations_are_not_part_of_it(changes: dict[str, Any]) -> None:
    assert identity(settings(**changes), 0) == identity(settings(), 0)


#: Another value of every field of a replica that can change its curves.
DETERMINING: dict[str, Any] = {
    "sizes": (64, 90, 100, 10),
    "norm": "centered",
    "learning_rate": 3.5,
    "batch_size": 40,
    "constant": 1e-3,
    "std": 0.2,
    "channels": (4,),
    "kernel_size": 3,
    "images": ImageSettings(crop=7),
    "dropout": (0.2, 0.5),
    "average": 0.9,
    "magnitude": 2.0,
    "hidden_bias": False,
    "output_bias": False,
    "gain_rate": 0.5,
    "dropout_convention": "testing",
}


@pytest.mark.parametrize("field", DETERMINING)
def test_everything_else_is(field: str) -> None:
    base: dict[str, Any] = {}
    if field == "kernel_size":
        base["channels"] = (4,)
    if field == "dropout_convention":
        base["dropout"] = (0.2, 0.5)
    assert identity(settings(**base, **{field: DETERMINING[field]}), 0) != identity(settings(**base), 0)


def test_every_field_of_a_replica_is_decided_upon() -> None:
    fields = {field.name for field in dataclasses.fields(Replica)}
    assert fields == {*DETERMINING, "seed", "epochs", "observe", "error_steps"}


def test_data_and_seed_are_part_of_it() -> None:
    assert identity(settings(), 0) != identity(settings(), 1)
    for name, value in (("dataset", "mnist"), ("held_out", "some"), ("preparation", {"tf": "log"})):
        assert identity({**settings(), name: value}, 0) != identity(settings(), 0)


def test_it_is_the_same_after_json_and_without_what_is_none() -> None:
    found = settings("max_norm", dropout=(0.2, 0.5))
    there = json.loads(json.dumps(found))
    assert identity(there, 0) == identity(found, 0)
    assert identity({key: value for key, value in found.items() if value is not None}, 0) == identity(
        found, 0
    )
    assert identity({**found, "sizes": tuple(found["sizes"])}, 0) == identity(found, 0)
    assert identity({**found, "something new": 1}, 0) != identity(found, 0), "what is unknown counts"
    assert NOT_IDENTITY.isdisjoint({"dataset", "norm", "learning_rate", "hidden_parameters", "output_layer"})
