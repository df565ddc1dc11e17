"""The bare front: ``run`` alone, with torch and numpy and nothing else installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cosnorm import __version__, experiments
from cosnorm._cli.shared import DEFAULT_RECORDS, HELP, Tally, run_command
from cosnorm.experiments.runner import describe
from cosnorm.record import Record
from cosnorm.training import Curves, Replica


class Lines:
    """Progress as printed lines, one an epoch; those of several runs come as they happen."""

    @contextmanager
    def start(self, plan: experiments.Plan) -> Iterator[None]:
        """Say what is about to run."""
        self._tally = Tally(plan)
        self.say(f"{plan.experiment.title}\nscale {plan.scale}, {len(plan.runs)} runs on {plan.device}")
        yield

    def on_epoch(self, replica: Replica, curves: Curves) -> None:
        """One line an epoch, with the time that is left of this run."""
        done = len(curves.test_error)
        left = curves.seconds / done * (replica.epochs - done)
        self.say(f"  {self._tally.epoch(replica, curves)}  {left:.0f} s left")

    def on_record(self, record: Record, present: bool) -> None:
        """One line a finished run."""
        self.say(describe(record) + ("  (kept from before)" if present else ""))

    def say(self, text: str) -> None:
        """Print at once, also into a file or pipe."""
        print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse ``run NAME ...`` and run it; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="cosnorm",
        description="Without typer and rich installed only `run` is offered; "
        "`pip install typer rich` brings list, report, claims, data and doctor.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run an experiment and keep its records")
    run.add_argument("name", help=HELP["name"])
    run.add_argument("--norm", default="all", help=HELP["norm"])
    run.add_argument("--scale", help=HELP["scale"].replace("%", "%%"))
    run.add_argument("--seeds", help=HELP["seeds"])
    run.add_argument("--device", default="auto", help=HELP["device"])
    run.add_argument("--records", type=Path, default=DEFAULT_RECORDS, help=HELP["records"])
    run.add_argument("--threads", type=int, help=HELP["threads"])
    run.add_argument("--supersede", action="store_true", help=HELP["supersede"])
    options = vars(parser.parse_args(arguments))
    del options["command"]
    return run_command(Lines(), **options)
