"""Resizing clips: stretched, cropped to cover a size, or padded to fit into one, with antialiased filters.

Axes: f frames, h height, w width, c channels; o output, i input.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .errors import MediaError
from .memory import room_for_clip
from .pictures import Pixels, check_clip, not_a_number, parse_color, to_bytes

LARGEST_SIDE = 16384
SMALLER = "Choose a smaller size or fewer frames, or close other programs."
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
# Those of Pillow's that are the same, and whose weights are never negative.
PILLOWS = {"bilinear": Image.Resampling.BILINEAR, "area": Image.Resampling.BOX}
FILTER_NAMES = (*FILTERS, "nearest")
FITS = ("stretch", "cover", "pad")
# Where the picture lies in the room that it has, or the room in the picture: from 0, left or top, to 1.
ANCHORS = {"center": (0.5, 0.5), "top": (0.5, 0.0), "bottom": (0.5, 1.0), "left": (0.0, 0.5), "right": (1.0, 0.5)}


@dataclass(frozen=True, kw_only=True)
class ResizeOptions:
    width: int = 0  # 0 keeps the aspect; both 0 keep the size
    height: int = 0
    fit: Literal["stretch", "cover", "pad"] = "stretch"
    ground: str = "white"  # what padding shows: a colour by name or #rrggbb, or "blur" for the frame's own, blurred
    anchor: Literal["center", "top", "bottom", "left", "right"] = "center"  # what cover keeps, where pad puts the frame
    multiple_of: int = 1  # both sides become multiples of this, rounded down but for the first
    filter: Literal["lanczos", "bicubic", "bilinear", "area", "nearest"] = "lanczos"

    def __post_init__(self) -> None:
        for name, smallest in (("width", 0), ("height", 0), ("multiple_of", 1)):
            if not smallest <= (value := getattr(self, name)) <= LARGEST_SIDE:
                raise MediaError(f"{name} is {value}. It goes from {smallest} to {LARGEST_SIDE}.")
        for name, choices in (("fit", FITS), ("anchor", ANCHORS), ("filter", FILTER_NAMES)):
            if (choice := getattr(self, name)) not in choices:
                raise MediaError(f"{name} is {choice!r}. Choose one of {', '.join(choices)}.")
        if self.ground != "blur":
            parse_color(self.ground)


def final_size(width: int, height: int, options: ResizeOptions) -> tuple[int, int]:
    """Give the (width, height) that a picture gets: the aspect kept where a side is 0, then rounded to multiples."""
    new_width, new_height = options.width or width, options.height or height
    if options.width and not options.height:
        new_height = max(1, round(height * options.width / width))
    if options.height and not options.width:
        new_width = max(1, round(width * options.height / height))
    multiple = options.multiple_of
    rounded = [max(multiple, side - side % multiple) for side in (new_width, new_height)]
    if max(rounded) > LARGEST_SIDE:
        raise MediaError(
            f"The clip would become {rounded[0]}x{rounded[1]}, but a side has at most {LARGEST_SIDE} pixels. Choose a "
            "smaller width or height."
        )
    return rounded[0], rounded[1]


def resize(
    clip: Tensor,
    options: ResizeOptions = ResizeOptions(),
    on_frame: Callable[[int, Tensor], None] = lambda done, frame: None,
) -> tuple[Tensor, Tensor]:
    """Give the (f h w c) clip in its new size, and a (f h w) mask that is 1 where padding was added.

    Stretch fills the size; cover fills it and crops what is too much; pad shows everything and fills the rest. Every
    channel is filtered for itself, so alpha that comes in goes out; padding is opaque. Sharp filters overshoot at
    edges: what lay in 0..1 is held there. The mask is one picture seen f times, so it takes the memory of one.
    `on_frame` is told how many frames are done, and the last of them; to cancel, raise from it.
    """
    check_clip(clip)
    frames, height, width, channels = clip.shape
    new_width, new_height = final_size(width, height, options)
    room = _Room.of(width, height, new_width, new_height, options)
    mask = torch.ones(new_height, new_width, device=clip.device)
    mask[room.rows, room.columns] = 0
    if (new_width, new_height) == (width, height) and not mask.any():
        return clip.float(), mask.expand(frames, -1, -1)
    resized = room_for_clip(frames, new_height, new_width, channels, remedy=SMALLER, device=clip.device)
    resample = _Resampler(room, options.filter, clip.device)
    for index, frame in enumerate(clip):
        if frame.isnan().any():
            raise not_a_number(index)
        if room.is_padded:
            resized[index] = _ground(frame, new_width, new_height, options.ground)
        resized[index, room.rows, room.columns] = resample(frame)
        on_frame(index + 1, resized[index].expand(-1, -1, max(3, channels)))  # grey is told as a colour
    return resized, mask.expand(frames, -1, -1)


def resize_picture(pixels: Pixels, options: ResizeOptions) -> Pixels:
    """Give a (h w rgb) picture of bytes in its new size, as `resize` does for clips.

    Pillow resamples as we do, but rounds to bytes after the rows and again after the columns. With weights that are
    never negative that moves a value by one level at the most, and takes a seventh of the time. A sharp filter would
    also lose its overshoot between the two, so those go the way of clips.
    """
    height, width = pixels.shape[:2]
    new_width, new_height = final_size(width, height, options)
    room = _Room.of(width, height, new_width, new_height, options)
    if (new_width, new_height) == (width, height) and not room.is_padded:
        return pixels
    if options.filter not in PILLOWS:
        clip, _ = resize(torch.from_numpy(pixels)[None] / 255, options)
        return next(to_bytes(clip))
    shown = (room.columns.stop - room.columns.start, room.rows.stop - room.rows.start)
    seen = (room.seen_x[0], room.seen_y[0], room.seen_x[1], room.seen_y[1])
    picture = np.asarray(Image.fromarray(pixels).resize(shown, PILLOWS[options.filter], box=seen))
    if not room.is_padded:
        return picture
    ground = _ground(torch.from_numpy(pixels) / 255, new_width, new_height, options.ground)
    resized = next(to_bytes(ground.expand(new_height, new_width, 3)[None])).copy()
    resized[room.rows, room.columns] = picture
    return resized


@dataclass(frozen=True)
class _Room:
    """Which part of a frame is seen, and where: in pixels from the left or top, to the right or bottom."""

    seen_x: tuple[float, float]
    seen_y: tuple[float, float]
    columns: slice
    rows: slice
    source: tuple[int, int]  # width, height
    is_padded: bool

    @classmethod
    def of(cls, width: int, height: int, new_width: int, new_height: int, options: ResizeOptions) -> "_Room":
        at_x, at_y = ANCHORS[options.anchor]
        seen_width, seen_height, shown_width, shown_height = float(width), float(height), new_width, new_height
        scale_x, scale_y = new_width / width, new_height / height
        if options.fit == "cover":
            scale = max(scale_x, scale_y)
            seen_width, seen_height = min(width, new_width / scale), min(height, new_height / scale)
        if options.fit == "pad":
            scale = min(scale_x, scale_y)
            shown_width = min(new_width, max(1, round(width * scale)))
            shown_height = min(new_height, max(1, round(height * scale)))
        left, top = at_x * (width - seen_width), at_y * (height - seen_height)
        column, row = round(at_x * (new_width - shown_width)), round(at_y * (new_height - shown_height))
        return cls(
            seen_x=(left, left + seen_width),
            seen_y=(top, top + seen_height),
            columns=slice(column, column + shown_width),
            rows=slice(row, row + shown_height),
            source=(width, height),
            is_padded=(shown_width, shown_height) != (new_width, new_height),
        )


class _Resampler:
    """Resamples frames of one size to another, first along rows, then along columns, as separable filters may."""

    def __init__(self, room: _Room, filter: str, device: torch.device):
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


def _ground(frame: Tensor, width: int, height: int, ground: str) -> Tensor:
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
    room = _Room.of(frame.shape[1], frame.shape[0], width, height, options)
    return _Resampler(room, filter, frame.device)(frame)
