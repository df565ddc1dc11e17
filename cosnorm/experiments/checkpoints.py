"""The state of a run between epochs, in a file that is either complete or not there."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

#: Raised by one when a state of before would be misread.
FORMAT = 1


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
        if not self.path.exists():
            return None
        try:
            # weights_only: nothing in the file is run.
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            identity, state = content["identity"], content["state"]
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
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(temporary, "wb") as file:
                    torch.save({"identity": self.identity, "state": state()}, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)
            finally:
                temporary.unlink(missing_ok=True)
        except (OSError, RuntimeError) as error:  # torch wraps a full disk in a RuntimeError
            warnings.warn(f"no checkpoint was written to {self.path}: {error}", stacklevel=2)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Clear the state away; the record has taken its place."""
        self.path.unlink(missing_ok=True)

    def _start_again(self, why: str) -> None:
        warnings.warn(f"the checkpoint {self.path} {why}; the run starts from the beginning", stacklevel=3)
