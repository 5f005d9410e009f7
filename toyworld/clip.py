"""What every scene of the toy world shares: how long, how large, and which seed."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..media.memory import room_for_clip

SMALLEST_SIDE = 16
LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    seconds: float = 4.0
    frames_per_second: float = 24.0
    width: int = 256
    height: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("frames_per_second", self.frames_per_second)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}. It must be a number above 0; 4 seconds at 24 suit most uses.")
        for name, pixels in (("width", self.width), ("height", self.height)):
            if pixels < SMALLEST_SIDE:
                raise ValueError(f"{name} is {pixels}. A scene needs at least {SMALLEST_SIDE} pixels to show anything.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed is {self.seed}. Choose a whole number from 0 to {LARGEST_SEED}.")
        if self.frames < 1:
            raise ValueError(
                f"{self.seconds} seconds at {self.frames_per_second} frames per second are less than one frame. "
                "Ask for more seconds or a higher rate."
            )

    @property
    def frames(self) -> int:
        return round(self.seconds * self.frames_per_second)


class Truth(Protocol):
    """What is true of a clip, frame by frame."""

    def record(self) -> dict[str, Any]:
        """The truth as JSON holds it."""


class ToyClip(Protocol):
    """What every scene gives: its pictures, the words for them, and what is true of them."""

    @property
    def options(self) -> ClipOptions: ...

    @property
    def images(self) -> Tensor:
        """(f h w c) in 0..1."""

    @property
    def caption(self) -> str: ...

    @property
    def truth(self) -> Truth: ...

    def masks(self, frame: int) -> Tensor:
        """The (s h w) share of each pixel of a frame that shows each thing in the scene."""


def seconds_of(frames: int, frames_per_second: float) -> float:
    """How long a clip is that has so many frames."""
    if frames < 1:
        raise ValueError(f"frames is {frames}. A clip has at least 1; models of video are used to 14 or 25.")
    if not (math.isfinite(frames_per_second) and frames_per_second > 0):
        raise ValueError(f"frames_per_second is {frames_per_second}. It must be a number above 0; 7 suits most models.")
    return frames / frames_per_second


def check_speed(speed: float) -> None:
    if not (math.isfinite(speed) and speed >= 0):
        raise ValueError(f"speed is {speed}. Give 0, or shorter sides of the picture a second; 0.2 is slow, 1 fast.")


def times(frames: int) -> Tensor:
    """The (f) share of a clip that is gone in each frame: 0 in the first, 1 in the last."""
    return torch.arange(frames, dtype=torch.float64) / max(1, frames - 1)


def empty_clip(options: ClipOptions) -> Tensor:
    """Room for an (f h w c) clip, refused with a sentence where the memory does not hold it."""
    remedy = "Ask for fewer seconds, a lower rate or a smaller picture."
    return room_for_clip(options.frames, options.height, options.width, remedy=remedy)
