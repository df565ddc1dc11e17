"""An experiment on a Ray cluster: its runs as Ray tasks, its records in a folder of this machine."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import torch

import cosnorm
from cosnorm import data, record
from cosnorm.experiments.checkpoint import remove_leftovers
from cosnorm.experiments.experiment import Scale
from cosnorm.experiments.identity import Place, view
from cosnorm.experiments.processes import EXPLAINED
from cosnorm.experiments.registry import get
from cosnorm.experiments.runner import CHECKPOINT_SECONDS, Plan, Runner, load_data, plan, stored
from cosnorm.record import Record
from cosnorm.training import Curves, Replica, resolve_device
from cosnorm.training.engine import LARGEST_STACK

#: Addresses other than HOST:PORT: the cluster that this machine is part of, and one started for the sweep.
AUTO, LOCAL = "auto", "local"
#: How often a task whose worker was lost is restarted.
RETRIES = 3
#: Seconds between two reports of one task, and between two collections of the reports.
REPORT_SECONDS = 1.0
POLL_SECONDS = 0.5
#: Seconds to wait for a head node to answer. Ray itself would wait for minutes and end the process.
CONNECT_SECONDS = 10.0
#: Ray reads these when it is imported.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # the sweep itself reports lost workers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # no warning about a new default for tasks without a GPU
}
#: Makes Ray listen on 127.0.0.1 only, on every system.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

#: Technique and seed.
Run = tuple[str, int]


class SweepError(RuntimeError):
    """A sweep cannot start or go on; the message says what to do."""


@dataclass(frozen=True)
class Epoch:
    """The last epoch of a run, with its training loss and test errors."""

    number: int
    loss: float
    errors: int


@dataclass(frozen=True)
class Task:
    """Runs for one worker: everything it needs except the dataset, which it loads itself."""

    number: int
    experiment: str
    scale: str
    device: str
    replicas: dict[Run, Replica]  # the worker checks that its own code gives the same settings
    cpus: int
    checkpoints: str | None
    checkpoint_every: float
    version: str = cosnorm.__version__

    @property
    def title(self) -> str:
        """Its first run, and the number of further ones."""
        (technique, seed), *others = self.replicas
        return f"{technique} seed {seed}" + (f" and {len(others)} more" if others else "")


@dataclass
class Work:
    """Where a task is trained, and how far its runs are; each lost worker starts another attempt."""

    node: str
    pid: int
    attempt: int = 1
    epochs: dict[Run, Epoch] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """The state of a sweep.

    Attributes
    ----------
    works
        The tasks in progress.
    waiting
        Number of tasks that have not begun.
    finished, runs
        Number of runs with a record, earlier ones included, and of all runs.
    nodes
        Number of machines in the cluster.
    """

    works: list[tuple[Task, Work]]
    waiting: int
    finished: int
    runs: int
    nodes: int


def sweep(
    name: str,
    norms: str | Iterable[str] = "all",
    scale: str | None = None,
    seeds: int | Iterable[int] | None = None,
    *,
    device: str = AUTO,
    records: Path | str | None = None,
    address: str = AUTO,
    num_gpus: float | None = None,
    num_cpus: int | None = None,
    group: int | None = None,
    checkpoints: Path | str | None = None,
    checkpoint_every: float = CHECKPOINT_SECONDS,
    on_record: Callable[[Record, bool], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Record]:
    """Run an experiment on a Ray cluster and return the records that :func:`cosnorm.experiments.run` makes.

    Every node needs the same version of the package. Each worker looks for the dataset by the usual rules
    (``$COSNORM_DATA`` as it was at ``ray start``, then its own cache), and a node downloads it once. If a
    worker or a node is lost, its unfinished runs are restarted, up to three times. A task that raises an
    error ends the sweep; the records that exist by then are kept.

    Parameters
    ----------
    name, norms, scale, seeds
        As for :func:`cosnorm.experiments.run`.
    device
        ``"cpu"``, ``"cuda"``, or ``"auto"`` for CUDA if the cluster has a GPU.
    records
        Folder on this machine to write each record to as soon as its run is done. Runs that have a record
        there with the same settings are not repeated. ``None`` keeps the records in memory only.
    address
        ``"auto"`` for the cluster that this machine is part of (``$RAY_ADDRESS`` if there are several),
        ``HOST:PORT`` of its head node, or ``"local"`` for this machine alone. An existing connection of
        Ray is used as it is.
    num_gpus
        GPUs that each task reserves, from 0 to 1; by default 1 on CUDA. With 0.25 four tasks share a GPU.
    num_cpus
        Processors that each task reserves; by default those of one run at this scale. On a CPU as many runs
        of a task are trained at the same time as this allows.
    group
        Runs per task: on a GPU those that can be stacked, at most 64 (the default); on a CPU one by default.
    checkpoints
        Folder that all nodes share. A lost task resumes from the checkpoints there; without it, its
        unfinished runs start again.
    checkpoint_every
        Seconds between two checkpoints.
    on_record, on_progress
        Called with each record and whether it already existed; and about twice a second with the
        :class:`Progress`.

    Returns
    -------
    list of Record
        In the order of :attr:`cosnorm.experiments.Plan.runs`.

    Raises
    ------
    SweepError
        If Ray is not installed, there is no cluster, no node of it is large enough, or a task failed.
    """
    _check_address(address)
    _check_resources(device, num_gpus, num_cpus, group)
    planned = plan(name, norms, scale, seeds, "cpu", records)  # the workers choose the device
    if records is not None:
        record.prepare_folder(records)
    if checkpoints is not None and not Path(checkpoints).is_dir():
        raise ValueError(
            f"there is no folder {checkpoints} for checkpoints; make it where every node sees it"
        )
    driver = _Driver(planned, records, on_record, on_progress)
    if driver.missing:
        with connected(address) as ray:
            resources = reserve(ray, planned.experiment.scales[planned.scale], device, num_gpus, num_cpus)
            shared = None if checkpoints is None else str(Path(checkpoints).resolve())
            tasks: list[Task] = []
            for home, runs in driver.missing:
                tasks += split(home, runs, resources, group, shared, checkpoint_every, len(tasks))
            driver.run(ray, tasks, resources)
    return [driver.results[run] for run in planned.runs]


# -- the cluster -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resources:
    """What one task reserves on its node, and the kind of device it trains on."""

    device: str
    cpus: int
    gpus: float


def import_ray(loopback: bool = False) -> ModuleType:
    """Import Ray without its own messages; ``loopback`` restricts it to connections from this machine."""
    for variable, value in (_QUIET | _LOOPBACK if loopback else _QUIET).items():
        os.environ.setdefault(variable, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise SweepError(
            "a sweep needs Ray; install it on every node: pip install 'cosnorm[sweep]'"
        ) from None
    return ray


@contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """Connect to a Ray cluster; an existing connection is reused, and a new one closed at the end."""
    ray = import_ray(loopback=address == LOCAL)
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            # Only settings and records are sent: the smallest object store that Ray allows is enough.
            options |= {"include_dashboard": False, "object_store_memory": 80_000_000}
        else:
            _probe(os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address)
        ray.init(address, **options)
    except SweepError:
        raise
    except (Exception, SystemExit) as error:  # Ray raises a bare Exception, or exits if no node answers
        raise SweepError(_no_cluster(address, error)) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    if address not in (AUTO, LOCAL) and not (host and "/" not in host and port.isdecimal()):
        raise ValueError(f"the address {address!r} is not understood; write auto, local or HOST:PORT")


def _probe(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SweepError(_no_cluster(address, error)) from error


def _no_cluster(address: str, why: BaseException) -> str:
    if address == LOCAL:
        return f"Ray cannot be started on this machine ({why}); if it is busy, try again when it is less so"
    return (
        f"there is no Ray cluster at the address {address} ({why}). Start one with `ray start --head` on one "
        "machine and `ray start --address=HOST:PORT` on each of the others, and the sweep on one of them; "
        "or sweep on this machine alone with --address local (address= in Python)"
    )


def _check_resources(device: str, num_gpus: float | None, num_cpus: int | None, group: int | None) -> None:
    if device not in (AUTO, "cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}; use auto, cpu or cuda")
    if num_gpus is not None and not 0 <= num_gpus <= 1:
        raise ValueError(
            f"a task trains on one GPU or a part of one: num_gpus is from 0 to 1, got {num_gpus:g}"
        )
    if device == "cpu" and num_gpus:
        raise ValueError(f"the device is cpu, and num_gpus is {num_gpus:g}; leave one of them out")
    if device == "cuda" and num_gpus == 0:
        raise ValueError("the device is cuda, and num_gpus is 0; leave one of them out")
    for name, number in (("num_cpus", num_cpus), ("group", group)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


def reserve(
    ray: ModuleType, scale: Scale, device: str, num_gpus: float | None, num_cpus: int | None
) -> Resources:
    """What each task reserves; SweepError if no node of the cluster has that much."""
    if device == AUTO:
        available = ray.cluster_resources().get("GPU", 0) if num_gpus is None else num_gpus
        device = "cuda" if available else "cpu"
    gpus = (1.0 if num_gpus is None else num_gpus) if device == "cuda" else 0.0
    wanted = Resources(device, num_cpus or scale.threads or 1, gpus)
    owned = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= wanted.cpus and node.get("GPU", 0) >= gpus for node in owned):
        largest = max(node.get("CPU", 0) for node in owned), max(node.get("GPU", 0) for node in owned)
        raise SweepError(
            f"no node of the cluster has {wanted.cpus} CPUs and {gpus:g} GPUs for a task: the largest have "
            f"{largest[0]:g} and {largest[1]:g}; lower --num-cpus or --num-gpus, or choose another --device"
        )
    return wanted


def split(
    planned: Plan,
    missing: list[Run],
    resources: Resources,
    group: int | None,
    checkpoints: str | None,
    checkpoint_every: float,
    first: int = 0,
) -> list[Task]:
    """Group runs into tasks; on a GPU a task holds runs that can be stacked: only seed and rate differ."""
    on_gpu = resources.device == "cuda"
    size = min(group or LARGEST_STACK, LARGEST_STACK) if on_gpu else group or 1
    name, scale, device = planned.experiment.name, planned.scale, resources.device
    alike: dict[object, list[Run]] = {}
    for run in missing:
        replica = dataclasses.replace(planned.replica(*run), seed=0, learning_rate=1.0)
        alike.setdefault(replica if on_gpu else None, []).append(run)
    groups = [runs[begin : begin + size] for runs in alike.values() for begin in range(0, len(runs), size)]
    rest = (resources.cpus, checkpoints, checkpoint_every)
    return [
        Task(number, name, scale, device, {run: planned.replica(*run) for run in runs}, *rest)
        for number, runs in enumerate(groups, first)
    ]


# -- a worker --------------------------------------------------------------------------------------------


def train_task(task: Task, report: Callable[[tuple[int, Any]], None]) -> None:
    """Train the runs of a task; report the :class:`Work` first, then epochs and records as they happen."""
    report((task.number, Work(socket.gethostname(), os.getpid())))
    planned = _plan_of(task)
    torch.set_num_threads(task.cpus)
    runner = _ReportingRunner(planned, task, report)
    runner.dataset = _dataset(task.experiment, task.scale)
    runner.train(list(task.replicas))


def _plan_of(task: Task) -> Plan:
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
    experiment = get(task.experiment)
    for (technique, seed), sent in task.replicas.items():
        chosen = experiment.rate_of(technique, task.scale) is None  # by records on the driver's machine
        rate = sent.learning_rate if chosen else None
        expected = experiment.replica(technique, task.scale, seed, rate)
        if (dataclasses.replace(expected, gain_rate=sent.gain_rate) if chosen else expected) != sent:
            raise SweepError(
                f"the experiment {task.experiment} has other settings on this node than where the sweep was "
                "started; install the same code on every node, and start its `ray start` again"
            )
    once = (tuple(dict.fromkeys(techniques)), tuple(dict.fromkeys(seeds)))
    planned = Plan(experiment, task.scale, *once, resolve_device(task.device))
    planned.fix(task.replicas)
    return planned


@functools.lru_cache(maxsize=1)
def _dataset(experiment: str, scale: str) -> data.Dataset:
    # Cached, because one Ray worker does several tasks in turn.
    return load_data(Plan(get(experiment), scale, (), (), resolve_device("cpu")))


class _ReportingRunner(Runner):
    # Records are reported, not written; only checkpoints go to the shared folder.

    def __init__(self, planned: Plan, task: Task, report: Callable[[tuple[int, Any]], None]) -> None:
        super().__init__(planned, task.checkpoints, checkpoint_every=task.checkpoint_every)
        self.task, self.report = task, report
        self._epochs: dict[Run, Epoch] = {}
        self._reported = time.monotonic()

    def start(self, index: int) -> bool:
        del index
        return True  # no lock is needed: Ray gives each run to one worker at a time

    def epoch(self, index: int, replica: Replica, curves: Curves) -> None:
        del replica
        last = Epoch(len(curves.test_error), curves.train_loss[-1], curves.test_error[-1])
        self._epochs[self.missing[index]] = last
        if time.monotonic() - self._reported >= REPORT_SECONDS:
            self.report((self.task.number, self._epochs))
            self._epochs = {}
            self._reported = time.monotonic()

    def finish(self, index: int, curves: Curves) -> None:
        self.report((self.task.number, self.record(index, curves)))
        if self.folder is not None:  # only now is the checkpoint superfluous
            remove_leftovers(self._path(self.missing[index]))


# -- this machine ----------------------------------------------------------------------------------------


class _Driver:
    def __init__(
        self,
        planned: Plan,
        folder: Path | str | None,
        on_record: Callable[[Record, bool], None] | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.planned, self.folder = planned, folder
        self.on_record, self.on_progress = on_record, on_progress
        self._homes = Runner(planned, folder)
        self.results = self._homes.results
        self._works: dict[int, Work] = {}
        self._losses: dict[int, int] = {}
        self._finished: set[str] = set()
        #: For each missing record, by its name at home, the runs that it serves here.
        self._runs_of: dict[str, list[Run]] = {}
        for run in planned.runs:
            if run not in self.results:
                self._runs_of.setdefault(self._homes.name(run), []).append(run)
        for run in self.results:
            self._tell(run, present=True)

    @property
    def missing(self) -> list[tuple[Plan, list[Run]]]:
        """The runs without a record, by the plan of the experiment and scale under which each is trained."""
        found: dict[tuple[str, str], tuple[Plan, list[Run]]] = {}
        for run, *_ in self._runs_of.values():
            home = self._homes.home(run)
            (trained,) = home.runs
            home, runs = found.setdefault((home.experiment.name, home.scale), (home, []))
            home.fix({trained: self._homes.replica(run)})
            runs.append(trained)
        return list(found.values())

    def run(self, ray: ModuleType, tasks: list[Task], resources: Resources) -> None:
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.ray = ray
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._reports = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        # Restarted by this process, which knows the finished runs, and not by Ray.
        self._remote = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0)(
            _train_remotely
        )
        self._pending = {self._remote.remote(task, self._reports): task for task in tasks}
        try:
            with _remembered_interrupt() as interrupted:
                while self._pending:
                    if interrupted.is_set():
                        raise KeyboardInterrupt
                    self._wait()
        except ray.exceptions.RayError as error:
            raise SweepError(f"the Ray cluster failed: {error}") from error
        except KeyboardInterrupt:
            self._collect()  # what has arrived since the last look
            raise
        finally:
            with suppress(ray.exceptions.RayError):  # the cluster may be gone
                for reference in self._pending:
                    ray.cancel(reference, force=True)
                self._reports.shutdown(force=True)

    def _wait(self) -> None:
        references = list(self._pending)
        ended, _ = self.ray.wait(references, num_returns=len(references), timeout=POLL_SECONDS)
        self._collect()  # a task ends after its records have arrived, so that none is missed here
        for reference in ended:
            self._end(reference, self._pending.pop(reference))
        if self.on_progress is not None:
            tasks = self._pending.values()
            works = [(task, self._works[task.number]) for task in tasks if task.number in self._works]
            nodes = sum(node["Alive"] for node in self.ray.nodes())
            counts = len(tasks) - len(works), len(self.results), len(self.planned.runs), nodes
            self.on_progress(Progress(works, *counts))

    def _collect(self) -> None:
        for number, report in self._reports.get_nowait_batch(self._reports.qsize()):
            if isinstance(report, Work):
                self._works[number] = dataclasses.replace(report, attempt=self._losses.get(number, 0) + 1)
            elif isinstance(report, Record):
                self._finish(report)
            elif number in self._works:
                self._works[number].epochs.update(report)

    def _finish(self, result: Record) -> None:
        if result.name in self._finished:
            return  # a duplicate, by a worker that only seemed lost
        self._finished.add(result.name)
        first, *_ = runs = self._runs_of[result.name]
        present = stored(self.planned, self.folder, [first])  # another process may have been faster
        if self.folder is not None and not present:
            record.write(result, self.folder)
        for run in runs:
            seen = present[first] if present else result
            self.results[run] = view(seen, self.planned.place(run[0]), self.planned.replica(*run).epochs)
            self._tell(run, bool(present))

    def _end(self, reference: Any, task: Task) -> None:
        """Restart a task if its worker was lost; raise SweepError if it failed."""
        work = self._works.pop(task.number, None)
        node = "a worker that did not begin" if work is None else work.node
        try:
            self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            why = error.cause if isinstance(error.cause, (*EXPLAINED, SweepError)) else error
            raise SweepError(f"{task.title} failed on {node}: {why}") from error
        except self.ray.exceptions.RayError as error:
            losses = self._losses[task.number] = self._losses.get(task.number, 0) + 1
            if losses > RETRIES:
                raise SweepError(
                    f"the worker of {task.title} was lost {losses} times, last on {node}, perhaps for want "
                    "of memory; reserve more CPUs per task (--num-cpus), so that fewer tasks share a node, "
                    f"or take smaller groups (--group): {error}"
                ) from error
            left = {
                (technique, seed): replica
                for (technique, seed), replica in task.replicas.items()
                if Place(task.experiment, task.scale, technique).name(seed) not in self._finished
            }
            if left:
                again = dataclasses.replace(task, replicas=left)
                self._pending[self._remote.remote(again, self._reports)] = again

    def _tell(self, run: Run, present: bool) -> None:
        if self.on_record is not None:
            self.on_record(self.results[run], present)


def _train_remotely(task: Task, reports: Any) -> None:
    train_task(task, reports.put)


@contextmanager
def _remembered_interrupt() -> Iterator[threading.Event]:
    # An interrupt that arrives inside a call to Ray can get lost there; this event remembers it.
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed  # no interrupt arrives here, or it was switched off
        return

    def remember(number: int, frame: FrameType | None) -> None:
        pressed.set()
        before(number, frame)

    signal.signal(signal.SIGINT, remember)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
