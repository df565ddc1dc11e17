"""The commands ``run`` and ``sweep``, and what they share with ``reproduce``: options, display, signals."""

from __future__ import annotations

import functools
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from cosnorm import data, experiments
from cosnorm.data import DatasetError
from cosnorm.experiments.campaign import commands
from cosnorm.experiments.runner import CHECKPOINT_SECONDS, describe
from cosnorm.record import Record, RecordError, prepare_folder
from cosnorm.training import Curves, Replica

if TYPE_CHECKING:
    from cosnorm.experiments.cluster import Progress, Task, Work

#: Folder that records go to unless another is named: never into the installed package.
DEFAULT_RECORDS = Path("cosnorm-records")
#: Exit codes: an error that the message explains, and the shell's codes for Ctrl-C and any other signal.
ERROR = 1
INTERRUPTED = 130
_SIGNAL = 128
#: Most seeds of one command, and the largest seed that torch takes.
MOST_SEEDS = 10_000
LARGEST_SEED = 2**63 - 1
#: Errors whose message says what to do; any other is a bug of ours and shows its traceback.
EXPLAINED = (ValueError, RecordError, DatasetError)
#: What is said when a signal has come.
STOPPING = (
    "Stopping: each run in progress keeps its state at the end of its epoch. "
    "Ctrl-C again ends at once, and the epochs in progress are lost."
)
#: Most tasks that the table of a sweep shows; the others are counted.
ROWS = 20


# -- What all commands share -----------------------------------------------------------------------


def explained(action: Callable[..., int | None]) -> Callable[..., None]:
    """Make a command of a function that returns an exit code; explained errors become a message."""

    @functools.wraps(action)
    def command(*arguments: Any, **options: Any) -> None:
        try:
            code = action(*arguments, **options)
        except EXPLAINED as error:
            code = complain(str(error))
        except KeyboardInterrupt:
            code = INTERRUPTED
        raise typer.Exit(code or 0)

    return command


def about(text: str, *flags: str) -> Any:
    """An option of a command, and what ``--help`` says about it."""
    return typer.Option(*flags, help=text)


def complain(message: str) -> int:
    """Print what went wrong on stderr, without a traceback; returns the exit code."""
    print(f"cosnorm: {message}", file=sys.stderr, flush=True)
    return ERROR


def command_again(*words: str, **options: object) -> str:
    """The command that does what is left."""
    parts = ["python", "-m", "cosnorm", *words]
    for name, value in options.items():
        if value is not None and value is not False:
            parts += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(parts)


def parse_seeds(text: str | None) -> int | list[int] | None:
    """``"3"`` is three seeds from 0, ``"3-4"`` and ``"0,2"`` are those seeds themselves.

    Examples
    --------
    >>> parse_seeds("3"), parse_seeds("3-4"), parse_seeds("0,2")
    (3, [3, 4], [0, 2])
    """
    if text is None:
        return None
    try:
        if "," in text:
            seeds = range(0), [int(part) for part in text.split(",")]
        else:
            first, dash, last = text.partition("-")
            if not dash and int(first) < 1:
                raise ValueError
            seeds = (range(int(first), int(last) + 1) if dash else range(int(first))), []
    except ValueError:
        raise ValueError(
            f"--seeds {text!r} is not understood; write how many (5), a range (3-4) or a list (0,2)"
        ) from None
    many, listed = seeds
    if many.stop - many.start > MOST_SEEDS:
        raise ValueError(f"--seeds {text!r} asks for more than {MOST_SEEDS:,} seeds; split the command")
    if max([many.stop, *listed]) > LARGEST_SEED:
        raise ValueError(f"--seeds {text!r} has a seed above the largest one, {LARGEST_SEED}")
    if listed:
        return listed
    return list(many) if "-" in text else many.stop


def set_threads(threads: int | None) -> None:
    """Limit torch to this many processor threads; ``None`` leaves torch's own choice."""
    if threads is None:
        return
    most = max(64, 4 * (os.cpu_count() or 1))
    if not 1 <= threads <= most:
        raise ValueError(f"--threads must be at least 1 and on this machine at most {most}, got {threads}")
    torch.set_num_threads(threads)


def check_device(device: str) -> None:
    """Refuse devices of torch that nothing here has been tested on."""
    if device != "auto" and device.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}; use auto, cpu or cuda")


