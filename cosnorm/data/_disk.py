"""The cache folder: writing into it, keeping damaged files aside, and one process at a time."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cosnorm._locks import HELD_BY_ANOTHER, try_lock
from cosnorm.data.dataset import DatasetError

CACHE_VARIABLE = "COSNORM_CACHE"
POLL_SECONDS = 0.2


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn every failure to write ``path`` into a :class:`DatasetError` that says how to go on.

    Only code that writes may stand inside: a failing connection is an :class:`OSError` too.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "free some space and run it again: what has arrived is kept and will be resumed"
        else:
            advice = f"make the folder writable, or set ${CACHE_VARIABLE} to one that is"
        raise DatasetError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


def set_aside(path: Path) -> Path:
    """Rename a damaged file to ``<name>.damaged-<n>``, the first n that is free, and return that path."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    with writing(aside):
        path.rename(aside)
    return aside


@contextmanager
def folder_lock(folder: Path, on_wait: Callable[[], None]) -> Iterator[bool]:
    """Hold the folder against other processes; wait for the one that holds it, after one ``on_wait()``.

    The operating system lets go of the lock when its process ends, however it ends. Yields False where
    the file system has no locks: then nothing that another process might write may be shared.
    """
    path = folder / ".lock"
    with writing(path):
        stream = path.open("ab")
    with stream:
        yield _acquire(stream, on_wait)


def _acquire(stream: BinaryIO, on_wait: Callable[[], None]) -> bool:
    waited = False
    while True:
        try:
            try_lock(stream)
            return True
        except OSError as error:
            if error.errno not in HELD_BY_ANOTHER:
                return False
        if not waited:
            on_wait()
            waited = True
        time.sleep(POLL_SECONDS)
