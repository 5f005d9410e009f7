"""Choosing frames by what they show: those that differ most from the one before, and one of each scene.

What a frame shows is looked at as the decoder gives it: its plane of brightness, or a small picture. Only frames that
are chosen, or may still be, are kept, and none of them is turned into pixels here.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ..media.errors import MediaError
from ..media.reading import Source, VideoFacts, decoded_frames
from .cuts import CutFinder, CutOptions

KEPT_BYTES_A_FRAME = 5 * 10**6  # for each frame to choose; a frame of 1080p takes 3.1 MB as the decoder has it
# Their first plane is the brightness, a byte for each pixel.
BRIGHTNESS_FIRST = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "nv21", "gray"}
SCENE_SIDE = 256  # scenes are told apart on pictures of at most about this many pixels a side

Watch = Callable[[int], None]
"""Told the number of each frame that was looked at; to cancel, it raises."""


@dataclass(frozen=True, kw_only=True)
class MostDifferent:
    """The frames that differ most from the one before, within the first seconds of the range, in their own order.

    The difference is the mean absolute difference of brightness. The range's first frame has none before it and comes
    last. Where there are fewer frames than asked for, all are taken.
    """

    count: int = 30
    window_seconds: float = 3.0  # 0 is the whole range
    minimum_distance: int = 1  # in frames, between any two that are chosen; the more different one stays

    def __post_init__(self) -> None:
        if self.count < 1:
            raise MediaError(f"The number of frames to take is {self.count}. Ask for 1 or more.")
        if not isfinite(self.window_seconds) or self.window_seconds < 0:
            raise MediaError(f"The window is {self.window_seconds} s long. Give seconds, or 0 for the whole range.")
        if self.minimum_distance < 1:
            raise MediaError(f"The minimum distance is {self.minimum_distance} frames. The next frame is at 1.")

    def window(self, facts: VideoFacts, within: range) -> range:
        """The frames that are looked at."""
        if not self.window_seconds:
            return within
        start = facts.timeline.start_of(within.start)
        stop = facts.timeline.first_from(start + Fraction(self.window_seconds))
        return range(within.start, min(max(stop, within.start + 1), within.stop))


@dataclass(frozen=True, kw_only=True)
class OnePerScene:
    """One frame of each scene. A scene ends where the content changes at once.

    What counts is how much larger a change is than those around it, so neither a fast pan nor a flash ends a scene; see
    `cuts`. Footage and its reports are judged in the same way.
    """

    threshold: float = 20.0  # mean change of the colours' bytes; a smaller one never ends a scene
    shortest_seconds: float = 0.5  # a change earlier than this after a scene's start does not end it
    take: Literal["middle", "first"] = "middle"

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 255:
            raise MediaError(
                f"The threshold for scenes is {self.threshold}. It goes from above 0 to 255; 20 suits most."
            )
        if not isfinite(self.shortest_seconds) or self.shortest_seconds < 0:
            raise MediaError(f"The shortest scene is {self.shortest_seconds} s long. Give seconds, 0 or more.")
        if self.take not in ("middle", "first"):
            raise MediaError(f"{self.take!r} is no place in a scene. Choose middle or first.")

    def cut_options(self) -> CutOptions:
        """What this means to the detector of cuts."""
        least = self.threshold / 255
        return CutOptions(least_change=least, sure_change=max(least, CutOptions().sure_change))


def most_different_frames(
    source: Source, facts: VideoFacts, within: range, rule: MostDifferent, watch: Watch = lambda number: None
) -> Iterator[tuple[int, VideoFrame]]:
    """Give the frames that a rule chooses, in order, decoding the window once.

    Of frames too large to keep as many as are asked for, some are decoded again when the choice is made.
    """
    window = rule.window(facts, within)
    kept = _Kept(rule)
    differences: list[tuple[float, int]] = []
    before: VideoFrame | None = None
    for number, frame in decoded_frames(source, window, facts):
        difference = -1.0 if before is None else brightness_difference(before, frame)
        differences.append((difference, number))
        kept.offer(difference, number, frame)
        before = frame
        watch(number)
    del before
    chosen = _apart(differences, rule)
    again = decoded_frames(source, [number for number in chosen if number not in kept.frames], facts)
    for number in chosen:
        yield (number, kept.frames.pop(number)) if number in kept.frames else next(again)


class _Kept:
    """The decoded frames that may still be chosen, as many as there is room for: the least different go first."""

    def __init__(self, rule: MostDifferent) -> None:
        self.room = rule.count * KEPT_BYTES_A_FRAME
        # Where frames push their neighbours aside, one that ranks low may be chosen in the end.
        self.most = rule.count if rule.minimum_distance == 1 else None
        self.frames: dict[int, VideoFrame] = {}
        self.ranks: list[tuple[float, int]] = []  # a heap of (difference, -number)

    def offer(self, difference: float, number: int, frame: VideoFrame) -> None:
        size = bytes_of(frame)
        most = self.room // size if self.most is None else min(self.most, self.room // size)
        heapq.heappush(self.ranks, (difference, -number))
        self.frames[number] = frame
        while len(self.ranks) > most:
            del self.frames[-heapq.heappop(self.ranks)[1]]


def bytes_of(frame: VideoFrame) -> int:
    return sum(plane.buffer_size for plane in frame.planes)


def _apart(differences: list[tuple[float, int]], rule: MostDifferent) -> list[int]:
    """The most different first, each keeping the places around it free; of equals the earlier one."""
    chosen: list[int] = []
    taken: set[int] = set()
    for _, number in sorted(differences, key=lambda pair: (-pair[0], pair[1])):
        if len(chosen) == rule.count:
            break
        if number not in taken:
            chosen.append(number)
            taken.update(range(number - rule.minimum_distance + 1, number + rule.minimum_distance))
    return sorted(chosen)


def brightness_difference(one: VideoFrame, other: VideoFrame) -> float:
    """The mean absolute difference of two frames' brightness, in bytes; of frames of two sizes the largest there is."""
    import cv2

    first, second = brightness(one), brightness(other)
    if first.shape != second.shape:
        return 255.0
    return cv2.norm(first, second, cv2.NORM_L1) / first.size


