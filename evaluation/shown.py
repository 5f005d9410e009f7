"""Frames small enough to stand in a report, kept while their clip is gone.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from torch import Tensor

from ..media.pictures import Pixels, encode_jpeg, to_bytes

MOST_CLIPS = 8  # of which pictures are kept: a page with more would be too heavy to open
LONGEST_SIDE = 224  # pixels
MOST_FRAMES = 48  # of a clip, evenly spread
QUALITY = 85


@dataclass(frozen=True)
class Shown:
    """Some frames of a clip as JPEG, by their place among those that are compared."""

    jpegs: dict[int, bytes]
    played: Sequence[int]  # the places of those that are evenly spread

    @classmethod
    def of(
        cls, clip: Tensor, frames: Sequence[int], also: Iterable[int] = (), made: Mapping[int, bytes] | None = None
    ) -> Shown:
        """Of the compared frames of a (f h w c) clip in 0..1, by their numbers, evenly spread ones; and some more.

        `made` are frames that are JPEG already, by their numbers in the clip.
        """
        played = spread(len(frames), MOST_FRAMES)
        places = sorted({*played, *also})
        known = {place: (made or {}).get(frames[place]) for place in places}
        missing = [place for place in places if known[place] is None]
        pixels = to_bytes(clip[[frames[place] for place in missing]]) if missing else []
        drawn = {place: _small(each) for place, each in zip(missing, pixels, strict=True)}
        return cls({place: known[place] or drawn[place] for place in places}, played)

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
