"""What lies beside a record while its run is trained: the state of the run, and a lock."""

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

#: Raised by one when an earlier state would be misread.
FORMAT = 3
#: Bytes of the SHA-256 that a file begins with; torch itself does not notice a changed bit.
DIGEST = hashlib.sha256().digest_size
#: What of a process can change the curves of a run, as it stands in a record.
_IDENTIFYING = ("cosnorm", "commit", "modified", "device_name", "torch")


class CheckpointFile:
    """Where one run keeps its state between epochs, beside where its record will be.

    Parameters
    ----------
    record
        Path of the record to come; the checkpoint is a hidden file in its folder.
    identity
        All that the state depends on, JSON-ready. A state with another identity is not used.
    every
        Seconds that must pass between two savings.
    """

    def __init__(self, record: Path, identity: dict[str, Any], every: float) -> None:
        self.path = record.with_name(f".{record.stem}.checkpoint")
        text = json.dumps([FORMAT, torch.__version__, identity], sort_keys=True)
        self.identity = hashlib.sha256(text.encode()).hexdigest()
        self.every = every
        self._saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state to go on from; ``None``, with a warning where there is one that cannot be used."""
        try:
            content = _decode(self.path.read_bytes())
            identity, state = content["identity"], content["state"]
        except FileNotFoundError:
            return None
        except Exception as error:
            return self._start_again(f"is damaged ({type(error).__name__})")
        if identity != self.identity:
            return self._start_again("belongs to other settings, data or another version of torch")
        return state

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep ``state()`` unless the last saving was a short while ago.

        A checkpoint that cannot be written causes a warning and does not end the run: only the record must
        be written, and that it could be was checked at the start.
        """
        if time.monotonic() - self._saved < self.every:
            return
        try:
            _atomic.write(self.path, _encode({"identity": self.identity, "state": state()}))
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
    # weights_only: nothing in the file is run.
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def leftovers(record: Path) -> list[Path]:
    """What the making of a record has left beside it: its checkpoint, its lock, parts of unfinished files."""
    return sorted(record.parent.glob(f".{record.stem}.*"))


def remove_leftovers(record: Path) -> None:
    """Remove what is left of the making of a record, but for the lock, which the caller holds."""
    for path in leftovers(record):
        if path.suffix != ".lock":
            with suppress(OSError):  # what cannot be removed does no harm: the record counts
                path.unlink()


class RunLock:
    """The right to train a run, where several processes share a folder of records.

    It is a lock on a hidden file beside the record, which ends with the process at the latest.

    Parameters
    ----------
    record
        Path of the record to come.

    Attributes
    ----------
    held
        Whether the lock was granted. On a file system without locks it always is: then two processes may
        train the same run, and both write the same record.

    Raises
    ------
    RecordError
        If the file cannot be made.
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
        return self._in_place()

    def _in_place(self) -> bool:
        """Whether the locked file is still the one at the path: the previous holder may have removed it."""
        try:
            return os.path.samestat(os.fstat(self._stream.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others have the run, and remove the file."""
        # Removed while locked: whoever has it open already then sees that it is not in place any more.
        # Windows removes no file that is open, so there nobody can have it open.
        if sys.platform == "win32":
            self._stream.close()
        with suppress(OSError):
            self.path.unlink()
        self._stream.close()


class Contributions:
    """Which versions, commits and processors trained which epochs of one run.

    They are kept in its checkpoint, and in the end in its record.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before: list[dict[str, Any]] = []
        self._first = 1

    def resume(self, before: list[dict[str, Any]], epoch: int) -> None:
        """Earlier processes trained the epochs up to ``epoch``, as their :meth:`until` says."""
        self._before, self._first = before, epoch + 1

    def until(self, epoch: int) -> list[dict[str, Any]]:
        """Entries from the first epoch to this one, JSON-ready and in order.

        Each holds the version and commit of the package, whether its code was modified, the processor, the
        version of torch, the first and the last of its epochs, counted from 1, and the date of the last.
        Consecutive processes that agree in all of this but the date are one entry.
        """
        facts = provenance.environment(self.device)
        mine = {name: facts[name] for name in _IDENTIFYING}
        first, before = self._first, list(self._before)
        if before and {name: before[-1][name] for name in _IDENTIFYING} == mine:
            first = before.pop()["epochs"][0]
        return [*before, {**mine, "epochs": [first, epoch], "date": facts["date"]}]


class RunCheckpoint:
    """A run's checkpoint with its contributions: what the engine sees as a checkpoint."""

    def __init__(self, file: CheckpointFile, contributions: Contributions) -> None:
        self.file, self.contributions = file, contributions

    def load(self) -> dict[str, Any] | None:
        """As :meth:`CheckpointFile.load`."""
        state = self.file.load()
        if state is not None:
            self.contributions.resume(state.pop("contributions"), state["epoch"])
        return state

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """As :meth:`CheckpointFile.save`."""

        def whole() -> dict[str, Any]:
            content = state()
            return {**content, "contributions": self.contributions.until(content["epoch"])}

        self.file.save(whole)
