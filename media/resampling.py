"""The arithmetic of resizing: a filter's weights, and what padding shows.

Axes: f frames, h height, w width, c channels; o output, i input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .pictures import parse_color
from .resizing import ResizeOptions, Room

# So many rows of the weights are multiplied at a time: enough to keep the processor busy, few enough that the zeros
# beside a filter's narrow band cost little.
BLOCK = 64
BLUR_SIDE = 24  # the ground of blurred edges is the frame, made this small and enlarged again


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), 0.0)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -1/2, the one that reproduces parabolas."""
    x = x.abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _box(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).to(x.dtype)


# Each filter with the distance, in pixels of the coarser grid, at which it ends.
FILTERS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "lanczos": (_lanczos, 3.0),
    "bicubic": (_cubic, 2.0),
    "bilinear": (_triangle, 1.0),
    "area": (_box, 0.5),
}


class Resampler:
    """Resamples frames of one size to another, first along rows, then along columns, as separable filters may."""

    def __init__(self, room: Room, filter: str, device: torch.device):
        columns, rows = room.columns.stop - room.columns.start, room.rows.stop - room.rows.start
        axis = _Nearest if filter == "nearest" else _Weighted
        self.across = axis(room.source[0], *room.seen_x, columns, filter, device)
        self.down = axis(room.source[1], *room.seen_y, rows, filter, device)

    def __call__(self, frame: Tensor) -> Tensor:
        planes = frame.float().permute(2, 0, 1).contiguous()  # (c h w)
        resampled = self.down(self.across(planes).transpose(1, 2)).transpose(1, 2)
        low, high = planes.min().clamp(max=0), planes.max().clamp(min=1)  # wider than 0..1 only where the frame is
        return resampled.clamp(low, high).permute(1, 2, 0)


class _Nearest:
    def __init__(self, size: int, start: float, end: float, outputs: int, filter: str, device: torch.device):
        centers = start + (torch.arange(outputs, dtype=torch.float64) + 0.5) * ((end - start) / outputs)
        # A centre between two pixels belongs to the second; the hair keeps rounding from giving it to the first.
        self.indices = (centers + 1e-9).floor().long().clamp(0, size - 1).to(device)

    def __call__(self, planes: Tensor) -> Tensor:
        """Resample the last axis."""
        return planes[..., self.indices]


class _Weighted:
    """Each output is a weighted sum of the inputs that a filter reaches; where it shrinks, the filter widens."""

    def __init__(self, size: int, start: float, end: float, outputs: int, filter: str, device: torch.device):
        kernel, reach = FILTERS[filter]
        scale = (end - start) / outputs
        wide = max(scale, 1.0)
        centers = start + (torch.arange(outputs, dtype=torch.float64) + 0.5) * scale
        first = (centers - reach * wide + 0.5).floor().long().clamp(0, size - 1)
        last = (centers + reach * wide + 0.5).floor().long().clamp(1, size)
        self.outputs = outputs
        self.blocks: list[tuple[slice, slice, Tensor]] = []
        for begin in range(0, outputs, BLOCK):
            here = slice(begin, min(begin + BLOCK, outputs))
            low, high = int(first[here].min()), int(last[here].max())
            inputs = torch.arange(low, high)
            weights = kernel((inputs[None] - centers[here, None] + 0.5) / wide)  # (o i)
            weights *= (inputs[None] >= first[here, None]) & (inputs[None] < last[here, None])
            weights /= weights.sum(dim=1, keepdim=True)
            self.blocks.append((here, slice(low, high), weights.float().to(device).T.contiguous()))

    def __call__(self, planes: Tensor) -> Tensor:
        """Resample the last axis."""
        resampled = planes.new_empty(*planes.shape[:-1], self.outputs)
        for outputs, inputs, weights in self.blocks:
            resampled[..., outputs] = planes[..., inputs] @ weights
        return resampled


def ground_of(frame: Tensor, width: int, height: int, ground: str) -> Tensor:
    """What padding shows, (h w c): one colour, or the frame, filling the size and strongly blurred."""
    channels = frame.shape[2]
    if ground == "blur":
        filled = _blurred(frame, width, height)
        return torch.cat([filled[..., :3], torch.ones_like(filled[..., :1])], 2) if channels == 4 else filled
    color = torch.tensor(parse_color(ground), device=frame.device) / 255
    if channels == 1:
        color = (color @ torch.tensor([0.2126, 0.7152, 0.0722], device=frame.device))[None]
    return torch.cat([color, color.new_ones(channels - len(color))]) if channels == 4 else color


def _blurred(frame: Tensor, width: int, height: int) -> Tensor:
    """A few pixels that average the frame, blurred and enlarged smoothly: a blur as wide as it is cheap."""
    scale = BLUR_SIDE / max(width, height)
    small_width, small_height = max(1, round(width * scale)), max(1, round(height * scale))
    few = _to_size(frame, small_width, small_height, "cover", "area")
    planes = few.permute(2, 0, 1)[:, None]
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=frame.device) / 16
    planes = F.conv2d(F.pad(planes, (2, 2, 2, 2), mode="replicate"), (taps[:, None] * taps)[None, None])
    return _to_size(planes[:, 0].permute(1, 2, 0), width, height, "stretch", "bicubic")


def _to_size(frame: Tensor, width: int, height: int, fit: Literal["stretch", "cover"], filter: str) -> Tensor:
    options = ResizeOptions(width=width, height=height, fit=fit)
    room = Room.of(frame.shape[1], frame.shape[0], width, height, options)
    return Resampler(room, filter, frame.device)(frame)
