"""A folder for one process at a time."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import TrainingError, clear_writing_errors

TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
LOCKED_BYTE = 2**30  # far behind the text: Windows lets nobody read what is locked


@contextmanager
def only_one_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system takes back from a process however it ends.

    A disk that knows no locks is used without: refusing to train there would help nobody.
    """
    path = folder / "lock"
    with clear_writing_errors(path):
        file = path.open("a+", encoding="utf-8")
    with file:
        try:
            _lock(file.fileno())
        except OSError as error:
            if error.errno in TAKEN:
                raise TrainingError(_who_is_there(folder, path)) from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _who_is_there(folder: Path, path: Path) -> str:
    who = path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    return f"{folder} is being trained in by {who}. Wait until that run has ended, or choose another run folder."
