"""The errors of this package, and the words for a disk that cannot be written."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..media.files import REASONS

TOO_LARGE = {errno.EFBIG: "The file is larger than this disk allows: choose a folder on another disk."}
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors tells which it met


class TrainingError(ValueError):
    """Says in one or two sentences why training cannot begin or go on, and what to do."""


class Diverged(TrainingError):
    """The loss, the gradients or the weights are no longer numbers."""


@contextmanager
def clear_writing_errors(path: Path) -> Iterator[None]:
    """Say in a sentence why `path` cannot be written, and that what was saved before is still there."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = _system_error(error)
        if number is None:
            raise
        reason = (REASONS | TOO_LARGE).get(number, f"The system says: {error}.")
        raise TrainingError(f"{path} cannot be written. {reason} What was saved before is still there.") from error


def _system_error(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno or 0
    match = SYSTEM_ERROR.search(str(error))
    return int(match[1]) if match else None
