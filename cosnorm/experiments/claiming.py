"""Which process trains a run, where several share a folder of records."""

from __future__ import annotations

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
        self.taken = True
        try:
            try_lock(self._stream)
        except OSError as error:
            self.taken = error.errno not in HELD_BY_ANOTHER
            if not self.taken:
                self._stream.close()

    def release(self, remove: bool = False) -> None:
        """Let others have the run; ``remove`` also clears the file away, once there is a record.

        Whoever locks a file that was removed finds the record and leaves the run alone.
        """
        if remove:
            self.path.unlink(missing_ok=True)
        self._stream.close()
