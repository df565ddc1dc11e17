"""Which run a record is of.

A run is identified by all that determines its curves: :func:`identity`. Neither its length nor what is
observed is part of that: learning rates are constant, so a longer run begins with the shorter one, and
observers change nothing. A record therefore *serves* every run with the same identity that is not longer and
observes nothing that the record lacks. What another experiment reads is a *view* of the record: the record
under the name that the run has there, cut to its number of epochs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cosnorm import data, record
from cosnorm.experiments.experiment import Experiment, Scale, tail
from cosnorm.networks import find_recipe
from cosnorm.record import Record, RecordError
from cosnorm.techniques import Recipe
from cosnorm.training import Replica

#: Settings that do not determine the curves of a run: its length, how it is judged, what else is recorded,
#: descriptions of the curves, and numbers of examples, which follow from the dataset, its preparation and the
#: held-out examples. Every other setting counts, so that a new one cannot be overlooked.
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
#: Records and settings kept in memory; a file is read again only after it has changed.
_CACHED = 4096


def identity(settings: Mapping[str, Any], seed: int) -> str:
    """A hash that two runs share exactly if they are the same run, up to their length and what is observed.

    The settings come from a record, or from :func:`settings_of` before the run exists. Settings of ``None``
    are left out, so that a record made before a setting existed agrees with a new one that does not use it.

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
    # As JSON would hold it, with every number as a float: 10 and 10.0 are the same rate.
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


# -- a run before it is made -----------------------------------------------------------------------------


class Place(NamedTuple):
    """A competitor of an experiment at a scale, which says where its records lie in a folder."""

    experiment: str
    scale: str
    technique: str

    def path(self, folder: Path | str, seed: int) -> Path:
        """The path of a record."""
        return record.path_of(folder, *self, seed)

    def name(self, seed: int) -> str:
        """The name of a record."""
        return f"{self.experiment}/{self.scale}/{self.technique}-seed{seed}"


@dataclass(frozen=True)
class Needed:
    """A run that an experiment needs."""

    place: Place
    seed: int
    replica: Replica
    settings: dict[str, Any]  # as they stand in a record
    identity: str
    folder: Path | str | None  # the records that are read first where records choose the learning rate

    def holds(self, found: Record) -> bool:
        """Whether a record is of this run, whatever was observed."""
        long = found.settings["epochs"] >= self.replica.epochs
        return long and identity(found.settings, found.seed) == self.identity

    def serves(self, found: Record) -> bool:
        """Whether a record is of this run and has everything that is to be observed."""
        return (
            self.holds(found)
            and set(self.replica.observe) <= set(found.settings.get("observed") or ())
            and self.replica.error_steps in (None, found.settings.get("error_steps"))
        )


def needed_of(
    experiment: Experiment,
    place: Place,
    seed: int,
    folder: Path | str | None = None,
    replica: Replica | None = None,
) -> Needed:
    """The run of a competitor; ValueError while no record chooses its learning rate."""
    if replica is None:
        replica = experiment.replica(place.technique, place.scale, seed, records=folder)
    settings, _ = settings_and_key(experiment, place.scale, replace(replica, seed=0))
    return Needed(place, seed, replica, settings, identity(settings, seed), folder)


@lru_cache(maxsize=_CACHED)
def settings_and_key(experiment: Experiment, scale: str, replica: Replica) -> tuple[dict[str, Any], str]:
    """The settings of a run with seed 0, as they stand in a record, and its identity."""
    settings = settings_of(experiment, scale, replica)
    return settings, identity(settings, 0)


def settings_of(experiment: Experiment, scale_name: str, replica: Replica) -> dict[str, Any]:
    """Every choice, as it stands in a record."""
    scale, fitter = experiment.scales[scale_name], experiment.fitter
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
    # How dropout keeps the scale of its units, unless by division in training, which is usual.
    if not any(replica.dropout) or replica.dropout_convention == "training":
        return None
    return "in testing: the inputs of each layer are multiplied by the rate of keeping"


def _held_out(scale: Scale) -> str | None:
    if not scale.validation:
        return None
    if data.preparation(scale.dataset):  # documents are sorted by class, so the last ones share one class
        return f"{scale.validation} of the training examples at random, in place of the test set"
    return f"the last {scale.validation} training examples, in place of the test set"


def _inputs(dataset: str, replica: Replica) -> str:
    if data.preparation(dataset):
        return "as prepared"
    if replica.images is not None and replica.images.whiten:
        return "each image minus its mean, divided by its deviation"
    return "divided by the largest value that one can take"


# -- the records of a folder -----------------------------------------------------------------------------


def read(path: Path) -> Record:
    """As :func:`cosnorm.record.read`, but a file is read again only after it has changed."""
    try:
        state = record.file_of(path).stat()
    except OSError as error:
        raise RecordError(f"cannot read the record {path}: {error.strerror or error}") from error
    return _read(path.absolute(), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=_CACHED)
def _read(path: Path, *state: int) -> Record:
    del state
    return record.read(path)


def first_serving(wanted: Needed, places: list[Place], folder: Path | str) -> Record | None:
    """A view of the first record at these places that serves a run; ``None`` if there is none.

    RecordError if the run's own record is damaged; damaged records at other places are passed over.
    """
    for place in places:
        path = place.path(folder, wanted.seed)
        try:
            found = read(path) if record.exists(path) else None
        except RecordError:
            if place == wanted.place:
                raise
            continue
        if found is not None and wanted.serves(found):
            return view(found, wanted.place, wanted.replica.epochs)
    return None


def seeds_by_technique(folder: Path, experiment: str, scale: str) -> dict[str, set[int]]:
    """Seeds of an experiment's records at a scale, by technique."""
    found: dict[str, set[int]] = {}
    for path in record.listed(folder, experiment, scale):
        technique, _, seed = path.stem.rpartition("-seed")
        if technique and seed.isdecimal():
            found.setdefault(technique, set()).add(int(seed))
    return found


def view(found: Record, place: Place, epochs: int) -> Record:
    """A record under the name of another competitor, cut to its number of epochs.

    The final figures are those of the shorter run. Its seconds are scaled in proportion, which
    ``cost["seconds_of"]`` says; its provenance is that of the record.
    """
    if epochs > found.settings["epochs"]:
        raise ValueError(f"{found.name} has {found.settings['epochs']} epochs, not {epochs}")
    whole = found.settings["epochs"] == epochs
    if whole and Place(found.experiment, found.scale, found.technique) == place:
        return found
    result = replace(found, **place._asdict(), **({} if whole else cut(found, epochs)))
    object.__setattr__(result, "stored", found.stored)
    return result


def cut(found: Record, epochs: int, more: int = 0) -> dict[str, Any]:
    """The fields of a record that fewer epochs change, judged by ``more`` of them than usual."""
    diverged = found.final["diverged_epoch"]
    diverged = diverged if diverged is not None and diverged <= epochs else None
    curves = {name: curve[:epochs] for name, curve in found.curves.items()}
    before, after = (len(part["test_error"]) for part in (found.curves, curves))
    last = min(epochs, tail(epochs) + more)
    cost = dict(found.cost)
    if after < before:
        cost["seconds"] = record.significant(found.cost["seconds"] * after / before)
        cost["seconds_of"] = f"the first {after} of {before} epochs, in proportion"
    return {
        "settings": {**found.settings, "epochs": epochs, "tail": last},
        "curves": curves,
        "final": record.summarize(curves["test_error"], last, diverged),
        "cost": cost,
    }
