"""Clips into folders of pictures, one file for each frame."""

import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import MediaError
from .files import Target, folder_written_beside
from .pictures import Pixels, encode_jpeg, encode_png, opaque
from .streams import OnFrame, nobody_listens, with_first

ENCODING_THREADS = 2  # the encoders let other Python threads run; more would wait for the disk
PICTURE_SUFFIXES = {"png": ".png", "jpeg": ".jpg"}
NUMBER_TOKEN = re.compile(r"\{n(?::0?(\d{1,2}))?\}")
UNSAFE_CHARACTERS = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\ud800-\udfff]')
RESERVED_BY_WINDOWS = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
LONGEST_NAME_BYTES = 240


@dataclass(frozen=True, kw_only=True)
class FramesOptions:
    name: str = "frame_{n:05}"  # {n} is the frame's number, {n:05} the same with zeros up to five digits
    format: Literal["png", "jpeg"] = "png"
    quality: int = 95  # of JPEG, 1 to 100
    numbers: Sequence[int] | None = None  # one for each frame; None counts from 0

    def __post_init__(self) -> None:
        if self.format not in PICTURE_SUFFIXES:
            raise MediaError(f"{self.format!r} is no format for frames. Choose png or jpeg.")
        if not 1 <= self.quality <= 100:
            raise MediaError(f"The JPEG quality is {self.quality}. It goes from 1 (small) to 100 (best).")
        frame_name(self.name, 0)


def frame_name(pattern: str, number: int) -> str:
    """Fill a frame's number into a name, and refuse a name that some system cannot store or would store elsewhere."""
    unknown = re.search(r"[{}][^{}]*\}?", NUMBER_TOKEN.sub("", pattern))
    if unknown:
        raise MediaError(f"The name {pattern!r} holds {unknown[0]!r}. Only {{n}} and {{n:05}} are filled in.")
    if number < 0:
        raise MediaError(f"A frame has the number {number}. Frames are counted from 0.")
    name = NUMBER_TOKEN.sub(lambda token: str(number).zfill(int(token[1] or 1)), pattern)
    unsafe = UNSAFE_CHARACTERS.search(name)
    if unsafe:
        raise MediaError(f"The name {pattern!r} holds {unsafe[0]!r}, which no file name may hold on every system.")
    if not name or name != name.strip(". ") or RESERVED_BY_WINDOWS.fullmatch(name):
        raise MediaError(f"{name!r} is no file name on every system. Choose another, like frame_{{n:05}}.")
    if len(name.encode()) > LONGEST_NAME_BYTES:
        raise MediaError(f"The name {pattern[:40]!r}... is over {LONGEST_NAME_BYTES} bytes. Choose a shorter one.")
    return name


def write_frames(
    folder: Target,
    frames: Iterable[Pixels],
    options: FramesOptions = FramesOptions(),
    metadata: Mapping[str, Any] | None = None,
    on_frame: OnFrame = nobody_listens,
) -> list[Path]:
    """Write every frame as a picture into a new folder, which appears whole or not at all.

    `metadata` goes into PNG files; JPEG has no place for it that ComfyUI reads.
    """
    _, frames = with_first(frames)
    names: list[str] = []
    waiting: deque[tuple[Future[None], Pixels]] = deque()

    def finish_one() -> None:
        written, pixels = waiting.popleft()
        written.result()
        on_frame(len(names) - len(waiting), opaque(pixels))

    with folder_written_beside(folder) as draft, ThreadPoolExecutor(ENCODING_THREADS) as threads:
        try:
            for name, pixels in _named(frames, options):
                waiting.append((threads.submit(_write_picture, draft / name, pixels, options, metadata), pixels))
                names.append(name)
                if len(waiting) > 2 * ENCODING_THREADS:
                    finish_one()
            while waiting:
                finish_one()
        finally:
            threads.shutdown(cancel_futures=True)
    return [Path(folder) / name for name in names]


def _named(frames: Iterable[Pixels], options: FramesOptions) -> Iterator[tuple[str, Pixels]]:
    numbers = itertools.count() if options.numbers is None else iter(options.numbers)
    taken: dict[str, int] = {}
    for index, pixels in enumerate(frames):
        number = next(numbers, None)
        if number is None:
            raise MediaError(f"There are {index} numbers, but more frames. Give each frame one.")
        name = frame_name(options.name, number)
        if name in taken:
            why = "the name holds no {n}. Put one into it"
            if NUMBER_TOKEN.search(options.name):
                why = f"both have the number {number}. Count them instead, without numbers of your own"
            raise MediaError(f"Frames {taken[name]} and {index} would both be called {name!r}: {why}.")
        taken[name] = index
        yield name + PICTURE_SUFFIXES[options.format], pixels
    if options.numbers is not None and len(options.numbers) != len(taken):
        raise MediaError(f"There are {len(options.numbers)} numbers for {len(taken)} frames. Give each frame one.")


def _write_picture(path: Path, pixels: Pixels, options: FramesOptions, metadata: Mapping[str, Any] | None) -> None:
    path.write_bytes(encode_png(pixels, metadata) if options.format == "png" else encode_jpeg(pixels, options.quality))
