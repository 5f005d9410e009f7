"""How much moves in a clip, and which of its frames are cuts, black, or the same as before.

Motion is optical flow: how far what a frame shows has gone by the next, averaged over the picture and over time, as a
share of the picture's diagonal per second. 0.1 means that the picture moves by a tenth of its diagonal each second, or
half of the picture by a fifth. Neither the size of a clip nor its frame rate changes it.

Axes: h height, w width, c channels.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..media.errors import MediaError
from ..media.pictures import Pixels, check_pixels, opaque, read_picture
from ..media.reading import probe, read_frames
from ..media.streams import OnFrame, nobody_listens
from .cuts import CutFinder
from .flow import FlowFinder

DIAGONAL = 320  # of the small grey pictures, in pixels, between which flow is measured
BLUR = 1.0  # pixels; takes the edge off noise
# Where nothing is to be seen, as on a wall or in the sky, flow is a guess, and in noise a wild one. So it counts only
# where the picture has some texture, and where the way there and the way back agree.
TEXTURE = 1.5  # grey levels per pixel, root mean square over a window
TEXTURE_WINDOW = 15

STILL = 0.003  # less motion than this is noise, or too little to see: two pixels a second at 576x320

SAME_BLOCK = 8  # a frame is the same as another when no block of so many small pixels a side
SAME_LEVELS = 2.0  # differs by more than so many of 255 grey levels on average
BLACK_LEVEL, BLACK_SHARE = 26, 0.98  # a frame is black when nearly all of its pixels are darker than a tenth of white

FEWEST_BUCKET, MOST_BUCKET = 1, 255


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a clip's frames are like. Frames are told by their place in the clip, counted from 0."""

    frames: int
    sizes: tuple[tuple[int, int], ...]  # every (width, height) that a frame has, in the order they appear
    motion: float  # share of the diagonal per second
    cuts: tuple[int, ...]  # the frames that begin another scene
    duplicates: tuple[int, ...]  # those that look like the frame before them, or like the one that it repeats
    black: tuple[int, ...]

    @property
    def is_still(self) -> bool:
        return self.motion < STILL


def measure(frames: Iterable[Pixels], frames_per_second: float, on_frame: OnFrame = nobody_listens) -> Measured:
    """Measure a clip, one (h w c) frame after the other, with room for a few of them only.

    Steps over a cut are no motion and are left out. Where frames are not equally far apart in time,
    `frames_per_second` is their mean rate. To cancel, raise from `on_frame`.
    """
    if not (math.isfinite(frames_per_second) and frames_per_second > 0):
        raise MediaError(f"The clip's rate is {frames_per_second} frames per second. Give one above 0.")
    finder, flow, looks = CutFinder(), _Flow(), _Looks()
    cuts: list[int] = []
    steps: list[float] = []
    sizes: dict[tuple[int, int], None] = {}
    for number, pixels in enumerate(frames):
        check_pixels(pixels)
        sizes[pixels.shape[1], pixels.shape[0]] = None
        cuts += finder.add(pixels)
        grey = _grey(pixels)
        small = _small(grey, *next(iter(sizes)))  # frames of another size are seen in the shape of the first
        looks.add(number, grey, small)
        steps += flow.add(small)
        on_frame(number + 1, pixels)
    cuts += finder.finish()
    return Measured(
        frames=len(steps) + 1 if sizes else 0,
        sizes=tuple(sizes),
        motion=_mean_without(steps, {cut - 1 for cut in cuts}) * frames_per_second,
        cuts=tuple(cuts),
        duplicates=tuple(looks.duplicates),
        black=tuple(looks.black),
    )


def measure_pictures(paths: Sequence[Path], frames_per_second: float, on_frame: OnFrame = nobody_listens) -> Measured:
    """Measure a clip whose frames are picture files."""
    return measure(map(read_picture, paths), frames_per_second, on_frame)


def measure_video(path: str | Path, on_frame: OnFrame = nobody_listens) -> Measured:
    """Measure every frame of a video."""
    facts = probe(path)
    frames = (pixels for _, pixels in read_frames(path, range(facts.frames), facts))
    return measure(frames, float(facts.frames_per_second), on_frame)


