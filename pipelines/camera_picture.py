"""A camera path as a picture: seen from above, and its height over the frames.

Axes: h height, w width, c channels.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from ..media.lettering import FAINT, INK, LINE, PAPER, font
from ..media.pictures import Pixels
from .camera import CameraPath

WIDTH, HEIGHT = 512, 640
SMOOTH = 3  # drawn so many times larger, then made smaller: Pillow draws hard edges
CENTER, RADIUS = (256, 224), 162
LEFT, RIGHT, TOP, BOTTOM = 66, 484, 488, 614  # of the curve
DOT = 9
TICK = 30  # degrees between the lines of the curve
FIRST_COLOR, LAST_COLOR = (24, 118, 158), (222, 104, 36)  # the colours of the first and of the last frame
Point = tuple[float, float]
Color = tuple[int, int, int]


def picture_of(path: CameraPath) -> Pixels:
    """Draw the path as a (640 512 3) picture.

    Above, the object in the middle and the camera around it as seen from overhead, the input's view at the bottom: a
    high or a low camera stands nearer to the middle. Below, the elevation of every frame.
    """
    picture = Image.new("RGB", (WIDTH * SMOOTH, HEIGHT * SMOOTH), PAPER)
    pen = _Pen(ImageDraw.Draw(picture))
    _draw_from_above(pen, path)
    _draw_elevations(pen, path)
    return np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


class _Pen:
    """Draws in pixels of the finished picture."""

    def __init__(self, draw: ImageDraw.ImageDraw):
        self._draw = draw

    def line(self, points: list[Point], color: Color, wide: float = 1) -> None:
        self._draw.line([(x * SMOOTH, y * SMOOTH) for x, y in points], color, round(wide * SMOOTH), joint="curve")

    def circle(
        self, at: Point, radius: float, fill: Color | None, outline: Color | None = None, wide: float = 1
    ) -> None:
        x, y, far = at[0] * SMOOTH, at[1] * SMOOTH, radius * SMOOTH
        self._draw.ellipse([x - far, y - far, x + far, y + far], fill, outline, round(wide * SMOOTH))

    def write(self, at: Point, text: str, size: int, color: Color, anchor: str = "la") -> None:
        self._draw.text((at[0] * SMOOTH, at[1] * SMOOTH), text, color, font(size * SMOOTH), anchor=anchor)


def _draw_from_above(pen: _Pen, path: CameraPath) -> None:
    pen.write((20, 14), "Seen from above", 15, INK)
    pen.write((WIDTH - 20, 16), f"{len(path)} frames", 13, FAINT, "ra")
    for elevation_deg in (0, 30, 60):
        radius = RADIUS * math.cos(math.radians(elevation_deg))
        pen.circle(CENTER, radius, None, LINE)
    for azimuth_deg in range(0, 360, 90):
        x, y = _from_above(azimuth_deg, 0, RADIUS + 8)
        pen.line([CENTER, (x, y)], LINE)
        place = _from_above(azimuth_deg, 0, RADIUS + 24)
        pen.write(place, f"{azimuth_deg}", 12, FAINT, "mm")
    pen.circle(CENTER, 20, (228, 229, 230), LINE)
    pen.write(CENTER, "object", 11, FAINT, "mm")
    places = [_from_above(*angles) for angles in zip(path.turns_deg, path.elevations_deg, strict=True)]
    _draw_track(pen, places)
    pen.write((CENTER[0], CENTER[1] + RADIUS + 42), "the input's view, last frame", 12, LAST_COLOR, "mm")


def _draw_elevations(pen: _Pen, path: CameraPath) -> None:
    pen.write((20, TOP - 34), "Elevation in degrees", 15, INK)
    low, high = _range(path.elevations_deg)

    def height(elevation_deg: float) -> float:
        return BOTTOM - (elevation_deg - low) / (high - low) * (BOTTOM - TOP)

    for elevation_deg in range(low, high + 1, TICK):
        y = height(elevation_deg)
        pen.line([(LEFT - 10, y), (RIGHT + 10, y)], LINE, 1.6 if elevation_deg == 0 else 1)
        pen.write((LEFT - 16, y), f"{elevation_deg}", 12, FAINT, "rm")
    wide = (RIGHT - LEFT) / max(1, len(path) - 1)
    places = [(LEFT + wide * frame, height(elevation)) for frame, elevation in enumerate(path.elevations_deg)]
    _draw_track(pen, places)


def _draw_track(pen: _Pen, places: list[Point]) -> None:
    """Join the places in the order of their frames, and number as many as there is room for, the last one first."""
    colors = [_color(frame, len(places)) for frame in range(len(places))]
    for frame in range(1, len(places)):
        pen.line([places[frame - 1], places[frame]], colors[frame], 2)
    numbered: list[int] = []
    for frame in (len(places) - 1, *range(len(places) - 1)):
        if all(math.dist(places[frame], places[other]) > 2 * DOT for other in numbered):
            numbered.append(frame)
    for frame in range(len(places)):
        if frame not in numbered:
            pen.circle(places[frame], DOT / 3, colors[frame])
    for frame in reversed(numbered):
        is_last = frame == len(places) - 1
        pen.circle(places[frame], DOT + (2 if is_last else 0), colors[frame], PAPER, 1.5 if is_last else 1)
        pen.write(places[frame], f"{frame + 1}", 11 if frame < 99 else 9, PAPER, "mm")


def _from_above(azimuth_deg: float, elevation_deg: float, radius: float = RADIUS) -> Point:
    """Azimuth 0 lies at the bottom, before the object; counter-clockwise from there."""
    far = radius * math.cos(math.radians(elevation_deg))
    return CENTER[0] + far * math.sin(math.radians(azimuth_deg)), CENTER[1] + far * math.cos(math.radians(azimuth_deg))


def _range(elevations_deg: tuple[float, ...]) -> tuple[int, int]:
    """The lowest and highest degree of the curve's room: multiples of 30, some of them apart."""
    low, high = TICK * math.floor(min(elevations_deg) / TICK), TICK * math.ceil(max(elevations_deg) / TICK)
    return (low, high) if high - low > TICK else (max(-90, low - TICK), min(90, high + TICK))


def _color(frame: int, frames: int) -> Color:
    share = (frame + 1) / frames
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(FIRST_COLOR, LAST_COLOR, strict=True))
    return red, green, blue
