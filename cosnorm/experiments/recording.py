"""From a trained run to its record: every setting, the curves, the cost, and where it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cosnorm import data, provenance, record
from cosnorm.experiments.planning import Plan
from cosnorm.experiments.registry import Scale, tail
from cosnorm.networks import find_recipe
from cosnorm.record import Record
from cosnorm.techniques import Recipe
from cosnorm.training import Curves, Replica

#: Settings that do not determine the curves of a run: how long it is, how it is judged, what else is recorded
#: on the way, words about what the curves mean, and numbers of examples, which follow from the dataset, its
#: preparation and the held-out examples. Any other setting counts, so that a new one can never be overlooked.
NOT_IDENTITY = frozenset(
    {
        "epochs",
        "tail",
        "observed",
        "error_steps",
        "train_curves",
        "test_statistics",
        "train_examples",
        "test_examples",
    }
)


def identity(settings: Mapping[str, Any], seed: int) -> str:
    """A hash that two runs share exactly if they are the same run, up to their length and what is observed.

    The experiment, the scale and the name of the competitor are not part of it. The learning rate of a run
    does not depend on the number of its epochs, so that a longer run begins with the shorter one.

    Parameters
    ----------
    settings
        From a record, or from :func:`settings_of` before the run exists: both give the same hash. Settings
        that are ``None`` are left out, so that a record made before a setting existed agrees with a new one
        that does not use it.
    seed
        Of the run.

    Examples
    --------
    >>> short = {"norm": "cosine", "learning_rate": 10.0, "epochs": 20, "average": None}
    >>> identity(short, 0) == identity({"norm": "cosine", "learning_rate": 10, "epochs": 200}, 0)
    True
    >>> identity(short, 0) == identity(short, 1)
    False
    """
    determining = {
        key: _plain(value) for key, value in settings.items() if key not in NOT_IDENTITY and value is not None
    }
    text = json.dumps([determining, seed], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The value as JSON would hold it, with every number as a float: 10 and 10.0 are one rate."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def make_record(
    settled: Plan,
    technique: str,
    seed: int,
    dataset: data.Dataset,
    curves: Curves,
    contributions: list[dict[str, Any]],
) -> Record:
    """The record of a run of a plan, from its curves and from who made which of its epochs."""
    replica = settled.replica(technique, seed)
    memory, kind = provenance.peak_memory(settled.device)
    return Record(
        experiment=settled.experiment.name,
        scale=settled.scale,
        technique=technique,
        seed=seed,
        settings={
            **settings_of(settled, replica),
            "train_examples": len(dataset.train_targets),
            "test_examples": len(dataset.test_targets),
        },
        curves=_rounded(curves),
        final=record.summarize(curves.test_error, tail(replica.epochs), curves.diverged_epoch),
        cost={
            "seconds": record.significant(curves.seconds),
            "peak_memory_bytes": memory,
            "peak_memory_of": kind,
            "runs_at_once": curves.at_once,
        },
        provenance={
            **provenance.environment(settled.device),
            "contributions": contributions,
            "dataset_sha256": dataset.sha256,
            "command": settled.command(technique, seed),
        },
    )


def settings_of(settled: Plan, replica: Replica) -> dict[str, Any]:
    """Everything that was chosen, as it stands in a record."""
    scale, fitter = settled.experiment.scales[settled.scale], settled.experiment.fitter
    if fitter is not None:
        return {
            "dataset": scale.dataset,
            "preparation": data.preparation(scale.dataset, **scale.preparation) or None,
            "held_out": _held_out(scale),
            **fitter.settings(scale, replica.norm),
        }
    recipe = find_recipe(replica.norm)
    assert recipe is not None  # an unknown name is refused where a run is planned or its network is built
    return {
        "dataset": scale.dataset,
        "inputs": _inputs(scale.dataset, replica),
        "preparation": data.preparation(scale.dataset, **scale.preparation) or None,
        "network": "convnet" if replica.channels else "mlp",
        "channels": list(replica.channels) or None,
        "kernel_size": replica.kernel_size if replica.channels else None,
        "sizes": list(replica.sizes),
        "norm": replica.norm,
        "activation": "relu",
        "hidden_parameters": recipe.parameters,
        "hidden_bias": None if replica.hidden_bias else "left out",
        "output_layer": _output_layer(recipe, replica),
        "weights": recipe.weights or "normal, mean 0",
        "initial_std": replica.std if recipe.weights is None else None,
        "constant": replica.constant if recipe.appends_constant else None,
        "constant_appended": "after centering" if recipe.centers else None,
        "optimizer": "gradient descent, constant rate, no momentum",
        "loss": "cross-entropy",
        "learning_rate": replica.learning_rate,
        "gain_rate": None if replica.gain_rate == 1 else replica.gain_rate,
        "batch_size": replica.batch_size,
        "order": "all training examples once an epoch, shuffled anew each time",
        "epochs": replica.epochs,
        "tail": tail(replica.epochs),
        "precision": "float32",
        "train_curves": "each example counted when its minibatch came up, before that step's update",
        "test_statistics": recipe.inference,
        "norm_settings": dict(recipe.settings) or None,
        "images": None if replica.images is None else asdict(replica.images),
        "dropout": list(replica.dropout) if any(replica.dropout) else None,
        "dropout_scaled": _dropout_scaled(replica),
        "average": replica.average,
        "magnitude": None if replica.magnitude == 1 else replica.magnitude,
        "observed": list(replica.observe) or None,
        "error_steps": replica.error_steps,
        "held_out": _held_out(scale),
    }


def _output_layer(recipe: Recipe, replica: Replica) -> str:
    kind = "linear with a learned bias from 0" if replica.output_bias else "linear without a bias"
    return f"{kind}, not normalized" if recipe.output_layer is None else f"{kind}; {recipe.output_layer}"


def _dropout_scaled(replica: Replica) -> str | None:
    """Where the scale of dropped units is restored, unless it is as everywhere: by division in training."""
    if not any(replica.dropout) or replica.dropout_convention == "training":
        return None
    return "in testing: the inputs of each layer are multiplied by the rate of keeping"


def _held_out(scale: Scale) -> str | None:
    """Which examples stand in for the test set; see :meth:`cosnorm.data.Dataset.hold_out`."""
    if not scale.validation:
        return None
    # Documents lie sorted by class, so that the last ones would be of one class.
    text = bool(data.preparation(scale.dataset))
    which = (
        f"{scale.validation} of the training examples at random"
        if text
        else (f"the last {scale.validation} training examples")
    )
    return f"{which}, in place of the test set"


def _inputs(dataset: str, replica: Replica) -> str:
    if data.preparation(dataset):
        return "as prepared"
    if replica.images is not None and replica.images.whiten:
        return "each image minus its mean, divided by its deviation"
    return "divided by the largest value that one can take"


def _rounded(curves: Curves) -> dict[str, list[Any]]:
    names = ("train_loss", "train_error", "test_loss", "test_error")
    seen = {name: getattr(curves, name) for name in names} | curves.observed
    return {name: _short(values) for name, values in seen.items()}


def _short(value: Any) -> Any:
    """Floats to five significant digits, in lists too; counts as they are."""
    if isinstance(value, list):
        return [_short(entry) for entry in value]
    return record.significant(value) if isinstance(value, float) else value