def brightness(frame: VideoFrame) -> NDArray[np.uint8]:
    """A frame's (h w) plane of brightness, seen in place where the decoder has one."""
    if frame.format.name not in BRIGHTNESS_FIRST:
        return frame.to_ndarray(format="gray").astype(np.uint8, copy=False)
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * frame.height].reshape(
        frame.height, plane.line_size
    )
    return rows[:, : frame.width]


def scene_frames(
    source: Source, facts: VideoFacts, within: range, rule: OnePerScene, watch: Watch = lambda number: None
) -> list[int]:
    """The numbers of one frame of each scene. Decodes the range once and keeps nothing of it."""
    finder = CutFinder(rule.cut_options())
    cuts: list[int] = []
    for number, frame in decoded_frames(source, within, facts):
        cuts += finder.add(_small(frame))
        watch(number)
    cuts += finder.finish()
    starts = [within.start]
    for cut in cuts:
        number = within.start + cut
        if facts.timeline.start_of(number) - facts.timeline.start_of(starts[-1]) >= Fraction(rule.shortest_seconds):
            starts.append(number)
    stops = [*starts[1:], within.stop]
    if rule.take == "first":
        return starts
    return [(start + stop - 1) // 2 for start, stop in zip(starts, stops, strict=True)]


def _small(frame: VideoFrame) -> NDArray[np.uint8]:
    """The frame's (h w c) colours, made small by the decoder's own means, which is cheaper than making all pixels."""
    by = max(1, max(frame.width, frame.height) // SCENE_SIDE)
    small = frame.reformat(max(1, frame.width // by), max(1, frame.height // by), "rgb24", interpolation="AREA")
    return small.to_ndarray().astype(np.uint8, copy=False)
