"""The runs behind a comparison: which records judge, and whether they were trained for long enough.

A comparison comes *too early* if its runs could still change the answer:

* a run shorter than half the paper's length for its network whose errors still move, which they do if the
  last doubling of the training changed the mean over seeds by more than 0.1 % of the test examples (the
  ledger's margin for a difference worth having) and by more than 2 % of the errors (about what the errors of
  one run jump from one evaluation to the next). Medians of a few evaluations are compared, as for scores;
* a network to be beaten whose errors still move, if it was trained for less than the paper's whole length;
* in comparisons that concern the end of training (``late``), every run shorter than half the paper's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any

from cosnorm import evidence, experiments
from cosnorm.benchmarking import PACKAGE_RESULTS, Result, read
from cosnorm.claims.model import Effect, Run
from cosnorm.claims.text import count, data, spoken
from cosnorm.evidence.statistics import evaluations, steps_of_epoch
from cosnorm.record import Record, RecordError

#: The scales that judge, the better one first. Smoke records are for seeing the code work.
SCALES = ("paper", "short")
#: Runs that every competitor must have before the paper's scale is preferred.
SEEDS = 3
#: Runs of a competitor below which nothing is compared.
LEAST = 2
#: Errors still move if the last doubling changed them by more than both: a share of the test examples, and of
#: the errors.
MOVES = (0.001, 0.02)
#: The benchmark of the layers on a processor, in the folder of benchmarks.
BENCHMARK = "layers-cpu.json"
#: Settings that runs of two experiments must share before they are compared.
_SHARED = ("dataset", "sizes", "epochs", "tail", "train_examples", "test_examples")


# -- records -------------------------------------------------------------------------------------------


def commands(runs: Sequence[Run], scale: str) -> list[str]:
    """What makes the records of these competitors, one command per experiment.

    >>> commands([Run("mnist", "weight"), Run("mnist", "max_norm")], "short")
    ['cosnorm run mnist --norm weight,max_norm --scale short']
    """
    techniques: dict[str, list[str]] = {}
    for run in dict.fromkeys(runs):
        techniques.setdefault(run.experiment, []).append(run.technique)
    return [f"cosnorm run {name} --norm {','.join(n)} --scale {scale}" for name, n in techniques.items()]


class Records:
    """The records of a folder, each experiment read once; ``None`` for those that come with the package."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = folder
        self._loaded: dict[tuple[str, str], list[Record]] = {}

    @cached_property
    def benchmark(self) -> Result | None:
        """The layers' times on a processor; ``None`` if they were not measured."""
        folder = PACKAGE_RESULTS if self.folder is None else Path(self.folder) / PACKAGE_RESULTS.name
        path = folder / BENCHMARK
        return read(path) if path.exists() else None

    @cached_property
    def _available(self) -> dict[tuple[str, str], int]:
        return evidence.available(self.folder)

    def load(self, experiment: str, scale: str) -> list[Record]:
        """All records of an experiment at a scale; none if there are none, or no such experiment yet."""
        key = (experiment, scale)
        if key not in self._loaded:
            known = experiments.registry().get(experiment)
            try:
                usable = known is not None and scale in known.scales
                self._loaded[key] = evidence.load(experiment, scale, self.folder) if usable else []
            except RecordError:
                if self._available.get(key):
                    raise
                self._loaded[key] = []
        return self._loaded[key]

    def runs(self, run: Run, scale: str) -> list[Record]:
        """The records of one competitor."""
        return [r for r in self.load(run.experiment, scale) if r.technique == run.technique]

    def scale(self, needed: Sequence[Run], seeds: int = SEEDS) -> str:
        """``"paper"`` where each competitor has at least so many records there, else ``"short"``."""
        best, fallback = SCALES
        complete = needed and all(len(self.runs(run, best)) >= seeds for run in needed)
        return best if complete else fallback

    @property
    def first_of_paper(self) -> str:
        """Date of the first record at the paper's length among those read so far; empty for none."""
        read_so_far = (r for (_, scale), found in self._loaded.items() if scale == SCALES[0] for r in found)
        return min((str(r.provenance["date"]) for r in read_so_far), default="")


def facts(scale: str, groups: Sequence[Sequence[Record]]) -> dict[str, Any]:
    """The fields of an effect that describe its records."""
    runs = [r for group in groups for r in group]
    return {
        "scale": scale,
        "length": length(runs),
        "records": tuple(dict.fromkeys(r.stored or r.name for r in runs)),
        "devices": tuple(dict.fromkeys(str(r.provenance["device_name"]) for r in runs)),
    }


