"""Where the evidence is: the records of a folder, and the best scale that they are complete at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cosnorm import evidence, experiments
from cosnorm.benchmarking import PACKAGE_RESULTS, Result, read
from cosnorm.record import Record, RecordError

#: The scales that judge, the better one first. Smoke records are for seeing the code work.
SCALES = ("paper", "short")
#: Seeds that every needed run must have before the paper's scale is preferred.
SEEDS = 3

#: The benchmark of the layers on a processor, in the folder of benchmarks.
BENCHMARK = "layers-cpu.json"

#: Settings that runs of two experiments must share before they are compared.
_SHARED = ("dataset", "sizes", "epochs", "tail", "train_examples", "test_examples")


@dataclass(frozen=True)
class Run:
    """A competitor of an experiment."""

    experiment: str
    technique: str


def commands(runs: Sequence[Run], scale: str) -> str:
    """What makes the records of these competitors, one command an experiment.

    Examples
    --------
    >>> commands([Run("mnist", "weight"), Run("mnist", "max_norm")], "short")
    '`cosnorm run mnist --norm weight,max_norm --scale short`'
    """
    techniques: dict[str, list[str]] = {}
    for run in dict.fromkeys(runs):
        techniques.setdefault(run.experiment, []).append(run.technique)
    lines = (f"`cosnorm run {name} --norm {','.join(n)} --scale {scale}`" for name, n in techniques.items())
    return ", ".join(lines)


class Sources:
    """The records of a folder, each experiment read once.

    Parameters
    ----------
    folder
        A records folder; ``None`` for the records that come with the package.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = folder
        self._loaded: dict[tuple[str, str], list[Record]] = {}

    @cached_property
    def available(self) -> dict[tuple[str, str], int]:
        """Number of records by experiment and scale."""
        return evidence.available(self.folder)

    @cached_property
    def benchmark(self) -> Result | None:
        """The layers' times on a processor; ``None`` if they were not measured.

        Raises
        ------
        cosnorm.record.RecordError
            If the file is damaged.
        """
        folder = PACKAGE_RESULTS if self.folder is None else Path(self.folder) / PACKAGE_RESULTS.name
        path = folder / BENCHMARK
        return read(path) if path.exists() else None

    def load(self, experiment: str, scale: str) -> list[Record]:
        """All records of an experiment at a scale; none if there are none.

        Raises
        ------
        cosnorm.record.RecordError
            If one is damaged, or some do not belong in one table.
        """
        if not self.available.get((experiment, scale)):
            return []
        key = (experiment, scale)
        if key not in self._loaded:
            self._loaded[key] = evidence.load(experiment, scale, self.folder)
        return self._loaded[key]

    def runs(self, run: Run, scale: str) -> list[Record]:
        """The records of one competitor."""
        return [r for r in self.load(run.experiment, scale) if r.technique == run.technique]

    def scale(self, needed: Sequence[Run]) -> str:
        """``"paper"`` where each competitor has at least :data:`SEEDS` records there, else ``"short"``."""
        best, fallback = SCALES
        complete = all(len(self.runs(run, best)) >= SEEDS for run in needed)
        return best if complete else fallback


def best_scale(experiment: str, folder: Path | str | None = None) -> str | None:
    """The scale at which a chapter should show an experiment.

    Parameters
    ----------
    experiment
        Its name.
    folder
        A records folder; ``None`` for the records that come with the package.

    Returns
    -------
    str or None
        ``"paper"`` if every competitor with figures in the paper (every competitor, where it has none) has
        at least three seeds there; else ``"short"`` if there is any record, or else ``None``.

    Raises
    ------
    ValueError
        If there is no such experiment.

    Examples
    --------
    >>> best_scale("mnist") in ("paper", "short")
    True
    """
    settled = experiments.get(experiment)
    sources = Sources(folder)
    needed = [Run(experiment, technique) for technique in settled.printed or settled.techniques]
    scale = sources.scale(needed)
    return scale if sources.load(experiment, scale) else None


def check_shared(records: Sequence[Record]) -> None:
    """Raise RecordError unless runs of two experiments were made on the same data and as long.

    Runs of one experiment are left to :func:`cosnorm.evidence.load`, which knows what may differ there.
    """
    first, *others = records
    for other in others:
        if other.experiment == first.experiment:
            continue
        differing = [name for name in _SHARED if first.settings.get(name) != other.settings.get(name)]
        if first.provenance["dataset_sha256"] != other.provenance["dataset_sha256"]:
            differing.append("the data")
        if differing:
            raise RecordError(
                f"{other.name} and {first.name} differ in {', '.join(differing)}; make them again at one "
                "scale with one version of the package before they are compared"
            )
