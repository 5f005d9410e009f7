"""A run as pictures: its losses as curves, and what it made at some steps, playing side by side.

Made to be read small, as on a node: few words, large.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..media.labelling import LabelledClip, side_by_side
from ..media.lettering import FAINT, INK, LINE, PAPER, fitting, write
from ..media.pictures import Pixels
from ..media.webp import read_webp
from .report_curves import Curve, averaged, thinned
from .run_folder import RunFolder

WIDTH, CHART_HEIGHT, MARGIN = 960, 300, 32
TITLE, TEXT = 34, 26  # sizes of letters
LEFT, ABOVE, BELOW = 120, 52, 44  # pixels around a curve, for its words
SMOOTHING = 2  # lines are drawn so much larger, and reduced, for Pillow draws steps
FAINT_LINE, STRONG_LINE = (155, 184, 217), (194, 65, 12)
MOST_DOTS, DOT = 30, 5 * SMOOTHING
USUAL = 0.99  # of a curve's points; a few that are far off would flatten all others
STEPS_SIDE_BY_SIDE = 5
LETTERS_ACROSS = 32  # of the words on samples

Point = tuple[float, float]


@dataclass
class History:
    """The losses of a run by step; `add` goes on with it."""

    losses: list[Point] = field(default_factory=list)
    held_out: list[Point] = field(default_factory=list)  # on clips that are not trained on

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]]) -> History:
        """From the lines of metrics.jsonl."""
        history = cls()
        for entry in entries:
            history.add(entry["step"], entry.get("loss"), entry.get("validation"))
        return history

    def add(self, step: int, loss: float | None, validation: Mapping[str, float | None] | None) -> None:
        """What came of a step; a loss that is no number is left out."""
        if loss is not None and math.isfinite(loss):
            self.losses.append((step, loss))
        measured = (validation or {}).get("loss")
        if measured is not None:
            self.held_out.append((step, measured))

    @property
    def step(self) -> int:
        """So many are done, as far as it tells."""
        return int(max((curve[-1][0] for curve in (self.losses, self.held_out) if curve), default=0))


def draw_curves(title: str, history: History) -> Pixels:
    """The losses as a picture (h w c): while training, and on the clips that are held out."""
    losses, held_out = Curve("", history.losses), Curve("", history.held_out)
    height = 2 * CHART_HEIGHT + TITLE + 2 * MARGIN
    picture = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(picture)
    write(draw, (MARGIN, MARGIN // 2), fitting(draw, title, TITLE, WIDTH - 2 * MARGIN), TITLE, INK)
    top = TITLE + MARGIN
    _draw_chart(picture, top, "loss while training", losses, averaged(losses))
    _draw_chart(picture, top + CHART_HEIGHT, "loss on clips held out, which should fall", held_out)
    return np.asarray(picture)


def draw_words(words: str) -> Pixels:
    """A picture (h w c) that says in words why there is none."""
    picture = Image.new("RGB", (WIDTH, CHART_HEIGHT), PAPER)
    write(ImageDraw.Draw(picture), (WIDTH / 2, CHART_HEIGHT / 2), words, TITLE, FAINT, anchor="mm")
    return np.asarray(picture)


def samples_of(run: RunFolder, most_steps: int = STEPS_SIDE_BY_SIDE) -> tuple[Tensor, float] | None:
    """What a run made at some of its steps, the first and the last among them, as one clip (f h w c) in 0..1.

    Gives its frames per second too. A row for each clip, a column for each step; None where nothing was made.
    """
    by_step = {step: {path.stem: path for path in paths} for step, paths in run.samples().items() if paths}
    steps = spread(list(by_step), most_steps)
    names = list(dict.fromkeys(name for step in steps for name in by_step[step]))
    read = {(name, step): read_webp(by_step[step][name]) for name in names for step in steps if name in by_step[step]}
    if not read:
        return None
    rows = [
        [LabelledClip(f"step {step}", as_clip(read[name, step][0]), name) for step in steps if (name, step) in read]
        for name in names
    ]
    return side_by_side(rows, LETTERS_ACROSS), max(rate for _, rate in read.values())


def below_each_other(picture: Pixels, clip: Tensor) -> Tensor:
    """A still picture above a clip (f h w c), as one clip as wide as the picture."""
    frames, height, width, _ = clip.shape
    tall = max(1, round(height * picture.shape[1] / width))
    smaller = torch.nn.functional.interpolate(
        clip.movedim(-1, 1), size=(tall, picture.shape[1]), mode="bilinear", antialias=True
    )
    still = torch.from_numpy(picture.copy()).to(clip) / 255
    return torch.cat([still.expand(frames, -1, -1, -1), smaller.movedim(1, -1).clamp(0, 1)], dim=1)


def spread(steps: Sequence[int], most: int) -> list[int]:
    """At most so many of the steps, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(place * (len(steps) - 1) / max(1, most - 1))] for place in range(most)]


