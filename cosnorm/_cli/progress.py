"""Progress on a terminal: one bar over all epochs, with loss, error and the time left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cosnorm import experiments
from cosnorm._cli.shared import Tally
from cosnorm.experiments.runner import describe
from cosnorm.record import Record
from cosnorm.training import Curves, Replica

#: Seconds between two lines of progress where there is no terminal.
LINE_SECONDS = 60.0


class Bars:
    """A bar for the epochs of all runs and the state of the one last told of; finished runs scroll above.

    Where the output is not a terminal, a line about once a minute takes the place of the bar.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True, highlight=False)
        self._said = self._begun = time.monotonic()
        self._progress: Progress | None = None
        self._task = TaskID(0)

    @contextmanager
    def start(self, plan: experiments.Plan) -> Iterator[None]:
        """Show the bar while the runs of ``plan`` go on."""
        self._tally = Tally(plan)
        self.say(f"{plan.experiment.title}: scale {plan.scale}, {len(plan.runs)} runs on {plan.device}")
        columns = (
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),  # last, so that a narrow terminal cuts this and not the times
        )
        self._said = self._begun = time.monotonic()
        with Progress(*columns, console=self.console) as self._progress:
            self._task = self._progress.add_task("starting", total=self._tally.total)
            yield

    def on_epoch(self, replica: Replica, curves: Curves) -> None:
        """Move the bar by one epoch, or past those that a resumed run has done before."""
        self._show(self._tally.epoch(replica, curves))

    def on_record(self, record: Record, present: bool) -> None:
        """Tell of a run that is done."""
        self._tally.finish(record)
        self._show(f"{record.technique} seed {record.seed} done")
        self.say(describe(record) + ("  (kept from before)" if present else ""))

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._said = time.monotonic()
        self.console.print(text, markup=False)

    def _show(self, text: str) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=self._tally.done, description=text)
            if not self.console.is_terminal and time.monotonic() - self._said >= LINE_SECONDS:
                self.say(f"{text}  {self._left()}")

    def _left(self) -> str:
        """Share of the epochs that are done, and the time that is left at this speed."""
        done, total = self._tally.done, self._tally.total
        left = (time.monotonic() - self._begun) / max(done, 1) * (total - done)
        return f"{done / total:.0%} done, {left / 60:.0f} min left"
