"""From a plan to its records: train what is missing, write each run when it is done."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from cosnorm import _atomic, data, provenance, record
from cosnorm.experiments.checkpoint import CheckpointFile, Contributions, RunLock, leftovers, remove_leftovers
from cosnorm.experiments.experiment import Experiment, Fitter, tail
from cosnorm.experiments.identity import Needed, Place, read, settings_of, view
from cosnorm.experiments.registry import get
from cosnorm.experiments.sharing import find, home, needed
from cosnorm.record import Record
from cosnorm.training import Curves, Hooks, Replica, Watcher, resolve_device, train_with

#: Seconds between two checkpoints of a run, and between two looks for a run that another process trains.
CHECKPOINT_SECONDS = 30.0
WAIT_SECONDS = 0.5
#: Stacks trained at the same time on a CUDA device, each on its own stream.
CUDA_PARALLEL = 4
#: Folder within the records that keeps those replaced after the definition of an experiment has changed.
SUPERSEDED = "superseded"


class Stopped(KeyboardInterrupt):
    """Training was asked to stop, and every run in progress has saved its state."""


@dataclass(frozen=True)
class Plan:
    """The runs of an experiment, checked before anything is trained; see :func:`cosnorm.experiments.run`.

    Attributes
    ----------
    records
        The folder that is read before the package's records where records choose learning rates.
    only
        The runs, if they are not all techniques with all seeds.
    """

    experiment: Experiment
    scale: str
    techniques: tuple[str, ...]
    seeds: tuple[int, ...]
    device: torch.device
    records: Path | str | None = None
    only: tuple[tuple[str, int], ...] = ()
    #: Looked up once: records that are written later must not change the rate of a run.
    _replicas: dict[tuple[str, int], Replica] = field(default_factory=dict, compare=False, repr=False)

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Technique and seed of every run, all techniques of one seed before the next seed."""
        if self.only:
            return list(self.only)
        return [(technique, seed) for seed in self.seeds for technique in self.techniques]

    def replica(self, technique: str, seed: int) -> Replica:
        """The settings of one of the runs."""
        run = (technique, seed)
        if run not in self._replicas:
            self._replicas[run] = self.experiment.replica(technique, self.scale, seed, records=self.records)
        return self._replicas[run]

    def fix(self, replicas: Mapping[tuple[str, int], Replica]) -> None:
        """Use the settings of another plan for some runs."""
        self._replicas.update(replicas)

    def place(self, technique: str) -> Place:
        """Where the records of a technique lie."""
        return Place(self.experiment.name, self.scale, technique)

    def command(self, technique: str, seed: int) -> str:
        """The command that repeats one run."""
        return (
            f"cosnorm run {self.experiment.name} --norm {technique} --scale {self.scale} "
            f"--seeds {seed}-{seed} --device {self.device.type}"
        )


def plan(
    name: str,
    norms: str | Iterable[str] = "all",
    scale: str | None = None,
    seeds: int | Iterable[int] | None = None,
    device: str | torch.device = "auto",
    records: Path | str | None = None,
) -> Plan:
    """What :func:`cosnorm.experiments.run` would do; parameters as there."""
    experiment = get(name)
    scale, chosen = experiment.scale(scale)
    if isinstance(norms, str):
        norms = norms.split(",")
    techniques = tuple(dict.fromkeys(norm.strip() for norm in norms))
    if techniques == ("all",):
        techniques = tuple(experiment.techniques)
    if seeds is None:
        seeds = chosen.seeds
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(dict.fromkeys(seeds))
    if not numbers or not techniques:
        raise ValueError("nothing to run: name at least one technique and one seed")
    planned = Plan(experiment, scale, techniques, numbers, resolve_device(device), records)
    for technique, seed in planned.runs:
        planned.replica(technique, seed)
    return planned


