"""The state of a run between epochs, in a file that is either complete or not there."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

#: Raised by one when a state of before would be misread.
FORMAT = 3
#: Bytes of the SHA-256 that a file begins with; torch itself does not notice a changed bit.
DIGEST = hashlib.sha256().digest_size


class CheckpointFile:
    """Where one run keeps its state, beside where its record will be.

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

        A checkpoint that cannot be written is warned of and does not end the run: only the record must
        be written, and that it could be was seen at the start.
        """
        if time.monotonic() - self._saved < self.every:
            return
        content = _encode({"identity": self.identity, "state": state()})
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(temporary, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            warnings.warn(
                f"no checkpoint was written to {self.path} ({error.strerror or error}); the run goes on",
                stacklevel=2,
            )
        self._saved = time.monotonic()

    def _start_again(self, why: str) -> None:
        warnings.warn(f"the checkpoint {self.path} {why}; the run starts from the beginning", stacklevel=3)


def remains(record: Path) -> list[Path]:
    """What the making of a record has left beside it: its checkpoint, its lock, parts of unfinished files."""
    return sorted(record.parent.glob(f".{record.stem}.*"))


def clear(record: Path) -> None:
    """Remove what is left of the making of a record, but for the lock, which whoever calls this holds."""
    for path in remains(record):
        if path.suffix != ".lock":
            with suppress(OSError):  # what cannot be removed does no harm: the record counts
                path.unlink()


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
