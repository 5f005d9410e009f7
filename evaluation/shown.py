"""Frames small enough to stand in a report, kept while their clip is gone.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from torch import Tensor

from ..media.pictures import Pixels, encode_jpeg, to_bytes

LONGEST_SIDE = 224  # pixels
MOST_FRAMES = 48  # of a clip, evenly spread
QUALITY = 85


@dataclass(frozen=True)
class Shown:
    """Some frames of a clip as JPEG, by their place among those that are compared."""

    jpegs: dict[int, bytes]

    @classmethod
    def of(cls, clip: Tensor, also: Iterable[int] = ()) -> Shown:
        """Of a (f h w c) clip in 0..1 evenly spread frames, and some more."""
        places = sorted({*spread(len(clip), MOST_FRAMES), *also})
        return cls({place: _small(pixels) for place, pixels in zip(places, to_bytes(clip[places]), strict=True)})

    def picture(self, place: int) -> Image.Image:
        with Image.open(BytesIO(self.jpegs[place])) as image:
            return image.convert("RGB")

    def nearest(self, place: int) -> int:
        return min(self.jpegs, key=lambda known: abs(known - place))


def spread(count: int, most: int) -> Sequence[int]:
    """The numbers of `most` frames from the first of `count` to the last."""
    if count <= most:
        return range(count)
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


def _small(pixels: Pixels) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return encode_jpeg(np.asarray(image), QUALITY)
