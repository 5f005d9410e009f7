"""What a node shows when it is done: its frames, small, as an animated picture or a video."""

import math
import secrets
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from ..host import folders, io, ui
from ..media.files import written_beside
from ..media.pictures import Pixels, encode_png, opaque, to_bytes
from ..media.resizing import ResizeOptions, resize
from ..media.webp import WebpOptions, write_webp
from ..media.writing import write_video

MOST_FRAMES = 48
LONGEST_SIDE = 320
# Browsers slow pictures that change faster than this down to ten a second, so a preview leaves frames out instead.
FASTEST = 50.0
SLOWEST = 0.1
LOOKS = WebpOptions(quality=75, method=2)


def animated(images: Tensor, frames_per_second: float, longest_side: int = LONGEST_SIDE) -> ui.SavedImages:
    """Show (f h w c) images as an animated WebP in the temp folder, that takes the time that the clip takes."""
    numbers, rate = _shown(len(images), frames_per_second)
    path, shown = _new_file(".webp")
    write_webp(path, _small(images, numbers, longest_side), rate, LOOKS)
    return ui.SavedImages([shown], is_animated=len(numbers) > 1)


def still(pixels: Pixels) -> ui.SavedImages:
    """Show one (h w c) picture, at its own size."""
    path, shown = _new_file(".png")
    with written_beside(path) as draft:
        draft.write_bytes(encode_png(pixels))
    return ui.SavedImages([shown])


def playing(images: Tensor, frames_per_second: float) -> ui.PreviewVideo:
    """Show them as a small MP4 with a player.

    A node with a VIDEO input must: ComfyUI's Vue nodes take for a video whatever such a node shows.
    """
    numbers, rate = _shown(len(images), frames_per_second)
    path, shown = _new_file(".mp4")
    write_video(path, _small(images, numbers, LONGEST_SIDE), rate)
    return ui.PreviewVideo([shown])


def _shown(frames: int, frames_per_second: float) -> tuple[list[int], float]:
    """Choose which frames are shown, and at which rate."""
    count = max(1, min(MOST_FRAMES, frames, math.floor(frames / frames_per_second * FASTEST)))
    return spread(frames, count), max(SLOWEST, min(FASTEST, frames_per_second * count / frames))


def _new_file(suffix: str) -> tuple[Path, ui.SavedResult]:
    # A name of chance, because a browser that remembers the one from before the last restart would show that.
    target = folders.numbered(f"zoetrope/preview_{secrets.token_hex(4)}", "temp")
    name = f"{target.stem}_{target.counter:05}_{suffix}"
    return target.folder / name, ui.SavedResult(name, target.subfolder, io.FolderType.temp)


def spread(frames: int, count: int) -> list[int]:
    """Choose that many frames, each in the middle of its share of the clip."""
    return [(2 * at + 1) * frames // (2 * count) for at in range(count)]


def _small(images: Tensor, numbers: list[int], longest_side: int = LONGEST_SIDE) -> Iterator[Pixels]:
    _, height, width, _ = images.shape
    scale = min(1, longest_side / max(height, width))
    options = ResizeOptions(width=max(1, round(width * scale)), height=max(1, round(height * scale)), filter="bilinear")
    for number in numbers:
        small, _ = resize(images[number : number + 1], options)
        yield opaque(next(to_bytes(small)))
