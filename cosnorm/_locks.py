"""Locks between processes, by files that the operating system unlocks when their process ends."""

from __future__ import annotations

import errno
import sys
from typing import BinaryIO

#: What the system says when another process holds the lock; any other error means that it has no locks.
HELD_BY_ANOTHER = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}


def try_lock(stream: BinaryIO) -> None:
    """Lock an open file without waiting; raises OSError. Closing the stream unlocks."""
    if sys.platform == "win32":
        import msvcrt

        stream.seek(0)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