class Stop(threading.Event):
    """Set by the first Ctrl-C or SIGTERM."""

    number: int | None = None  #: of the signal

    @property
    def code(self) -> int:
        """The exit code of a process that was ended by a signal."""
        return INTERRUPTED if self.number is None else _SIGNAL + self.number


@contextmanager
def stoppable(say: Callable[[str], None], text: str) -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into an event, and say so; a second one is a KeyboardInterrupt."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals do not arrive here
        return

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.is_set():
            raise KeyboardInterrupt
        stop.number = number
        stop.set()

    over = threading.Event()

    def tell() -> None:
        stop.wait()
        if not over.is_set():  # nothing is printed from a handler, which may have interrupted a print
            say(text)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    speaker = threading.Thread(target=tell, daemon=True)
    speaker.start()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        asked = stop.is_set()
        if not asked:
            over.set()
            stop.set()
        speaker.join()


class Display:
    """Lines that stay and, below them on a terminal, how things stand; elsewhere a line from time to time."""

    line_seconds = 60.0  #: between two lines where there is no terminal

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True, highlight=False, emoji=False)
        self._live: Live | None = None
        self._last_line = time.monotonic()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show progress in place while something goes on, if this is a terminal."""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, transient=True, auto_refresh=False) as self._live:
            yield
        self._live = None

    def show(self, view: RenderableType, line: str) -> None:
        """Draw how things stand, or print a line if the last one is old."""
        if self._live is not None:
            self._live.update(view, refresh=True)
        elif self.line_is_due:
            self.say(line)

    @property
    def line_is_due(self) -> bool:
        """Whether the last line is older than it should be."""
        return time.monotonic() - self._last_line >= self.line_seconds

    def say(self, text: str) -> None:
        """Print a line that stays, at once."""
        self._last_line = time.monotonic()
        self.console.print(text, markup=False)
        self.console.file.flush()

    def on_record(self, record: Record, present: bool) -> None:
        """Print a line about a finished run."""
        self.say(describe(record) + ("  (kept from before)" if present else ""))


# -- run -------------------------------------------------------------------------------------------


class Tally:
    """Epochs completed by each run of a plan; updates may arrive in any order."""

    def __init__(self, plan: experiments.Plan) -> None:
        replicas = {run: plan.replica(*run) for run in plan.runs}
        # Two techniques with equal settings have equal curves: either name does.
        self._runs = {replica: run for run, replica in replicas.items()}
        self._epochs = {run: replica.epochs for run, replica in replicas.items()}
        self._done = dict.fromkeys(replicas, 0)

    @property
    def total(self) -> int:
        """Epochs of all runs."""
        return sum(self._epochs.values())

    @property
    def done(self) -> int:
        """Epochs that are done or need not be done any more."""
        return sum(self._done.values())

    def epoch(self, replica: Replica, curves: Curves) -> str:
        """Count an epoch; returns a description of its run."""
        technique, seed = self._runs[replica]
        done = self._done[technique, seed] = len(curves.test_error)
        return (
            f"{technique} seed {seed}  epoch {done}/{replica.epochs}  "
            f"loss {curves.train_loss[-1]:.4g}  test errors {curves.test_error[-1]}"
        )

    def finish(self, record: Record) -> None:
        """Count all epochs of a run, also of one that was there before or diverged early."""
        self._done[record.technique, record.seed] = self._epochs[record.technique, record.seed]


class RunDisplay(Display):
    """A progress bar over all epochs with the most recently updated run; finished runs scroll above it."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console)
        self._bar: Bar | None = None
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
        self._begun = time.monotonic()
        with Bar(*columns, console=self.console) as self._bar:
            self._task = self._bar.add_task("starting", total=self._tally.total)
            yield

    def on_epoch(self, replica: Replica, curves: Curves) -> None:
        """Move the bar by one epoch, or past those that a resumed run has done before."""
        self._update(self._tally.epoch(replica, curves))

    def on_record(self, record: Record, present: bool) -> None:
        """Count a finished run, and print a line about it."""
        self._tally.finish(record)
        self._update(f"{record.technique} seed {record.seed} done")
        super().on_record(record, present)

    def _update(self, text: str) -> None:
        if self._bar is not None:
            done, total = self._tally.done, self._tally.total
            self._bar.update(self._task, completed=done, description=text)
            if not self.console.is_terminal and self.line_is_due:
                left = (time.monotonic() - self._begun) / max(done, 1) * (total - done)
                self.say(f"{text}  {done / total:.0%} done, {left / 60:.0f} min left")


