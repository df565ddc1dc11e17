"""The fair protocol in two steps: every technique at each rate of one grid, then each at its best one.

The first step judges on held-out training examples; only the second uses the test set, once.
"""

from __future__ import annotations

import math
import os
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cosnorm.experiments import sharing
from cosnorm.experiments.registry import Experiment, Scale, Technique, get
from cosnorm.record import PACKAGE_RECORDS, Record

#: Settings in which the runs of one technique may differ between a sweep and what takes its rate from there.
_NOT_SEARCHED = ("gain_rate", "error_steps")
#: How many missing runs an error names.
_NAMED = 4

#: The grid, a factor of about three from rate to rate.
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def competitor(norm: str, rate: float) -> str:
    """The name of a technique at a rate, such as ``cosine-at-3``."""
    return f"{norm}-at-{rate:g}"


def best(records: Sequence[Record]) -> dict[str, float]:
    """For each technique the rate whose runs misclassify the fewest held-out examples over their last epochs.

    The smaller of two rates that are equal in this. A rate at which a run diverged is not chosen. Techniques
    go by what their competitors are called before ``-at-``.
    """
    scores: dict[str, dict[float, dict[str, list[float]]]] = {}
    for r in records:
        norm = r.technique.partition("-at-")[0] if "-at-" in r.technique else r.settings["norm"]
        by_rate = scores.setdefault(norm, {}).setdefault(r.settings["learning_rate"], {})
        by_rate.setdefault(r.technique, []).append(_errors(r))
    # Where a rate was tried with several factors for scale and shift, the best of them counts.
    return {
        norm: min(by_rate, key=lambda rate: (min(map(statistics.fmean, by_rate[rate].values())), rate))
        for norm, by_rate in scores.items()
    }


def _errors(r: Record) -> float:
    return math.inf if r.diverged else r.final["test_error_mean"]


@dataclass(frozen=True)
class Choice:
    """The learning rate that the records of a sweep call for.

    Attributes
    ----------
    rate, gain
        The rate, and the factor for the rate of a learned scale and shift where one was searched.
    source
        Experiment and scale of the sweep.
    folder
        The records that decided.
    seeds
        Seeds that every rate was tried with.
    rates
        How many rates, or pairs of a rate and a factor, were tried.
    """

    rate: float
    gain: float | None
    source: str
    folder: Path
    seeds: tuple[int, ...]
    rates: int

    @property
    def where(self) -> str:
        """Whose records decided, in words."""
        return (
            "the package's records"
            if _same(self.folder, PACKAGE_RECORDS)
            else f"the records in {self.folder}"
        )

    @property
    def words(self) -> str:
        """The rate, and the factor where there is one."""
        return f"{self.rate:g}" + ("" if self.gain is None else f" (scale and shift: {self.gain:g} times)")

    def __str__(self) -> str:
        """How the choice came about."""
        seeds = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        return f"best of {self.rates} in {self.source} with {seeds}, by {self.where}"


@dataclass(frozen=True)
class _Grid:
    """The competitors of a sweep that are one technique: the grid that all share, and its points again with
    other factors for the rate of scale and shift."""

    base: tuple[str, ...]
    more: tuple[str, ...]


def choose(
    source: str,
    norm: str,
    settings: Mapping[str, Any] | None = None,
    folder: Path | str | None = None,
) -> Choice:
    """The learning rate of a technique, by the records of a sweep in a folder, else by the package's.

    Only a complete grid chooses: at least one seed must have a record of every rate, where a run that
    diverged is a record like any other. What counts are the seeds that all rates have in common. The grid is
    the one of rates that the sweep tries with all of its techniques: no technique may be searched further
    than the others. Where it also tries factors for the rate of a scale and shift, these enter once they are
    complete as well, and until then the common grid decides alone, as for records of an earlier version.

    Parameters
    ----------
    source
        Experiment and scale of the sweep, such as ``"rates/short"``.
    norm, settings
        The technique, and the fields of a replica in which it differs.
    folder
        The records folder of the run or of the evidence; ``None`` asks the package's records alone.

    Raises
    ------
    ValueError
        If neither folder holds a complete grid; the message names the runs that are missing and the command
        that makes them. Also if the technique diverged at every rate.
    """
    grid = _grids(source).get(_group(norm, settings or {}))
    if grid is None:
        raise ValueError(f"{source} does not search a learning rate for {norm!r}, so there is none to choose")
    folders = list(dict.fromkeys(Path(place) for place in (folder, PACKAGE_RECORDS) if place is not None))
    for place in folders:
        found = _decide(source, grid, place)
        if found is not None:
            return found
    raise ValueError(_lacking(source, norm, grid, None if folder is None else Path(folder)))


