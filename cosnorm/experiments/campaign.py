"""The plan of ``cosnorm reproduce``: the runs that repeat the paper, their order, and their cost.

Stages that decide the most for their cost come first. Within a part all techniques of one seed come before
the next seed, so that the existing runs can be compared wherever the work stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch

import cosnorm
from cosnorm import _atomic, record
from cosnorm.experiments import sharing
from cosnorm.experiments.costing import run_operations, trial
from cosnorm.experiments.execution import Due, Execution, Job, Outcome, Progress, Running
from cosnorm.experiments.identity import Place
from cosnorm.experiments.processes import Events, Process
from cosnorm.experiments.registry import get, registry
from cosnorm.training import resolve_device

__all__ = ["Campaign", "Due", "Job", "Outcome", "Progress", "Running", "commands"]

#: The techniques that are compared at the paper's length: its own five, and two more.
COMPARED = ("none", "cosine", "batch", "weight", "max_norm", "centered", "layer")
_FIRST = (0, 1, 2)
_MORE = (3, 4)
_FIVE = (0, 1, 2, 3, 4)
#: The techniques whose learning rates are searched first, and the others of `relatives`.
_SEARCHED_FIRST = (*COMPARED, "cosine_affine")
_SEARCHED_THEN = (
    *("weight-biased", "weight_learned", "weight_decay", "scaling", "mean_only_batch", "cosine_mean_only"),
    *("early_batch", "layer_simple", "detach", "adanorm", "propagation", "online"),
)
_DROPOUT = ("none-dropout", "none-dropout-scaled", "cosine-dropout")
#: The network with three layers is the one of `mnist`.
_DEPTHS = ("cosine-2-layers", "cosine-4-layers", "cosine-5-layers")


@dataclass(frozen=True)
class Part:
    """Runs of one experiment."""

    experiment: str
    scale: str
    techniques: tuple[str, ...]  # names or patterns of names, such as "cosine-at-*"
    seeds: tuple[int, ...]

    def unknown(self) -> list[str]:
        """The names and patterns that match nothing in the experiments."""
        if self.experiment not in registry():
            return [self.experiment]
        experiment = get(self.experiment)
        if self.scale not in experiment.scales:
            return [f"{self.experiment}/{self.scale}"]
        return [
            f"{self.experiment}/{self.scale}/{pattern}"
            for pattern in self.techniques
            if not any(fnmatchcase(name, pattern) for name in experiment.techniques)
        ]

    def runs(self) -> list[tuple[Place, int]]:
        """The known competitors and seeds."""
        if self.experiment not in registry() or self.scale not in get(self.experiment).scales:
            return []
        known = get(self.experiment).techniques
        names = dict.fromkeys(
            name for pattern in self.techniques for name in known if fnmatchcase(name, pattern)
        )
        return [(Place(self.experiment, self.scale, name), seed) for seed in self.seeds for name in names]


@dataclass(frozen=True)
class Stage:
    """Runs that are trained together, in order."""

    number: int
    title: str
    parts: tuple[Part, ...]


def _at(techniques: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{technique}-at-*" for technique in techniques)


_PAPER = (
    Stage(
        1,
        "short runs that settle something each",
        (
            Part("linear", "paper", ("*",), (0,)),
            Part("newsgroups", "short", ("*",), _FIVE),
            Part("mnist", "short", ("weight", "centered"), _FIVE),
            Part("rates", "short", _at(_SEARCHED_FIRST), _FIRST),
            Part("rates", "short", _at(_SEARCHED_THEN), _FIRST),
            Part("relatives", "short", ("*",), _FIVE),
            Part("magnitude", "short", ("*",), tuple(range(7))),
            Part("noise", "short", _DROPOUT, _FIRST),
            Part("ambiguity", "short", ("none", "none-unbiased", "max_norm", "max_norm-unbiased"), _FIRST),
        ),
    ),
    Stage(
        2,
        "MNIST and 20 Newsgroups at the paper's length",
        (Part("mnist", "paper", COMPARED, _FIRST), Part("newsgroups", "paper", COMPARED, _FIRST)),
    ),
    Stage(
        3,
        "dropout and depth at the paper's length",
        (Part("noise", "paper", _DROPOUT, _FIRST), Part("depth", "paper", _DEPTHS, _FIRST)),
    ),
    Stage(
        4,
        "two more seeds of stages 2 and 3",
        (
            Part("mnist", "paper", COMPARED, _MORE),
            Part("newsgroups", "paper", COMPARED, _MORE),
            Part("noise", "paper", _DROPOUT, _MORE),
            Part("depth", "paper", _DEPTHS, _MORE),
        ),
    ),
    Stage(
        5,
        "CIFAR-10 and CIFAR-100",
        (
            Part("cifar10", "paper", ("none", "cosine"), _FIRST),
            # The first 24,000 steps; the whole length waits for a GPU.
            Part("cifar10", "short", ("none-augmented", "cosine-augmented"), _FIRST),
            Part("rates_cifar10", "short", ("*",), (0,)),
            Part("fair_cifar10", "short", ("*",), _FIRST),
            Part("tutorial", "paper", ("tutorial",), (0,)),
            Part("cifar100", "short", ("*",), _FIRST),
        ),
    ),
    Stage(6, "batches of one example", (Part("noise", "short", ("cosine-batch-1",), _FIRST),)),
)

#: What the plan of the paper's scale still lacks, by stage, because no experiment offers it.
OPEN = {
    6: "a search of the learning rate for batches of one example",
}


def stages(scale: str) -> tuple[Stage, ...]:
    """The plan at a scale.

    ``"paper"`` has six stages, of which the first consists of short runs. ``"short"`` makes the same
    comparisons with short runs only. ``"smoke"`` has one run of the first two competitors of every
    experiment: for seeing the code work, no evidence for anything.
    """
    if scale == "paper":
        return _PAPER
    if scale == "short":
        return tuple(replace(stage, parts=tuple(map(_shorten, stage.parts))) for stage in _PAPER)
    if scale == "smoke":
        firsts = {name: tuple(each.techniques)[:2] for name, each in registry().items()}
        parts = tuple(Part(name, "smoke", techniques, (0,)) for name, techniques in firsts.items())
        return (Stage(1, "two runs of every experiment", parts),)
    raise ValueError(f"there is no plan at scale {scale!r}; choose one of smoke, short, paper")


def _shorten(part: Part) -> Part:
    known = part.experiment in registry() and "short" in get(part.experiment).scales  # `linear` has none
    return replace(part, scale="short") if known else part


# -- what is missing in a folder, and what it costs ----------------------------------------------------------

#: Operations per second of one core, for a guess without a trial, and seconds of work that justify a trial.
_GUESSED_SPEED = 5e9
_WORTH_SECONDS = 30.0
#: Least seconds of any run: the process has to load data and write a record.
_LEAST_SECONDS = 0.5
#: A guess of the seconds of a run of scikit-learn, which depend on the number of steps of its solver.
_FITTED_SECONDS = 60.0
#: The file with the trials of this machine, in the folder of records.
SPEEDS = ".speeds.json"


class Campaign:
    """The runs of the plan at a scale, and the folder of their records.

    Parameters
    ----------
    scale
        As for :func:`cosnorm.experiments.campaign.stages`.
    stage
        Only this one.
    experiments
        Only the runs that these experiments read, and those that choose their learning rates.
    records
        Folder of the records.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    threads
        Runs at a time on a CPU, each on one thread; by default one for each core.

    Attributes
    ----------
    jobs
        The runs of the plan in order, each once.
    unknown
        What the plan names and no experiment has.
    """

    def __init__(
        self,
        scale: str = "paper",
        *,
        stage: int | None = None,
        experiments: Collection[str] | None = None,
        records: Path | str,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.scale, self.records = scale, Path(records)
        self.device = resolve_device(device)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        # On a GPU one process trains whole stacks of runs.
        self.slots = 1 if self.device.type == "cuda" else (threads or cores or 1)
        self.stages = [one for one in stages(scale) if stage in (None, one.number)]
        if not self.stages:
            known = ", ".join(str(one.number) for one in stages(scale))
            raise ValueError(f"there is no stage {stage} at scale {scale}; choose from {known}")
        self.unknown = [name for one in self.stages for part in one.parts for name in part.unknown()]
        self.jobs = self._jobs(None if experiments is None else _with_searches(experiments))
        self.speeds = _Speeds(self.records, self.device)

    def _jobs(self, experiments: Collection[str] | None) -> list[Job]:
        runs = ((stage.number, run) for stage in self.stages for part in stage.parts for run in part.runs())
        every = [Job(number, place, seed) for number, (place, seed) in runs]
        unique = {(job.place, job.seed): job for job in reversed(every)}
        jobs = list(reversed(unique.values()))
        return jobs if experiments is None else self._read_by(jobs, experiments)

    def _read_by(self, jobs: list[Job], experiments: Collection[str]) -> list[Job]:
        # The jobs of these experiments, and those of others that they read in place of their own.
        own = {(job.place, job.seed) for job in jobs if job.place.experiment in experiments}
        scales = {place[:2] for place, _ in own}
        planned = {experiment for experiment, _ in scales}
        kept: list[Job] = []
        for job in jobs:
            read = set() if job.place.experiment in experiments else self._readers(job, experiments) - own
            # An experiment that the plan names is read at the scales at which it names it.
            read = {one for one in read if one[0].experiment not in planned or one[0][:2] in scales}
            own |= read
            if read or job.place.experiment in experiments:
                kept.append(job)
        return kept

    def _readers(self, job: Job, experiments: Collection[str]) -> set[tuple[Place, int]]:
        # The runs of these experiments that the record of a run serves.
        try:
            places = sharing.served(job.place, self.records)
        except ValueError:  # no record has chosen its rate yet
            places = []
        return {(place, job.seed) for place in places if place.experiment in experiments}

    def due(self) -> list[Due]:
        """The runs that are still needed, in order, each once, with their estimated seconds."""
        found: dict[str, Due] = {}
        for job in self.jobs:
            try:
                wanted = sharing.needed(job.place, job.seed, self.records)
            except ValueError:
                _, scale, technique = job.place
                epochs = get(job.place.experiment).replica(technique, scale, job.seed, rate=1.0).epochs
                found.setdefault(job.name, Due(job, None, epochs, self.seconds(job.place, epochs)))
                continue
            home = sharing.home(wanted)
            # A run that an earlier one of the plan will serve is not trained, however short it is.
            awaited = any(place.name(job.seed) in found for place in sharing.places(wanted))
            if not awaited and sharing.find(wanted, self.records) is None:
                epochs = wanted.replica.epochs
                found[home.name(job.seed)] = Due(job, home, epochs, self.seconds(home, epochs))
        return list(found.values())

    def seconds(self, place: Place, epochs: int) -> float:
        """Seconds of a run on one core, by a trial if there was one, else by its number of operations."""
        experiment = get(place.experiment)
        if experiment.fitter is not None:
            return _FITTED_SECONDS
        made = trial(experiment, place.scale, place.technique)
        measured = self.speeds.known.get(made.key)
        guess = run_operations(experiment, place.scale, place.technique) / _GUESSED_SPEED
        return max(_LEAST_SECONDS, guess if measured is None else measured * made.train * epochs)

    def trials(self, due: Collection[Due]) -> dict[str, Place]:
        """The worthwhile trials by their keys, each with a competitor to time."""
        guessed: dict[str, float] = {}
        places: dict[str, Place] = {}
        for one in due:
            place = one.home or one.job.place
            experiment = get(place.experiment)
            if experiment.fitter is not None:
                continue
            key = trial(experiment, place.scale, place.technique).key
            if key not in self.speeds.known:
                guessed[key] = guessed.get(key, 0.0) + one.seconds
                places.setdefault(key, place)
        return {key: place for key, place in places.items() if guessed[key] > _WORTH_SECONDS}

    def measure(self, on_trial: Callable[[int, int], None] = lambda done, total: None) -> list[Due]:
        """Time some steps of each distinct network, once per machine; returns what is due after that.

        ``on_trial`` is called with the number of finished trials and of all trials.
        """
        due = self.due()
        wanted = self.trials(due) if self.device.type == "cpu" else {}
        if not wanted:
            return due
        waiting, total = dict(wanted), len(wanted)
        events: Events = queue.SimpleQueue()
        workers = [Process(self.device, events) for _ in range(min(self.slots, total))]
        try:
            active = len(workers)
            while active:
                worker, message = events.get()
                if message["kind"] == "measured":
                    self.speeds.known[worker.title] = message["seconds"]
                    on_trial(total - len(waiting), total)
                if message["kind"] == "lost":
                    active -= 1
                elif message["kind"] != "log":
                    if waiting:
                        key = next(iter(waiting))
                        worker.title = key
                        worker.send({"do": "measure", **waiting.pop(key)._asdict()})
                    else:
                        worker.close()
        finally:
            for worker in workers:
                worker.kill()
        self.speeds.write()
        return self.due()

    def run(
        self,
        *,
        budget: float | None = None,
        stop: threading.Event | None = None,
        on_line: Callable[[str], None] = lambda text: None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Outcome:
        """Train the missing runs, each once.

        Parameters
        ----------
        budget
            Seconds after which runs in progress save their state at the end of their epoch, and no other run
            starts.
        stop
            An event with the same effect.
        on_line
            Called with each message about a finished run or a failure.
        on_progress
            Called about twice a second.
        """
        record.prepare_folder(self.records)
        where = (self.records, self.device, self.slots)
        return Execution(self.due(), *where, budget, stop or threading.Event(), on_line, on_progress).run()


class _Speeds:
    # Seconds per training example on this machine, by trial; kept in a file next to the records.

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.path = folder / SPEEDS
        machine = [platform.node(), platform.machine(), os.cpu_count(), device.type]
        self.machine = json.dumps([*machine, torch.__version__, cosnorm.__version__])
        self.known: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self.known = dict(json.loads(self.path.read_text(encoding="utf-8")).get(self.machine, {}))

    def write(self) -> None:
        # If the file cannot be written, the trials cost a minute next time.
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _atomic.write_text(self.path, json.dumps({self.machine: self.known}, indent=1) + "\n")


def _with_searches(experiments: Collection[str]) -> set[str]:
    # The experiments, and those whose records choose their learning rates.
    known = registry()
    strange = [name for name in experiments if name not in known]
    if strange:
        raise ValueError(f"there is no experiment {strange[0]!r}; choose from {', '.join(known)}")
    sources = {
        scale.rates_from.partition("/")[0]
        for name in experiments
        for scale in known[name].scales.values()
        if scale.rates_from is not None
    }
    return {*experiments, *sources}


def commands(campaign: Campaign) -> Iterator[tuple[str, str, list[str], list[int]]]:
    """The plan as :func:`cosnorm.experiments.sweep` takes it: experiments, scales, techniques and seeds."""
    kept = {(job.place, job.seed) for job in campaign.jobs}
    for stage in campaign.stages:
        for part in stage.parts:
            runs = [(place, seed) for place, seed in part.runs() if (place, seed) in kept]
            if runs:
                techniques = list(dict.fromkeys(place.technique for place, _ in runs))
                yield part.experiment, part.scale, techniques, list(part.seeds)