def load_data(planned: Plan, progress: bool = False) -> data.Dataset:
    """The prepared dataset of a plan, with its held-out examples, if any, in place of the test set."""
    scale = planned.experiment.scales[planned.scale]
    dataset = data.load(scale.dataset, progress=progress, **scale.preparation)
    return dataset.hold_out(scale.validation) if scale.validation else dataset


def run(
    name: str,
    norms: str | Iterable[str] = "all",
    scale: str | None = None,
    seeds: int | Iterable[int] | None = None,
    *,
    device: str | torch.device = "auto",
    records: Path | str | None = None,
    progress: bool = False,
    on_epoch: Watcher | None = None,
    on_record: Callable[[Record, bool], None] | None = None,
    on_wait: Callable[[int], None] | None = None,
    checkpoint_every: float = CHECKPOINT_SECONDS,
    stop: threading.Event | None = None,
    supersede: bool = False,
) -> list[Record]:
    """Run an experiment and return one record per run.

    Several runs are trained at the same time: on a CPU as many as :func:`torch.get_num_threads` allows, on a
    CUDA device in stacks. A killed run goes on from its last checkpoint; on the same machine the record is
    the same to the last bit except for cost and date, and it names every version, commit and processor that
    trained a part of it. Several processes may share a folder: each run is locked by one of them, and the
    others wait for its record.

    A run that several experiments share is trained once. Its record is written to its home, see
    ``cosnorm.experiments.sharing``, and returned as a view under the name that was asked for.

    Parameters
    ----------
    name
        The experiment, such as ``"mnist"``.
    norms
        Techniques: a list, a string with commas, or ``"all"``.
    scale
        ``"smoke"``, ``"short"`` or ``"paper"``; by default ``$COSNORM_SCALE``, else smoke.
    seeds
        How many (0, 1, ...), or the seeds themselves; by default the number of the scale.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or a torch device.
    records
        Folder to write each record to as soon as its run is done. Runs that a record in the folder serves
        are not repeated. If the records of another experiment choose learning rates, they are looked for
        here first. ``None`` keeps the records in memory only.
    progress
        Print one line per finished run, and show the download of a dataset.
    on_epoch, on_record
        Called after each epoch, and with each record and whether it already existed. Records come in the
        order of the result, epochs as they happen.
    on_wait
        Called with the number of runs that other processes are training, whenever it changes while this
        process has nothing else to do.
    checkpoint_every
        Seconds between two checkpoints of a run, kept in the folder until its record is written.
    stop
        An event that ends training early: each run in progress saves its state at the end of its epoch.
    supersede
        Whether to repeat runs whose record has other settings, such as those of an earlier version of the
        experiment. The old record moves to the folder ``superseded`` within the records when the new one is
        written. By default such a record is an error.

    Returns
    -------
    list of Record
        In the order of :attr:`Plan.runs`, finished and diverged runs alike.

    Raises
    ------
    cosnorm.record.RecordError
        If the folder cannot be written to (checked before training), or holds a damaged record or one with
        other settings.
    cosnorm.data.DatasetError
        If the dataset cannot be downloaded or read.
    Stopped
        If ``stop`` was set before all runs were finished; a kind of ``KeyboardInterrupt``.

    Examples
    --------
    >>> done = run("mnist", ["none", "cosine"], scale="smoke", seeds=1, device="cpu")
    >>> [r.technique for r in done]
    ['none', 'cosine']
    """
    planned = plan(name, norms, scale, seeds, device, records)
    if records is not None:
        record.prepare_folder(records)
    hooks = (progress, on_epoch, on_record, on_wait, checkpoint_every)
    return Runner(planned, records, *hooks, stop, supersede).run()


