"""The demo's pictures: the truth, before and after beside each other, and the phases as curves.

Axes: f frames, h height, w width, c channels. Colours are Okabe and Ito's, which nobody mixes up, and no meaning is in
colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from ..media.lettering import FAINT, INK, LINE, PAPER, font, write
from ..media.pictures import Pixels, to_bytes

Color = tuple[int, int, int]
Point = tuple[float, float]

TRUTH, BEFORE, AFTER = (86, 90, 98), (213, 94, 0), (0, 114, 178)
NIGHT, MOONLIGHT, DIM = (18, 19, 24), (236, 236, 230), (120, 122, 130)
PANEL = 256  # pixels that a clip's longer side has at least, side by side
HOLD = 7  # times that the last frame is shown before the clips begin again

SHARP = 2  # pixels of the chart for each that it is laid out in, for screens that have them
SMOOTH = 3  # it is drawn so many times larger again, then made smaller: Pillow draws hard edges
CELL = 64  # pixels of a frame below the curves
LEFT, RIGHT, TOP, CURVES, GAP = 150, 40, 104, 300, 10


@dataclass(frozen=True)
class Shown:
    """A clip of a moon, and how it is told from others."""

    name: str
    words: str
    color: Color
    images: Tensor  # (f h w c) in 0..1
    lit: Sequence[float]  # the lit fraction in each frame

    def frames(self, longest: int) -> list[Image.Image]:
        """The frames, enlarged by a whole number so that their pixels stay what they are."""
        times = max(1, longest // max(self.images.shape[1:3]))
        return [Image.fromarray(enlarged(pixels, times)) for pixels in to_bytes(self.images)]


def enlarged(pixels: Pixels, times: int) -> Pixels:
    return np.ascontiguousarray(pixels.repeat(times, axis=0).repeat(times, axis=1))


# Side by side


def side_by_side(clips: Sequence[Shown]) -> list[Pixels]:
    """The frames (h w c) of clips that run beside each other, the last one held for a moment."""
    columns = [clip.frames(PANEL) for clip in clips]
    frames = [_panels(clips, [column[at] for column in columns], at) for at in range(len(columns[0]))]
    return frames + frames[-1:] * HOLD


def _panels(clips: Sequence[Shown], pictures: Sequence[Image.Image], at: int) -> Pixels:
    margin, above, below = 20, 66, 58
    width, height = pictures[0].size
    sheet = Image.new("RGB", (margin + len(clips) * (width + margin), above + height + below), NIGHT)
    draw = ImageDraw.Draw(sheet)
    for place, (clip, picture) in enumerate(zip(clips, pictures, strict=True)):
        left = margin + place * (width + margin)
        write(draw, (left, 14), clip.name, 20, MOONLIGHT)
        write(draw, (left, 40), clip.words, 13, DIM)
        sheet.paste(picture, (left, above))
        _draw_bar(draw, (left, above + height + 14), width, clip.lit[at])
    return np.asarray(sheet)


def _draw_bar(draw: ImageDraw.ImageDraw, at: tuple[int, int], width: int, share: float) -> None:
    """How much is lit, as a bar and in words."""
    left, top = at
    draw.rectangle([left, top, left + width - 1, top + 5], (52, 54, 62))
    if share > 0:
        draw.rectangle([left, top, left + max(1, round(share * width)) - 1, top + 5], (222, 204, 140))
    write(draw, (left, top + 13), f"{100 * share:.0f} % lit", 13, MOONLIGHT)


# The phases as curves


def phases_picture(clips: Sequence[Shown]) -> Pixels:
    """How much of the moon is lit in each frame of each clip, and below each frame what it looks like."""
    frames = len(clips[0].lit)
    size = (LEFT + frames * CELL + RIGHT, TOP + CURVES + 44 + len(clips) * (CELL + GAP) + 24)
    scale = SHARP * SMOOTH
    large = Image.new("RGB", (size[0] * scale, size[1] * scale), PAPER)
    _draw_chart(_Pen(ImageDraw.Draw(large)), clips, size[0])
    picture = large.resize((size[0] * SHARP, size[1] * SHARP), Image.Resampling.BOX)
    for row, clip in enumerate(clips):
        top = TOP + CURVES + 44 + row * (CELL + GAP)
        for at, frame in enumerate(clip.frames(CELL * SHARP)):
            fitted = frame.resize((CELL * SHARP, CELL * SHARP), Image.Resampling.NEAREST)
            picture.paste(fitted, ((LEFT + at * CELL) * SHARP, top * SHARP))
    return np.asarray(picture)


class _Pen:
    """Draws in pixels of the layout."""

    def __init__(self, draw: ImageDraw.ImageDraw):
        self._draw, self._scale = draw, SHARP * SMOOTH

    def line(self, points: Sequence[Point], color: Color, wide: float = 1) -> None:
        self._draw.line(self._scaled(points), color, round(wide * self._scale), joint="curve")

    def mark(self, at: Point, shape: str, color: Color) -> None:
        (x, y), far = at, {"circle": 5.5, "square": 5.0, "ring": 5.5}[shape]
        box = self._scaled([(x - far, y - far), (x + far, y + far)])
        if shape == "square":
            self._draw.rectangle(box, color)
        else:
            fill = PAPER if shape == "ring" else color
            self._draw.ellipse(box, fill, color, round(2 * self._scale))

    def write(self, at: Point, text: str, size: int, color: Color, anchor: str = "la") -> None:
        write(self._draw, self._scaled([at])[0], text, size * self._scale, color, anchor)

    def length(self, text: str, size: int) -> float:
        return self._draw.textlength(text, font(size * self._scale)) / self._scale

    def _scaled(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._scale, y * self._scale) for x, y in points]


MARKS = ("ring", "square", "circle")


def _draw_chart(pen: _Pen, clips: Sequence[Shown], width: int) -> None:
    pen.write((24, 18), "How much of the moon is lit", 22, INK)
    _draw_legend(pen, clips)
    bottom = TOP + CURVES
    for percent in (0, 25, 50, 75, 100):
        y = bottom - CURVES * percent / 100
        pen.line([(LEFT, y), (width - RIGHT, y)], LINE)
        pen.write((LEFT - 12, y), f"{percent} %", 13, FAINT, "rm")
    for clip, mark in zip(clips, MARKS, strict=True):
        # A pixel of sky counted for ground may lift a new moon a little above 0; nothing is below 0 or above 1.
        places = [(LEFT + (at + 0.5) * CELL, bottom - CURVES * lit) for at, lit in enumerate(clip.lit)]
        pen.line(places, clip.color, 5 if mark == "ring" else 2.5)
        for place in places:
            pen.mark(place, mark, clip.color)
    for at in range(len(clips[0].lit)):
        pen.write((LEFT + (at + 0.5) * CELL, bottom + 22), f"{at + 1}", 13, FAINT, "mm")
    pen.write((LEFT - 12, bottom + 22), "frame", 13, FAINT, "rm")
    for row, clip in enumerate(clips):
        middle = bottom + 44 + row * (CELL + GAP) + CELL / 2
        pen.write((LEFT - 12, middle), clip.name, 14, clip.color, "rm")


def _draw_legend(pen: _Pen, clips: Sequence[Shown]) -> None:
    x, y = 30.0, 66.0
    for clip, mark in zip(clips, MARKS, strict=True):
        pen.line([(x - 6, y), (x + 18, y)], clip.color, 2.5)
        pen.mark((x + 6, y), mark, clip.color)
        text = f"{clip.name}: {clip.words}"
        pen.write((x + 28, y), text, 14, INK, "lm")
        x += 28 + pen.length(text, 14) + 34
