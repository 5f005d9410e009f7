"""Footage: a folder of clips, each a folder of pictures, with a manifest beside them that says where they came from.

The tree is the one that fine-tuning scripts read, `ROOT/<video>/<video>_frame_<n>.png`. The manifest, `footage.jsonl`,
has one line a clip. A folder without one is read as people have it. Footage is paths and facts, no pixels, so it is
cheap to pass around.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from PIL import Image

from ..media.files import written_beside
from ..media.pictures import BROKEN_PICTURE_ERRORS

MANIFEST = "footage.jsonl"
WORKING = ".zoetrope-extracting"  # where an extraction keeps what is unfinished; see ledger.py
SPLITS = ("train", "validation", "test")
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
ALL_IN_ONE = "."  # the name of the clip whose pictures lie in the root itself
EXAMPLES = 3  # so many names are told of a kind of trouble, and the number of the others
ORIENTATION, ON_ITS_SIDE = 0x0112, {5, 6, 7, 8}  # the EXIF tag, and its values that swap width and height


class FootageError(ValueError):
    """Says in one or two sentences what is wrong with which clip or file, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A folder of frames, and what is known of the video that it came from."""

    name: str  # the folder's name below the root, its parts joined by "/"; "." is the root itself
    frames: tuple[str, ...]  # file names in that folder, in the order they are shown
    indices: tuple[int, ...] = ()  # their frame numbers in the source, the first being 0; () where unknown
    source: str = ""  # file name of the video; never an absolute path
    sha256: str = ""  # of the video's bytes
    width: int = 0  # 0 where unknown, or where the frames differ
    height: int = 0
    frames_per_second: float = 0.0  # at which the frames keep the source's time; 0 unknown
    split: str = ""  # one of SPLITS, or ""
    caption: str = ""
    motion: float | None = None  # mean optical flow, as clips/motion.py measures it
    other: str = ""  # fields of the manifest that are not ours, a JSON object kept as it came


@dataclass(frozen=True)
class Footage:
    """Clips below one folder."""

    root: Path
    clips: tuple[Clip, ...]

    def folder(self, clip: Clip) -> Path:
        return self.root / clip.name

    def paths(self, clip: Clip) -> list[Path]:
        """The clip's pictures, in order."""
        folder = self.folder(clip)
        return [folder / frame for frame in clip.frames]

    def select(self, split: str) -> "Footage":
        """The clips of one split; of "" those that are in none."""
        return self.with_clips(clip for clip in self.clips if clip.split == split)

    def with_clips(self, clips: Iterable[Clip]) -> "Footage":
        return replace(self, clips=tuple(clips))

    def clip(self, name: str) -> Clip:
        """The clip of a name."""
        for clip in self.clips:
            if clip.name == name:
                return clip
        raise FootageError(f"There is no clip {name!r} in {self.root}, which has {len(self.clips)}. Check the name.")


def natural_order(name: str) -> tuple[Any, ...]:
    """A key that sorts names as people count: frame_2 before frame_10."""
    parts: list[Any] = re.split(r"([0-9]+)", name)  # text and digits take turns, so only like is compared with like
    parts[0::2] = [text.casefold() for text in parts[0::2]]
    parts[1::2] = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in parts[1::2]]
    return tuple(parts), name


def path_order(name: str) -> tuple[Any, ...]:
    """The natural order of names of clips, each folder's clips together."""
    return tuple(natural_order(part) for part in name.split("/"))


def is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES and not name.startswith(".")


def check_name(name: str, what: str, parts: int | None = None) -> None:
    """Refuse a name, with its parts joined by "/", that leaves its folder or means another file on another system."""
    if not _is_safe(name) or (parts is not None and name.count("/") + 1 != parts):
        raise FootageError(
            f"{what} is called {name[:80]!r}, which is no name inside the footage's folder. Names are relative, "
            'with "/" between their parts, and never lead out.'
        )


