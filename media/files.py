"""Files and folders that appear whole or not at all: written beside the target, and renamed when they are done."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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


DRAFT = ".zoetrope-"
DRAFT_NAME = re.compile(rf"{re.escape(DRAFT)}[0-9a-f]{{16}}(\..*)?")

Target = str | os.PathLike[str]


@dataclass
class NumberedName(os.PathLike[str]):
    """A path with a number that counts on where another program, writing at the same time, took the name first.

    After it has been written to, `path` is the name that it got.
    """

    name_of: Callable[[int], Path]
    number: int

    @property
    def path(self) -> Path:
        return self.name_of(self.number)

    def __fspath__(self) -> str:
        return str(self.path)


@contextmanager
def written_beside(target: Target) -> Iterator[Path]:
    """Give a path in the same folder, with the same suffix, that becomes `target` when the block ends without an error.

    An existing file is replaced only then, and never where the target is a NumberedName. After any error, or a cancel,
    nothing is left that was not there before.
    """
    path = Path(target)
    with _clear_errors(path, only_from_writing=False):
        if path.is_dir() and not isinstance(target, NumberedName):
            raise MediaError(f"{path} is a folder, so no file can be written under that name. Choose another name.")
    with _parents_of(path):
        draft = _draft_of(path, path.suffix)
        with _clear_errors(path, only_from_writing=False):
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            with _clear_errors(path, only_from_writing=True):
                yield draft
            with _clear_errors(path, only_from_writing=False):
                if isinstance(target, NumberedName):
                    while not claimed(draft, target.path):
                        target.number += 1
                else:
                    draft.replace(path)
        except BaseException:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise


def claimed(draft: Path, path: Path) -> bool:
    """Rename `draft` to `path` unless something is there, which a rename alone would replace."""
    try:
        os.link(draft, path)  # fails, in one step, where the name is taken
    except FileExistsError:
        return False
    except OSError:  # a disk without links
        if os.path.lexists(path):
            return False
        draft.rename(path)
        return True
    draft.unlink()
    return True


@contextmanager
def folder_written_beside(target: Target) -> Iterator[Path]:
    """Give a new folder beside `target` that becomes `target` when the block ends without an error.

    It must not exist yet, or be an empty folder: nothing of the user's is ever mixed with ours or replaced. A
    NumberedName that is taken meanwhile gets its next number.
    """
    path = Path(target)
    if not path.name:
        raise MediaError(f"{path} cannot become a new folder. Name one that is not there yet, such as {path / 'new'}.")
    if not isinstance(target, NumberedName):
        with _clear_errors(path, only_from_writing=False):
            refuse_taken(path)
    with _parents_of(path):
        draft = _draft_of(path, "")
        with _clear_errors(path, only_from_writing=False):
            draft.mkdir()
        try:
            with _clear_errors(path, only_from_writing=True):
                yield draft
            if isinstance(target, NumberedName):
                with _clear_errors(path, only_from_writing=False):
                    while not _claimed_folder(draft, target.path):
                        target.number += 1
            else:
                refuse_taken(path)  # something may have come while we wrote
                with _clear_errors(path, only_from_writing=False):
                    if path.is_dir():
                        path.rmdir()  # Windows does not rename onto a folder, even an empty one
                    draft.rename(path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def _claimed_folder(draft: Path, path: Path) -> bool:
    if os.path.lexists(path):
        return False
    try:
        draft.rename(path)  # fails where a folder with something in it, or a file, has come since
    except OSError:
        if os.path.lexists(path):
            return False
        raise
    return True


def _draft_of(path: Path, suffix: str) -> Path:
    # The name begins with a dot, so that a viewer or a numbered-name counter does not take it for a finished file.
    return path.with_name(f"{DRAFT}{secrets.token_hex(8)}{suffix}")


def remove_drafts(folder: Path) -> None:
    """Clear away what killed processes were writing in a folder; for who knows that nobody else writes there now."""
    for path in folder.glob(f"{DRAFT}*"):
        if DRAFT_NAME.fullmatch(path.name):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


def refuse_taken(path: Path) -> None:
    """Refuse a path for a new folder where something is, so that long work before it is not done in vain."""
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