@dataclass(frozen=True)
class Gathered:
    """The finished runs of a comparison at one scale, group by group, or why there are too few (``missing``).

    ``lost`` tells by technique how many runs diverged, and of how many.
    """

    scale: str
    groups: tuple[tuple[Record, ...], ...]
    lost: dict[str, tuple[int, int]]
    missing: str

    def without(self, name: str, unit: str, favored: str = "", rivals: Sequence[str] = ()) -> Effect:
        """An effect without figures: untested, or lost if the favored competitor alone always diverged."""
        gone = {technique for technique, (diverged, runs) in self.lost.items() if runs and diverged == runs}
        complete = all(runs >= LEAST for _, runs in self.lost.values())
        if favored in gone and len(gone) < len(self.lost) and complete:
            return Effect(name, "reversed", unit, scale=self.scale, missing=self.missing)
        return Effect(name, "untested", unit, missing=self.missing, failed=bool(gone & set(rivals)))


def gather(records: Records, needs: Sequence[Run], least: int = LEAST) -> Gathered:
    """The finished runs of all competitors at their best common scale."""
    scale = records.scale(needs, least if least < LEAST else SEEDS)
    groups, lost, absent, few = [], {}, [], []
    for need in needs:
        runs = records.runs(need, scale)
        group = tuple(r for r in runs if not r.diverged)
        groups.append(group)
        lost[need.technique] = (len(runs) - len(group), len(runs))
        if not runs:
            absent.append(need)
        elif not group:
            few.append(f"every run of {need.technique} diverged in {need.experiment}")
        elif len(group) < least:
            found = f"finished runs of {need.technique} in {need.experiment}: {len(group)}"
            few.append(f"{found}, and at least {least} are needed")
    if absent:
        return Gathered(scale, tuple(groups), lost, f"no runs yet: {quoted(commands(absent, scale))}")
    check_shared([group[0] for group in groups if group])
    return Gathered(scale, tuple(groups), lost, few[0] if few else "")


def quoted(lines: Sequence[str]) -> str:
    """Commands as Markdown, separated by commas."""
    return ", ".join(f"`{line}`" for line in lines)


def check_shared(records: Sequence[Record]) -> None:
    """Raise RecordError unless runs of two experiments were made on the same data and as long.

    Runs of one experiment are left to :func:`cosnorm.evidence.load`, which knows what may differ there.
    """
    for other in records[1:]:
        if other.experiment == records[0].experiment:
            continue
        differing = [name for name in _SHARED if records[0].settings.get(name) != other.settings.get(name)]
        if records[0].provenance["dataset_sha256"] != other.provenance["dataset_sha256"]:
            differing.append("the data")
        if differing:
            raise RecordError(
                f"{other.name} and {records[0].name} differ in {', '.join(differing)}; make them again at "
                "one scale with one version of the package before they are compared"
            )


# -- how far training has come -------------------------------------------------------------------------


def full_epochs(record: Record) -> int:
    """Epochs of the paper's own run of this network."""
    experiment = experiments.get(record.experiment)
    technique = experiment.techniques.get(record.technique)
    steps = technique and technique.full_steps
    return round(steps / steps_of_epoch(record)) if steps else experiment.full_epochs


def share(record: Record) -> float:
    """The part of the paper's length for which a run was trained, such as 0.1; above 1 it was longer."""
    return record.settings["epochs"] / full_epochs(record)


def length(runs: Sequence[Record]) -> str:
    """For how long these runs were trained, in words; empty for none."""
    found: dict[str, dict[str, None]] = {}
    for r in runs:
        done, full = r.settings["epochs"], full_epochs(r)
        found.setdefault(data(r.experiment), {})[f"{done} of {full}" if done < full else f"{done}"] = None
    return " and ".join(f"{' or '.join(said)} epochs on {kind}" for kind, said in found.items())


def progress(runs: Sequence[Record]) -> tuple[float, float]:
    """Mean over seeds of a technique's errors halfway through training, and at the end: medians in a run."""

    def at(r: Record, last: int) -> float:
        return median(r.curves["test_error"][max(0, last - evaluations(r)) : last])

    halves = [at(r, max(1, r.settings["epochs"] // 2)) for r in runs]
    return fmean(halves), fmean(at(r, r.settings["epochs"]) for r in runs)


def moves(runs: Sequence[Record]) -> bool:
    """Whether the errors of a technique still move: see the top of this module."""
    before, now = progress(runs)
    return abs(before - now) > max(MOVES[0] * runs[0].settings["test_examples"], MOVES[1] * now)


def too_early(groups: Sequence[Sequence[Record]], rivals: Sequence[str], late: bool = False) -> str:
    """Why these runs are too short for an answer; empty if they are not."""
    for runs in groups:
        done, epochs = share(runs[0]), runs[0].settings["epochs"]
        bound = 0.99 if runs[0].technique in rivals else 0.5  # a last step more or less is no matter
        name = spoken(runs[0].technique)
        if done < 0.5 and late:
            return f"{epochs} epochs of {name} are less than half the paper's {full_epochs(runs[0])}"
        if done < bound and moves(runs):
            before, now = (count(value) for value in progress(runs))
            return (
                f"{name} still moves after {epochs} of {full_epochs(runs[0])} epochs ({before} errors "
                f"halfway, {now} at the end)"
            )
    return ""