def as_clip(frames: Sequence[Pixels]) -> Tensor:
    """Frames as one clip (f h w c) in 0..1."""
    return torch.from_numpy(np.stack(frames)).float() / 255


def _draw_chart(picture: Image.Image, top: int, words: str, *curves: Curve) -> None:
    """Curves over the same steps; of two the second is the one to look at."""
    draw = ImageDraw.Draw(picture)
    write(draw, (MARGIN, top), words, TEXT, FAINT)
    across = (LEFT, WIDTH - MARGIN)
    up = (top + CHART_HEIGHT - BELOW, top + ABOVE)
    draw.line([(LEFT, up[1]), (LEFT, up[0]), (across[1], up[0])], LINE, 2)
    points = [point for curve in curves for point in curve.points]
    if not points:
        write(draw, ((across[0] + across[1]) / 2, (up[0] + up[1]) / 2), "not measured yet", TEXT, FAINT, anchor="mm")
        return
    steps = min(step for step, _ in points), max(step for step, _ in points)
    low, high = _range(curves[0].points)
    for value, y in zip(dict.fromkeys((low, high)), (up[0] - TEXT / 2, up[1] + TEXT / 2), strict=False):
        write(draw, (LEFT - 12, y), f"{value:.3g}", TEXT, FAINT, anchor="rm")
    for step, x, anchor in ((steps[0], across[0], "la"), (steps[1], across[1], "ra")):
        write(draw, (x, up[0] + 8), f"{step:g}", TEXT, FAINT, anchor=anchor)
    write(draw, ((across[0] + across[1]) / 2, up[0] + 8), "step", TEXT, FAINT, anchor="ma")
    colors = (FAINT_LINE, STRONG_LINE)[-len(curves) :]
    box = (across[0] + 2, up[1], across[1], up[0] - 2)
    _draw_lines(picture, box, steps, (low, high), zip(curves, colors, strict=True))


def _range(points: Sequence[Point]) -> tuple[float, float]:
    """The lowest and the highest value that is shown."""
    values = sorted(value for _, value in points)
    return values[0], values[min(len(values) - 1, math.floor(len(values) * USUAL))]


def _draw_lines(
    picture: Image.Image,
    box: tuple[int, int, int, int],
    steps: tuple[float, float],
    values: tuple[float, float],
    curves: Iterable[tuple[Curve, tuple[int, int, int]]],
) -> None:
    left, top, right, bottom = box
    wide, tall = SMOOTHING * (right - left), SMOOTHING * (bottom - top)
    canvas = picture.crop(box).resize((wide, tall))
    draw = ImageDraw.Draw(canvas)

    def place(point: Point) -> Point:
        x, y = _share(point[0], steps), 1 - _share(point[1], values)
        return DOT + x * (wide - 2 * DOT - 1), DOT + y * (tall - 2 * DOT - 1)  # dots at the edges are whole

    for curve, color in curves:
        places = [place(point) for point in thinned(curve.points)]
        draw.line(places, color, 3 * SMOOTHING, joint="curve")
        if len(places) <= MOST_DOTS:
            for x, y in places:
                draw.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), color)
    picture.paste(canvas.resize((right - left, bottom - top), Image.Resampling.LANCZOS), box)


def _share(value: float, bounds: tuple[float, float]) -> float:
    low, high = bounds
    return min(1.0, (value - low) / (high - low)) if high > low else 0.5