def _is_safe(name: str) -> bool:
    pieces = name.split("/")
    windows = PureWindowsPath(name)
    return not (
        not all(pieces)
        or any(set(piece) == {"."} for piece in pieces)
        or bool(windows.drive or windows.root)
        or any(letter in name for letter in "\\\0\r\n")
        or any(0xD800 <= ord(letter) <= 0xDFFF for letter in name)  # half a character, which no file system stores
    )


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) of a picture as it is shown, from its header alone. Raises one of BROKEN_PICTURE_ERRORS."""
    with Image.open(path) as image:
        width, height = image.size
        # Asking a PNG without EXIF data for it would decode the whole picture.
        turned = image.getexif().get(ORIENTATION) if "exif" in image.info else None
    return (height, width) if turned in ON_ITS_SIDE else (width, height)


# Reading


def read_footage(root: str | Path) -> tuple[Footage, list[str]]:
    """Read the footage below a folder: its manifest where it has one, else its folders of pictures.

    The second value is what its owner should know, in sentences: stray files, mixed sizes, missing frames.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise FootageError(f"{root} {what}. Footage is a folder of clips, each of them a folder of pictures.")
    found = _Found()
    manifest = root / MANIFEST
    clips = _from_manifest(root, found) if manifest.is_file() else _from_folders(root, found)
    if not clips and not manifest.is_file():
        raise FootageError(
            f"There is no picture in {root} or in the folders below it. "
            "Extract frames from videos into it first: zoetrope footage extract."
        )
    notes = found.notes()
    if (root / WORKING).is_dir():
        notes.append("An extraction into this folder is going on or was interrupted. Run it again to finish it.")
    return Footage(root, tuple(clips)), notes


class _Found:
    """What is odd about a folder, gathered by kind so that a thousand stray files are one sentence."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}

    def add(self, sentence: str, name: str) -> None:
        """Remember a name for a sentence that has a place for "{which}"."""
        self.names.setdefault(sentence, []).append(name)

    def notes(self) -> list[str]:
        return [sentence.format(which=some_of(names)) for sentence, names in self.names.items()]


def some_of(names: list[str]) -> str:
    """Name a few and count the others: "a, b, c and 4 more"."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in ", ".join(names[:EXAMPLES]))
    return shown if len(names) <= EXAMPLES else f"{shown} and {len(names) - EXAMPLES} more"


def _from_folders(root: Path, found: _Found) -> list[Clip]:
    contents = dict(_walk(root, found))
    clips: list[Clip] = []
    alone = all(name == ALL_IN_ONE or not any(map(is_picture, files)) for name, files in contents.items())
    companions = {(name, suffix) for name in contents for suffix in (".txt", ".caption")}
    for name in sorted(contents, key=path_order):
        pictures = sorted(filter(is_picture, contents[name]), key=natural_order)
        captioned = {"caption", *(Path(picture).stem for picture in pictures)}
        for file in contents[name]:
            below = file if name == ALL_IN_ONE else f"{name}/{file}"
            is_caption = file.endswith((".txt", ".caption")) and (
                Path(file).stem in captioned
                or (str(PurePosixPath(below).with_suffix("")), Path(file).suffix) in companions
            )
            if not is_picture(file) and not is_caption:
                found.add("Left alone, because these are no pictures: {which}.", below)
        if name == ALL_IN_ONE and pictures and not alone:
            found.add("Left out, because these lie in no clip's folder: {which}.", some_of(pictures))
        elif pictures:
            clips += _clip_of(root, name, pictures, found)
    return clips


def _walk(root: Path, found: _Found) -> Iterator[tuple[str, list[str]]]:
    """Give (name below the root, names of files) of each folder; what is hidden, and links that lead out, stay out."""
    waiting = [(ALL_IN_ONE, root)]
    while waiting:
        name, folder = waiting.pop()
        files: list[str] = []
        for entry in _entries(folder, name, found):
            below = entry.name if name == ALL_IN_ONE else f"{name}/{entry.name}"
            if entry.name.startswith(".") or entry.name == "__MACOSX" or below == MANIFEST:
                continue
            if not _is_safe(entry.name):
                found.add("Left out, because their names mean something else on other systems: {which}.", below)
            elif entry.is_symlink() and not _is_file_inside(entry, root):
                found.add(
                    "Left out, because these are links to folders, to nothing, or out of the footage: {which}.", below
                )
            elif entry.is_dir():
                waiting.append((below, Path(entry.path)))
            elif entry.is_file():
                files.append(entry.name)
            else:  # reading a pipe would wait for ever
                found.add("Left out, because these are neither files nor folders: {which}.", below)
        yield name, sorted(files, key=natural_order)


