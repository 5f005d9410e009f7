"""Clips under their labels: some frames of each as one picture, or all of them playing beside each other.

    clips = [LabelledClip("before", one), LabelledClip("moon at 1", other, "0.043 from before")]
    sheet = draw_sheet(clips, 6)
    video = side_by_side(in_rows(clips))

Small frames are enlarged by whole numbers, so that their pixels stay square, and large ones reduced until all of it
fits into 4096 pixels. Words grow with the picture, which is seen reduced where it is large.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .errors import MediaError
from .lettering import FAINT, INK, LINE, PAPER, fitting, font, write
from .memory import room_for_clip
from .pictures import Pixels, check_clip, opaque, to_bytes
from .resizing import ResizeOptions, resize_picture

LONGEST_SIDE = 4096
WELL_SEEN = 320  # pixels of a frame's longer side, up to which it is enlarged
SMALLEST_SIDE = 16  # of a frame; rather than less, the picture becomes longer
LETTERS_ACROSS = 60  # of the size of the words, as wide as they are high
SMALLEST_TEXT, LARGEST_TEXT = 14, 64
NOTE = 0.8  # size of a note beside its label
LINE_HEIGHT = 1.35
MOST_BESIDE = 4
SHRINKING = 0.97
SMALLER = "Compare fewer clips at a time, or shorter ones."
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class LabelledClip:
    label: str
    frames: Tensor  # (f h w c) in 0..1
    note: str = ""  # a line below the label, such as scores with commas between: those that have no room are left out


def draw_sheet(clips: Sequence[LabelledClip], columns: int) -> Pixels:
    """A picture (h w 3) with a row for each clip: so many of its frames, from the first to the last.

    Clips may differ in size and length. Each column shows the same frame of all, and nothing of one that has ended.
    """
    _check(clips)
    if columns < 1:
        raise MediaError(f"{columns} frames of each clip are to be shown. Choose at least 1.")
    numbers = _spread(max(len(clip.frames) for clip in clips), columns)
    page = _Page.of([[clip] for clip in clips], columns=len(numbers), header=True)
    picture, draw = page.paper()
    for column, number in enumerate(numbers):
        x = page.left(column)
        told = f"frame {number}" if draw.textlength(f"frame {number}", font(page.note)) <= page.tile[0] else f"{number}"
        write(draw, (x, page.margin), told, page.note, FAINT)
    for row, clip in enumerate(clips):
        page.write_label(draw, row, 0, clip, columns=len(numbers))
        for column, number in enumerate(numbers):
            if number < len(clip.frames):
                frame = page.fitted(_bytes(clip.frames[number]))
                left, top, right, bottom = page.place(row, column, frame)
                draw.rectangle((left - 1, top - 1, right, bottom), outline=LINE)
                picture.paste(Image.fromarray(frame), (left, top))
    return np.asarray(picture)


def side_by_side(rows: Sequence[Sequence[LabelledClip]], letters_across: int = LETTERS_ACROSS) -> Tensor:
    """A clip (f h w 3) in 0..1 in which rows of clips play, as long as the longest; others stay at their last frame.

    Fewer letters across make larger words, for a picture that is seen small.
    """
    clips = [clip for row in rows for clip in row]
    _check(clips)
    page = _Page.of(rows, columns=max(len(row) for row in rows), letters=letters_across)
    picture, draw = page.paper()
    boxes: list[tuple[LabelledClip, Box]] = []
    for number, row in enumerate(rows):
        for column, clip in enumerate(row):
            page.write_label(draw, number, column, clip)
            left, top, right, bottom = box = page.place(number, column, page.fitted(_bytes(clip.frames[0])))
            draw.rectangle((left - 1, top - 1, right, bottom), outline=LINE)
            boxes.append((clip, box))
    shown = np.array(picture)
    video = room_for_clip(max(len(clip.frames) for clip in clips), page.height, page.width, remedy=SMALLER)
    for number, whole in enumerate(video):
        for clip, (left, top, right, bottom) in boxes:
            if number < len(clip.frames):
                shown[top:bottom, left:right] = page.fitted(_bytes(clip.frames[number]))
        torch.div(torch.from_numpy(shown), 255, out=whole)
    return video


def in_rows(clips: Sequence[LabelledClip]) -> list[Sequence[LabelledClip]]:
    """Clips to play beside each other: in one row where they are few, else in as few rows as hold them, about equal."""
    count = math.ceil(len(clips) / MOST_BESIDE)
    wide = math.ceil(len(clips) / max(1, count))
    return [clips[start : start + wide] for start in range(0, len(clips), max(1, wide))]


def _check(clips: Sequence[LabelledClip]) -> None:
    if not clips:
        raise MediaError("There is no clip to show. Give at least one.")
    for clip in clips:
        check_clip(clip.frames)


def _spread(frames: int, count: int) -> list[int]:
    """The places of at most so many frames, the first and the last among them; of one, the middle."""
    if count == 1:
        return [frames // 2]
    if frames <= count:
        return list(range(frames))
    return [round(place * (frames - 1) / (count - 1)) for place in range(count)]


def _bytes(frame: Tensor) -> Pixels:
    return opaque(next(to_bytes(frame[None])))


@dataclass(frozen=True)
class _Page:
    """Where everything lies: rows of frames of one size, the labels above them."""

    tile: tuple[int, int]  # width and height of the room for a frame
    columns: int
    noted: tuple[bool, ...]  # for each row, whether there is a line for notes below its labels
    header: bool  # a line above all
    letters: int  # of the size of the words, across the page

    @classmethod
    def of(
        cls,
        rows: Sequence[Sequence[LabelledClip]],
        columns: int,
        header: bool = False,
        letters: int = LETTERS_ACROSS,
    ) -> _Page:
        """The page with the largest frames that are well seen, and that fits into LONGEST_SIDE."""
        clips = [clip for row in rows for clip in row]
        wide, tall = max(clip.frames.shape[2] for clip in clips), max(clip.frames.shape[1] for clip in clips)
        page = cls((wide, tall), columns, tuple(any(clip.note for clip in row) for row in rows), header, letters)
        for scale in _scales(max(wide, tall)):
            page = replace(page, tile=(max(1, round(wide * scale)), max(1, round(tall * scale))))
            if max(page.width, page.height) <= LONGEST_SIDE:
                break
        return page

    @property
    def text(self) -> int:
        """The size of labels."""
        return max(SMALLEST_TEXT, min(LARGEST_TEXT, self.columns * self.tile[0] // self.letters))

    @property
    def note(self) -> int:
        return max(SMALLEST_TEXT - 1, round(self.text * NOTE))

    @property
    def margin(self) -> int:
        return self.text

    @property
    def gap(self) -> int:
        return self.text // 2

    @property
    def width(self) -> int:
        width = 2 * self.margin + self.columns * (self.tile[0] + self.gap) - self.gap
        return width + width % 2  # videos have even sides

    @property
    def height(self) -> int:
        height = self._above(len(self.noted))
        return height + height % 2

    def _above(self, row: int) -> int:
        """Where a row begins."""
        top = self.margin + (round(self.note * LINE_HEIGHT) + self.gap if self.header else 0)
        labels = sum(self._label_height(before) for before in range(row))
        return top + labels + row * (self.tile[1] + self.margin)

    def _label_height(self, row: int) -> int:
        note = round(self.note * LINE_HEIGHT) if self.noted[row] else 0
        return round(self.text * LINE_HEIGHT) + note + self.gap // 2

    def paper(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        picture = Image.new("RGB", (self.width, self.height), PAPER)
        return picture, ImageDraw.Draw(picture)

    def left(self, column: int) -> int:
        return self.margin + column * (self.tile[0] + self.gap)

    def write_label(
        self, draw: ImageDraw.ImageDraw, row: int, column: int, clip: LabelledClip, columns: int = 1
    ) -> None:
        """Above a place and as many columns as it may reach across."""
        x, y = self.left(column), self._above(row)
        wide = self.left(column + columns) - 2 * self.gap - x
        write(draw, (x, y), fitting(draw, clip.label, self.text, wide), self.text, INK)
        below = y + round(self.text * LINE_HEIGHT)
        write(draw, (x, below), _whole_parts(draw, clip.note, self.note, wide), self.note, FAINT)

    def place(self, row: int, column: int, frame: Pixels) -> Box:
        """Left, top, right and bottom of a frame that is as large as it is shown, in the middle of its room."""
        height, width = frame.shape[:2]
        left = self.left(column) + (self.tile[0] - width) // 2
        top = self._above(row) + self._label_height(row) + (self.tile[1] - height) // 2
        return left, top, left + width, top + height

    def fitted(self, pixels: Pixels) -> Pixels:
        """The frame as large as its room allows."""
        height, width = pixels.shape[:2]
        scale = min(self.tile[0] / width, self.tile[1] / height)
        if scale >= 1:
            return pixels.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
        size = ResizeOptions(
            width=max(1, round(width * scale)), height=max(1, round(height * scale)), filter="bilinear"
        )
        return resize_picture(pixels, size)


def _whole_parts(draw: ImageDraw.ImageDraw, note: str, size: int, wide: int) -> str:
    """As many parts of a note, which have commas between, as there is room for; of the first one what there is."""
    while ", " in note and draw.textlength(note, font(size)) > wide:
        note, _, _ = note.rpartition(", ")
    return fitting(draw, note, size, wide, keep="start")


def _scales(longer_side: int) -> Iterator[float]:
    """From the scale at which a frame is well seen downwards."""
    yield from range(max(1, WELL_SEEN // longer_side), 0, -1)
    scale = SHRINKING
    while longer_side * scale >= SMALLEST_SIDE:
        yield scale
        scale *= SHRINKING
