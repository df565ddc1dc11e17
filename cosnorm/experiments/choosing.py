"""The learning rates that a search chooses: it trains every technique at each rate of one grid."""

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

#: Settings that may differ between a search and the experiment that uses the rates it chooses.
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

    Of two equal rates the smaller is chosen, and never one at which a run diverged. The name of a technique
    is the part of its competitors' names before ``-at-``.
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
        The seeds with which every rate was tried.
    rates
        Number of rates, or pairs of a rate and a factor, that were tried.
    """

    rate: float
    gain: float | None
    source: str
    folder: Path
    seeds: tuple[int, ...]
    rates: int

    @property
    def where(self) -> str:
        """Whose records decided, for a sentence."""
        own = _same(self.folder, PACKAGE_RECORDS)
        return "the package's records" if own else f"the records in {self.folder}"

    @property
    def words(self) -> str:
        """The rate, and the factor if one was searched, as text."""
        return f"{self.rate:g}" + ("" if self.gain is None else f" (scale and shift: {self.gain:g} times)")

    def __str__(self) -> str:
        seeds = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        return f"best of {self.rates} in {self.source} with {seeds}, by {self.where}"


@dataclass(frozen=True)
class _Grid:
    # The competitors of a search that are one technique:
    shared: tuple[str, ...]  # at the rates that all techniques share
    gains: tuple[str, ...]  # at the same rates with other factors for the learning rate of scale and shift


class Search:
    """Chooses learning rates by the records of a search, as from :func:`cosnorm.experiments.fair.sweep`."""

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
        """The learning rate of a technique, by the records of ``folder``, else by the package's.

        Only a complete grid chooses: at least one seed must have a record of every rate; diverged runs count.
        The seeds that all rates have in common decide. The grid consists of the rates that the search tries
        with all its techniques, so that no technique is searched further than the others. Factors for the
        rate of a scale and shift are included once their grid is complete as well.

        Parameters
        ----------
        scale
            Of the search.
        norm, settings
            The technique, and the fields of a replica in which it differs.
        folder
            The records folder of the run or of the evidence; ``None`` reads the package's records only.

        Raises
        ------
        ValueError
            If neither folder holds a complete grid (the message gives the command that completes it), or the
            technique diverged at every rate.
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
        groups: dict[tuple[str, frozenset[tuple[str, Any]]], dict[str, Technique]] = {}
        for name, technique in self.experiment.techniques.items():
            groups.setdefault(_group(technique.norm or name, technique.settings), {})[name] = technique
        gains = {name for name, t in self.experiment.techniques.items() if "gain_rate" in t.settings}
        rates = ({t.learning_rate for name, t in g.items() if name not in gains} for g in groups.values())
        shared = set.intersection(*rates)
        return {
            group: _Grid(
                tuple(name for name, t in g.items() if t.learning_rate in shared and name not in gains),
                tuple(name for name in g if name in gains),
            )
            for group, g in groups.items()
        }

    def _decide(self, scale: str, grid: _Grid, folder: Path) -> Choice | None:
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
        # Errors by competitor and seed, also from records of the same runs at other scales. They are read
        # again once a record of the search was written or removed.
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
        experiment, names = self.experiment, grid.shared
        scored = self._scored(scale, PACKAGE_RECORDS if folder is None else folder)
        seeds = {*range(experiment.scales[scale].seeds), *(k for name in names for k in scored.get(name, ()))}
        by_seed = {seed: [name for name in names if seed not in scored.get(name, ())] for seed in seeds}
        seed = min(by_seed, key=lambda k: (len(by_seed[k]), k))
        missing = by_seed[seed]
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        words = ["cosnorm", "run", experiment.name, "--norm", ",".join(missing), "--scale", scale]
        words += ["--seeds", f"{seed}-{seed}"]
        # Never into the installed package: without another folder the command uses its default.
        if folder is not None and not _same(folder, PACKAGE_RECORDS):
            words += ["--records", str(folder)]
        return (
            f"the learning rate of {norm!r} is chosen by {experiment.name}/{scale}, which is not complete: "
            f"of the {len(names)} rates with seed {seed}, {len(missing)} have no record "
            f"({', '.join(missing[:_NAMED])}{more}). Make them first, with `{shlex.join(words)}`"
        )


def _state(folder: Path) -> list[tuple[int, int]]:
    # Changes whenever a record in a folder, or in the file that replaces the folder, is written or removed.
    paths = (folder, folder.with_name(f"{folder.name}.json"))
    return [
        (path.stat().st_mtime_ns, len(os.listdir(path)) if path.is_dir() else path.stat().st_size)
        for path in paths
        if path.exists()
    ]


def _group(norm: str, settings: Mapping[str, Any]) -> tuple[str, frozenset[tuple[str, Any]]]:
    # Equal for competitors that are one technique at several rates.
    return norm, frozenset((key, value) for key, value in settings.items() if key not in _NOT_SEARCHED)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
