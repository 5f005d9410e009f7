"""Curves as SVG, small enough to stand in a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 900, 260
LEFT, RIGHT, TOP, BOTTOM = 70, 10, 14, 26  # pixels around the curves, for their labels
MOST_POINTS = 600  # more than can be told apart
COLOURS = ("#9bb8d9", "#c2410c")
AVERAGED_SHARE = 0.05  # of the curve, over which an average reaches


@dataclass(frozen=True)
class Curve:
    """Values by step."""

    name: str
    points: Sequence[tuple[float, float]]


def averaged(curve: Curve) -> Curve:
    """The curve without its noise: each value is the mean of those around it."""
    values = [value for _, value in curve.points]
    reach = max(1, round(len(values) * AVERAGED_SHARE / 2))
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    points = []
    for index, (step, _) in enumerate(curve.points):
        first, end = max(0, index - reach), min(len(values), index + reach + 1)
        points.append((step, (sums[end] - sums[first]) / (end - first)))
    return Curve(f"{curve.name}, averaged", points)


def drawn(curves: Sequence[Curve]) -> str:
    """Some curves over the same steps, as an SVG element."""
    shown = [Curve(curve.name, thinned(curve.points)) for curve in curves]
    steps = [step for curve in shown for step, _ in curve.points]
    values = [value for curve in shown for _, value in curve.points]
    across, up = _Axis(min(steps), max(steps), LEFT, WIDTH - RIGHT), _axis_up(values)
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(curves[0].name)}">',
            *(_label(LEFT - 6, up.place(value) + 4, "end", f"{value:.3g}") for value in (up.low, up.high)),
            *(_label(across.place(step), HEIGHT - 6, "middle", f"{step:g}") for step in (across.low, across.high)),
            f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#999"/>',
            *(_line(curve, colour, across, up) for curve, colour in zip(shown, COLOURS[-len(shown) :], strict=True)),
            "</svg>",
        ]
    )


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    first: float  # the pixel of `low`
    last: float

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.first + share * (self.last - self.first), 1)


def _axis_up(values: Sequence[float]) -> _Axis:
    return _Axis(min(values), max(values), HEIGHT - BOTTOM, TOP)


def _line(curve: Curve, colour: str, across: _Axis, up: _Axis) -> str:
    places = " ".join(f"{across.place(step)},{up.place(value)}" for step, value in curve.points)
    dots = "" if len(curve.points) > 30 else "".join(_dot(point, colour, across, up) for point in curve.points)
    title = f"<title>{escape(curve.name)}</title>"
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5">{title}</polyline>{dots}'


def _dot(point: tuple[float, float], colour: str, across: _Axis, up: _Axis) -> str:
    step, value = point
    title = f"<title>step {step:g}: {value:.4g}</title>"
    return f'<circle cx="{across.place(step)}" cy="{up.place(value)}" r="3" fill="{colour}">{title}</circle>'


def _label(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of every stretch of a long curve the lowest and the highest point, so that no peak is lost."""
    stretch = math.ceil(2 * len(points) / MOST_POINTS)
    if stretch <= 2:
        return list(points)
    kept = []
    for first in range(0, len(points), stretch):
        some = sorted(points[first : first + stretch], key=lambda point: point[1])
        kept += sorted({some[0], some[-1]})
    return kept
