"""A folder of toy clips as video files: footage to practise on where there is none at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from ..media.files import folder_written_beside
from ..media.pictures import Pixels, to_bytes
from ..media.rates import exact_rate
from ..media.writing import write_video
from .clip import LARGEST_SEED, ClipOptions
from .scenes import draw, scene_of
from .shapes import ShapesOptions

LOOKS = "1"  # changes when the same options come to draw other pictures


@dataclass(frozen=True, kw_only=True)
class VideosOptions:
    count: int = 8
    still: int = 1  # so many of them, the last ones, do not move
    clip: ClipOptions = field(default_factory=ShapesOptions)  # each one's seed is the one before's and 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}. Ask for 1 video or more.")
        if not 0 <= self.still <= self.count:
            raise ValueError(f"still is {self.still}, of {self.count} videos. Give a number from 0 to {self.count}.")

    @property
    def digest(self) -> str:
        """Stands for these videos: the same options draw the same ones."""
        return hashlib.sha256(f"{LOOKS} {self}".encode()).hexdigest()[:12]


def write_videos(
    folder: Path,
    options: VideosOptions = VideosOptions(),
    on_frame: Callable[[int, int, Tensor], None] = lambda done, total, frame: None,
) -> list[Path]:
    """Write the videos into a new folder, which appears when all of them are in it.

    `on_frame` is told how many frames are drawn, of how many, and the last (h w c) one; to cancel, raise from it.
    """
    frames = options.clip.frames
    names = [f"{scene_of(options.clip)}_{number:02}.mp4" for number in range(1, options.count + 1)]
    with folder_written_beside(folder) as draft:
        for number, name in enumerate(names):

            def on_drawn(done: int, frame: Tensor, before: int = number * frames) -> None:
                on_frame(before + done, options.count * frames, frame)

            pictures = _pictures(number, options, on_drawn)
            write_video(draft / name, pictures, exact_rate(options.clip.frames_per_second))
    return [folder / name for name in names]


def _pictures(number: int, options: VideosOptions, on_drawn: Callable[[int, Tensor], None]) -> Iterator[Pixels]:
    clip = replace(options.clip, seed=(options.clip.seed + number) % (LARGEST_SEED + 1))
    images = draw(clip, on_drawn).images
    if number >= options.count - options.still:
        images = images[:1].expand(len(images), -1, -1, -1)
    yield from to_bytes(images)
