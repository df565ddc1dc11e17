"""The execution of a plan: runs go out to processes, records come in.

Each run is trained in a process of its own, on one thread of a processor, and several of them go on side by
side, whichever experiments they belong to. What such a process leaves when it fails, is killed or is told to
stop are complete records and states to go on from. The next run is always the first one of the plan that
nothing serves yet.
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

#: Seconds after which a process is replaced when its run is done, so that memory it has lost comes back.
RECYCLE_SECONDS = 600.0
#: How often a run whose process was lost is begun again.
RETRIES = 2
#: Seconds before a run that another process was making is looked at again.
BUSY_SECONDS = 5.0
#: Seconds between two looks at budget and progress.
_POLL_SECONDS = 0.5
#: Seconds of training after which estimates are corrected by how long epochs took.
_EARLY_SECONDS = 20.0


@dataclass(frozen=True)
class Job:
    """A run of the plan, under the name that the plan has for it."""

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
    """A run that is being trained.

    Attributes
    ----------
    name
        Of its record.
    epoch, epochs
        How far it is, and of how many.
    loss, errors
        Training loss and test errors of the last epoch; ``None`` before there is one.
    """

    name: str
    epoch: int
    epochs: int
    loss: float | None = None
    errors: int | None = None


@dataclass(frozen=True)
class Progress:
    """How a campaign stands.

    Attributes
    ----------
    finished, failed, total
        Runs that are done since it began, that failed, and that were needed at its beginning.
    share
        Of the work that is done.
    seconds_left
        At the speed so far.
    running
        Runs that are being trained.
    stopping
        Whether only the epochs in progress are still made.
    """

    finished: int
    failed: int
    total: int
    share: float
    seconds_left: float
    running: tuple[Running, ...]
    stopping: bool


@dataclass
class Outcome:
    """What a campaign has done.

    Attributes
    ----------
    finished
        Names of the records that it made.
    failed
        For each run that could not be made, why.
    left
        How many runs are still needed.
    reason
        Why it ended early: ``"budget"`` or ``"signal"``; ``None`` if nothing was left to do.
    """

    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0
    reason: str | None = None


@dataclass
class _Task:
    """What a worker trains: runs of one experiment and scale, at home there."""

    jobs: list[Job]
    place: Place  # experiment and scale count
    runs: list[tuple[str, int]]
    epochs: int  # of each run
    per_epoch: float  # seconds, as estimated
    done: dict[tuple[str, int], int] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)  # the last message of an epoch
    seen: float | None = None  # when that came

    @property
    def name(self) -> str:
        """Of the record of its first run, and how many more there are."""
        (technique, seed), *others = self.runs
        first = Place(*self.place[:2], technique).name(seed)
        return first + (f" and {len(others)} more" if others else "")

    @property
    def shown(self) -> Running:
        """What :class:`Progress` shows of it."""
        last = self.last
        return Running(self.name, last.get("epoch", 0), self.epochs, last.get("loss"), last.get("errors"))

    @property
    def left(self) -> float:
        """Seconds of the epochs that are still to be made, as estimated."""
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
        """Until nothing is left, or it is to stop and every run in progress has kept its state."""
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
        """The present state."""
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
        """Download what is missing once, before several processes need it."""
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
        """Give every free place the first run that can be made now."""
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
        """The first run of the plan that nothing serves, nobody makes, and whose learning rate is known."""
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
        """Whether runs that will choose the learning rate of this one are not finished."""
        experiment = get(job.place.experiment)
        if experiment.rate_of(job.place.technique, job.place.scale) is not None:
            return False
        source = experiment.scales[job.place.scale].rates_from
        unfinished = [*self.pending, *(job for task in self.busy.values() for job in task.jobs)]
        return any(f"{other.place.experiment}/{other.place.scale}" == source for other in unfinished)

    def _task(self, job: Job, home: Place, epochs: int, at_work: Collection[str]) -> _Task:
        """A run as a task; on a GPU with all others that can be made with it."""
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
            self.on_line(self._described(message["name"]))
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
        """A process has ended: as it should, or in the middle of a run, which is then begun again."""
        task = self.busy.pop(worker, None)
        self.ending.discard(worker)
        worker.close()
        if worker in self.idle:
            self.idle.remove(worker)
        for job in task.jobs if task else ():
            self.attempts[job] = self.attempts.get(job, 0) + 1
            if self.attempts[job] <= RETRIES:
                self._put_back(job)
                self.on_line(
                    f"{job.name}: its process ended with {_ending(code)}; the run goes on from its last state"
                )
            else:
                self._fail(job, f"its process ended {self.attempts[job]} times, last with {_ending(code)}")

    def _fail(self, job: Job, why: str) -> None:
        if job in self.pending:
            self.pending.remove(job)
        self.outcome.failed[job.name] = why
        self.on_line(f"{job.name} failed: {why}")

    def _put_back(self, job: Job) -> None:
        """To its place in the plan."""
        self.pending = sorted([*self.pending, job], key=lambda one: self.order[one])

    def _epoch(self, task: _Task, message: dict[str, Any]) -> None:
        run = (message["run"][0], message["run"][1])
        now = time.monotonic()
        new = message["epoch"] - task.done.get(run, 0)
        if task.seen is not None and new == 1:  # otherwise epochs of an earlier process are among them
            self.spent += now - task.seen
            self.estimated += task.per_epoch
        task.done[run], task.last, task.seen = message["epoch"], message, now

    def _described(self, name: str) -> str:
        return describe(sharing.read(self.records / f"{name}.json"))

    def _dismiss(self) -> None:
        """Let all processes end, so that none is killed in the middle of something."""
        for worker in self.idle:
            worker.close()
        for worker in (*self.idle, *self.ending):
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(timeout=10)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
