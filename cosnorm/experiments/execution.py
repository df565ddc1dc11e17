"""The execution of a plan by several processes.

Each process trains one run at a time, on one thread, whichever experiment it belongs to. A process that is
killed or told to stop leaves complete records and checkpoints. The next run is always the first one of the
plan that no record serves.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cosnorm import data
from cosnorm.data import DatasetError
from cosnorm.experiments import sharing
from cosnorm.experiments.identity import Place
from cosnorm.experiments.processes import Events, Process
from cosnorm.experiments.registry import get
from cosnorm.experiments.runner import describe
from cosnorm.record import RecordError

#: Seconds after which a process is replaced when its run is done, so that leaked memory is freed.
RECYCLE_SECONDS = 600.0
#: How often a run whose process was lost is restarted.
RETRIES = 2
#: Seconds before a run that another process was training is tried again.
BUSY_SECONDS = 5.0
#: Seconds between two checks of the budget and two reports of progress.
_POLL_SECONDS = 0.5
#: Seconds of training after which the measured epochs correct the estimates.
_EARLY_SECONDS = 20.0


@dataclass(frozen=True)
class Job:
    """A run of the plan, under the plan's name for it."""

    stage: int
    place: Place
    seed: int

    @property
    def name(self) -> str:
        """Such as ``mnist/paper/cosine-seed0``."""
        return self.place.name(self.seed)


@dataclass(frozen=True)
class Due:
    """A run that is still needed, and its seconds on one core of this machine."""

    job: Job
    home: Place | None  # of its record; None while other records have to choose its learning rate
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Running:
    """A run in progress; ``loss`` and ``errors`` are those of its last epoch on training and test data."""

    name: str
    epoch: int
    epochs: int
    loss: float | None = None
    errors: int | None = None


@dataclass(frozen=True)
class Progress:
    """The state of a campaign."""

    finished: int
    failed: int
    total: int  # runs that were needed at the beginning
    share: float  # of the work that is done
    seconds_left: float  # at the speed so far
    running: tuple[Running, ...]
    stopping: bool  # whether only the epochs in progress are still trained


@dataclass
class Outcome:
    """The result of a campaign.

    Attributes
    ----------
    finished
        Names of the records that it wrote.
    failed
        The reason for each run that failed.
    left
        Number of runs that are still needed.
    reason
        Why it ended early: ``"budget"`` or ``"signal"``; ``None`` if nothing was left to do.
    """

    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0
    reason: str | None = None


@dataclass
class _Task:
    # Runs of one experiment and scale for one worker.
    jobs: list[Job]
    place: Place  # of the first of them
    runs: list[tuple[str, int]]
    epochs: int  # of each run
    per_epoch: float  # seconds, as estimated
    done: dict[tuple[str, int], int] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)  # the last message of an epoch
    seen: float | None = None  # when that came

    @property
    def name(self) -> str:
        (technique, seed), *others = self.runs
        first = Place(*self.place[:2], technique).name(seed)
        return first + (f" and {len(others)} more" if others else "")

    @property
    def shown(self) -> Running:
        last = self.last
        return Running(self.name, last.get("epoch", 0), self.epochs, last.get("loss"), last.get("errors"))

    @property
    def left(self) -> float:
        # Estimated seconds of the remaining epochs.
        return self.per_epoch * sum(self.epochs - self.done.get(run, 0) for run in self.runs)


