"""What has been written into a folder of footage, kept so that being killed at any moment loses no finished clip.

All that is unfinished lies in one hidden folder, WORKING. A clip is written there. When it is whole, its line goes into
a journal, and then its folder is renamed to its place: a folder in place is therefore always whole, and always known.
When everything is done, the journal goes into the manifest and the hidden folder goes away. What a killed process left
is taken up by the next.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from ..media.files import REASONS
from .footage import MANIFEST, WORKING, Clip, FootageError, clip_line, parse_clip, path_order, read_manifest

LOCK = "lock"
MADE = "made"  # the field of the manifest that says from what, and how, a clip was extracted


class Ledger:
    """The clips below a root: those of its manifest, and those that are finished since."""

    def __init__(self, root: Path, working: Path) -> None:
        self.root, self.working = root, working
        self.clips = {clip.name: clip for clip in read_manifest(root)}
        self._journal = working / "journal.jsonl"
        self._numbers = count()
        self._changing = threading.Lock()
        self._take_up()

    def draft(self) -> Path:
        """The path of a new folder to write a clip in."""
        return self.working / f"clip-{next(self._numbers)}"

    def commit(self, draft: Path, clip: Clip) -> None:
        """Put a finished folder in its clip's place; what was extracted there before goes away."""
        place, old = self.root / clip.name, self.working / f"old-{next(self._numbers)}"
        with self._changing:
            self.check_place(clip.name)
            place.parent.mkdir(parents=True, exist_ok=True)
            # In this order a kill leaves the place empty or right, and never frames that the journal says are others.
            if place.exists():
                place.rename(old)
            with self._journal.open("a", encoding="utf-8", newline="\n") as journal:
                journal.write(f"{clip_line(clip)}\n")
            draft.rename(place)
            self.clips[clip.name] = clip
        _remove(old)

    def check_place(self, name: str) -> None:
        """Refuse a place that holds what was not extracted: it is somebody's."""
        place = self.root / name
        is_empty = place.is_dir() and not place.is_symlink() and not any(place.iterdir())
        if (place.exists() or place.is_symlink()) and not is_empty and made_of(self.clips.get(name)) is None:
            raise FootageError(
                f"{place} exists already and was not extracted from a video. Choose another folder, or remove it first."
            )

    def close(self) -> None:
        """Write the manifest, whole or not at all, and take the hidden folder away."""
        if self._journal.exists():
            clips = sorted(self.clips.values(), key=lambda clip: path_order(clip.name))
            draft = self.working / MANIFEST
            lines = "".join(f"{clip_line(clip)}\n" for clip in clips)
            with _said_in_a_sentence(self.root / MANIFEST):
                draft.write_text(lines, encoding="utf-8", newline="\n")
                draft.replace(self.root / MANIFEST)
        for left in self._leftovers():
            _remove(left)

    def _take_up(self) -> None:
        """Go on from where a process was killed."""
        if self._journal.exists():
            for line in self._journal.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
                with suppress(FootageError):  # the system crashed while the line was written; its clip is made again
                    clip = parse_clip(line, "A line of the journal")
                    if (self.root / clip.name).is_dir():  # else it was killed before the folder was in its place
                        self.clips[clip.name] = clip
        for left in self._leftovers():
            if left != self._journal:
                _remove(left)

    def _leftovers(self) -> list[Path]:
        return [path for path in self.working.iterdir() if path.name != LOCK]


def made_of(clip: Clip | None) -> dict | None:
    """How a clip was extracted, as it was written down; None of a clip that was not."""
    made = json.loads(clip.other).get(MADE) if clip and clip.other else None
    return made if isinstance(made, dict) else None


@contextmanager
def opened_ledger(root: Path) -> Iterator[Ledger]:
    """The ledger of a root, for one process at a time; the manifest is written when the block ends, however it ends."""
    working = root / WORKING
    existed = root.exists()
    with _said_in_a_sentence(root):
        working.mkdir(parents=True, exist_ok=True)
    try:
        with _only_one(working):
            ledger = Ledger(root, working)
            try:
                yield ledger
            finally:
                ledger.close()
    finally:
        with suppress(OSError):  # it is in use by another process, or footage has been written
            if sys.platform == "win32":  # where no file is removed that is open
                (working / LOCK).unlink(missing_ok=True)
            working.rmdir()
            if not existed:
                root.rmdir()


@contextmanager
def _only_one(working: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system takes back from a process that is killed."""
    path = working / LOCK
    with path.open("a") as lock:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(lock.fileno()), path.stat()):  # its last owner has just thrown it away
                raise BlockingIOError
        except OSError:
            raise FootageError(
                f"Another extraction is writing to {working.parent}. Wait until it has ended, or choose another folder."
            ) from None
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()  # while it is ours: a moment later it may be another's


@contextmanager
def _said_in_a_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno or 0, f"The system says: {error.strerror}.")
        raise FootageError(f"{path} cannot be written. {reason}") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
