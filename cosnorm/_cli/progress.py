"""Progress on a terminal: one bar over all epochs, with loss, error and the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cosnorm import experiments
from cosnorm.experiments.running import describe
from cosnorm.record import Record
from cosnorm.training import Curves, Replica


class Bars:
    """A bar for all epochs of a plan and the state of the run in progress; finished runs scroll above."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True, highlight=False)
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._epochs = 0
        self._done = 0

    @contextmanager
    def start(self, plan: experiments.Plan) -> Iterator[None]:
        """Show the bar while the runs of ``plan`` go on."""
        scale = plan.experiment.scales[plan.scale]
        self._epochs, self._done = scale.epochs, 0
        self.say(f"{plan.experiment.title}: scale {plan.scale}, {len(plan.runs)} runs on {plan.device}")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as self._progress:
            self._task = self._progress.add_task("starting", total=len(plan.runs) * scale.epochs)
            yield

    def on_epoch(self, replica: Replica, curves: Curves) -> None:
        """Move the bar by one epoch."""
        done = len(curves.test_error)
        text = (
            f"{replica.norm} seed {replica.seed}  epoch {done}/{replica.epochs}  "
            f"loss {curves.train_loss[-1]:.3g}  test errors {curves.test_error[-1]}"
        )
        self._move(self._done + done, text)

    def on_record(self, record: Record, present: bool) -> None:
        """Count a run as done, also one that was there before or diverged early."""
        self._done += self._epochs
        self._move(self._done, f"{record.technique} seed {record.seed} done")
        self.say(describe(record) + ("  (kept from before)" if present else ""))

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, markup=False)

    def _move(self, completed: int, text: str) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=completed, description=text)