class Execution:
    """One execution of a plan; parameters as for :class:`cosnorm.experiments.Campaign` and its ``run``."""

    def __init__(
        self,
        due: Sequence[Due],
        records: Path,
        device: torch.device,
        slots: int,
        budget: float | None,
        stop: threading.Event,
        on_line: Callable[[str], None],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.records, self.device, self.slots = records, device, slots
        self.stop, self.on_line, self.on_progress = stop, on_line, on_progress
        self.deadline = None if budget is None else time.monotonic() + budget
        self.order = {one.job: number for number, one in enumerate(due)}
        self.estimates = {one.job: one.seconds for one in due}
        self.pending = [one.job for one in due]
        self.total, self.work = len(due), sum(self.estimates.values())
        self.events: Events = queue.SimpleQueue()
        self.idle: list[Process] = []
        self.busy: dict[Process, _Task] = {}
        self.ending: set[Process] = set()
        self.attempts: dict[Job, int] = {}
        self.not_before: dict[Job, float] = {}
        self.outcome = Outcome()
        self.stopping = False
        #: Seconds that epochs took, and what had been estimated for the same epochs.
        self.spent = self.estimated = 0.0

    def run(self) -> Outcome:
        """Train until nothing is left, or until every run in progress has saved its state after a stop."""
        self._obtain_data()
        try:
            while True:
                self._look_at_the_clock()
                if not self.stopping:
                    self._assign()
                if not self.busy and (self.stopping or not self.pending):
                    break
                with contextlib.suppress(queue.Empty):
                    self._handle(*self.events.get(timeout=_POLL_SECONDS))
                    while True:
                        self._handle(*self.events.get_nowait())
                self.on_progress(self.progress)
            self._dismiss()
        finally:
            for worker in [*self.idle, *self.busy, *self.ending]:
                worker.kill()
        self.outcome.left = len(self.pending)
        return self.outcome

    @property
    def progress(self) -> Progress:
        """The current state."""
        tasks = list(self.busy.values())
        left = sum(self.estimates.get(job, 0.0) for job in self.pending) + sum(task.left for task in tasks)
        slower = self.spent / self.estimated if self.estimated > _EARLY_SECONDS else 1.0
        return Progress(
            len(self.outcome.finished),
            len(self.outcome.failed),
            self.total,
            1 - left / self.work if self.work else 1.0,
            left * slower / self.slots,
            tuple(task.shown for task in tasks),
            self.stopping,
        )

    def _obtain_data(self) -> None:
        # Missing datasets are downloaded once, before several processes need them.
        names = {get(job.place.experiment).scales[job.place.scale].dataset for job in self.pending}
        for name in sorted(names):
            try:
                if not data.DATASETS[name].embedded:
                    data.fetch(name, progress=False)
            except DatasetError as error:
                for job in list(self.pending):
                    if get(job.place.experiment).scales[job.place.scale].dataset == name:
                        self.pending.remove(job)
                        self.outcome.failed[job.name] = str(error)
                self.on_line(f"All runs on {name} are left out: {error}")

    def _look_at_the_clock(self) -> None:
        if self.stopping:
            return
        if self.stop.is_set():
            self.outcome.reason = "signal"
        elif self.deadline is not None and time.monotonic() >= self.deadline:
            self.outcome.reason = "budget"
        if self.outcome.reason is not None:
            self.stopping = True
            for worker in self.busy:
                worker.close()

    def _assign(self) -> None:
        while len(self.busy) < self.slots:
            task = self._next()
            if task is None:
                return
            worker = self.idle.pop() if self.idle else Process(self.device, self.events)
            self.busy[worker] = task
            worker.send(
                {
                    "do": "train",
                    "experiment": task.place.experiment,
                    "scale": task.place.scale,
                    "runs": task.runs,
                    "device": self.device.type,
                    "records": str(self.records),
                }
            )

    def _next(self) -> _Task | None:
        # The first run of the plan without a record or a process, and with a known learning rate.
        at_work = {
            Place(*task.place[:2], technique).name(seed)
            for task in self.busy.values()
            for technique, seed in task.runs
        }
        for job in list(self.pending):
            if self.not_before.get(job, 0.0) > time.monotonic() or self._awaits_rate(job):
                continue
            try:
                wanted = sharing.needed(job.place, job.seed, self.records)
                served = sharing.find(wanted, self.records) is not None
            except (ValueError, RecordError) as error:
                self._fail(job, str(error))
                continue
            home = sharing.home(wanted)
            if served:
                self.pending.remove(job)
            elif home.name(job.seed) not in at_work:
                return self._task(job, home, wanted.replica.epochs, at_work)
        return None

    def _awaits_rate(self, job: Job) -> bool:
        # Whether some runs that choose the learning rate of this one are unfinished.
        experiment = get(job.place.experiment)
        if experiment.rate_of(job.place.technique, job.place.scale) is not None:
            return False
        source = experiment.scales[job.place.scale].rates_from
        unfinished = [*self.pending, *(job for task in self.busy.values() for job in task.jobs)]
        return any(f"{other.place.experiment}/{other.place.scale}" == source for other in unfinished)

    def _task(self, job: Job, home: Place, epochs: int, at_work: Collection[str]) -> _Task:
        # On a GPU a task holds all other runs that can be stacked with this one.
        jobs, runs = [job], [(home.technique, job.seed)]
        if self.device.type == "cuda":
            for other in self.pending:
                if other == job or other.stage != job.stage or self._awaits_rate(other):
                    continue
                with contextlib.suppress(ValueError, RecordError):
                    wanted = sharing.needed(other.place, other.seed, self.records)
                    there = sharing.home(wanted)
                    run = (there.technique, other.seed)
                    alike = (
                        there[:2] == home[:2] and run not in runs and there.name(other.seed) not in at_work
                    )
                    if alike and sharing.find(wanted, self.records) is None:
                        jobs.append(other)
                        runs.append(run)
        for one in jobs:
            self.pending.remove(one)
        return _Task(jobs, home, runs, epochs, self.estimates[job] / epochs)

    def _handle(self, worker: Process, message: dict[str, Any]) -> None:
        kind = message["kind"]
        task = self.busy.get(worker)
        if kind == "log":
            self.on_line((f"{task.name}: " if task else "") + message["text"])
        elif kind == "lost":
            self._lost(worker, message["code"])
        elif task is not None and kind == "epoch":
            self._epoch(task, message)
        elif task is not None and kind == "record":
            self.outcome.finished.append(message["name"])
            self.on_line(describe(sharing.read(self.records / f"{message['name']}.json")))
        elif task is not None and kind in ("done", "failed", "busy", "stopped"):
            self._ended(worker, task, kind, message.get("message", ""))

    def _ended(self, worker: Process, task: _Task, kind: str, why: str) -> None:
        del self.busy[worker]
        old = time.monotonic() - worker.born > RECYCLE_SECONDS
        if old or self.stopping:
            worker.close()
            self.ending.add(worker)
        else:
            self.idle.append(worker)
        for job in task.jobs:
            if kind == "failed":
                self._fail(job, why)
            elif kind in ("busy", "stopped"):
                self._put_back(job)
                self.not_before[job] = time.monotonic() + BUSY_SECONDS

    def _lost(self, worker: Process, code: int) -> None:
        # A process has ended: as it should, or in the middle of a run, which is then restarted.
        task = self.busy.pop(worker, None)
        self.ending.discard(worker)
        worker.close()
        if worker in self.idle:
            self.idle.remove(worker)
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        for job in task.jobs if task else ():
            self.attempts[job] = self.attempts.get(job, 0) + 1
            if self.attempts[job] <= RETRIES:
                self._put_back(job)
                self.on_line(
                    f"{job.name}: its process ended with {ending}; the run goes on from its last state"
                )
            else:
                self._fail(job, f"its process ended {self.attempts[job]} times, last with {ending}")

    def _fail(self, job: Job, why: str) -> None:
        if job in self.pending:
            self.pending.remove(job)
        self.outcome.failed[job.name] = why
        self.on_line(f"{job.name} failed: {why}")

    def _put_back(self, job: Job) -> None:
        self.pending = sorted([*self.pending, job], key=lambda one: self.order[one])

    def _epoch(self, task: _Task, message: dict[str, Any]) -> None:
        run = (message["run"][0], message["run"][1])
        now = time.monotonic()
        new = message["epoch"] - task.done.get(run, 0)
        if task.seen is not None and new == 1:  # otherwise epochs of an earlier process are among them
            self.spent += now - task.seen
            self.estimated += task.per_epoch
        task.done[run], task.last, task.seen = message["epoch"], message, now

    def _dismiss(self) -> None:
        # Let all processes end by themselves, so that none is killed while it writes.
        for worker in self.idle:
            worker.close()
        for worker in (*self.idle, *self.ending):
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(timeout=10)