class Runner(Hooks):
    """Trains the runs of a plan, with their locks, checkpoints and records; parameters as for :func:`run`."""

    def __init__(
        self,
        planned: Plan,
        folder: Path | str | None,
        progress: bool = False,
        on_epoch: Watcher | None = None,
        on_record: Callable[[Record, bool], None] | None = None,
        on_wait: Callable[[int], None] | None = None,
        checkpoint_every: float = CHECKPOINT_SECONDS,
        stop: threading.Event | None = None,
        supersede: bool = False,
    ) -> None:
        self.planned, self.folder, self.progress = planned, folder, progress
        self.on_epoch, self.on_record, self.on_wait = on_epoch, on_record, on_wait
        self.every, self.stop, self.supersede = checkpoint_every, stop, supersede
        self.results = stored(planned, folder, supersede=supersede)
        self._homes: dict[tuple[str, int], Plan] = {}
        self.present = set(self.results)
        self._locks: dict[int, RunLock] = {}
        self._checkpoints: dict[int, CheckpointFile] = {}
        self._contributions: dict[int, Contributions] = {}
        self._told = 0
        self._waited_for = 0
        provenance.environment(planned.device)  # notes the commit now; it may change during long runs

    def run(self) -> list[Record]:
        """Train the runs without a record; wait for those that another process has locked."""
        runs = self.planned.runs
        self._tidy()
        self._tell()
        if len(self.results) < len(runs):
            self.dataset = load_data(self.planned, self.progress)
            while missing := [run for run in runs if run not in self.results]:
                if self.stopping():
                    raise Stopped
                self.train(missing)
                if not self.stopping():
                    self._wait_for([run for run in missing if run not in self.results])
        return [self.results[run] for run in runs]

    def stopping(self) -> bool:
        """Whether training is to end early."""
        return self.stop is not None and self.stop.is_set()

    def home(self, run: tuple[str, int]) -> Plan:
        """A plan of one run: the experiment under whose name it is trained and written."""
        if run not in self._homes:
            planned, own = self.planned, self.planned.place(run[0])
            place = own if self.folder is None else home(_needed(planned, run))
            if place == own:
                self._homes[run] = replace(planned, techniques=run[:1], seeds=run[1:], only=())
            else:
                where = (get(place.experiment), place.scale, (place.technique,))
                self._homes[run] = Plan(*where, run[1:], planned.device, planned.records)
            self.replica(run)
        return self._homes[run]

    def replica(self, run: tuple[str, int]) -> Replica:
        """The settings with which a run is trained, with all that its home observes."""
        (trained,) = self.home(run).runs
        return self.home(run).replica(*trained)

    def name(self, run: tuple[str, int]) -> str:
        """The name of a run's record, at its home."""
        ((technique, seed),) = self.home(run).runs
        return self.home(run).place(technique).name(seed)

    def train(self, missing: list[tuple[str, int]]) -> None:
        """Train the missing runs that no other process is training; runs that are the same only once."""
        self.missing = list({self.name(run): run for run in reversed(missing)}.values())[::-1]
        chosen = self.planned.experiment.scales[self.planned.scale]
        on_cpu = self.planned.device.type == "cpu"
        threads = (chosen.threads or 1) if on_cpu else torch.get_num_threads()
        # On a CPU every run gets its own threads, so that its result does not depend on their number.
        parallel = max(1, torch.get_num_threads() // threads) if on_cpu else CUDA_PARALLEL
        replicas = [self.replica(run) for run in self.missing]
        try:
            with _threads(threads):
                if self.planned.experiment.fitter is not None:
                    self._fit_models(self.planned.experiment.fitter, replicas)
                else:
                    train_with(self, replicas, self.dataset, device=self.planned.device, parallel=parallel)
        finally:
            for lock in self._locks.values():
                lock.release()
            self._locks.clear()
            self._checkpoints.clear()
            self._contributions.clear()

    def _fit_models(self, fitter: Fitter, replicas: list[Replica]) -> None:
        for index, run in enumerate(self.missing):
            ((technique, seed),) = self.home(run).runs
            if self.start(index):
                curves = fitter.fit(self.dataset, technique, seed)
                self.epoch(index, replicas[index], curves)
                self.finish(index, curves)

    def start(self, index: int) -> bool:
        """Lock a run, unless another process trains it or has just finished it."""
        if self.stopping():
            return False
        if self.folder is None:
            return True
        run = self.missing[index]
        path = self._path(run)
        lock = RunLock(path)
        if not lock.held:
            return False
        if record.exists(path) and not (self.supersede and not _needed(self.planned, run).serves(read(path))):
            remove_leftovers(path)
            lock.release()
            return False
        self._locks[index] = lock
        return True

    def checkpoint(self, index: int) -> CheckpointFile | None:
        """The file with the state of a run; without a folder there is none."""
        if self.folder is None:
            return None
        if index not in self._checkpoints:
            run = self.missing[index]
            there = self.home(run)
            identity = {
                "settings": settings_of(there.experiment, there.scale, self.replica(run)),
                "seed": run[1],
                "dataset": self.dataset.sha256,
                "device": self.planned.device.type,
            }
            whence = (self._path(run), identity, self.every, self._contributed(index))
            self._checkpoints[index] = CheckpointFile(*whence)
        if self.stopping():
            self._checkpoints[index].every = 0.0
        return self._checkpoints[index]

    def epoch(self, index: int, replica: Replica, curves: Curves) -> None:
        """Pass an epoch on, as one of the run that was asked for."""
        del replica
        if self.on_epoch is not None:
            self.on_epoch(self.planned.replica(*self.missing[index]), curves)

    def finish(self, index: int, curves: Curves) -> None:
        """Make the record, write it, and remove the checkpoint and the lock."""
        run = self.missing[index]
        result = self.record(index, curves)
        if self.folder is not None:
            path = self._path(run)
            if self.supersede and record.exists(path):
                set_aside(path)
            remove_leftovers(record.write(result, self.folder))
            self._locks.pop(index).release()
        self.results[run] = view(result, self.planned.place(run[0]), self.planned.replica(*run).epochs)
        self._tell()

    def record(self, index: int, curves: Curves) -> Record:
        """The record of a finished run, under the name that it has at home."""
        last = len(curves.test_error) if curves.diverged_epoch is None else curves.diverged_epoch
        contributions = self._contributed(index).until(last)
        there = self.home(self.missing[index])
        (trained,) = there.runs
        return make_record(there, *trained, self.dataset, curves, contributions)

    def _contributed(self, index: int) -> Contributions:
        return self._contributions.setdefault(index, Contributions(self.planned.device))

    def _path(self, run: tuple[str, int]) -> Path:
        assert self.folder is not None
        return Path(self.folder) / f"{self.name(run)}.json"

    def _tidy(self) -> None:
        # A process that is killed right after it wrote a record leaves hidden files next to it.
        if self.folder is None:
            return
        for path in (Path(self.folder) / f"{self.results[run].stored}.json" for run in self.present):
            if leftovers(path):
                lock = RunLock(path)
                if lock.held:
                    remove_leftovers(path)
                    lock.release()

    def _wait_for(self, others: list[tuple[str, int]]) -> None:
        # Another name may have served some of them by now; for the rest give other processes a moment.
        others = [run for run in others if not self._take(run)]
        if not others:
            return
        if self.on_wait is not None and len(others) != self._waited_for:
            self.on_wait(len(others))
        self._waited_for = len(others)
        time.sleep(WAIT_SECONDS)
        for run in others:
            self._take(run)

    def _take(self, run: tuple[str, int]) -> bool:
        found = stored(self.planned, self.folder, [run], supersede=self.supersede)
        self.present |= set(found)
        self.results |= found
        self._tell()
        return bool(found)

    def _tell(self) -> None:
        # In the order of the plan, each as soon as all before it have been reported.
        runs = self.planned.runs
        while self._told < len(runs) and runs[self._told] in self.results:
            run = runs[self._told]
            if self.on_record is not None:
                self.on_record(self.results[run], run in self.present)
            if self.progress:
                print(describe(self.results[run]), flush=True)
            self._told += 1


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_aside(path: Path) -> Path:
    """Move a record to the folder ``superseded`` within its records, or ``superseded-2`` and so on."""
    folder, inner = path.parents[2], Path(*path.parts[-3:])
    number = 1
    while (aside := folder / (SUPERSEDED + (f"-{number}" if number > 1 else "")) / inner).exists():
        number += 1
    try:
        if path.exists():
            aside.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, aside)
        else:  # it is in a shared file; the separate file that is written next takes precedence
            _atomic.write(aside, record.content_of(path))
    except OSError as error:
        raise record.RecordError(f"could not move {path} to {aside}: {error.strerror or error}") from error
    return aside


