"""Which runs are one run: what two experiments need is trained once, and both read its record.

A run is identified by all that determines its curves, see :func:`cosnorm.experiments.recording.identity`.
Neither its length nor what is observed is part of that: learning rates are constant, so a longer run begins
with the shorter one, and observers change nothing. A record therefore *serves* every competitor whose runs
have the same identity, are not longer and observe nothing that it lacks. What that competitor's experiment
reads is a *view* of the record: the record under the competitor's own name, cut to its number of epochs.

A run that has to be trained is written to its *home*: of all competitors at the same scale that share it at
the same length, the one of the first experiment in the order of the registry. The pre-activations of the
cosine network at the paper's length are those of ``mnist/paper/cosine``, for example.

Which competitors share their runs follows from the experiments alone, without a look at any file. The only
exceptions are experiments whose learning rates are chosen by the records of another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cosnorm import record
from cosnorm.experiments.planning import Plan
from cosnorm.experiments.recording import identity, settings_of
from cosnorm.experiments.registry import get, registry, tail
from cosnorm.record import Record, RecordError
from cosnorm.training import Replica

#: Records that are kept in memory, so that a file is read again only after it has changed.
_KEPT = 4096


class Place(NamedTuple):
    """A competitor of an experiment at a scale: the place of its records in a folder."""

    experiment: str
    scale: str
    technique: str

    def path(self, folder: Path | str, seed: int) -> Path:
        """Where the record of one of its runs lies."""
        return record.path_of(folder, *self, seed)

    def name(self, seed: int) -> str:
        """What that record is called."""
        return f"{self.experiment}/{self.scale}/{self.technique}-seed{seed}"


@dataclass(frozen=True)
class Needed:
    """A run that an experiment asks for.

    Attributes
    ----------
    place, seed
        Which run it is.
    replica, settings
        The network to train, and the same as it stands in a record.
    identity
        What a record must have to serve.
    folder
        The records that were asked for the learning rate, where records choose it.
    """

    place: Place
    seed: int
    replica: Replica
    settings: dict[str, Any]
    identity: str
    folder: Path | str | None

    def holds(self, found: Record) -> bool:
        """Whether a record is of this run, whatever was observed of it."""
        return (
            identity(found.settings, found.seed) == self.identity
            and found.settings["epochs"] >= self.replica.epochs
        )

    def serves(self, found: Record) -> bool:
        """Whether a record is of this run and has all that is to be observed of it."""
        return (
            self.holds(found)
            and set(self.replica.observe) <= set(found.settings.get("observed") or ())
            and self.replica.error_steps in (None, found.settings.get("error_steps"))
        )

    def differing(self, found: Record) -> list[str]:
        """The settings in which a record differs from this run, in words fit for a message."""
        return [key for key, value in self.settings.items() if found.settings.get(key) != value]


@dataclass(frozen=True)
class _Known:
    """A competitor of the registry.

    Attributes
    ----------
    place, order
        Which one, and where it stands.
    replica
        Its run with seed 0.
    chosen
        Whether its learning rate is chosen by records, and stands in the replica as 1.
    """

    place: Place
    order: int
    replica: Replica
    chosen: bool


def needed(
    place: Place, seed: int, folder: Path | str | None = None, replica: Replica | None = None
) -> Needed:
    """What the run of a competitor is.

    Parameters
    ----------
    place, seed
        Which run.
    folder
        The records that are asked first where records choose the learning rate.
    replica
        The network to train, where that is settled already.

    Raises
    ------
    ValueError
        If there is no such competitor, or no record says yet which learning rate to take.
    """
    if replica is None:
        replica = get(place.experiment).replica(place.technique, place.scale, seed, records=folder)
    settings, _ = _settled(place.experiment, place.scale, replace(replica, seed=0))
    return Needed(place, seed, replica, settings, identity(settings, seed), folder)


def places(wanted: Needed) -> list[Place]:
    """The competitors whose records can serve a run: itself, then those of its scale, then all others."""
    found = [known for known in _alike(wanted) if _covers(known.replica, wanted.replica)]
    found.sort(key=lambda known: (known.place.scale != wanted.place.scale, known.order))
    return [wanted.place, *(known.place for known in found if known.place != wanted.place)]


def home(wanted: Needed) -> Place:
    """The competitor under whose name the record of a run is written."""
    same = [
        known
        for known in _alike(wanted)
        if known.place.scale == wanted.place.scale
        and known.replica.epochs == wanted.replica.epochs
        and _covers(known.replica, wanted.replica)
    ]
    # Where records choose a rate, other records may choose another one: such a place is no good home.
    best = min(same, key=lambda known: (known.chosen, known.order), default=None)
    return wanted.place if best is None else best.place


def served(place: Place, folder: Path | str | None = None) -> list[Place]:
    """The competitors that the records of one can serve, itself among them."""
    wanted = needed(place, 0, folder)
    return [known.place for known in _alike(wanted) if _covers(wanted.replica, known.replica)]


def find(wanted: Needed, folder: Path | str) -> Record | None:
    """The record of a run in a folder, or a view of one that serves; ``None`` if there is none.

    Raises
    ------
    RecordError
        If the run's own record is damaged. Damaged records of other experiments are passed over.
    """
    for place in places(wanted):
        path = place.path(folder, wanted.seed)
        try:
            found = read(path) if path.exists() else None
        except RecordError:
            if place == wanted.place:
                raise
            continue
        if found is not None and wanted.serves(found):
            return view(found, wanted.place, wanted.replica.epochs)
    return None


def view(found: Record, place: Place, epochs: int) -> Record:
    """A record under the name of another competitor, cut to so many epochs.

    The final figures are those of the shorter run. Its seconds are taken in proportion, which
    ``cost["seconds_of"]`` says; its provenance is that of the record.
    """
    if epochs > found.settings["epochs"]:
        raise ValueError(f"{found.name} has {found.settings['epochs']} epochs, not {epochs}")
    whole = found.settings["epochs"] == epochs
    if whole and Place(found.experiment, found.scale, found.technique) == place:
        return found
    result = replace(found, **place._asdict(), **({} if whole else _cut(found, epochs)))
    object.__setattr__(result, "stored", found.stored)
    return result


def _cut(found: Record, epochs: int) -> dict[str, Any]:
    """The fields of a record that a smaller number of epochs changes."""
    lost = found.final["diverged_epoch"]
    lost = lost if lost is not None and lost <= epochs else None
    curves = {name: curve[:epochs] for name, curve in found.curves.items()}
    made, kept = (len(part["test_error"]) for part in (found.curves, curves))
    cost = dict(found.cost)
    if kept < made:
        cost["seconds"] = record.significant(found.cost["seconds"] * kept / made)
        cost["seconds_of"] = f"the first {kept} of {made} epochs, in proportion"
    return {
        "settings": {**found.settings, "epochs": epochs, "tail": tail(epochs)},
        "curves": curves,
        "final": record.summarize(curves["test_error"], tail(epochs), lost),
        "cost": cost,
    }


class Shelf:
    """The records of a folder by name, each of its folders listed once.

    Parameters
    ----------
    folder
        A records folder, which need not exist.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._listed: dict[tuple[str, str], dict[str, set[int]]] = {}

    def own(self, experiment: str, scale: str) -> dict[str, set[int]]:
        """Seeds of the records in the folder of an experiment and a scale, by technique."""
        key = (experiment, scale)
        if key not in self._listed:
            found: dict[str, set[int]] = {}
            for path in sorted((self.folder / experiment / scale).glob("*.json")):
                technique, _, seed = path.stem.rpartition("-seed")
                if technique and seed.isdecimal():
                    found.setdefault(technique, set()).add(int(seed))
            self._listed[key] = found
        return self._listed[key]

    def seeds(self, place: Place) -> set[int]:
        """Seeds of a competitor for which there is a file that may serve it."""
        return {
            seed
            for other in places(needed(place, 0, self.folder))
            for seed in self.own(other.experiment, other.scale).get(other.technique, ())
        }

    def find(self, place: Place, seed: int) -> Record | None:
        """As :func:`find`."""
        return find(needed(place, seed, self.folder), self.folder)