def chosen_rate(source: str, norm: str, folder: Path | str | None = None) -> float:
    """The rate of ``choose``, for a technique without settings of its own.

    Raises
    ------
    ValueError
        As there.
    """
    return choose(source, norm, folder=folder).rate


def _group(norm: str, settings: Mapping[str, Any]) -> tuple[str, frozenset[tuple[str, Any]]]:
    """What makes two competitors one technique at two rates."""
    return norm, frozenset((key, value) for key, value in settings.items() if key not in _NOT_SEARCHED)


@lru_cache
def _grids(source: str) -> dict[tuple[str, frozenset[tuple[str, Any]]], _Grid]:
    """The competitors of a sweep by technique."""
    swept = get(source.partition("/")[0])
    groups: dict[tuple[str, frozenset[tuple[str, Any]]], dict[str, Technique]] = {}
    for name, technique in swept.techniques.items():
        groups.setdefault(_group(technique.norm or name, technique.settings), {})[name] = technique
    shared = set.intersection(
        *(
            {t.learning_rate for t in members.values() if "gain_rate" not in t.settings}
            for members in groups.values()
        )
    )
    return {
        group: _Grid(
            tuple(name for name, t in members.items() if _in_base(t, shared)),
            tuple(name for name, t in members.items() if "gain_rate" in t.settings),
        )
        for group, members in groups.items()
    }


def _in_base(technique: Technique, shared: set[float | None]) -> bool:
    return technique.learning_rate in shared and "gain_rate" not in technique.settings


def _decide(source: str, grid: _Grid, folder: Path) -> Choice | None:
    """The choice that the records of one folder allow."""
    scored = _scored(source, folder, _stamp(source, folder))
    for names in ((*grid.base, *grid.more), grid.base) if grid.more else (grid.base,):
        seeds = set.intersection(*(set(scored.get(name, ())) for name in names))
        if seeds:
            return _best_of(
                source, names, {name: [scored[name][k] for k in seeds] for name in names}, folder, seeds
            )
    return None


def _best_of(
    source: str, names: Sequence[str], errors: Mapping[str, list[float]], folder: Path, seeds: set[int]
) -> Choice:
    techniques = get(source.partition("/")[0]).techniques

    def order(name: str) -> tuple[float, float, float]:
        technique = techniques[name]
        return (
            statistics.fmean(errors[name]),
            technique.learning_rate or 0.0,
            technique.settings.get("gain_rate", 1.0),
        )

    name = min(names, key=order)
    if math.isinf(order(name)[0]):
        raise ValueError(
            f"{names[0].partition('-at-')[0]!r} diverged at every rate of {source}, so none is chosen"
        )
    rate, gain = techniques[name].learning_rate, techniques[name].settings.get("gain_rate")
    assert rate is not None
    return Choice(rate, gain, source, folder, tuple(sorted(seeds)), len(names))


@lru_cache(maxsize=16)
def _scored(source: str, folder: Path, stamp: object) -> dict[str, dict[int, float]]:
    """By competitor and seed the errors of the runs of a sweep that have a record in a folder."""
    del stamp
    experiment, _, scale = source.partition("/")
    shelf = sharing.Shelf(folder)
    scored: dict[str, dict[int, float]] = {}
    for technique in get(experiment).techniques:
        place = sharing.Place(experiment, scale, technique)
        for seed in shelf.seeds(place):
            found = shelf.find(place, seed)
            if found is not None:
                scored.setdefault(technique, {})[seed] = _errors(found)
    return scored


def _stamp(source: str, folder: Path) -> object:
    """What changes when a record of the sweep, at any scale, is written or removed."""
    experiment, _, _ = source.partition("/")
    places = [folder / experiment / scale for scale in get(experiment).scales]
    return tuple(
        (path.stat().st_mtime_ns, len(os.listdir(path))) if path.is_dir() else None for path in places
    )