def stored(
    planned: Plan,
    folder: Path | str | None,
    runs: Iterable[tuple[str, int]] | None = None,
    *,
    supersede: bool = False,
) -> dict[tuple[str, int], Record]:
    """The runs of a plan, or those of ``runs``, that a record in the folder serves; views of shared ones.

    Raises
    ------
    RecordError
        If a record is damaged, or has other settings than its run and may not be superseded.
    """
    found: dict[tuple[str, int], Record] = {}
    if folder is None:
        return found
    for run in planned.runs if runs is None else runs:
        wanted = _needed(planned, run)
        result = find(wanted, folder)
        if result is not None:
            found[run] = result
        elif not supersede:
            for place in dict.fromkeys((wanted.place, home(wanted))):
                _check_free(wanted, place.path(folder, run[1]))
    return found


def _needed(planned: Plan, run: tuple[str, int]) -> Needed:
    return needed(planned.place(run[0]), run[1], planned.records, planned.replica(*run))


def _check_free(wanted: Needed, path: Path) -> None:
    if record.exists(path):
        settings = read(path).settings
        differing = [key for key, value in wanted.settings.items() if settings.get(key) != value]
        raise record.RecordError(
            f"{path} was made with another {', '.join(differing)} than the experiment has now. "
            "To make the run again, add --supersede (supersede=True in Python): the old record then moves to "
            f"the folder {SUPERSEDED!r}. To leave it where it is, choose another folder with --records "
            "(records= in Python)"
        )


