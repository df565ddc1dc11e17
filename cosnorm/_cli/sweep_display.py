"""A sweep on the screen: a table of its tasks on a terminal, lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cosnorm.experiments.cluster import Progress, Task, Work
from cosnorm.experiments.runner import describe
from cosnorm.record import Record

#: Most tasks that the table shows; the others are counted.
ROWS = 20
#: Seconds between two lines of progress where there is no terminal.
LINE_SECONDS = 30.0


class SweepDisplay:
    """Finished runs and lost workers as lines that stay; below them, on a terminal, the tasks at work.

    Parameters
    ----------
    console
        Where to print; without one the standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True, highlight=False)
        self._live: Live | None = None
        self._attempts: dict[int, int] = {}
        self._said = time.monotonic()

    @contextmanager
    def start(self, title: str) -> Iterator[None]:
        """Show the title, and the table while the sweep goes on."""
        self.say(title)
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, transient=True, auto_refresh=False) as self._live:
            yield

    def on_progress(self, progress: Progress) -> None:
        """Say what was begun again; draw the table, or print a line now and then."""
        for task, work in progress.works:
            if work.attempt > self._attempts.get(task.number, 1):
                self.say(f"{task.title}: its worker was lost; begun again on {work.node}")
            self._attempts[task.number] = work.attempt
        if self._live is not None:
            self._live.update(Group(_tasks(progress), Text(summary(progress))), refresh=True)
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self.say(summary(progress))

    def on_record(self, record: Record, present: bool) -> None:
        """One line a finished run."""
        self.say(describe(record) + ("  (kept from before)" if present else ""))

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._said = time.monotonic()
        self.console.print(text, markup=False)


def summary(progress: Progress) -> str:
    """How a sweep stands, in a line."""
    tasks, nodes = _count(len(progress.works), "task"), _count(progress.nodes, "node")
    finished = f"{progress.finished} of {progress.runs} runs finished"
    return f"{finished}; {tasks} at work, {progress.waiting} waiting; {nodes}"


def _tasks(progress: Progress) -> Table:
    table = Table("task", "node", "epoch", "loss", "test errors", box=None, pad_edge=False)
    for task, work in progress.works[:ROWS]:
        again = f" (attempt {work.attempt})" if work.attempt > 1 else ""
        table.add_row(Text(task.title), Text(f"{work.node}{again}"), *_last(task, work))
    if len(progress.works) > ROWS:
        table.add_row(f"and {len(progress.works) - ROWS} more", *[""] * 4)
    return table


def _last(task: Task, work: Work) -> tuple[str, str, str]:
    """Epoch, loss and test errors of the run that was heard of last."""
    if not work.epochs:
        return "starting", "", ""
    run, epoch = list(work.epochs.items())[-1]
    return f"{epoch.number}/{task.replicas[run].epochs}", f"{epoch.loss:.3g}", str(epoch.errors)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
