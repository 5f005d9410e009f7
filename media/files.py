"""Files and folders that appear whole or not at all: written beside the target, and renamed when they are done."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import MediaError

REASONS = {
    errno.ENOSPC: "The disk is full: free some space, or choose a folder on another disk.",
    errno.EDQUOT: "Your disk quota is used up: free some space, or choose a folder on another disk.",
    errno.EFBIG: "The file is larger than this disk allows: write a shorter clip, or choose a folder on another disk.",
    errno.EROFS: "The disk is read-only: choose another folder.",
    errno.EACCES: "This user may not write there: change the folder's permissions, or choose another folder.",
    errno.EPERM: "This user may not write there: change the folder's permissions, or choose another folder.",
    errno.ENOTDIR: "A part of that path is a file, not a folder: choose another folder.",
    errno.EEXIST: "A part of that path is a file, not a folder: choose another folder.",
    errno.ENAMETOOLONG: "The name is too long for this disk: choose a shorter one.",
}
# Only these can come from nothing but writing; the others may also mean a source that cannot be read.
ONLY_FROM_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@contextmanager
def written_beside(path: str | Path) -> Iterator[Path]:
    """Give a path in the same folder, with the same suffix, that becomes `path` when the block ends without an error.

    An existing `path` is replaced only then. After any error, or a cancel, nothing is left that was not there before.
    """
    path = Path(path)
    with _clear_errors(path, only_from_writing=False):
        if path.is_dir():
            raise MediaError(f"{path} is a folder, so no file can be written under that name. Choose another name.")
    with _parents_of(path):
        draft = _draft_of(path, path.suffix)
        with _clear_errors(path, only_from_writing=False):
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            with _clear_errors(path, only_from_writing=True):
                yield draft
            with _clear_errors(path, only_from_writing=False):
                draft.replace(path)
        except BaseException:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise


@contextmanager
def folder_written_beside(path: str | Path) -> Iterator[Path]:
    """Give a new folder beside `path` that becomes `path` when the block ends without an error.

    `path` must not exist yet, or be an empty folder: nothing of the user's is ever mixed with ours or replaced.
    """
    path = Path(path)
    with _clear_errors(path, only_from_writing=False):
        _refuse_taken(path)
    with _parents_of(path):
        draft = _draft_of(path, "")
        with _clear_errors(path, only_from_writing=False):
            draft.mkdir()
        try:
            with _clear_errors(path, only_from_writing=True):
                yield draft
            _refuse_taken(path)  # something may have come while we wrote
            with _clear_errors(path, only_from_writing=False):
                if path.is_dir():
                    path.rmdir()  # Windows does not rename onto a folder, even an empty one
                draft.rename(path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def _draft_of(path: Path, suffix: str) -> Path:
    # The name begins with a dot, so that a viewer or a numbered-name counter does not take it for a finished file.
    return path.with_name(f".zoetrope-{secrets.token_hex(8)}{suffix}")


def _refuse_taken(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None)):
        raise MediaError(f"{path} exists already and is not an empty folder. Choose another name, or remove it first.")


@contextmanager
def _parents_of(path: Path) -> Iterator[None]:
    """Make the folders above `path`, and remove those that we made when the block fails."""
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        with _clear_errors(path, only_from_writing=False):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # not empty: somebody else has begun to use it
            for parent in missing:
                parent.rmdir()
        raise


@contextmanager
def _clear_errors(path: Path, *, only_from_writing: bool) -> Iterator[None]:
    """Say in a sentence why `path` cannot be written."""
    if "\0" in str(path):
        raise MediaError(f"{str(path)!r} holds a NUL character, which no file name may. Choose another name.")
    try:
        yield
    except OSError as error:
        if only_from_writing and error.errno not in ONLY_FROM_WRITING:
            raise
        # FFmpeg's errors carry the same numbers, but the number of an unknown one means nothing to the system.
        reason = REASONS.get(error.errno or 0, f"The system says: {error.strerror or error}.")
        raise MediaError(f"{path} cannot be written. {reason}") from error
