"""A process that trains runs for a campaign, one after the other, and reports each epoch in a line.

It reads what to do from its standard input, one JSON object per line, and answers on what was its standard
output. At the end of the input, which comes at the latest with the end of the process that started it, and
when it is told to terminate, the runs in progress keep their state at the end of their epoch.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

import torch

from cosnorm.data import DatasetError
from cosnorm.experiments.costing import trial
from cosnorm.experiments.planning import Plan, plan
from cosnorm.experiments.registry import get
from cosnorm.experiments.running import Running, Stopped
from cosnorm.record import Record, RecordError
from cosnorm.training import Curves, Replica

#: Errors whose message says what to do; of any other one the kind is named as well.
EXPLAINED = (ValueError, RecordError, DatasetError)


class _BusyError(Exception):
    """Another process is making the run."""


def main() -> None:
    """Work until the input ends."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stop = threading.Event()
    orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def end(*_: object) -> None:
        stop.set()
        orders.put(None)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides
    torch.set_num_threads(1)
    threading.Thread(target=_listen, args=(sys.stdin, orders, stop), daemon=True).start()
    lock = threading.Lock()

    def answer(kind: str, **content: Any) -> None:
        # Whoever started this process may be gone; what the run has come to is kept all the same.
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
    """Do what a line asks for, and answer how it ended."""
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
    settled = _settled(order)
    names = {settled.replica(*run): run for run in settled.runs}

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

    Running(
        settled,
        order["records"],
        on_epoch=on_epoch,
        on_record=on_record,
        on_wait=on_wait,
        stop=stop,
        supersede=True,
    ).run()


def _settled(order: dict[str, Any]) -> Plan:
    runs = tuple((technique, seed) for technique, seed in order["runs"])
    techniques, seeds = (tuple(dict.fromkeys(part)) for part in zip(*runs, strict=True))
    settled = plan(order["experiment"], techniques, order["scale"], seeds, order["device"], order["records"])
    return Plan(
        settled.experiment,
        settled.scale,
        techniques,
        seeds,
        settled.device,
        settled.records,
        only=runs,
    )


if __name__ == "__main__":
    main()
