"""How far each frame is pushed from what a model makes of nothing towards what it makes of its condition.

Axes: f frames, c channels, h height, w width. A scale of 1 is the conditioned model left to itself.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

GuidanceKind = Literal["linear", "triangle", "constant"]
Fusing = Literal["max", "mean", "multiply"]

FUSINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda waves: waves.amax(dim=0),
    "mean": lambda waves: waves.mean(dim=0),
    "multiply": lambda waves: waves.prod(dim=0),
}


def linear(frames: int, first: float, last: float) -> Tensor:
    """Scales (f) that go evenly from the first frame's to the last one's: what is far from the picture needs more."""
    return torch.linspace(first, last, frames)


def triangle(
    frames: int, lowest: float, highest: float, periods: Sequence[float] = (1.0,), fusing: Fusing = "max"
) -> Tensor:
    """Scales (f) that rise to the middle and fall again, as on an orbit whose two ends see what the picture shows.

    A period is the share of the clip that one rise and fall takes; the waves of several are fused into one.
    """
    if not periods or min(periods) <= 0:
        raise ValueError(
            f"The periods are {list(periods)}. Give at least one, each greater than 0; 1 is the whole clip."
        )
    if fusing not in FUSINGS:
        raise ValueError(f"fusing is {fusing!r}. Choose one of {', '.join(FUSINGS)}.")
    along = torch.linspace(0, 1, frames)
    waves = torch.stack([2 * (along / period - torch.floor(along / period + 0.5)).abs() for period in periods])
    return FUSINGS[fusing](waves) * (highest - lowest) + lowest


def constant(frames: int, scale: float) -> Tensor:
    """The same scale for each of the (f) frames."""
    return torch.full((frames,), float(scale))


SCALES: dict[str, Callable[[int, float, float], Tensor]] = {
    "linear": linear,
    "triangle": triangle,
    "constant": lambda frames, lowest, highest: constant(frames, highest),
}


def scales_of(kind: GuidanceKind, frames: int, lowest: float, highest: float) -> Tensor:
    """The scales (f) of a kind of guidance between two numbers; a constant one is the higher number."""
    return SCALES[kind](frames, lowest, highest)


def guide(free: Tensor, conditioned: Tensor, scales: Tensor) -> Tensor:
    """Push each frame of a (f c h w) clip from the free prediction through the conditioned one, by its (f) scale."""
    return free + scales[:, None, None, None] * (conditioned - free)
