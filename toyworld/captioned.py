"""Single pictures of the toy world, each with words that say all that is in it.

Axes: n pictures, c channels, h height, w width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .clip import ClipOptions, ToyClip
from .scenes import draw
from .shapes import ShapesClip, ShapesOptions

SIDE = 64
ONE_PICTURE: dict[str, Any] = {"seconds": 1.0, "frames_per_second": 1.0, "width": SIDE, "height": SIDE}
ONE_SHAPE = ShapesOptions(shapes=1, speed=0.0, **ONE_PICTURE)
"""A shape at a place: what one picture tells apart by shape, colour, place and ground."""


@dataclass(frozen=True, eq=False)
class Pictures:
    images: Tensor  # (n c h w) bytes
    captions: tuple[str, ...]  # (n)


def draw_pictures(
    options: ClipOptions, seeds: Iterable[int], on_picture: Callable[[int], None] = lambda done: None
) -> Pictures:
    """The first picture of the clip of each seed."""
    clips = []
    for seed in seeds:
        clips.append(_picture_of(draw(replace(options, seed=seed))))
        on_picture(len(clips))
    return _joined(clips)


def draw_different(count: int, seeds: Iterable[int], on_picture: Callable[[int], None] = lambda done: None) -> Pictures:
    """So many pictures of a shape, no two with the same caption: the first of each among these seeds."""
    found: dict[str, Tensor] = {}
    for seed in seeds:
        image, caption = _picture_of(draw(replace(ONE_SHAPE, seed=seed)))
        if caption not in found:
            found[caption] = image
            on_picture(len(found))
        if len(found) == count:
            return _joined([(image, caption) for caption, image in found.items()])
    raise ValueError(
        f"Only {len(found)} of these seeds have captions of their own, and {count} are wanted. Ask for less."
    )


def joined(parts: Iterable[Pictures]) -> Pictures:
    parts = list(parts)
    images = torch.cat([part.images for part in parts])
    return Pictures(images, tuple(caption for part in parts for caption in part.captions))


def _joined(pictures: list[tuple[Tensor, str]]) -> Pictures:
    return Pictures(torch.stack([image for image, _ in pictures]), tuple(caption for _, caption in pictures))


def _picture_of(clip: ToyClip) -> tuple[Tensor, str]:
    image = (clip.images[0] * 255).round().to(torch.uint8).movedim(-1, 0)
    # What a shape does needs a clip to be seen; where it is, a picture shows.
    return image, clip.truth.still_captions[0] if isinstance(clip, ShapesClip) else clip.caption
