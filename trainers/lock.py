"""A folder for one process at a time."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..media.locks import lock
from .errors import TrainingError, clear_writing_errors

TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


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
            lock(file.fileno())
        except OSError as error:
            if error.errno in TAKEN:
                raise TrainingError(_who_is_there(folder, path)) from None
        with suppress(OSError):  # a full disk is told of by who has more to write
            file.truncate(0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield


def _who_is_there(folder: Path, path: Path) -> str:
    who = path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    return f"{folder} is being trained in by {who}. Wait until that run has ended, or choose another run folder."
