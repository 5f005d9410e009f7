"""Cuts: the frames at which another scene begins.

A cut is a change that the frames around it do not share. What counts is therefore not how large the change from one
frame to the next is, but how much larger than the changes beside it: a fast pan changes everything all the time and has
no cut, and a clip of every tenth frame is judged like the clip it comes from. A change that the next frame takes back
is a flash and no cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..media.pictures import Pixels, opaque

# Frames are compared this small, so that what moves by a little does not count as a change of scene.
SIDE = 32
NEIGHBOURS = 4  # the nearest changes that a change is held against, half of them before it where there are as many


@dataclass(frozen=True, kw_only=True)
class CutOptions:
    least_change: float = 0.08  # mean difference of the colours, which go from 0 to 1; below it nothing is a cut
    ratio: float = 2.0  # so many times the changes around it
    sure_change: float = 0.15  # enough where fewer than two changes are around it to be held against

    def __post_init__(self) -> None:
        for name, value in (("least_change", self.least_change), ("sure_change", self.sure_change)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} is {value}. It is a difference of colours and goes from above 0 to 1.")
        if not self.ratio >= 1:
            raise ValueError(f"ratio is {self.ratio}. A cut is 1 or more times the changes around it; 2 suits most.")


class CutFinder:
    """Finds cuts while frames pass by, and keeps a few small pictures of them only.

    finder = CutFinder()
    for frame in frames:
        cuts += finder.add(frame)
    cuts += finder.finish()
    """

    def __init__(self, options: CutOptions = CutOptions()) -> None:
        self.options = options
        self._frames = 0
        self._small: deque[NDArray[np.float32]] = deque(maxlen=3)
        self._changes: list[_Change] = []  # the last of them, as many as verdicts need
        self._judged = 0  # frames whose change has its verdict; the first frame has none

    def add(self, pixels: Pixels) -> list[int]:
        """Take the next (h w c) frame; gives the numbers, counted from 0, of frames now known to begin a scene."""
        self._small.append(_small(pixels))
        if self._frames:
            *earlier, before, now = self._small
            self._changes.append(_Change(self._frames, _difference(before, now)))
            if earlier:
                across = _difference(earlier[0], now)
                self._changes[-1].limit(across)
                self._changes[-2].limit(across)
        self._frames += 1
        is_enough = self._frames - 1 > NEIGHBOURS
        return self._verdicts(self._frames - 1 - NEIGHBOURS // 2) if is_enough else []

    def finish(self) -> list[int]:
        """Give the numbers of the frames that were waiting for the ones after them."""
        return self._verdicts(self._frames - 1)

    def _verdicts(self, last: int) -> list[int]:
        cuts = []
        for index, change in enumerate(self._changes):
            if self._judged < change.frame <= last:
                start = max(0, min(index - NEIGHBOURS // 2, len(self._changes) - 1 - NEIGHBOURS))
                around = self._changes[start : start + NEIGHBOURS + 1]
                others = sorted(other.size for other in around if other is not change)
                self._judged = change.frame
                if self._is_cut(change, others):
                    cuts.append(change.frame)
        self._changes = self._changes[-NEIGHBOURS - 1 :]
        return cuts

    def _is_cut(self, change: _Change, others: list[float]) -> bool:
        # The second largest of them: another cut nearby may be the largest, and is no reason to miss this one.
        if len(others) < 2:
            return change.lasting >= self.options.sure_change
        return change.lasting >= max(self.options.least_change, self.options.ratio * others[-2])


def find_cuts(frames: Iterable[Pixels], options: CutOptions = CutOptions()) -> Iterator[int]:
    """Give the number of each frame at which another scene begins, counted from 0; the first frame is none."""
    finder = CutFinder(options)
    for frame in frames:
        yield from finder.add(frame)
    yield from finder.finish()


class _Change:
    """How much a frame differs from the one before, and how much of that lasts."""

    def __init__(self, frame: int, size: float) -> None:
        self.frame, self.size, self.lasting = frame, size, size

    def limit(self, across: float) -> None:
        """Take into account how much the frames on either side of it, one further, differ."""
        self.lasting = min(self.lasting, across)


def _small(pixels: Pixels) -> NDArray[np.float32]:
    """The frame as a few (h w c) colours from 0 to 1."""
    import cv2

    height, width = pixels.shape[:2]
    step = max(1, min(height, width) // (2 * SIDE))
    # By a whole number first: averaging a large frame straight to a fraction of its size takes three times as long.
    whole = opaque(pixels)[: height - height % step, : width - width % step]
    fewer = cv2.resize(whole, (width // step, height // step), interpolation=cv2.INTER_AREA)
    return cv2.resize(fewer, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).mean())
