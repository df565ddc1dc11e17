"""Files that are either complete or not there, even if the process is killed or the power fails."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file as :func:`write` does."""
    write(path, text.encode())


def write(path: Path, content: bytes) -> None:
    """Write a file, and its folder if there is none; no half-written file is left under its name.

    Raises
    ------
    OSError
        If the folder or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name.removeprefix('.')}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system allows a folder to be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
