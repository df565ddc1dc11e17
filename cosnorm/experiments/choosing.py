"""Which learning rate the records of a search choose, in which every technique has each rate of one grid."""

from __future__ import annotations

import math
import os
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cosnorm.experiments.experiment import Experiment, Technique
from cosnorm.experiments.identity import Place, first_serving, needed_of, seeds_by_technique
from cosnorm.record import PACKAGE_RECORDS, Record

#: Settings in which the runs of one technique may differ between a search and what takes its rate from there.
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
    """The learning rate that the records of a search choose.

    Attributes
    ----------
    rate, gain
        The rate, and the factor for the rate of a learned scale and shift where one was searched.
    source
        Experiment and scale of the search.
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
    """The competitors of a search that are one technique.

    Attributes
    ----------
    shared
        The points of the grid that all techniques share.
    gains
        The same points with other factors for the learning rate of scale and shift.
    """

    shared: tuple[str, ...]
    gains: tuple[str, ...]


class Search:
    """A search for learning rates, and what its records choose.

    Parameters
    ----------
    experiment
        The search, as from :func:`cosnorm.experiments.fair.sweep`.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._cache: dict[tuple[str, Path], tuple[object, dict[str, dict[int, float]]]] = {}

    def choose(
        self,
        scale: str,
        norm: str,
        settings: Mapping[str, Any] | None = None,
        folder: Path | str | None = None,
    ) -> Choice:
        """The learning rate of a technique, by the records of a folder, else by the package's.

        Only a complete grid chooses: at least one seed must have a record of every rate, where a run that
        diverged is a record like any other. What counts are the seeds that all rates have in common. The
        grid is the one of rates that the search tries with all of its techniques: no technique may be
        searched further than the others. Where it also tries factors for the rate of a scale and shift,
        these enter once they are complete as well, and until then the common grid decides alone, as for
        records of an earlier version.

        Parameters
        ----------
        scale
            Of the search.
        norm, settings
            The technique, and the fields of a replica in which it differs.
        folder
            The records folder of the run or of the evidence; ``None`` asks the package's records alone.

        Raises
        ------
        ValueError
            If neither folder holds a complete grid; the message names the runs that are missing and the
            command that makes them. Also if the technique diverged at every rate.
        """
        grid = self._grids.get(_group(norm, settings or {}))
        if grid is None:
            raise ValueError(
                f"{self.experiment.name}/{scale} does not search a learning rate for {norm!r}, "
                "so there is none to choose"
            )
        for place in dict.fromkeys(Path(one) for one in (folder, PACKAGE_RECORDS) if one is not None):
            choice = self._decide(scale, grid, place)
            if choice is not None:
                return choice
        raise ValueError(self._missing(scale, norm, grid, None if folder is None else Path(folder)))

    @cached_property
    def _grids(self) -> dict[tuple[str, frozenset[tuple[str, Any]]], _Grid]:
        """The grid of each technique."""
        groups: dict[tuple[str, frozenset[tuple[str, Any]]], dict[str, Technique]] = {}
        for name, technique in self.experiment.techniques.items():
            groups.setdefault(_group(technique.norm or name, technique.settings), {})[name] = technique
        shared = set.intersection(
            *(
                {t.learning_rate for t in members.values() if "gain_rate" not in t.settings}
                for members in groups.values()
            )
        )
        return {
            group: _Grid(
                tuple(
                    name
                    for name, t in members.items()
                    if t.learning_rate in shared and "gain_rate" not in t.settings
                ),
                tuple(name for name, t in members.items() if "gain_rate" in t.settings),
            )
            for group, members in groups.items()
        }

    def _decide(self, scale: str, grid: _Grid, folder: Path) -> Choice | None:
        """The choice that the records of one folder allow."""
        scored = self._scored(scale, folder)
        for names in ((*grid.shared, *grid.gains), grid.shared) if grid.gains else (grid.shared,):
            seeds = set.intersection(*(set(scored.get(name, ())) for name in names))
            if seeds:
                errors = {name: statistics.fmean(scored[name][seed] for seed in seeds) for name in names}
                return self._best_of(scale, errors, folder, seeds)
        return None

    def _best_of(self, scale: str, errors: Mapping[str, float], folder: Path, seeds: set[int]) -> Choice:
        techniques, source = self.experiment.techniques, f"{self.experiment.name}/{scale}"

        def order(name: str) -> tuple[float, float, float]:
            technique = techniques[name]
            return errors[name], technique.learning_rate or 0.0, technique.settings.get("gain_rate", 1.0)

        name = min(errors, key=order)
        if math.isinf(errors[name]):
            norm = name.partition("-at-")[0]
            raise ValueError(f"{norm!r} diverged at every rate of {source}, so none is chosen")
        rate, gain = techniques[name].learning_rate, techniques[name].settings.get("gain_rate")
        assert rate is not None
        return Choice(rate, gain, source, folder, tuple(sorted(seeds)), len(errors))

    def _scored(self, scale: str, folder: Path) -> dict[str, dict[int, float]]:
        """By competitor and seed the errors of the runs of a search that have a record in a folder.

        A record at another scale serves as well where it is of the same run. They are read again once a
        record of the search was written or removed.
        """
        scales = (scale, *(other for other in self.experiment.scales if other != scale))
        state = [_state(folder / self.experiment.name / one) for one in scales]
        before, scored = self._cache.get((scale, folder), (None, {}))
        if before == state:
            return scored
        listed = [seeds_by_technique(folder, self.experiment.name, one) for one in scales]
        scored = {}
        for technique in self.experiment.techniques:
            places = [Place(self.experiment.name, one, technique) for one in scales]
            for seed in set().union(*(seeds.get(technique, ()) for seeds in listed)):
                found = first_serving(needed_of(self.experiment, places[0], seed, folder), places, folder)
                if found is not None:
                    scored.setdefault(technique, {})[seed] = _errors(found)
        self._cache[scale, folder] = state, scored
        return scored

    def _missing(self, scale: str, norm: str, grid: _Grid, folder: Path | None) -> str:
        """Which runs are missing, and the command that makes them."""
        experiment, names = self.experiment, grid.shared
        scored = self._scored(scale, PACKAGE_RECORDS if folder is None else folder)
        seeds = {*range(experiment.scales[scale].seeds), *(k for name in names for k in scored.get(name, ()))}
        by_seed = {seed: [name for name in names if seed not in scored.get(name, ())] for seed in seeds}
        seed = min(by_seed, key=lambda k: (len(by_seed[k]), k))
        missing = by_seed[seed]
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        words = ["cosnorm", "run", experiment.name, "--norm", ",".join(missing), "--scale", scale]
        words += ["--seeds", f"{seed}-{seed}"]
        # Never into the installed package: without a folder of one's own the command line's default is meant.
        if folder is not None and not _same(folder, PACKAGE_RECORDS):
            words += ["--records", str(folder)]
        return (
            f"the learning rate of {norm!r} is chosen by {experiment.name}/{scale}, which is not complete: "
            f"of the {len(names)} rates with seed {seed}, {len(missing)} have no record "
            f"({', '.join(missing[:_NAMED])}{more}). Make them first, with `{shlex.join(words)}`"
        )


def _state(folder: Path) -> list[tuple[int, int]]:
    """What changes when a record in a folder, or in the file that stands for it, is written or removed."""
    paths = (folder, folder.with_name(f"{folder.name}.json"))
    return [
        (path.stat().st_mtime_ns, len(os.listdir(path)) if path.is_dir() else path.stat().st_size)
        for path in paths
        if path.exists()
    ]


def _group(norm: str, settings: Mapping[str, Any]) -> tuple[str, frozenset[tuple[str, Any]]]:
    """What makes two competitors one technique at two rates."""
    return norm, frozenset((key, value) for key, value in settings.items() if key not in _NOT_SEARCHED)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