def _entries(folder: Path, name: str, found: _Found) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        found.add("Left out, because this user may not open these folders, or they are gone: {which}.", name)
        return []


def _stays_inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links that lead in a circle; before Python 3.13 it is a RuntimeError
        return False


def _is_file_inside(entry: os.DirEntry[str], root: Path) -> bool:
    """Whether this is a file, or a link to one that is below the root."""
    if not entry.is_symlink():
        return entry.is_file()
    path = Path(entry.path)
    return path.is_file() and _stays_inside(path, root)


def _clip_of(root: Path, name: str, pictures: list[str], found: _Found) -> list[Clip]:
    """A clip of these pictures, or none where not one of them can be read."""
    sizes: dict[str, tuple[int, int]] = {}
    for picture in pictures:
        try:
            sizes[picture] = picture_size(root / name / picture)
        except (*BROKEN_PICTURE_ERRORS, Image.DecompressionBombError):
            found.add("Left out, because these are no pictures that can be read: {which}.", f"{name}/{picture}")
    if not sizes:
        return []
    several = list(dict.fromkeys(sizes.values()))
    if len(several) > 1:
        shown = " and ".join(f"{width}x{height}" for width, height in several[:2])
        found.add(
            "The pictures of these clips differ in size; resize them before training: {which}.",
            f"{name} ({shown}{', and others' if len(several) > 2 else ''})",
        )
    width, height = several[0] if len(several) == 1 else (0, 0)
    return [Clip(name=name, frames=tuple(sizes), width=width, height=height)]


