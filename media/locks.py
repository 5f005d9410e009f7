"""A file that one process at a time may hold, which the system takes back however that process ends."""

from __future__ import annotations

import os
import sys

LOCKED_BYTE = 2**30  # far behind what is written in it: Windows lets nobody read what is locked


def lock(descriptor: int) -> None:
    """Hold an open file until it is closed; an OSError where another holds it, or where the disk knows no locks."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
