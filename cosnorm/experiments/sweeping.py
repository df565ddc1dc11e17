"""An experiment on many machines: its runs as Ray tasks, its records in a folder of the one that asks."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from cosnorm import record
from cosnorm.data import DatasetError
from cosnorm.experiments._board import Board, Epoch, Run, Work
from cosnorm.experiments._cluster import (
    AUTO,
    Resources,
    SweepError,
    check_address,
    check_request,
    connected,
    settle,
)
from cosnorm.experiments._task import RETRIES, Task, train_remotely
from cosnorm.experiments.planning import Plan, plan
from cosnorm.experiments.running import CHECKPOINT_SECONDS, Finisher, Running, stored
from cosnorm.experiments.sharing import Place, view
from cosnorm.record import Record, RecordError
from cosnorm.training.engine import LARGEST_STACK

__all__ = ["Epoch", "Progress", "Run", "SweepError", "Task", "Work", "sweep"]

#: Seconds between two looks at what the tasks have reported.
POLL_SECONDS = 0.5
#: Errors of a worker whose message says what to do; of others the traceback is shown.
_EXPLAINED = (ValueError, RecordError, DatasetError, SweepError)


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands.

    Attributes
    ----------
    works
        The tasks that have begun and not ended, and what is known of each.
    waiting
        Number of tasks that have not begun.
    finished, runs
        Number of runs with a record, those of before included, and of all.
    nodes
        Machines in the cluster.
    """

    works: list[tuple[Task, Work]]
    waiting: int
    finished: int
    runs: int
    nodes: int


#: Called about twice a second.
Onlooker = Callable[[Progress], None]


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
    on_record: Finisher | None = None,
    on_progress: Onlooker | None = None,
) -> list[Record]:
    """Run an experiment on a Ray cluster; its records are those that :func:`cosnorm.experiments.run` makes.

    The package must be installed on every node, at the same version. Each worker looks for the dataset by
    the usual rules (``$COSNORM_DATA`` as it was at ``ray start``, then its own cache), and a node
    downloads it once. A task that is lost with its worker or node is begun again, up to three times, and
    leaves out the runs it has finished; one that fails with an error is not, and ends the sweep.

    Parameters
    ----------
    name, norms, scale, seeds
        As for :func:`cosnorm.experiments.run`.
    device
        ``"cpu"``, ``"cuda"``, or ``"auto"`` for CUDA if the cluster has a GPU.
    records
        Folder on this machine to write each record to as soon as its run is done. Runs that have a
        record there with the same settings are not run again. ``None`` keeps them in memory only.
    address
        ``"auto"`` for the cluster that this machine is part of (``$RAY_ADDRESS`` if there are several),
        ``HOST:PORT`` of its head node, or ``"local"`` for this machine alone. Where Ray is connected
        already, that connection is used.
    num_gpus
        GPUs a task reserves, from 0 to 1; without it 1 on CUDA. With 0.25 four tasks share a GPU.
    num_cpus
        Processors a task reserves; without it what one run takes at this scale. On a CPU as many runs of
        a group are trained at the same time as this is enough for.
    group
        Runs a task: on a GPU those that can be stacked, at most 64 (the default); on a CPU one by default.
    checkpoints
        Folder that all nodes share. A task that was lost goes on from the states kept there; without it
        the runs it was training start again.
    checkpoint_every
        Seconds between two of these states.
    on_record, on_progress
        Called with each record and whether it had been there before, as it comes; and about twice a
        second with how things stand.

    Returns
    -------
    list of Record
        In the order of :attr:`cosnorm.experiments.Plan.runs`.

    Raises
    ------
    ValueError
        If a name is unknown, or the resources contradict each other or the device.
    SweepError
        If Ray is not installed, there is no cluster, no node of it is large enough, or a task failed.
        Records of before are kept.
    cosnorm.record.RecordError
        As for :func:`cosnorm.experiments.run`.
    """
    check_address(address)
    check_request(device, num_gpus, num_cpus, group)
    settled = plan(name, norms, scale, seeds, "cpu", records)  # the device is the workers' affair
    if records is not None:
        record.prepare_folder(records)
    if checkpoints is not None and not Path(checkpoints).is_dir():
        raise ValueError(
            f"there is no folder {checkpoints} for checkpoints; make it where every node sees it"
        )
    going = _Sweep(settled, records, on_record, on_progress)
    if going.missing:
        with connected(address) as ray:
            wanted = settle(ray, settled.experiment.scales[settled.scale], device, num_gpus, num_cpus)
            shared = None if checkpoints is None else str(Path(checkpoints).resolve())
            tasks = [
                task
                for there, runs in going.missing
                for task in cut(there, runs, wanted, group, shared, checkpoint_every)
            ]
            numbered = [dataclasses.replace(task, number=number) for number, task in enumerate(tasks)]
            going.run(ray, numbered, wanted)
    return [going.results[run] for run in settled.runs]


def cut(
    settled: Plan,
    missing: list[Run],
    wanted: Resources,
    group: int | None,
    checkpoints: str | None,
    checkpoint_every: float,
) -> list[Task]:
    """Runs in groups: on a GPU of runs that differ in seed and rate alone, so that they can be stacked."""
    on_gpu = wanted.device == "cuda"
    size = min(group or LARGEST_STACK, LARGEST_STACK) if on_gpu else group or 1
    alike: dict[object, list[Run]] = {}
    for run in missing:
        replica = dataclasses.replace(settled.replica(*run), seed=0, learning_rate=1.0)
        alike.setdefault(replica if on_gpu else None, []).append(run)
    groups = [runs[begin : begin + size] for runs in alike.values() for begin in range(0, len(runs), size)]
    return [
        Task(
            number,
            settled.experiment.name,
            settled.scale,
            wanted.device,
            {run: settled.replica(*run) for run in runs},
            wanted.cpus,
            checkpoints,
            checkpoint_every,
        )
        for number, runs in enumerate(groups)
    ]