def read_manifest(root: Path) -> list[Clip]:
    """The clips that a folder's manifest names, whether they are there or not; none where there is no manifest."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        return []
    clips: dict[str, Clip] = {}
    for number, line in enumerate(_lines(manifest), 1):
        if not line.strip():
            continue
        clip = parse_clip(line, f"Line {number} of {manifest.name}")
        if clip.name in clips:
            raise FootageError(
                f"Line {number} of {manifest.name} names the clip {clip.name!r} a second time. "
                "Remove one of the two lines."
            )
        clips[clip.name] = clip
    return list(clips.values())


def _from_manifest(root: Path, found: _Found) -> list[Clip]:
    clips = {clip.name: clip for clip in read_manifest(root)}
    present = {}
    for name, clip in clips.items():
        if not clip.frames:
            found.add("Left out, because the manifest names no frames of these clips: {which}.", name)
            continue
        there = _files_there(root, clip, found)
        missing = [frame for frame in clip.frames if frame not in there]
        if missing and len(missing) == len(clip.frames):
            found.add(
                "Left out, because the manifest names these clips and not one of their frames is there: {which}.", name
            )
            continue
        if missing:
            found.add("Frames that the manifest names are missing: {which}.", f"{len(missing)} of {name}")
            clip = without_frames(clip, set(missing))
        present[name] = clip
    for name, files in sorted(_walk(root, _Found())):
        if name not in clips and any(map(is_picture, files)):
            found.add("Left out, because the manifest does not name these folders of pictures: {which}.", name)
    return list(present.values())


def without_frames(clip: Clip, names: set[str]) -> Clip:
    """The clip less some of its frames."""
    stay = [place for place, frame in enumerate(clip.frames) if frame not in names]
    return replace(
        clip,
        frames=tuple(clip.frames[place] for place in stay),
        indices=tuple(clip.indices[place] for place in stay) if clip.indices else (),
    )


def _files_there(root: Path, clip: Clip, found: _Found) -> set[str]:
    folder = root / clip.name
    if not _stays_inside(folder, root):
        raise FootageError(f"The clip {clip.name!r} is a link that leads out of {root}. Put the clip's folder there.")
    if not folder.is_dir():
        return set()
    return {entry.name for entry in _entries(folder, clip.name, found) if _is_file_inside(entry, root)}


def _lines(manifest: Path) -> list[str]:
    try:
        return manifest.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise FootageError(f"{manifest.name} is not text in UTF-8 (at byte {error.start}). Save it as UTF-8.") from None


# The manifest's fields


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_text, "text"),
    "frames": (_list_of(_text), "a list of file names"),
    "indices": (_list_of(_whole), "a list of whole numbers from 0"),
    "source": (_text, "text"),
    "sha256": (_text, "text"),
    "width": (_whole, "a whole number from 0"),
    "height": (_whole, "a whole number from 0"),
    "frames_per_second": (_number, "a number from 0"),
    "split": (lambda value: value in ("", *SPLITS), f'one of {", ".join(SPLITS)}, or ""'),
    "caption": (_text, "text"),
    "motion": (lambda value: value is None or _number(value), "a number from 0, or null"),
}


def parse_clip(line: str, where: str) -> Clip:
    """Read a line of a manifest, from whoever wrote it; `where` starts the sentence of an error."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FootageError(f"{where} is no JSON: {error}. Restore the line, or remove it.") from None
    if not isinstance(record, dict):
        raise FootageError(f'{where} is no JSON object, as {{"name": ..., "frames": [...]}} is.')
    values: dict[str, Any] = {}
    for name, (holds, kind) in CHECKS.items():
        if name not in record and name not in ("name", "frames"):
            continue
        if not holds(record.get(name)):
            raise FootageError(f"{where}: {name} is {str(record.get(name))[:60]!r}, and must be {kind}.")
        value = record[name]
        values[name] = tuple(value) if isinstance(value, list) else value
    if values["name"] != ALL_IN_ONE:
        check_name(values["name"], f"{where}: the clip")
    for frame in values["frames"]:
        check_name(frame, f"{where}: a frame", parts=1)
    if values.get("indices") and len(values["indices"]) != len(values["frames"]):
        raise FootageError(
            f"{where} has {len(values['frames'])} frames and {len(values['indices'])} indices. "
            "Give each frame one, or none at all."
        )
    others = {name: value for name, value in record.items() if name not in CHECKS}
    return Clip(**values, other=json.dumps(others, sort_keys=True) if others else "")


def clip_line(clip: Clip) -> str:
    """The clip's line in a manifest."""
    record = {field.name: getattr(clip, field.name) for field in fields(clip) if field.name != "other"}
    return json.dumps({**record, **(json.loads(clip.other) if clip.other else {})})


def write_manifest(footage: Footage) -> Path:
    """Write a manifest of these clips and no others, in their order: whole or not at all."""
    path = footage.root / MANIFEST
    with written_beside(path) as draft:
        draft.write_text("".join(f"{clip_line(clip)}\n" for clip in footage.clips), encoding="utf-8", newline="\n")
    return path


def update_manifest(footage: Footage, *facts: Literal["split", "caption", "motion"]) -> Path:
    """Write some facts of these clips into their folder's manifest, and lose nothing else that it says.

    Other facts stay, since somebody may have changed them after this footage was read; other clips stay; and frames
    that are missing stay named, since they may lie on another disk just now. Where nothing changes the file keeps its
    date, so that nothing is done again because of it.
    """
    path = footage.root / MANIFEST
    named = {clip.name: clip for clip in read_manifest(footage.root)}
    # A folder's first manifest names all its clips, for what a manifest does not name is no longer read.
    known = dict(named) if path.is_file() else {clip.name: clip for clip in _from_folders(footage.root, _Found())}
    for clip in footage.clips:
        before = named.get(clip.name)
        known[clip.name] = replace(before, **{fact: getattr(clip, fact) for fact in facts}) if before else clip
    unchanged = path.is_file() and list(known.values()) == list(named.values())
    return path if unchanged else write_manifest(footage.with_clips(known.values()))
