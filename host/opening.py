"""Opening a video, picture or sound for reading, without ever following it to another file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import av
import av.error
from av.container import InputContainer

# These formats name other files, on this machine or elsewhere, to be read in their place.
PLAYLISTS = frozenset({"hls", "concat", "dash", "sdp", "rtsp", "imf"})
# Opening a playlist is following it, so it must be known before: by the words that FFmpeg knows it by.
PLAYLIST_WORDS = re.compile(rb"#EXTM3U|ffconcat|<MPD|<CompositionPlaylist|(?:^|[\r\n])(?:c=IN IP|v=0\s)", re.IGNORECASE)
PROBED_BYTES = 1 << 20  # as far as FFmpeg looks for such words
LOCAL_ONLY = {"protocol_whitelist": "file"}
# What reading raises where a file is damaged, or something else than its name says; writing has other errors.
DAMAGED = (av.error.InvalidDataError, av.error.EOFError, av.error.DecoderNotFoundError)


class Unreadable(ValueError):
    """Says of a file that it is no video, picture or sound, or a damaged one."""


class Playlist(ValueError):
    """Says of a file that it names others to be read in its place."""


def name_of(source: str | BytesIO) -> str:
    """What to call a source in a message."""
    return "The video" if isinstance(source, BytesIO) else Path(source).name


def refuse_playlist(source: str | Path | BytesIO) -> None:
    """Raise Playlist for a file that names other files, whatever its own name says."""
    if isinstance(source, BytesIO):
        start = _text_at_start(source)
    else:
        with Path(source).open("rb") as file:
            start = _text_at_start(file)
    if PLAYLIST_WORDS.search(start):
        raise _playlist(name_of(source if isinstance(source, BytesIO) else str(source)))


def _playlist(name: str) -> Playlist:
    return Playlist(f"{name} is a playlist that names other files, and those are not followed. Give the video itself.")


def _text_at_start(file: BinaryIO) -> bytes:
    """The first bytes after any ID3 tags, which FFmpeg skips, as far as they can be text."""
    place = 0
    while True:
        file.seek(place)
        header = file.read(10)
        if not re.match(rb"ID3[^\xff]{2}.[\x00-\x7f]{4}", header, re.DOTALL):
            break
        size = 0
        for byte in header[6:10]:
            size = size << 7 | byte
        place += 10 + size + (10 if header[5] & 0x10 else 0)
    file.seek(place)
    start = file.read(PROBED_BYTES)
    file.seek(0)
    return start.partition(b"\0")[0]


@contextmanager
def open_local(source: str | BytesIO) -> Iterator[InputContainer]:
    """Open a file for reading; what FFmpeg says of a bad one becomes a sentence, also later, while it is read."""
    name = name_of(source)
    try:
        with _container(source, name) as container:
            if PLAYLISTS & set(container.format.name.split(",")):
                raise _playlist(name)
            yield container
    except DAMAGED as error:
        raise Unreadable(
            f"{name} is not a video or sound that can be read, or it is damaged. Check that it plays elsewhere; "
            "if it does not, make, copy or download it again."
        ) from error


def _container(source: str | BytesIO, name: str) -> InputContainer:
    if isinstance(source, str) and not Path(source).stat().st_size:
        raise Unreadable(f"{name} is an empty file. Make, copy or download it again.")
    try:
        refuse_playlist(source)
        if isinstance(source, BytesIO):
            source.seek(0)
            return av.open(source, mode="r")
        # Absolute, so that FFmpeg takes no part of the name for a protocol.
        return av.open(str(Path(source).absolute()), mode="r", container_options=LOCAL_ONLY)
    except PermissionError as error:
        raise Unreadable(f"{name} may not be read by this user. Change the file's permissions.") from error
    except DAMAGED:
        raise
    except av.error.FFmpegError as error:
        raise Unreadable(
            f"{name} cannot be read: FFmpeg says {error.strerror!r}. Check that it plays elsewhere."
        ) from error