def read(path: Path) -> Record:
    """:func:`cosnorm.record.read`, once for each state of a file.

    Raises
    ------
    RecordError
        As there.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise RecordError(f"cannot read the record {path}: {error.strerror or error}") from error
    return _read(path.absolute(), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=_KEPT)
def _read(path: Path, *state: int) -> Record:
    del state
    return record.read(path)


@lru_cache(maxsize=_KEPT)
def _settled(experiment: str, scale: str, replica: Replica) -> tuple[dict[str, Any], str]:
    """The settings of a run as they stand in a record, and its identity with seed 0."""
    settings = settings_of(Plan(get(experiment), scale, (), (), torch.device("cpu")), replica)
    return settings, identity(settings, 0)


def _key(place: Place, replica: Replica) -> str:
    """The identity of a run but for its seed."""
    return _settled(place.experiment, place.scale, replace(replica, seed=0))[1]


def _covers(one: Replica, other: Replica) -> bool:
    """Whether a run is as long as another one with the same identity, and sees all that it sees."""
    return (
        one.epochs >= other.epochs
        and set(other.observe) <= set(one.observe)
        and other.error_steps in (None, one.error_steps)
    )


def _alike(wanted: Needed) -> Iterator[_Known]:
    """The competitors that share a run but for its length and observers, in the order of the registry."""
    fixed, chosen = _known()
    found = list(fixed.get(_key(wanted.place, wanted.replica), ()))
    unrated = replace(wanted.replica, learning_rate=1.0, gain_rate=1.0)
    for known in chosen.get(_key(wanted.place, unrated), ()):
        if known.place == wanted.place or _rated(known, wanted) == wanted.identity:
            found.append(known)
    yield from sorted(found, key=lambda known: known.order)


def _rated(known: _Known, wanted: Needed) -> str | None:
    """The identity of a competitor whose rate is chosen by records; ``None`` while it is not."""
    try:
        return needed(known.place, wanted.seed, wanted.folder).identity
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _known() -> tuple[dict[str, list[_Known]], dict[str, list[_Known]]]:
    """All competitors by identity but for the seed: of fixed rates, and of chosen ones with the rate 1."""
    fixed: dict[str, list[_Known]] = {}
    chosen: dict[str, list[_Known]] = {}
    order = 0
    for experiment in registry().values():
        for scale in experiment.scales:
            for technique in experiment.techniques:
                open_ = experiment.rate_of(technique, scale) is None
                replica = experiment.replica(technique, scale, 0, rate=1.0 if open_ else None)
                known = _Known(Place(experiment.name, scale, technique), order, replica, open_)
                (chosen if open_ else fixed).setdefault(_key(known.place, replica), []).append(known)
                order += 1
    return fixed, chosen
