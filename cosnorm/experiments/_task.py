"""What a worker of a sweep does: train a few runs as ``cosnorm run`` would, and report them."""

from __future__ import annotations

import functools
import os
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

import cosnorm
from cosnorm import data
from cosnorm.experiments._board import Epoch, Run
from cosnorm.experiments._cluster import SweepError
from cosnorm.experiments.checkpoints import clear
from cosnorm.experiments.planning import Plan, load_data
from cosnorm.experiments.registry import get
from cosnorm.experiments.running import Running
from cosnorm.experiments.sharing import Place
from cosnorm.record import Record
from cosnorm.training import Curves, Replica, resolve_device

#: How often a task whose worker was lost is begun again.
RETRIES = 3
#: Seconds between two reports of one task.
REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class Task:
    """Runs that one worker trains. All that is sent to it; the dataset it loads itself.

    Attributes
    ----------
    number
        Of the task, within its sweep.
    experiment, scale, device
        As for :func:`cosnorm.experiments.run`.
    replicas
        The runs, and the settings that each of them must have on the worker too.
    cpus
        Processor threads that it may use.
    checkpoints, checkpoint_every
        Folder that all nodes share, for the states of runs, and seconds between two of them.
    version
        Of the package on the driver.
    """

    number: int
    experiment: str
    scale: str
    device: str
    replicas: dict[Run, Replica]
    cpus: int
    checkpoints: str | None
    checkpoint_every: float
    version: str = cosnorm.__version__

    @property
    def title(self) -> str:
        """Its first run, and how many more there are."""
        (technique, seed), *others = self.replicas
        return f"{technique} seed {seed}" + (f" and {len(others)} more" if others else "")

    def place(self, run: Run) -> Place:
        """Where the record of a run belongs."""
        return Place(self.experiment, self.scale, run[0])


class Reports(Protocol):
    """The worker's side of :class:`cosnorm.experiments._board.Board`; methods as there."""

    def begin(self, task: int, node: str, pid: int) -> tuple[int, set[str]]:
        """Waits for the answer."""
        ...

    def advance(self, task: int, epochs: dict[Run, Epoch]) -> None:
        """Does not wait: a report that is lost is followed by another."""
        ...

    def finish(self, record: Record) -> None:
        """Waits until the record has arrived."""
        ...


class RemoteReports:
    """Reports to a board that is an actor."""

    def __init__(self, board: Any) -> None:
        import ray

        self._board, self._get = board, ray.get

    def begin(self, task: int, node: str, pid: int) -> tuple[int, set[str]]:
        """See :class:`Reports`."""
        return self._get(self._board.begin.remote(task, node, pid))

    def advance(self, task: int, epochs: dict[Run, Epoch]) -> None:
        """See :class:`Reports`."""
        self._board.advance.remote(task, epochs)

    def finish(self, record: Record) -> None:
        """See :class:`Reports`."""
        self._get(self._board.finish.remote(record))


def train_remotely(task: Task, board: Any) -> None:
    """:func:`train_task` as Ray calls it."""
    train_task(task, RemoteReports(board))


def train_task(task: Task, reports: Reports) -> None:
    """Train the runs of a task that are not finished yet.

    Raises
    ------
    SweepError
        If this machine has other code than the driver, or the task was lost too often. Ray itself would
        begin one again for ever that is ended for want of memory.
    ValueError, cosnorm.data.DatasetError
        As for :func:`cosnorm.experiments.run`.
    """
    attempt, finished = reports.begin(task.number, socket.gethostname(), os.getpid())
    if attempt > RETRIES + 1:
        raise SweepError(
            f"its worker was lost {attempt - 1} times, perhaps for want of memory; reserve more CPUs a task "
            "(--num-cpus), so that fewer tasks share a node, or take smaller groups (--group)"
        )
    missing = [run for run in task.replicas if task.place(run).name(run[1]) not in finished]
    if missing:
        settled = _plan(task)
        torch.set_num_threads(task.cpus)
        trained = _Reporting(settled, task, reports)
        trained.dataset = _dataset(task.experiment, task.scale)
        trained.train(missing)


def _plan(task: Task) -> Plan:
    techniques, seeds = zip(*task.replicas, strict=True)
    if cosnorm.__version__ != task.version:
        raise SweepError(
            f"this node has cosnorm {cosnorm.__version__}, and the sweep was started by {task.version}; "
            "install the same version on every node"
        )
    if task.checkpoints is not None and not Path(task.checkpoints).is_dir():
        raise SweepError(
            f"this node has no folder {task.checkpoints}; checkpoints need one that all nodes share"
        )
    settled = Plan(
        get(task.experiment),
        task.scale,
        tuple(dict.fromkeys(techniques)),
        tuple(dict.fromkeys(seeds)),
        resolve_device(task.device),
    )
    for run, replica in task.replicas.items():
        if _expected(settled, run, replica) != replica:
            raise SweepError(
                f"the experiment {task.experiment} has other settings on this node than where the sweep was "
                "started; install the same code on every node, and start its `ray start` again"
            )
    settled.settle(task.replicas)
    return settled


def _expected(settled: Plan, run: Run, sent: Replica) -> Replica:
    """What this machine's code makes of a run; a rate that records chose is taken from the driver."""
    technique, seed = run
    if settled.experiment.rate_of(technique, settled.scale) is not None:
        return settled.experiment.replica(technique, settled.scale, seed)
    made = settled.experiment.replica(technique, settled.scale, seed, rate=sent.learning_rate)
    return replace(made, gain_rate=sent.gain_rate)


@functools.lru_cache(maxsize=1)
def _dataset(experiment: str, scale: str) -> data.Dataset:
    """Kept, as Ray lets a worker do one task after the other."""
    return load_data(Plan(get(experiment), scale, (), (), resolve_device("cpu")))


class _Reporting(Running):
    """Runs that are reported instead of written; what is in the shared folder is their states only."""

    def __init__(self, settled: Plan, task: Task, reports: Reports) -> None:
        super().__init__(settled, task.checkpoints, checkpoint_every=task.checkpoint_every)
        self.task, self.reports = task, reports
        self._news: dict[Run, Epoch] = {}
        self._reported = time.monotonic()

    def start(self, index: int) -> bool:
        """Ray gives a run to one worker at a time, so that none has to be claimed."""
        del index
        return True

    def epoch(self, index: int, replica: Replica, curves: Curves) -> None:
        """Report, but not more often than anybody would look."""
        del replica
        last = Epoch(len(curves.test_error), curves.train_loss[-1], curves.test_error[-1])
        self._news[self.missing[index]] = last
        if time.monotonic() - self._reported >= REPORT_SECONDS:
            self.reports.advance(self.task.number, self._news)
            self._news = {}
            self._reported = time.monotonic()

    def finish(self, index: int, curves: Curves) -> None:
        """Send the record; only then is the state of the run of no use."""
        run = self.missing[index]
        self.reports.finish(self.record(index, curves))
        if self.folder is not None:
            clear(self._path(run))
