"""Which experiments share a run: what two experiments need is trained once, and both read its record.

A new record is written to the run's *home*: of all competitors at the same scale that share it at the same
length, the one of the first experiment in the registry. For example, the pre-activations of the cosine
network at the paper's length are read from ``mnist/paper/cosine``. Which records serve a run is defined in
:mod:`cosnorm.experiments.identity`.

Which competitors share a run follows from the experiments alone, without reading any file, except where the
records of another experiment choose the learning rate.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from cosnorm.experiments.identity import (
    Needed,
    Place,
    first_serving,
    needed_of,
    read,
    seeds_by_technique,
    settings_and_key,
    view,
)
from cosnorm.experiments.registry import get, registry
from cosnorm.record import Record
from cosnorm.training import Replica

__all__ = ["Needed", "Place", "Shelf", "find", "home", "needed", "places", "read", "served", "view"]


@dataclass(frozen=True)
class _Known:
    place: Place
    order: int  # in the registry
    replica: Replica  # with seed 0
    chosen: bool  # whether records choose its learning rate, which then is 1 in the replica


def needed(
    place: Place, seed: int, folder: Path | str | None = None, replica: Replica | None = None
) -> Needed:
    """The run of a competitor; see :func:`cosnorm.experiments.identity.needed_of`."""
    return needed_of(get(place.experiment), place, seed, folder, replica)


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
    # Other records may choose another rate, so a place whose rate is chosen is the last resort.
    best = min(same, key=lambda known: (known.chosen, known.order), default=None)
    return wanted.place if best is None else best.place


def served(place: Place, folder: Path | str | None = None) -> list[Place]:
    """The competitors that the records of one can serve, including itself."""
    wanted = needed(place, 0, folder)
    return [known.place for known in _alike(wanted) if _covers(wanted.replica, known.replica)]


def find(wanted: Needed, folder: Path | str) -> Record | None:
    """The record of a run in a folder, or a view of one that serves; ``None`` if there is none."""
    return first_serving(wanted, places(wanted), folder)


class Shelf:
    """The records of a folder, which need not exist; each of its folders is listed once."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._listed: dict[tuple[str, str], dict[str, set[int]]] = {}

    def own(self, experiment: str, scale: str) -> dict[str, set[int]]:
        """Seeds of the records of an experiment at a scale, by technique."""
        key = (experiment, scale)
        if key not in self._listed:
            self._listed[key] = seeds_by_technique(self.folder, *key)
        return self._listed[key]

    def seeds(self, place: Place) -> set[int]:
        """Seeds for which a file exists that may serve a competitor."""
        return {
            seed
            for other in places(needed(place, 0, self.folder))
            for seed in self.own(other.experiment, other.scale).get(other.technique, ())
        }

    def find(self, place: Place, seed: int) -> Record | None:
        """As :func:`find`."""
        return find(needed(place, seed, self.folder), self.folder)


def _key(place: Place, replica: Replica) -> str:
    return settings_and_key(get(place.experiment), place.scale, replace(replica, seed=0))[1]


def _covers(one: Replica, other: Replica) -> bool:
    # Of two runs with one identity: whether the first is as long and observes everything.
    observed = set(other.observe) <= set(one.observe) and other.error_steps in (None, one.error_steps)
    return one.epochs >= other.epochs and observed


def _alike(wanted: Needed) -> list[_Known]:
    # The competitors that share a run but for its length and observers, in the order of the registry.
    fixed, chosen = _known()
    found = list(fixed.get(_key(wanted.place, wanted.replica), ()))
    unrated = replace(wanted.replica, learning_rate=1.0, gain_rate=1.0)
    for known in chosen.get(_key(wanted.place, unrated), ()):
        with suppress(ValueError):  # no record has chosen its rate yet
            other = wanted if known.place == wanted.place else needed(known.place, wanted.seed, wanted.folder)
            if other.identity == wanted.identity:
                found.append(known)
    return sorted(found, key=lambda known: known.order)


@lru_cache(maxsize=1)
def _known() -> tuple[dict[str, list[_Known]], dict[str, list[_Known]]]:
    # All competitors by identity but for the seed: those with fixed rates, and those with chosen ones at 1.
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
