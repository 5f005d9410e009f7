"""Captions of clips and of their pictures: read, made from names, and written where trainers look for them.

A clip's caption is the text file beside its folder (`archery_01.txt` beside `archery_01/`) or `caption.txt` in it; a
picture's is the text file beside the picture (`frame_1.txt` beside `frame_1.png`). Some programs write `.caption`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ..media.files import written_beside
from .footage import ALL_IN_ONE, Clip, Footage, FootageError, read_footage, some_of
from .naming import class_of, words, words_of

SUFFIXES = (".txt", ".caption")  # the first is the one that is written
IN_THE_FOLDER = "caption"
LARGEST_CAPTION_BYTES = 2**16  # text encoders read some hundred words; more than this is no caption

Describe = Callable[[Clip], str]
"""Makes a caption for a clip, whose `caption` is the one that it has; "" where it knows none."""
OnClip = Callable[[int, int], None]
"""Told how many clips are done, of how many; to cancel, it raises."""


def nobody_listens(done: int, total: int) -> None:
    """What `on_clip` is where nobody asks."""


# Files


def read_caption_file(path: Path) -> str:
    """Read a caption, whatever its byte order mark and its ends of lines, as a single line."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_CAPTION_BYTES + 1)
    except OSError as error:
        raise FootageError(f"The caption {path} cannot be read: {error.strerror}.") from error
    if len(data) > LARGEST_CAPTION_BYTES:
        raise FootageError(
            f"{path} is over {LARGEST_CAPTION_BYTES // 1024} KiB, so it is no caption. "
            "Rename it if it is something else, or shorten it to a few sentences."
        )
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise FootageError(f"{path} is not text in UTF-8 (at byte {error.start}). Save it as UTF-8.") from None
    if "\0" in text:
        raise FootageError(f"{path} holds NUL characters, so it is no text. Rename it if it is something else.")
    return on_one_line(text)


def on_one_line(text: str) -> str:
    return " ".join(text.split())


def clip_caption_file(footage: Footage, clip: Clip) -> Path | None:
    """The file that holds the clip's caption, None where there is none: beside the folder, else in it."""
    return next((path for path in _clip_candidates(footage, clip) if _is_inside(path, footage.root)), None)


def picture_caption_files(footage: Footage, clip: Clip) -> dict[str, Path]:
    """The files that hold captions of the clip's pictures, by the pictures' file names."""
    folder = footage.folder(clip)
    there = {path.name for path in folder.iterdir() if path.suffix in SUFFIXES} if folder.is_dir() else set()
    found: dict[str, Path] = {}
    for frame in clip.frames:
        for suffix in SUFFIXES:
            name = PurePosixPath(frame).stem + suffix
            if name in there and _is_inside(folder / name, footage.root):
                found.setdefault(frame, folder / name)
    return found


def caption_files(footage: Footage, clip: Clip) -> list[Path]:
    """All files that caption the clip or its pictures."""
    own = clip_caption_file(footage, clip)
    return [*([own] if own else []), *picture_caption_files(footage, clip).values()]


def _clip_candidates(footage: Footage, clip: Clip) -> Iterator[Path]:
    # What is beside the root itself is not the footage's.
    if clip.name != ALL_IN_ONE:
        yield from (footage.root / f"{clip.name}{suffix}" for suffix in SUFFIXES)
    yield from (footage.folder(clip) / f"{IN_THE_FOLDER}{suffix}" for suffix in SUFFIXES)


def _is_inside(path: Path, root: Path) -> bool:
    return path.is_file() and path.resolve().is_relative_to(root.resolve())


def write_caption(footage: Footage, clip: Clip) -> list[Path]:
    """Write a clip's caption into the file that holds it, or else beside its folder; none is no file."""
    path = clip_caption_file(footage, clip) or next(_clip_candidates(footage, clip))
    return [_write(path, clip.caption)] if clip.caption else []


def write_picture_captions(footage: Footage, clip: Clip, *, overwrite: bool = False) -> list[Path]:
    """Write a clip's caption beside each of its pictures, with `overwrite` also of those that have one of their own."""
    has_one = picture_caption_files(footage, clip)
    paths = {frame: footage.folder(clip) / (PurePosixPath(frame).stem + SUFFIXES[0]) for frame in clip.frames}
    if overwrite:
        paths |= has_one
    else:
        paths = {frame: path for frame, path in paths.items() if frame not in has_one}
    return [_write(path, clip.caption) for path in dict.fromkeys(paths.values())] if clip.caption else []


def write_captions(footage: Footage, *, pictures: bool = False, on_clip: OnClip = nobody_listens) -> list[Path]:
    """Write the captions of all clips into files, with `pictures` also beside pictures that have none of their own."""
    written = []
    for done, clip in enumerate(footage.clips):
        on_clip(done, len(footage.clips))
        written += write_caption(footage, clip)
        written += write_picture_captions(footage, clip) if pictures else []
    on_clip(len(footage.clips), len(footage.clips))
    return written


