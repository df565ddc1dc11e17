"""A campaign on the screen: one bar and the runs in progress on a terminal, lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cosnorm._cli.reproduce import duration
from cosnorm.experiments.campaign import Progress, Running

#: Seconds between two lines of progress where there is no terminal.
LINE_SECONDS = 60.0


class ReproduceDisplay:
    """What is finished or failed as lines that stay; below them, on a terminal, how things stand.

    Parameters
    ----------
    console
        Where to print; without one the standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True, highlight=False, emoji=False)
        self._live: Live | None = None
        self._said = time.monotonic()

    @contextmanager
    def start(self) -> Iterator[None]:
        """Show progress while the campaign goes on."""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, transient=True, auto_refresh=False) as self._live:
            yield
        self._live = None

    def on_progress(self, progress: Progress) -> None:
        """Draw the bar, or print a line at least once a minute."""
        if self._live is not None:
            lines = Table.grid()
            lines.add_row(ProgressBar(total=1.0, completed=progress.share, width=40))
            for text in (summary(progress), *(f"  {working(run)}" for run in progress.running)):
                lines.add_row(Text(text))
            self._live.update(lines, refresh=True)
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self.say("; ".join([summary(progress), *map(working, progress.running)]))

    def say(self, text: str) -> None:
        """Print a line that stays, at once."""
        self._said = time.monotonic()
        self.console.print(text, markup=False)
        self.console.file.flush()


def summary(progress: Progress) -> str:
    """How a campaign stands, in a line."""
    failed = f", {progress.failed} failed" if progress.failed else ""
    if progress.stopping:
        left = len(progress.running)
        return f"stopping: {left} run{' finishes its' if left == 1 else 's finish their'} epoch"
    return (
        f"{duration(progress.seconds_left)} left; {progress.share:.0%} of the work; "
        f"{progress.finished} of {progress.total} runs made{failed}"
    )


def working(run: Running) -> str:
    """A run in progress, in a few words."""
    if run.loss is None:
        return f"{run.name}: starting"
    return f"{run.name}: epoch {run.epoch}/{run.epochs}, loss {run.loss:.3g}, test errors {run.errors}"
