"""Which process trains a run, where several share a folder of records."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from cosnorm._locks import HELD_BY_ANOTHER, try_lock
from cosnorm.record import RecordError


class Claim:
    """A claim on a run, by a lock on a hidden file beside its record; it ends with the process at the latest.

    Parameters
    ----------
    record
        Path of the record to come.

    Attributes
    ----------
    taken
        Whether the claim was granted. On a file system without locks every claim is: then two processes
        may train the same run, and both write the same record.

    Raises
    ------
    RecordError
        If the file cannot be made.
    """

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
        self.taken = self._lock()
        if not self.taken:
            self._stream.close()

    def _lock(self) -> bool:
        try:
            try_lock(self._stream)
        except OSError as error:
            return error.errno not in HELD_BY_ANOTHER
        return self._in_place()

    def _in_place(self) -> bool:
        """Whether the locked file is still the one at the path, not one that a holder before has removed."""
        try:
            return os.path.samestat(os.fstat(self._stream.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others have the run, and clear the file away."""
        # Removed while locked: whoever has it open already then sees that it is not in place any more.
        # Windows removes no file that is open, so there nobody can have it open.
        if sys.platform == "win32":
            self._stream.close()
        with suppress(OSError):
            self.path.unlink()
        self._stream.close()
