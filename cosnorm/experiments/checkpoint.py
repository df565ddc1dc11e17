"""The files next to a record while its run is trained: the state of the run, and a lock."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from cosnorm import _atomic, provenance
from cosnorm._locks import HELD_BY_ANOTHER, try_lock
from cosnorm.record import RecordError

#: Increased when an earlier state would be misread.
FORMAT = 3
#: A file begins with its SHA-256, because torch itself does not notice a changed bit.
DIGEST = hashlib.sha256().digest_size
#: What of a process can change the curves of a run, as it stands in a record.
_IDENTIFYING = ("cosnorm", "commit", "modified", "device_name", "torch")


class Contributions:
    """Which versions, commits and processors trained which epochs of one run, for its record."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before: list[dict[str, Any]] = []
        self._first = 1

    def resume(self, before: list[dict[str, Any]], epoch: int) -> None:
        """Continue after ``epoch``; ``before`` is what :meth:`until` said of earlier processes."""
        self._before, self._first = before, epoch + 1

    def until(self, epoch: int) -> list[dict[str, Any]]:
        """JSON-ready entries from the first epoch to this one; consecutive processes that agree share one."""
        facts = provenance.environment(self.device)
        mine = {name: facts[name] for name in _IDENTIFYING}
        first, before = self._first, list(self._before)
        if before and {name: before[-1][name] for name in _IDENTIFYING} == mine:
            first = before.pop()["epochs"][0]
        return [*before, {**mine, "epochs": [first, epoch], "date": facts["date"]}]


class CheckpointFile:
    """Keeps the state of one run between epochs, in a hidden file next to its future record.

    Parameters
    ----------
    record
        Path of the record.
    identity
        Everything the state depends on, JSON-ready. A state with another identity is not used.
    every
        Seconds between two saves.
    contributions
        Who trained the run so far; saved and restored with its state.
    """

    def __init__(
        self,
        record: Path,
        identity: dict[str, Any],
        every: float,
        contributions: Contributions | None = None,
    ) -> None:
        self.path = record.with_name(f".{record.stem}.checkpoint")
        text = json.dumps([FORMAT, torch.__version__, identity], sort_keys=True)
        self.identity = hashlib.sha256(text.encode()).hexdigest()
        self.every, self.contributions = every, contributions
        self._saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state; ``None`` if there is none, or with a warning if it cannot be used."""
        try:
            content = _decode(self.path.read_bytes())
            identity, state = content["identity"], content["state"]
        except FileNotFoundError:
            return None
        except Exception as error:
            return self._start_again(f"is damaged ({type(error).__name__})")
        if identity != self.identity:
            return self._start_again("belongs to other settings, data or another version of torch")
        if self.contributions is not None:
            self.contributions.resume(state.pop("contributions"), state["epoch"])
        return state

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save ``state()`` unless the last save was a short while ago.

        A checkpoint that cannot be written is a warning and does not end the run: only the record matters.
        """
        if time.monotonic() - self._saved < self.every:
            return
        content = state()
        if self.contributions is not None:
            content = {**content, "contributions": self.contributions.until(content["epoch"])}
        try:
            _atomic.write(self.path, _encode({"identity": self.identity, "state": content}))
        except OSError as error:
            warnings.warn(
                f"no checkpoint was written to {self.path} ({error.strerror or error}); the run goes on",
                stacklevel=2,
            )
        self._saved = time.monotonic()

    def _start_again(self, why: str) -> None:
        warnings.warn(f"the checkpoint {self.path} {why}; the run starts from the beginning", stacklevel=3)


def _encode(content: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    payload = stream.getvalue()
    return hashlib.sha256(payload).digest() + payload


def _decode(content: bytes) -> dict[str, Any]:
    digest, payload = content[:DIGEST], content[DIGEST:]
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError("the checksum does not match")
    # weights_only: no code in the file is executed.
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def leftovers(record: Path) -> list[Path]:
    """The hidden files next to a record: its checkpoint, its lock, parts of unfinished files."""
    return sorted(record.parent.glob(f".{record.stem}.*"))


def remove_leftovers(record: Path) -> None:
    """Remove the hidden files next to a record except the lock, which the caller holds."""
    for path in leftovers(record):
        if path.suffix != ".lock":
            with suppress(OSError):  # what cannot be removed does no harm
                path.unlink()


class RunLock:
    """The right to train a run, where several processes share a folder of records.

    It is a lock on a hidden file next to the record, which ends with the process at the latest. ``held`` says
    whether it was granted. On a file system without locks it always is: then two processes may train the
    same run, and both write the same record.
    """

    # filelock, which torch requires, leaves its file behind, here among the user's records, and fails where a
    # file system has no locks.

    def __init__(self, record: Path) -> None:
        self.path = record.with_name(f".{record.stem}.lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("ab")
        except OSError as error:
            raise RecordError(
                f"cannot write to {self.path.parent} ({error.strerror or error}); "
                "choose another folder with --records (records= in Python)"
            ) from error
        self.held = self._lock()
        if not self.held:
            self._stream.close()

    def _lock(self) -> bool:
        try:
            try_lock(self._stream)
        except OSError as error:
            return error.errno not in HELD_BY_ANOTHER
        try:  # the previous holder may have removed the file that is now locked
            return os.path.samestat(os.fstat(self._stream.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let other processes have the run, and remove the file."""
        # Removed while locked: another process that has it open then sees that it is no longer in place.
        # Windows does not remove open files, so there no other process can have it open.
        if sys.platform == "win32":
            self._stream.close()
        with suppress(OSError):
            self.path.unlink()
        self._stream.close()
