"""Processes that train runs for a campaign, one after the other, and report each epoch in a line.

Such a process reads its orders from standard input, one JSON object per line, and answers on standard output.
When the input ends, at the latest with the parent process, or on a signal to terminate, the runs in progress
save their state at the end of their epoch.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import torch

import cosnorm
from cosnorm.data import DatasetError
from cosnorm.experiments.costing import trial
from cosnorm.experiments.registry import get
from cosnorm.experiments.runner import Plan, Runner, Stopped, plan
from cosnorm.record import Record, RecordError
from cosnorm.training import Curves, Replica

#: Errors whose message says what to do; for all others their type is reported as well.
EXPLAINED = (ValueError, RecordError, DatasetError)

Events = queue.SimpleQueue[tuple["Process", dict[str, Any]]]


class Process:
    """A child process that runs :func:`main`; its answers arrive in a queue."""

    def __init__(self, device: torch.device, events: Events) -> None:
        environment = dict(os.environ)
        root = str(Path(cosnorm.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        if device.type == "cpu":
            environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from cosnorm.experiments.processes import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent process
        )
        self.title = ""  # what it does, for the reader of its answers
        self.born = time.monotonic()
        self.events = events
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._answers = threading.Thread(target=self._read_answers, daemon=True)
        self._errors.start()
        self._answers.start()

    def send(self, order: dict[str, Any]) -> None:
        """Give it an order; if the process is gone, the queue will say so."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """Let it end: now, or with the epoch in progress."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self.close()
        self._answers.join()

    def _read_answers(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # half a line, of a process that was killed
                    self.events.put((self, json.loads(line)))
        code = self.process.wait()
        self._errors.join()
        self.events.put((self, {"kind": "lost", "code": code}))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                if line.strip():
                    self.events.put((self, {"kind": "log", "text": line.rstrip()}))


# -- inside the process ------------------------------------------------------------------------------------


class _BusyError(Exception):
    """Another process is training the run."""


def main() -> None:
    """Work until the input ends."""
    # Whatever libraries print goes to the standard error, not between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stop = threading.Event()
    orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def end(*_: object) -> None:
        stop.set()
        orders.put(None)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides
    torch.set_num_threads(1)
    threading.Thread(target=_listen, args=(sys.stdin, orders, stop), daemon=True).start()
    lock = threading.Lock()

    def answer(kind: str, **content: Any) -> None:
        # The parent process may be gone; the state of the run is saved all the same.
        with lock, contextlib.suppress(OSError):
            print(json.dumps({"kind": kind, **content}), file=answers, flush=True)

    answer("ready")
    while not stop.is_set():
        order = orders.get()
        if order is not None:
            obey(order, answer, stop)


def _listen(stream: TextIO, orders: queue.SimpleQueue, stop: threading.Event) -> None:
    for line in stream:
        orders.put(json.loads(line))
    stop.set()
    orders.put(None)


def obey(order: dict[str, Any], answer: Callable[..., None], stop: threading.Event) -> None:
    """Follow an order, and answer how it ended."""
    try:
        if order["do"] == "measure":
            made = trial(get(order["experiment"]), order["scale"], order["technique"])
            answer("measured", seconds=made.seconds() / made.train)
        else:
            _train(order, answer, stop)
            answer("done")
    except Stopped:
        answer("stopped")
    except _BusyError:
        answer("busy")
    except EXPLAINED as error:
        answer("failed", message=str(error))
    except Exception as error:  # the other runs go on
        answer("failed", message=f"{type(error).__name__}: {error}")


def _train(order: dict[str, Any], answer: Callable[..., None], stop: threading.Event) -> None:
    planned = _plan(order)
    names = {planned.replica(*run): run for run in planned.runs}

    def on_epoch(replica: Replica, curves: Curves) -> None:
        done = len(curves.test_error)
        last = {"epoch": done, "loss": curves.train_loss[-1], "errors": curves.test_error[-1]}
        answer("epoch", run=names[replica], **last)

    def on_record(record: Record, present: bool) -> None:
        if not present:
            answer("record", run=(record.technique, record.seed), name=record.stored)

    def on_wait(count: int) -> None:
        del count
        raise _BusyError

    hooks: dict[str, Any] = {"on_epoch": on_epoch, "on_record": on_record, "on_wait": on_wait}
    Runner(planned, order["records"], **hooks, stop=stop, supersede=True).run()


def _plan(order: dict[str, Any]) -> Plan:
    runs = tuple((technique, seed) for technique, seed in order["runs"])
    techniques, seeds = (tuple(dict.fromkeys(part)) for part in zip(*runs, strict=True))
    planned = plan(order["experiment"], techniques, order["scale"], seeds, order["device"], order["records"])
    return replace(planned, only=runs)