def _write(path: Path, caption: str) -> Path:
    with written_beside(path) as draft:
        draft.write_text(f"{caption}\n", encoding="utf-8", newline="\n")
    return path


# Captions of footage


def load_footage(root: str | Path) -> tuple[Footage, list[str]]:
    """Read the footage below a folder with the captions that lie in files, and what its owner should know."""
    footage, notes = read_footage(root)
    footage, more = with_captions(footage)
    return footage, [*notes, *more]


def with_captions(footage: Footage) -> tuple[Footage, list[str]]:
    """As `read_captions`, but a caption that cannot be read is told, and keeps nobody from the pictures."""
    clips, unread = [], []
    for clip in footage.clips:
        try:
            clips.append(replace(clip, caption=current_caption(footage, clip)))
        except FootageError as error:
            clips.append(clip)
            unread.append((clip.name, str(error)))
    names = some_of([name for name, _ in unread])
    notes = [f"The captions of these clips cannot be read: {names}. The first: {unread[0][1]}"] if unread else []
    return footage.with_clips(clips), notes


def read_captions(footage: Footage) -> Footage:
    """Footage with the captions that lie in files; a clip without a file keeps what its manifest says."""
    return footage.with_clips(replace(clip, caption=current_caption(footage, clip)) for clip in footage.clips)


def current_caption(footage: Footage, clip: Clip) -> str:
    """A file beside the clip is what people edit, so it comes before the manifest; then what all its pictures say."""
    file = clip_caption_file(footage, clip)
    return (read_caption_file(file) if file else "") or clip.caption or _caption_of_all_pictures(footage, clip)


def _caption_of_all_pictures(footage: Footage, clip: Clip) -> str:
    """The one caption that every picture of the clip has beside it, "" where they differ or one has none."""
    files = picture_caption_files(footage, clip)
    if not files or len(files) < len(clip.frames):
        return ""
    first, *others = files.values()
    caption = read_caption_file(first)
    return caption if all(read_caption_file(file) == caption for file in others) else ""


def picture_captions(footage: Footage, clip: Clip) -> dict[str, str]:
    """A caption for each of the clip's pictures: its own, or else the clip's."""
    own, shared = picture_caption_files(footage, clip), current_caption(footage, clip)
    return {frame: (read_caption_file(own[frame]) if frame in own else "") or shared for frame in clip.frames}


def captioned(
    footage: Footage, describe: Describe, *, overwrite: bool = False, on_clip: OnClip = nobody_listens
) -> Footage:
    """Caption the clips that have no caption, with `overwrite` all of them. An empty description changes nothing."""
    clips = []
    for done, clip in enumerate(read_captions(footage).clips):
        on_clip(done, len(footage.clips))
        caption = on_one_line(describe(clip)) if overwrite or not clip.caption else ""
        clips.append(replace(clip, caption=caption or clip.caption))
    on_clip(len(clips), len(clips))
    return footage.with_clips(clips)


# Captions from names


TOKENS: dict[str, tuple[str, Callable[[Clip], str]]] = {
    "class": ("its class in words", lambda clip: words(class_of(clip)) or words_of(clip)),
    "caption": ("the caption that it has", lambda clip: clip.caption),
    "name": ("its name", lambda clip: "" if clip.name == ALL_IN_ONE else clip.name.split("/")[-1]),
    "words": ("its name in words", words_of),
    "source": ("the file name of its video", lambda clip: clip.source),
    "split": ("train, validation or test", lambda clip: clip.split),
}
PIECES = re.compile(r"\{\{|\}\}|\{(?P<token>[^{}]*)\}|[{}]")
LOOSE_COMMAS = re.compile(r"(?:\s*[,;]){2,}")


@dataclass(frozen=True)
class Template:
    """A caption with places for what is known of a clip: "a video of {class}"; {{ and }} are braces themselves."""

    text: str

    def __post_init__(self) -> None:
        known = ", ".join(f"{{{name}}}" for name in TOKENS)
        if not self.text.strip():
            raise FootageError('The template is empty. Write one like "a video of {class}".')
        for piece in PIECES.finditer(self.text):
            if piece[0] in "{}" or (piece["token"] is not None and piece["token"] not in TOKENS):
                raise FootageError(
                    f"The template {self.text[:80]!r} holds {piece[0][:40]!r}. These are filled in: {known}; "
                    "a brace itself is written {{ or }}."
                )

    def __call__(self, clip: Clip) -> str:
        filled = PIECES.sub(lambda piece: self._fill(piece, clip), self.text)
        # "{caption}, {class}" of a clip without a caption should not begin with a comma.
        return LOOSE_COMMAS.sub(",", on_one_line(filled)).strip(" ,;")

    @staticmethod
    def _fill(piece: re.Match[str], clip: Clip) -> str:
        return piece[0][0] if piece["token"] is None else TOKENS[piece["token"]][1](clip)