def describe(result: Record) -> str:
    """One line about a finished run."""
    if result.diverged:
        return f"{result.name}: diverged in epoch {result.final['diverged_epoch']}"
    mean, tail = result.final["test_error_mean"], result.final["tail"]
    kind = "validation" if result.settings.get("held_out") else "test"
    return (
        f"{result.name}: {mean:.1f} {kind} errors of {result.settings['test_examples']} "
        f"(mean of the last {tail} epochs), {result.cost['seconds']:.0f} s"
    )


def make_record(
    planned: Plan,
    technique: str,
    seed: int,
    dataset: data.Dataset,
    curves: Curves,
    contributions: list[dict[str, Any]],
) -> Record:
    """The record of a run, from its curves and from who trained which of its epochs."""
    replica = planned.replica(technique, seed)
    memory, kind = provenance.peak_memory(planned.device)
    return Record(
        experiment=planned.experiment.name,
        scale=planned.scale,
        technique=technique,
        seed=seed,
        settings={
            **settings_of(planned.experiment, planned.scale, replica),
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
            **provenance.environment(planned.device),
            "contributions": contributions,
            "dataset_sha256": dataset.sha256,
            "command": planned.command(technique, seed),
        },
    )


def _rounded(curves: Curves) -> dict[str, list[Any]]:
    names = ("train_loss", "train_error", "test_loss", "test_error")
    seen = {name: getattr(curves, name) for name in names} | curves.observed
    return {name: _short(values) for name, values in seen.items()}


def _short(value: Any) -> Any:
    # Floats to five significant digits, in lists too; counts as they are.
    if isinstance(value, list):
        return [_short(entry) for entry in value]
    return record.significant(value) if isinstance(value, float) else value
