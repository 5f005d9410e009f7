"""Resizing clips and pictures: stretched, cropped to cover a size, or padded to fit into one, with antialiased filters.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from .errors import MediaError
from .memory import room_for_clip
from .pictures import Pixels, check_clip, not_a_number, parse_color, to_bytes

if TYPE_CHECKING:  # single pictures do without torch where Pillow's filters serve
    from torch import Tensor

LARGEST_SIDE = 16384
SMALLER = "Choose a smaller size or fewer frames, or close other programs."
# Those of Pillow's filters that are the same as ours: some whose weights are never negative, and some that overshoot.
PILLOWS_SOFT = {"bilinear": Image.Resampling.BILINEAR, "area": Image.Resampling.BOX}
PILLOWS_SHARP = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
FILTER_NAMES = ("lanczos", "bicubic", "bilinear", "area", "nearest")
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
    import torch

    from .resampling import Resampler, ground_of

    check_clip(clip)
    frames, height, width, channels = clip.shape
    new_width, new_height = final_size(width, height, options)
    room = Room.of(width, height, new_width, new_height, options)
    mask = torch.ones(new_height, new_width, device=clip.device)
    mask[room.rows, room.columns] = 0
    if (new_width, new_height) == (width, height) and not mask.any():
        return clip.float(), mask.expand(frames, -1, -1)
    resized = room_for_clip(frames, new_height, new_width, channels, remedy=SMALLER, device=clip.device)
    resample = Resampler(room, options.filter, clip.device)
    for index, frame in enumerate(clip):
        if frame.isnan().any():
            raise not_a_number(index)
        if room.is_padded:
            resized[index] = ground_of(frame, new_width, new_height, options.ground)
        resized[index, room.rows, room.columns] = resample(frame)
        on_frame(index + 1, resized[index].expand(-1, -1, max(3, channels)))  # grey is told as a colour
    return resized, mask.expand(frames, -1, -1)


def resize_picture(pixels: Pixels, options: ResizeOptions) -> Pixels:
    """Give a (h w rgb) picture of bytes in its new size, as `resize` does for clips.

    Pillow resamples as we do: a value is off by one level at the most, and takes half the time or less. It knows no
    graphics card, but pictures of bytes are not on one.
    """
    height, width = pixels.shape[:2]
    new_width, new_height = final_size(width, height, options)
    room = Room.of(width, height, new_width, new_height, options)
    if (new_width, new_height) == (width, height) and not room.is_padded:
        return pixels
    if options.filter == "nearest":
        import torch

        clip, _ = resize(torch.from_numpy(pixels)[None] / 255, options)
        return next(to_bytes(clip))
    picture = _resampled_by_pillow(pixels, room, options.filter)
    if not room.is_padded:
        return picture
    resized = _ground_of_bytes(pixels, new_width, new_height, options.ground)
    resized[room.rows, room.columns] = picture
    return resized


def _resampled_by_pillow(pixels: Pixels, room: Room, filter: str) -> Pixels:
    """What is seen of a (h w rgb) picture, in the size in which it is shown."""
    shown = (room.columns.stop - room.columns.start, room.rows.stop - room.rows.start)
    seen = (room.seen_x[0], room.seen_y[0], room.seen_x[1], room.seen_y[1])
    image = Image.fromarray(pixels)
    if filter in PILLOWS_SOFT:
        return np.asarray(image.resize(shown, PILLOWS_SOFT[filter], box=seen))
    # Bytes are rounded and clipped after the rows already, so the overshoot of a sharp filter would be lost there, by
    # 30 levels at worst. Floats are not.
    picture = np.empty((shown[1], shown[0], 3), np.uint8)
    for channel, plane in enumerate(image.split()):
        levels = np.asarray(plane.convert("F").resize(shown, PILLOWS_SHARP[filter], box=seen))
        np.clip(levels + 0.5, 0, 255, out=picture[..., channel], casting="unsafe")
    return picture


def _ground_of_bytes(pixels: Pixels, width: int, height: int, ground: str) -> Pixels:
    if ground != "blur":
        return np.full((height, width, 3), parse_color(ground), np.uint8)
    import torch

    from .resampling import ground_of

    blurred = ground_of(torch.from_numpy(pixels) / 255, width, height, ground)
    return next(to_bytes(blurred[None]))


@dataclass(frozen=True)
class Room:
    """Which part of a frame is seen, and where: in pixels from the left or top, to the right or bottom."""

    seen_x: tuple[float, float]
    seen_y: tuple[float, float]
    columns: slice
    rows: slice
    source: tuple[int, int]  # width, height
    is_padded: bool

    @classmethod
    def of(cls, width: int, height: int, new_width: int, new_height: int, options: ResizeOptions) -> Room:
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
