"""Where the tasks of a sweep report and its driver reads: a small actor beside the driver."""

from __future__ import annotations

from dataclasses import dataclass, field

from cosnorm.record import Record

#: Technique and seed.
Run = tuple[str, int]


@dataclass(frozen=True)
class Epoch:
    """How far a run is: its last epoch, and the training loss and test errors of that."""

    number: int
    loss: float
    errors: int


@dataclass
class Work:
    """What is known of a task that has begun.

    Attributes
    ----------
    node, pid
        Host name and process that train it.
    attempt
        From 1; one more each time that the task was lost with its worker.
    epochs
        The last epoch of each of its runs that has one.
    """

    node: str
    pid: int
    attempt: int
    epochs: dict[Run, Epoch] = field(default_factory=dict)


class Board:
    """Takes the reports of all tasks and keeps them until the driver asks."""

    def __init__(self) -> None:
        self._works: dict[int, Work] = {}
        self._finished: set[str] = set()
        self._fresh: list[Record] = []

    def begin(self, task: int, node: str, pid: int) -> tuple[int, set[str]]:
        """A task begins, or begins again: its attempt, and the names of the runs that are finished."""
        before = self._works.get(task)
        self._works[task] = Work(node, pid, before.attempt + 1 if before else 1)
        return self._works[task].attempt, self._finished

    def advance(self, task: int, epochs: dict[Run, Epoch]) -> None:
        """Some runs of a task have got further."""
        self._works[task].epochs.update(epochs)

    def finish(self, record: Record) -> None:
        """A run is finished. A second record of it, by a worker that only seemed lost, is dropped."""
        if record.name not in self._finished:
            self._finished.add(record.name)
            self._fresh.append(record)

    def take(self, ended: list[int]) -> tuple[dict[int, Work], list[Record]]:
        """All tasks at work, those that have ended for the last time, and the records since the last call."""
        works = dict(self._works)
        for task in ended:
            self._works.pop(task, None)
        fresh, self._fresh = self._fresh, []
        return works, fresh
