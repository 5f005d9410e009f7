"""What optical flow tells: how much moves, and whether what moves stays the same on its way.

Axes: f frames, h height, w width, c channels (red, green, blue).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..clips.flow import Flow, FlowFinder, ends_of
from ..media.resampling import Resampler
from ..media.resizing import ResizeOptions, Room

LONGEST_SIDE = 512  # pixels of the pictures between which flow is found; larger ones are shrunk to it
SHORTEST_SIDE = 32  # smaller ones are enlarged: OpenCV's flow looks at some pixels each way, and crashes without them
MOVING_SHARE = 0.05  # of the pixels, those that move most, whose mean is the dynamic degree: VBench's


def shrunk(clip: Tensor) -> NDArray[np.float32]:
    """The (f h w c) clip in the size in which flow is found."""
    height, width = clip.shape[1:3]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(SHORTEST_SIDE, round(width * scale)), max(SHORTEST_SIDE, round(height * scale))
    if size == (width, height):
        return clip.float().cpu().numpy()
    room = Room.of(width, height, *size, ResizeOptions(width=size[0], height=size[1]))
    resample = Resampler(room, "area" if scale < 1 else "bilinear", clip.device)
    return torch.stack([resample(frame) for frame in clip]).cpu().numpy()


def flows(small: NDArray[np.float32]) -> Iterator[Flow]:
    """From each frame of a clip (f h w c) to the next."""
    import cv2

    finder = FlowFinder()
    grey: list[Any] = [
        cv2.cvtColor((frame * 255).round().clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY) for frame in small
    ]
    for earlier, later in pairwise(grey):
        if np.array_equal(earlier, later):
            still = np.zeros((*earlier.shape, 2), np.float32)
            everywhere = np.ones(earlier.shape, np.bool_)
            yield Flow(still, everywhere, everywhere)
        else:
            yield finder.between(earlier, later)


def dynamic_degree(ways: Sequence[Flow]) -> list[float]:
    """By steps (f-1) the mean way of the twentieth that moves most, in shares of the picture's shorter side.

    VBench calls a step of over 0.023 dynamic, at 8 frames per second. What cannot be followed counts as still.
    """
    degrees = []
    for flow in ways:
        length = np.sort(np.where(flow.agrees & flow.inside, flow.length, 0), axis=None)
        most = length[-max(1, round(MOVING_SHARE * length.size)) :]
        degrees.append(float(most.mean()) / min(flow.way.shape[:2]))
    return degrees


def followed(ways: Sequence[Flow]) -> float:
    """The mean share of the pixels that can be followed to the next frame: few where frames do not belong together."""
    return math.fsum(float((flow.agrees & flow.inside).mean()) for flow in ways) / len(ways)


def warp_error(small: NDArray[np.float32], ways: Sequence[Flow]) -> list[float]:
    """By steps (f-1) how far a frame (f h w c) is from the next one, brought back along the flow.

    It is a mean of |difference| where the flow can be trusted; NaN for a step in which it nowhere can.
    """
    import cv2

    errors = []
    for flow, (earlier, later) in zip(ways, pairwise(small), strict=True):
        x, y = ends_of(flow.way)
        back = cv2.remap(later, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        valid = flow.agrees & flow.inside
        errors.append(float(np.abs(back - earlier)[valid].mean()) if valid.any() else math.nan)
    return errors