def _lacking(source: str, norm: str, grid: _Grid, folder: Path | None) -> str:
    """Which runs are missing, and the command that makes them."""
    experiment, _, scale = source.partition("/")
    place = PACKAGE_RECORDS if folder is None else folder
    scored = _scored(source, place, _stamp(source, place))
    seeds = {
        *range(get(experiment).scales[scale].seeds),
        *(k for name in grid.base for k in scored.get(name, ())),
    }
    missing = {
        seed: [name for name in grid.base if seed not in scored.get(name, ())] for seed in sorted(seeds)
    }
    seed = min(missing, key=lambda k: (len(missing[k]), k))
    names = missing[seed]
    listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    words = [
        "cosnorm",
        "run",
        experiment,
        "--norm",
        ",".join(names),
        "--scale",
        scale,
        "--seeds",
        f"{seed}-{seed}",
    ]
    # Never into the installed package: without a folder of one's own the command line's default is meant.
    own = folder is not None and not _same(folder, PACKAGE_RECORDS)
    words += ["--records", str(folder)] if own else []
    return (
        f"the learning rate of {norm!r} is chosen by {source}, which is not complete: of the "
        f"{len(grid.base)} rates with seed {seed}, {len(names)} have no record ({listed}). "
        f"Make them first, with `{shlex.join(words)}`"
    )


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def sweep(
    base: Experiment,
    name: str,
    title: str,
    scales: Mapping[str, Scale],
    techniques: Mapping[str, Technique],
    rates: Sequence[float] = RATES,
    further: Mapping[str, Sequence[float]] | None = None,
    gains: Mapping[str, Sequence[float]] | None = None,
) -> Experiment:
    """The first step: techniques on the data and networks of ``base``, each at every one of ``rates``.

    Parameters
    ----------
    scales
        With some training examples held out in each, :attr:`Scale.validation`.
    techniques
        By name; their own rates are ignored.
    rates
        The grid that all techniques share, and from which alone a rate is chosen.
    further
        For some techniques rates beyond the grid, which show how far a technique can be driven.
    gains
        For some techniques further factors for the rate of the scale and shift that they learn, each tried
        with every rate of the grid.

    Raises
    ------
    ValueError
        If a scale holds nothing out: the test set may not choose.
    """
    if not all(scale.validation for scale in scales.values()):
        raise ValueError(f"{name}: every scale of a sweep must hold out training examples (validation)")
    return replace(
        base,
        name=name,
        title=title,
        techniques={
            name: replace(technique, learning_rate=rate, source="ours", norm=technique.norm or key, **gain)
            for key, technique in techniques.items()
            for name, rate, gain in _grid_points(
                key, technique, (*rates, *(further or {}).get(key, ())), rates, (gains or {}).get(key, ())
            )
        },
        scales=scales,
        recorded="loss and number of misclassified examples after every epoch, of training and held-out "
        "examples",
        printed={},
        source="",
        fractions=False,
    )


def _grid_points(
    key: str, technique: Technique, tried: Sequence[float], rates: Sequence[float], gains: Sequence[float]
) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Name, rate and further settings of each point of a technique's grid."""
    for rate in tried:
        yield competitor(key, rate), rate, {}
    for gain in gains:
        for rate in rates:
            yield (
                f"{competitor(key, rate)}-gain-{gain:g}",
                rate,
                {"settings": {**technique.settings, "gain_rate": gain}},
            )


def searched(swept: Experiment) -> dict[str, Technique]:
    """The techniques of a sweep by name, each to be run at the rate that the records of the sweep choose."""
    found: dict[str, Technique] = {}
    for name, technique in swept.techniques.items():
        key = name.partition("-at-")[0]
        norm = None if technique.norm == key else technique.norm
        found.setdefault(key, Technique(None, "ours", norm=norm, settings=technique.settings))
    return found


def fair(
    base: Experiment,
    name: str,
    title: str,
    swept: Experiment,
    scales: Mapping[str, Scale],
) -> Experiment:
    """The second step: the techniques of ``swept`` on ``base``, each at the rate that its records call for.

    Parameters
    ----------
    scales
        As for the test set; :attr:`Scale.rates_from` is filled in with ``swept`` and the scale's own name.
    """
    return replace(
        base,
        name=name,
        title=title,
        techniques=searched(swept),
        scales={
            key: replace(scale, rates={}, rates_from=f"{swept.name}/{key}") for key, scale in scales.items()
        },
        printed={},
        source="",
        fractions=False,
    )
