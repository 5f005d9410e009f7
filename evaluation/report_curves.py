"""Curves over frames as SVG for a page, with what its script needs to tell their values under the pointer."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .colours import PALETTE, dash_of
from .metrics import Metric

WIDTH, HEIGHT = 1000, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 12, 30  # pixels around the curves, for their labels
MOST_TICKS = 6


@dataclass(frozen=True)
class Curve:
    name: str
    points: Sequence[tuple[int, float | None]]  # (frame, value)
    colour: str
    dashed: bool = False  # what is not a clip, but to hold clips against


def drawn(curves: Sequence[Curve], metric: Metric) -> str:
    """Some curves with axes, a legend and their values."""
    known = [(frame, value) for curve in curves for frame, value in curve.points if value is not None]
    if not known:
        return '<p class="faint">There is no value to draw.</p>'
    across = _Axis.of([frame for frame, _ in known], LEFT, WIDTH - RIGHT, whole=True)
    up = _Axis.of([value for _, value in known], HEIGHT - BOTTOM, TOP)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(metric.title)} by frame">']
    for value in up.ticks:
        y = up.place(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{up.label(value)}</text>')
    for frame in across.ticks:
        x = across.place(frame)
        parts.append(f'<text x="{x}" y="{HEIGHT - 8}" text-anchor="middle">{across.label(frame)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    parts += [_line(curve, across, up) for curve in curves]
    cursor = f'<line class="cursor axis" y1="{TOP}" y2="{HEIGHT - BOTTOM}" visibility="hidden"/></svg>'
    legend = "".join(
        f'<span><span class="dot" style="background:{curve.colour}"></span>{escape(curve.name)}</span>'
        for curve in curves
    )
    return (
        f'<div class="curves">{"".join(parts)}{cursor}<div class="tip"></div>'
        f'<script type="application/json">{_values(curves, across)}</script></div><div class="legend">{legend}</div>'
    )


def _line(curve: Curve, across: _Axis, up: _Axis) -> str:
    """Strokes between neighbours that have values; a frame between two that have none is a dot."""
    strokes: list[list[str]] = [[]]
    for frame, value in curve.points:
        if value is None:
            strokes.append([])
        else:
            strokes[-1].append(f"{across.place(frame)} {up.place(value)}")
    path = "".join("M" + "L".join(stroke if len(stroke) > 1 else stroke * 2) for stroke in strokes if stroke)
    number = PALETTE.index(curve.colour) if curve.colour in PALETTE else 0
    dashes = "4 5" if curve.dashed else dash_of(number)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="{path}" fill="none" stroke="{curve.colour}" stroke-width="2" stroke-linecap="round"{dashed}/>'


def _values(curves: Sequence[Curve], across: _Axis) -> str:
    data = {
        "width": WIDTH,
        "curves": [
            {
                "name": curve.name,
                "colour": curve.colour,
                "points": [
                    [frame, across.place(frame), f"{value:.5g}"] for frame, value in curve.points if value is not None
                ],
            }
            for curve in curves
        ],
    }
    return json.dumps(data).replace("<", "\\u003c")


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    step: float
    first: float  # the pixel of `low`
    last: float

    @classmethod
    def of(cls, values: Sequence[float], first: float, last: float, *, whole: bool = False) -> _Axis:
        """An axis whose ends are round numbers, or, of whole numbers, the ends of what is there."""
        low, high = min(values), max(values)
        span = high - low
        if span <= abs(high) * 1e-9:
            span = max(abs(high), 1.0) * 0.1 if not whole else 1.0
            low, high = (low - span / 2, high + span / 2) if not whole else (low, low + 1)
        step = _round_step(span / MOST_TICKS)
        if whole:
            return cls(low, high, max(1.0, step), first, last)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step, step, first, last)

    @property
    def ticks(self) -> list[float]:
        start = math.ceil(self.low / self.step - 1e-9)
        count = math.floor(self.high / self.step + 1e-9) - start + 1
        return [(start + number) * self.step for number in range(count)]

    def place(self, value: float) -> float:
        return round(self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first), 1)

    def label(self, value: float) -> str:
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        return f"{value + 0:.{digits}f}"


def _round_step(rough: float) -> float:
    unit = 10 ** math.floor(math.log10(rough))
    return next(unit * times for times in (1, 2, 5, 10) if unit * times >= rough * (1 - 1e-9))
