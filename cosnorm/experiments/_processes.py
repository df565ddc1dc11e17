"""Processes that train runs, as the process sees them that starts them."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

import cosnorm

Events = queue.SimpleQueue[tuple["Process", dict[str, Any]]]


class Process:
    """A process of :mod:`cosnorm.experiments._worker`, whose answers arrive in a queue.

    Attributes
    ----------
    title
        What it does, for whoever reads its messages.
    """

    def __init__(self, device: torch.device, events: Events) -> None:
        environment = dict(os.environ)
        root = str(Path(cosnorm.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        if device.type == "cpu":
            environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cosnorm.experiments._worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,  # Ctrl-C is for the process that is in charge
        )
        self.title = ""
        self.born = time.monotonic()
        self.events = events
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._answers = threading.Thread(target=self._read_answers, daemon=True)
        self._errors.start()
        self._answers.start()

    def send(self, order: dict[str, Any]) -> None:
        """Give it something to do; if it is gone, its end is on the way."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """Let it end: at once, or with the epoch that it is in."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def kill(self) -> None:
        """End it whatever it does."""
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
