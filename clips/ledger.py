"""What has been written into a folder of footage, kept so that being killed at any moment loses no finished clip.

All that is unfinished lies in one hidden folder, WORKING. A clip is written there, as a draft. When it is whole, its
line goes into a journal, and then the draft is renamed to its place: a folder in place is therefore always whole, and
always known. When everything is done, the journal goes into the manifest and the hidden folder goes away. What a killed
process left is taken up by the next: a draft that the journal names still has to go to its place.
"""

import json
import os
import re
import secrets
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..media.files import REASONS
from ..media.locks import lock
from .footage import MANIFEST, WORKING, Clip, FootageError, clip_line, parse_clip, path_order, read_manifest

LOCK = "lock"
DRAFT = re.compile("clip-[0-9a-f]{16}")  # a journal may come out of somebody's zip, and name any folder
MADE = "made"  # the field of the manifest that says from what, and how, a clip was extracted


class Ledger:
    """The clips below a root: those of its manifest, and those that are finished since."""

    def __init__(self, root: Path, working: Path) -> None:
        self.root, self.working = root, working
        self.clips = {clip.name: clip for clip in read_manifest(root)}
        self._new: dict[str, Clip] = {}  # those of the journal, which the manifest does not have yet
        self._journal = working / "journal.jsonl"
        self._changing = threading.Lock()
        self._take_up()

    def draft(self) -> Path:
        """The path of a new folder to write a clip in. A killed process may have left others, so it is no number."""
        return self.working / f"clip-{secrets.token_hex(8)}"

    def commit(self, draft: Path, clip: Clip) -> None:
        """Put a finished folder in its clip's place; the frames that were extracted there before go away."""
        with self._changing:
            self.check_place(clip.name)
            _carry_over(self.root / clip.name, draft, self.clips.get(clip.name))
            with self._journal.open("a", encoding="utf-8", newline="\n") as journal:
                journal.write(f"{draft.name}\t{clip_line(clip)}\n")
            self._put(draft, clip)

    def _put(self, draft: Path, clip: Clip) -> None:
        place, old = self.root / clip.name, self.working / f"old-{secrets.token_hex(8)}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rename(old)
        draft.rename(place)
        self.clips[clip.name] = self._new[clip.name] = clip
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
            clips = sorted(self._clips_in_the_end(), key=lambda clip: path_order(clip.name))
            draft = self.working / MANIFEST
            lines = "".join(f"{clip_line(clip)}\n" for clip in clips)
            with _said_in_a_sentence(self.root / MANIFEST):
                draft.write_text(lines, encoding="utf-8", newline="\n")
                draft.replace(self.root / MANIFEST)
        for left in self._leftovers():
            _remove(left)

    def _clips_in_the_end(self) -> Iterable[Clip]:
        """What the manifest says by now, since clips may have been split and captioned meanwhile, and the new clips."""
        now = {clip.name: clip for clip in read_manifest(self.root)}
        new = {name: _with_facts_of(now.get(name, clip), clip) for name, clip in self._new.items()}
        return {**self.clips, **now, **new}.values()

    def _take_up(self) -> None:
        """Go on from where a process was killed."""
        if self._journal.exists():
            *lines, torn = self._journal.read_text(encoding="utf-8", errors="replace").split("\n")
            for line in lines:
                with suppress(FootageError):  # the system crashed while the line was written; its clip is made again
                    self._take_up_line(line)
            if torn:
                with self._journal.open("a", encoding="utf-8", newline="\n") as journal:
                    journal.write("\n")
        for left in self._leftovers():
            if left != self._journal:
                _remove(left)

    def _take_up_line(self, line: str) -> None:
        draft, _, text = line.partition("\t")
        clip = parse_clip(text, "A line of the journal")
        if (
            DRAFT.fullmatch(draft) and (self.working / draft).is_dir()
        ):  # it was killed before the draft was in its place
            self.check_place(clip.name)
            self._put(self.working / draft, clip)
        elif (self.root / clip.name).is_dir():  # else somebody has taken it away since
            self.clips[clip.name] = self._new[clip.name] = clip

    def _leftovers(self) -> list[Path]:
        return [path for path in self.working.iterdir() if path.name != LOCK]


def _carry_over(place: Path, draft: Path, before: Clip | None) -> None:
    """Copy to a draft what somebody put beside the old frames, such as captions; copy, so that a kill loses nothing."""
    entries = list(os.scandir(place)) if place.is_dir() else []
    for entry in entries:
        target = draft / entry.name
        if entry.name in (before.frames if before else ()) or os.path.lexists(target):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.copytree(entry.path, target, symlinks=True)
        else:
            shutil.copy2(entry.path, target, follow_symlinks=False)


def _with_facts_of(known: Clip, clip: Clip) -> Clip:
    """The clip with what people and other programs wrote of it into the manifest."""
    other = {**_others(known), **_others(clip)}
    return replace(
        clip, split=known.split, caption=known.caption, other=json.dumps(other, sort_keys=True) if other else ""
    )


def _others(clip: Clip) -> dict[str, Any]:
    return json.loads(clip.other) if clip.other else {}


def made_of(clip: Clip | None) -> dict | None:
    """How a clip was extracted, as it was written down; None of a clip that was not."""
    made = _others(clip).get(MADE) if clip else None
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
    with path.open("a") as file:
        try:
            lock(file.fileno())
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # its last owner has just thrown it away
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