class _Sweep:
    """The driver's side: tasks go out, records come in."""

    def __init__(
        self,
        settled: Plan,
        folder: Path | str | None,
        on_record: Finisher | None,
        on_progress: Onlooker | None,
    ) -> None:
        self.settled, self.folder = settled, folder
        self.on_record, self.on_progress = on_record, on_progress
        self._homes = Running(settled, folder)
        self.results = self._homes.results
        #: By the name that its record has at home each missing run, or the runs that are one there.
        self._asked: dict[str, list[Run]] = {}
        for run in settled.runs:
            if run not in self.results:
                self._asked.setdefault(self._homes.name(run), []).append(run)
        for run in self.results:
            self._tell(run, present=True)

    @property
    def missing(self) -> list[tuple[Plan, list[Run]]]:
        """The runs without a record, each once, where they are at home: plans, and the runs of each."""
        found: dict[tuple[str, str], tuple[Plan, list[Run]]] = {}
        for run, *_ in self._asked.values():
            there = self._homes.home(run)
            (trained,) = there.runs
            there, runs = found.setdefault((there.experiment.name, there.scale), (there, []))
            there.settle({trained: self._homes.replica(run)})
            runs.append(trained)
        return list(found.values())

    def run(self, ray: ModuleType, tasks: list[Task], wanted: Resources) -> None:
        """Submit the tasks and stay until the last of them has ended, or one has failed."""
        self.ray = ray
        here = ray.get_runtime_context().get_node_id()
        beside = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
        self.board = ray.remote(num_cpus=0, scheduling_strategy=beside)(Board).remote()
        remote = ray.remote(num_cpus=wanted.cpus, num_gpus=wanted.gpus, max_retries=RETRIES)(train_remotely)
        self.pending: dict[Any, Task] = {remote.remote(task, self.board): task for task in tasks}
        self.works: dict[int, Work] = {}
        try:
            with _remembered_key() as self.pressed:
                self._attend()
        except ray.exceptions.RayError as error:
            raise SweepError(f"the Ray cluster failed: {error}") from error
        except KeyboardInterrupt:
            self._collect([])  # what has arrived since the last look
            raise
        finally:
            with suppress(ray.exceptions.RayError):  # of a cluster that is gone
                for reference in self.pending:
                    ray.cancel(reference, force=True)
                ray.kill(self.board)

    def _attend(self) -> None:
        while self.pending:
            if self.pressed.is_set():
                raise KeyboardInterrupt
            references = list(self.pending)
            done, _ = self.ray.wait(references, num_returns=len(references), timeout=POLL_SECONDS)
            # A task ends after its records have arrived, so that none is missed here.
            self._collect([self.pending[reference].number for reference in done])
            for reference in done:
                self._check(reference, self.pending.pop(reference))
            self._show()

    def _collect(self, ended: list[int]) -> None:
        """Write the records that have come in."""
        works, fresh = self.ray.get(self.board.take.remote(ended))
        self.works |= works
        for result in fresh:
            first, *_ = runs = self._asked[result.name]
            present = stored(self.settled, self.folder, [first])  # another process may have been faster
            if self.folder is not None and not present:
                record.write(result, self.folder)
            for run in runs:
                place = Place(self.settled.experiment.name, self.settled.scale, run[0])
                seen = present[first] if present else result
                self.results[run] = view(seen, place, self.settled.replica(*run).epochs)
                self._tell(run, bool(present))

    def _check(self, reference: Any, task: Task) -> None:
        """Raise SweepError if a task that has ended did not end well."""
        work = self.works.pop(task.number, None)
        exceptions = self.ray.exceptions
        try:
            self.ray.get(reference)
        except exceptions.RayTaskError as error:
            why = error.cause if isinstance(error.cause, _EXPLAINED) else error
            raise SweepError(f"{task.title} failed on {_place(work)}: {why}") from error
        except exceptions.RayError as error:
            raise SweepError(
                f"the worker of {task.title} was lost {RETRIES + 1} times, last on {_place(work)}: {error}"
            ) from error

    def _tell(self, run: Run, present: bool) -> None:
        if self.on_record is not None:
            self.on_record(self.results[run], present)

    def _show(self) -> None:
        if self.on_progress is None:
            return
        begun = [
            (task, self.works[task.number]) for task in self.pending.values() if task.number in self.works
        ]
        nodes = sum(node["Alive"] for node in self.ray.nodes())
        counts = len(self.pending) - len(begun), len(self.results), len(self.settled.runs), nodes
        self.on_progress(Progress(begun, *counts))


def _place(work: Work | None) -> str:
    return "a worker that did not begin" if work is None else work.node


@contextmanager
def _remembered_key() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets: an interrupt that comes inside a call to Ray can get lost there."""
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed  # no interrupt arrives here, or somebody has switched it off
        return

    def remember(number: int, frame: FrameType | None) -> None:
        pressed.set()
        before(number, frame)

    signal.signal(signal.SIGINT, remember)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