Name = Annotated[str, typer.Argument(help="The experiment; `cosnorm list` shows them.")]
Norm = Annotated[str, about("Technique, several separated by commas, or all.")]
Scale = Annotated[str | None, about("smoke, short or paper; default $COSNORM_SCALE, else smoke.")]
Seeds = Annotated[
    str | None, about("How many (5), a range (3-4) or a list (0,2); default the scale's number of seeds.")
]
Device = Annotated[str, about("auto, cpu or cuda.")]
Records = Annotated[Path, about("Folder for the records; finished ones found there are kept.")]


@explained
def run(
    name: Name,
    norm: Norm = "all",
    scale: Scale = None,
    seeds: Seeds = None,
    device: Device = "auto",
    records: Records = DEFAULT_RECORDS,
    threads: Annotated[
        int | None, about("Runs at a time, each on one processor thread; default torch's own choice.")
    ] = None,
    supersede: Annotated[
        bool,
        about(
            "Repeat runs whose record there has other settings; the old record moves to `superseded`.",
            "--supersede",
        ),
    ] = False,
) -> int:
    """Run an experiment and write one record per run. Runs that already have a record are skipped."""
    set_threads(threads)
    check_device(device)
    plan = experiments.plan(name, norm, scale, parse_seeds(seeds), device, records)
    prepare_folder(records)
    _fetch_data(plan, records, supersede)
    display, code = RunDisplay(), INTERRUPTED
    try:
        with display.start(plan), stoppable(display.say, STOPPING) as stop:
            try:
                finished = experiments.run(
                    name,
                    plan.techniques,
                    plan.scale,
                    plan.seeds,
                    device=plan.device,
                    records=records,
                    on_epoch=display.on_epoch,
                    on_record=display.on_record,
                    on_wait=lambda count: display.say(
                        f"waiting for {count} run{'s' * (count > 1)} that another process is making"
                    ),
                    stop=stop,
                    supersede=supersede,
                )
            finally:
                code = stop.code
    except KeyboardInterrupt as error:
        options = {"seeds": seeds, "device": device, "records": records, "threads": threads}
        again = command_again("run", name, norm=norm, scale=plan.scale, **options, supersede=supersede)
        display.say(_stopped(plan, records))
        if isinstance(error, experiments.Stopped):
            display.say(f"Runs in progress have kept their state and go on with the same command: {again}")
        else:
            display.say(
                "Runs in progress go on from the last epoch whose state was kept "
                f"(at most every {CHECKPOINT_SECONDS:.0f} s), with the same command: {again}"
            )
        return code
    display.say(_done(plan, len(finished), records))
    return 0


def _fetch_data(plan: experiments.Plan, records: Path, supersede: bool) -> None:
    # Before the display of the runs starts, for a download has a bar of its own.
    name = plan.experiment.scales[plan.scale].dataset
    present = experiments.stored(plan, records, supersede=supersede)
    if not data.DATASETS[name].embedded and len(present) < len(plan.runs):
        data.fetch(name, progress=True)


def _stopped(plan: experiments.Plan, records: Path) -> str:
    # Counted on disk: the key may have come between the writing of a record and the line about it.
    count = len(experiments.stored(plan, records, supersede=True))
    return f"Stopped. {count} of {len(plan.runs)} runs are finished and kept in {records}."


def _done(plan: experiments.Plan, count: int, records: Path) -> str:
    words = ["cosnorm", "report", plan.experiment.name, "--scale", plan.scale, "--records", str(records)]
    return f"{count} records in {records}. Next: {shlex.join(words)}"


# -- sweep -----------------------------------------------------------------------------------------


class SweepDisplay(Display):
    """Finished runs and lost workers as lines that stay; below them, on a terminal, the tasks at work."""

    line_seconds = 30.0

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console)
        self._attempts: dict[int, int] = {}

    @contextmanager
    def start(self, title: str) -> Iterator[None]:
        """Print the title, and show the tasks while the sweep goes on."""
        self.say(title)
        with self.live():
            yield

    def on_progress(self, progress: Progress) -> None:
        """Say which tasks were restarted, and show those at work."""
        for task, work in progress.works:
            if work.attempt > self._attempts.get(task.number, 1):
                self.say(f"{task.title}: its worker was lost; begun again on {work.node}")
            self._attempts[task.number] = work.attempt
        tasks, nodes = _count(len(progress.works), "task"), _count(progress.nodes, "node")
        line = (
            f"{progress.finished} of {progress.runs} runs finished; "
            f"{tasks} at work, {progress.waiting} waiting; {nodes}"
        )
        self.show(Group(_task_table(progress), Text(line)), line)