def motion_buckets(motions: Sequence[float]) -> list[int]:
    """Give each clip of a set its motion bucket for Stable Video Diffusion, by its place in the set: 1 to 255.

    How the model's own training data got their buckets is not public. By percentile every bucket gets its share of
    clips, whatever the set is like: the clip that moves most gets 255, the one in the middle 128. Clips of the same
    motion get the same bucket, and what stands still gets 1.
    """
    ordered = sorted(motions)
    last = len(ordered) - 1
    buckets = []
    for motion in motions:
        below, up_to = bisect_left(ordered, motion), bisect_right(ordered, motion)
        share = (below + up_to - 1) / 2 / last if last else 0.5
        bucket = math.floor(FEWEST_BUCKET + share * (MOST_BUCKET - FEWEST_BUCKET) + 0.5)
        buckets.append(bucket if motion >= STILL else FEWEST_BUCKET)
    return buckets


class _Flow:
    """Gives the length of each step from a small picture to the next."""

    def __init__(self) -> None:
        self._finder = FlowFinder()
        self._before: NDArray[np.uint8] | None = None

    def add(self, small: NDArray[np.uint8]) -> Iterator[float]:
        before, self._before = self._before, small
        if before is not None:
            yield 0.0 if np.array_equal(before, small) else self._length(before, small)

    def _length(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
        """The mean length of the flow, as a share of the diagonal."""
        import cv2

        earlier, later = (cv2.GaussianBlur(picture, (0, 0), BLUR) for picture in (before, after))
        flow = self._finder.between(earlier, later)  # type: ignore[arg-type]
        counts = flow.agrees & _has_texture(earlier)
        # What leaves the picture has no way back to be held against, and what it does is seen beside it.
        length = np.where(counts, flow.length, 0)[flow.inside]
        return float(length.mean()) / math.hypot(*before.shape) if length.size else 0.0


def _has_texture(picture: Any) -> NDArray[np.bool_]:
    import cv2

    across = cv2.Sobel(picture, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(picture, cv2.CV_32F, 0, 1, scale=1 / 8)
    return cv2.boxFilter(across**2 + down**2, -1, (TEXTURE_WINDOW, TEXTURE_WINDOW)) >= TEXTURE**2


class _Looks:
    """Notes which frames are black, and which repeat an earlier one."""

    def __init__(self) -> None:
        self.black: list[int] = []
        self.duplicates: list[int] = []
        self._shown: NDArray[np.uint8] | None = None  # the last frame that was no repetition

    def add(self, number: int, grey: NDArray[np.uint8], small: NDArray[np.uint8]) -> None:
        if np.count_nonzero(grey < BLACK_LEVEL) >= BLACK_SHARE * grey.size:
            self.black.append(number)
        if self._shown is not None and _is_same(self._shown, small):
            self.duplicates.append(number)
        else:
            # Held against the last one that differed and not the one before, so that a slow change still adds up.
            self._shown = small


def _is_same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    import cv2

    difference: Any = cv2.absdiff(one, other).astype(np.float32)
    height, width = one.shape
    blocks = math.ceil(width / SAME_BLOCK), math.ceil(height / SAME_BLOCK)
    return float(cv2.resize(difference, blocks, interpolation=cv2.INTER_AREA).max()) <= SAME_LEVELS


def _grey(pixels: Pixels) -> NDArray[np.uint8]:
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(opaque(pixels)), cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def _small(grey: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture in the size at which flow is measured, for a clip of that width and height."""
    import cv2

    scale = DIAGONAL / math.hypot(width, height)
    # Flow wants a few pixels each way, which only a picture over ten times as long as high would not give.
    size = max(32, round(width * scale)), max(32, round(height * scale))
    shrinks = size[0] <= grey.shape[1] and size[1] <= grey.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(grey, size, interpolation=how)  # type: ignore[return-value]


def _mean_without(values: Sequence[float], left_out: set[int]) -> float:
    kept = [value for place, value in enumerate(values) if place not in left_out]
    return math.fsum(kept) / len(kept) if kept else 0.0
