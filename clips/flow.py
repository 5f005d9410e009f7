"""Optical flow: which way what a frame shows has gone by the next, and where that can be told.

Axes: h height, w width, d the two of a way (x to the right, y down).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The way there and the way back must agree: relative and absolute, of squared lengths in pixels, as Sundaram, Brox and
# Keutzer 2010 have it. Where something is hidden in the later picture, or uncovered in it, they do not.
DISAGREEMENT = 0.01, 0.5

Grey = NDArray[np.uint8]  # (h w)


@dataclass(frozen=True)
class Flow:
    """The ways from each pixel of a picture to where it is in a later one."""

    way: NDArray[np.float32]  # (h w d) in pixels
    agrees: NDArray[np.bool_]  # (h w) where the way back leads to where it came from
    inside: NDArray[np.bool_]  # (h w) where the way ends in the picture

    @property
    def length(self) -> NDArray[np.float32]:
        """(h w) in pixels"""
        return np.sqrt((self.way**2).sum(2))


class FlowFinder:
    """Finds flow between grey pictures of one size."""

    def __init__(self) -> None:
        import cv2

        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def between(self, earlier: Grey, later: Grey) -> Flow:
        import cv2

        there: Any = self._flow.calc(earlier, later, None)  # type: ignore[call-overload]
        back: Any = self._flow.calc(later, earlier, None)  # type: ignore[call-overload]
        x, y = ends_of(there)
        back = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        relative, absolute = DISAGREEMENT
        agrees = ((there + back) ** 2).sum(2) <= relative * ((there**2).sum(2) + (back**2).sum(2)) + absolute
        height, width = earlier.shape
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        return Flow(there, agrees, inside)


def ends_of(way: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where ways (h w d) lead to: x (h w) and y (h w)."""
    height, width = way.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x + way[..., 0], y + way[..., 1]
