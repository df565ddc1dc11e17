"""What both fronts of the command line do alike: read options, run, and stop politely."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch

from cosnorm import data, experiments
from cosnorm.data import DatasetError
from cosnorm.experiments.runner import CHECKPOINT_SECONDS
from cosnorm.record import Record, RecordError, prepare_folder
from cosnorm.training import Curves, Replica

#: Folder that records go to unless another is named: never into the installed package.
DEFAULT_RECORDS = Path("cosnorm-records")

#: Exit codes: an error that the message explains, and the shell's codes for Ctrl-C and any other signal.
ERROR = 1
INTERRUPTED = 130
_SIGNAL = 128

#: Most seeds of one command, and the largest seed that torch takes.
MOST_SEEDS = 10_000
LARGEST_SEED = 2**63 - 1

#: Errors whose message says what to do; any other is a fault of ours and shows where it happened.
EXPLAINED = (ValueError, RecordError, DatasetError)


class Display(Protocol):
    """Shows a plan's progress; a context manager, so that a terminal is left clean."""

    def start(self, plan: experiments.Plan) -> AbstractContextManager[object]:
        """Begin to show the runs of a plan."""
        ...

    def on_epoch(self, replica: Replica, curves: Curves) -> None:
        """Show one more epoch of a run."""
        ...

    def on_record(self, record: Record, present: bool) -> None:
        """Show a run that is finished, or ``present`` from before."""
        ...

    def say(self, text: str) -> None:
        """Print a line that stays."""
        ...


class Tally:
    """How far each run of a plan has come, whichever of them is told of next.

    Parameters
    ----------
    plan
        The runs.
    """

    def __init__(self, plan: experiments.Plan) -> None:
        replicas = {run: plan.replica(*run) for run in plan.runs}
        # Two competitors with equal settings take the same course: either name does.
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
        """Count an epoch; returns the state of its run in words."""
        technique, seed = self._runs[replica]
        done = self._done[technique, seed] = len(curves.test_error)
        return (
            f"{technique} seed {seed}  epoch {done}/{replica.epochs}  "
            f"loss {curves.train_loss[-1]:.4g}  test errors {curves.test_error[-1]}"
        )

    def finish(self, record: Record) -> None:
        """Count all epochs of a run, also of one that was there before or diverged early."""
        self._done[record.technique, record.seed] = self._epochs[record.technique, record.seed]


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
    """Limit torch to so many processor threads; ``None`` leaves torch's own choice."""
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
    """Set by the first Ctrl-C or SIGTERM.

    Attributes
    ----------
    number
        Of the signal; ``None`` before there is one.
    """

    number: int | None = None

    @property
    def code(self) -> int:
        """The exit code of a process that a signal has ended."""
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


def run_command(
    display: Display,
    name: str,
    norm: str,
    scale: str | None,
    seeds: str | None,
    device: str,
    records: Path,
    threads: int | None,
    supersede: bool = False,
) -> int:
    """Run an experiment as asked; returns the exit code after saying what was done, or why not."""
    try:
        set_threads(threads)
        check_device(device)
        plan = experiments.plan(name, norm, scale, parse_seeds(seeds), device, records)
        prepare_folder(records)
        obtain_data(plan, records, supersede)
    except EXPLAINED as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    code = INTERRUPTED
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
                    on_wait=lambda count: display.say(waiting(count)),
                    stop=stop,
                    supersede=supersede,
                )
            finally:
                code = stop.code
    except KeyboardInterrupt as error:
        again = go_on(name, norm, plan.scale, seeds, device, records, threads, supersede)
        # Counted on disk: the key may have come between the writing of a record and the word about it.
        count = len(experiments.stored(plan, records, supersede=True))
        display.say(f"Stopped. {count} of {len(plan.runs)} runs are finished and kept in {records}.")
        if isinstance(error, experiments.Stopped):
            display.say(f"Runs in progress have kept their state and go on with the same command: {again}")
        else:
            display.say(
                "Runs in progress go on from the last epoch whose state was kept "
                f"(at most every {CHECKPOINT_SECONDS:.0f} s), with the same command: {again}"
            )
        return code
    except EXPLAINED as error:
        return complain(str(error))
    display.say(
        f"{len(finished)} records in {records}. Next: "
        + shlex.join(["cosnorm", "report", name, "--scale", plan.scale, "--records", str(records)])
    )
    return 0


def obtain_data(plan: experiments.Plan, records: Path, supersede: bool = False) -> None:
    """Download what the runs need that have no record yet, before a display of their own starts."""
    name = plan.experiment.scales[plan.scale].dataset
    present = experiments.stored(plan, records, supersede=supersede)
    if not data.DATASETS[name].embedded and len(present) < len(plan.runs):
        data.fetch(name, progress=True)


def go_on(
    name: str,
    norm: str,
    scale: str,
    seeds: str | None,
    device: str,
    records: Path,
    threads: int | None,
    supersede: bool,
) -> str:
    """The command that does what is left of a run."""
    words = ["python", "-m", "cosnorm", "run", name, "--norm", norm, "--scale", scale]
    words += [] if seeds is None else ["--seeds", seeds]
    words += ["--device", device, "--records", str(records)]
    words += [] if threads is None else ["--threads", str(threads)]
    words += ["--supersede"] if supersede else []
    return shlex.join(words)


def waiting(count: int) -> str:
    """What is said while other processes make what is left."""
    return f"waiting for {count} run{'s' * (count > 1)} that another process is making"


def complain(message: str) -> int:
    """Say what went wrong, on stderr and without a traceback."""
    print(f"cosnorm: {message}", file=sys.stderr, flush=True)
    return ERROR


def guarded(action: Callable[[], None]) -> int:
    """Do something that only shows; an error that is explained becomes a message and an exit code."""
    try:
        action()
    except EXPLAINED as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


#: What is said when a signal has come; then runs end with their epochs.
STOPPING = (
    "Stopping: each run in progress keeps its state at the end of its epoch. "
    "Ctrl-C again ends at once, and the epochs in progress are lost."
)

#: What a front offers for ``cosnorm run``; kept here so that both word it alike.
HELP: dict[str, str] = {
    "name": "The experiment; `cosnorm list` shows them.",
    "norm": "Technique, several with commas, or all.",
    "scale": "smoke, short or paper; default $COSNORM_SCALE, else smoke.",
    "seeds": "How many (5), a range (3-4) or a list (0,2); default what the scale asks for.",
    "device": "auto, cpu or cuda.",
    "records": "Folder for the records; finished ones found there are kept.",
    "supersede": "Make runs again whose record there has other settings; the old one moves to `superseded`.",
    "threads": "Processor threads: so many runs at a time, each on one; default torch's own choice.",
}