def _task_table(progress: Progress) -> Table:
    table = Table("task", "node", "epoch", "loss", "test errors", box=None, pad_edge=False)
    for task, work in progress.works[:ROWS]:
        again = f" (attempt {work.attempt})" if work.attempt > 1 else ""
        table.add_row(Text(task.title), Text(f"{work.node}{again}"), *_latest(task, work))
    if len(progress.works) > ROWS:
        table.add_row(f"and {len(progress.works) - ROWS} more", *[""] * 4)
    return table


def _latest(task: Task, work: Work) -> tuple[str, str, str]:
    if not work.epochs:
        return "starting", "", ""
    run, epoch = list(work.epochs.items())[-1]
    return f"{epoch.number}/{task.replicas[run].epochs}", f"{epoch.loss:.3g}", str(epoch.errors)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@explained
def sweep(
    name: Annotated[
        str,
        typer.Argument(
            help="The experiment; `cosnorm list` shows them. Without one, name a stage of the plan."
        ),
    ] = "",
    norm: Norm = "all",
    scale: Scale = None,
    seeds: Seeds = None,
    device: Annotated[str, about("auto, cpu or cuda; auto is cuda if the cluster has a GPU.")] = "auto",
    records: Annotated[
        Path, about("Folder on this machine for the records; finished ones found there are kept.")
    ] = DEFAULT_RECORDS,
    address: Annotated[
        str, about("auto (this machine's cluster), local (this machine alone) or HOST:PORT of the head node.")
    ] = "auto",
    num_gpus: Annotated[
        float | None, about("GPUs per task, from 0 to 1; default 1 on cuda. With 0.25 four tasks share one.")
    ] = None,
    num_cpus: Annotated[int | None, about("Processors per task; default what one run takes.")] = None,
    group: Annotated[
        int | None, about("Runs per task; default 1 on a CPU, and on a GPU as many as can be stacked.")
    ] = None,
    checkpoints: Annotated[
        Path | None, about("Folder that all nodes share; lost tasks then continue where they were.")
    ] = None,
    stage: Annotated[
        int | None, about("Instead of an experiment: this stage of the plan of `cosnorm reproduce`.")
    ] = None,
) -> int:
    """Run an experiment, or a stage of the plan, on many machines with Ray; `run` writes the same records."""
    if (stage is None) == (not name):
        return complain("name an experiment, or a stage of the plan with --stage, and not both")
    options = {
        **{"device": device, "records": records, "address": address},
        **{"num_gpus": num_gpus, "num_cpus": num_cpus, "group": group, "checkpoints": checkpoints},
    }
    if stage is None:
        return sweep_experiment(name, norm, scale, seeds, options)
    campaign = experiments.Campaign(scale or "paper", stage=stage, records=records, device="cpu")
    for experiment, part_scale, techniques, numbers in commands(campaign):
        listed = ",".join(map(str, numbers)) if len(numbers) > 1 else f"{numbers[0]}-{numbers[0]}"
        code = sweep_experiment(experiment, ",".join(techniques), part_scale, listed, options)
        if code:
            return code
    return 0


def sweep_experiment(
    name: str, norm: str, scale: str | None, seeds: str | None, options: dict[str, Any]
) -> int:
    """Sweep one experiment; returns the exit code."""
    records, display = options["records"], SweepDisplay()
    plan = experiments.plan(name, norm, scale, parse_seeds(seeds), "cpu", records)
    try:
        with display.start(f"{plan.experiment.title}: scale {plan.scale}, {len(plan.runs)} runs on Ray"):
            finished = experiments.sweep(
                name,
                plan.techniques,
                plan.scale,
                plan.seeds,
                **options,
                on_record=display.on_record,
                on_progress=display.on_progress,
            )
    except KeyboardInterrupt:
        display.say(_stopped(plan, records))
        again = command_again("sweep", name, scale=plan.scale, norm=norm, seeds=seeds, **options)
        display.say(f"To go on: {again}")
        return INTERRUPTED
    except experiments.SweepError as error:
        count = len(experiments.stored(plan, records, supersede=True))
        kept = f"\n{count} of {len(plan.runs)} runs are finished and kept in {records}." if count else ""
        return complain(f"{error}{kept}")
    display.say(_done(plan, len(finished), records))
    return 0
