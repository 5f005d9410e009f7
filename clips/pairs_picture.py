"""Pairs of frames as a picture to look at: what a model sees on the left, what it should give on the right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from ..media.lettering import FAINT, INK, PAPER, fitting, write
from ..media.pictures import Pixels, read_picture
from .footage import FootageError
from .pairs import FramePairs, Pair

WIDTH, MARGIN, GAP, ARROW = 1200, 40, 8, 40
LONGEST_THUMBNAIL, SHORTEST_THUMBNAIL = 240, 48
HEAD, CAPTION_HEIGHT, ROW_GAP = 84, 30, 18
MOST_CONTEXT = 8  # frames of a longer context that are shown: the last of them


def draw_pairs(pairs: FramePairs, count: int) -> Pixels:
    """So many pairs, spread over all of them, as an (h w c) picture."""
    if not len(pairs):
        raise FootageError(
            f"There is no pair: no scene has the {pairs.options.before + pairs.options.step + 1} frames that one "
            "needs. Take a smaller step or context, or longer clips."
        )
    count = min(count, len(pairs))
    shown = [pairs[(2 * place + 1) * len(pairs) // (2 * count)] for place in range(count)]
    frames = min(MOST_CONTEXT, pairs.options.context)
    columns = 2 if frames <= 2 else 1
    wide = (WIDTH - 2 * MARGIN - (columns - 1) * MARGIN) // columns
    side = max(SHORTEST_THUMBNAIL, min(LONGEST_THUMBNAIL, (wide - ARROW - (frames - 1) * GAP) // (frames + 1)))
    rows = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    talls = [max(_thumbnail(pair, side).height for pair in row) for row in rows]
    height = HEAD + sum(talls) + len(rows) * (CAPTION_HEIGHT + ROW_GAP) + MARGIN // 2
    picture = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(picture)
    write(draw, (MARGIN, 26), "Frame pairs", 26, INK)
    write(draw, (MARGIN + 160, 36), _summary(pairs, len(shown)), 16, FAINT)
    y = HEAD
    for row, tall in zip(rows, talls, strict=True):
        for column, pair in enumerate(row):
            _draw_pair(picture, draw, (MARGIN + column * (wide + MARGIN), y), pair, (side, tall), wide)
        y += tall + CAPTION_HEIGHT + ROW_GAP
    return np.asarray(picture)


def _summary(pairs: FramePairs, shown: int) -> str:
    step = pairs.options.step
    ahead = "the next frame" if step == 1 else f"the frame {step} later"
    return f"{len(pairs)} pairs, {shown} of them shown; left the input, right its target, {ahead}."


def _draw_pair(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    pair: Pair,
    room: tuple[int, int],
    wide: int,
) -> None:
    x, y = place
    side, tall = room
    seen = [ImageOps.contain(_picture(path), room, Image.Resampling.LANCZOS) for path in pair.paths[-MOST_CONTEXT:]]
    target = ImageOps.contain(_picture(pair.target_path), room, Image.Resampling.LANCZOS)
    for number, thumbnail in enumerate(seen):
        picture.paste(thumbnail, (x + number * (side + GAP), y))
    end = x + len(seen) * (side + GAP) - GAP
    _draw_arrow(draw, end + 8, end + ARROW - 8, y + target.height // 2)
    picture.paste(target, (end + ARROW, y))
    places = ", ".join(map(str, pair.places[-MOST_CONTEXT:]))
    told = f"{pair.clip}   {places} -> {pair.target}"
    write(draw, (x, y + tall + 6), fitting(draw, told, 14, wide), 14, INK)


def _draw_arrow(draw: ImageDraw.ImageDraw, start: int, end: int, y: int) -> None:
    draw.line([(start, y), (end, y)], INK, 2)
    draw.line([(end - 6, y - 6), (end, y), (end - 6, y + 6)], INK, 2)


def _picture(path: Path) -> Image.Image:
    return Image.fromarray(read_picture(path))


def _thumbnail(pair: Pair, side: int) -> Image.Image:
    return ImageOps.contain(_picture(pair.target_path), (side, side), Image.Resampling.LANCZOS)
