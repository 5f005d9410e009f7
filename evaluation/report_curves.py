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
    dashes: str = ""  # "" for those of its colour


def drawn(
    curves: Sequence[Curve], metric: Metric, *, width: int = WIDTH, beside: Sequence[Sequence[Curve]] = ()
) -> str:
    """Some curves with axes, a legend and their values; on the scale that those drawn beside them have too."""
    known = values_of(curves)
    if not known:
        return '<p class="faint">There is no value to draw.</p>'
    across = Axis.of([frame for frame, _ in known], LEFT, width - RIGHT, whole=True)
    up = Axis.of([value for each in (curves, *beside) for _, value in values_of(each)], HEIGHT - BOTTOM, TOP)
    parts = [f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{escape(metric.title)} by frame">']
    for value in up.ticks:
        y = up.place(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{up.label(value)}</text>')
    for frame in across.ticks:
        x = across.place(frame)
        parts.append(f'<text x="{x}" y="{HEIGHT - 8}" text-anchor="middle">{across.label(frame)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{width - RIGHT}"/>')
    parts += [_line(curve, across, up) for curve in curves]
    cursor = f'<line class="cursor axis" y1="{TOP}" y2="{HEIGHT - BOTTOM}" visibility="hidden"/></svg>'
    legend = "".join(f"<span>{_sample(curve)}{escape(curve.name)}</span>" for curve in curves)
    return (
        f'<div class="curves">{"".join(parts)}{cursor}<div class="tip"></div>'
        f'<script type="application/json">{_values(curves, width, across)}</script></div>'
        f'<div class="legend">{legend}</div>'
    )


def values_of(curves: Sequence[Curve]) -> list[tuple[int, float]]:
    """The points that there are, (frame, value)."""
    return [(frame, value) for curve in curves for frame, value in curve.points if value is not None]


def _sample(curve: Curve) -> str:
    """A piece of a curve for the legend, with its dashes."""
    return f'<svg class="sample" viewBox="0 0 44 10"><path d="M2 5H42" {_stroke(curve)}/></svg>'


def _line(curve: Curve, across: Axis, up: Axis) -> str:
    """Strokes between neighbours that have values; a frame between two that have none is a dot."""
    strokes: list[list[str]] = [[]]
    for frame, value in curve.points:
        if value is None:
            strokes.append([])
        else:
            strokes[-1].append(f"{across.place(frame)} {up.place(value)}")
    path = "".join("M" + "L".join(stroke if len(stroke) > 1 else stroke * 2) for stroke in strokes if stroke)
    return f'<path d="{path}" {_stroke(curve)}/>'


def _stroke(curve: Curve) -> str:
    number = PALETTE.index(curve.colour) if curve.colour in PALETTE else 0
    dashes = curve.dashes or dash_of(number)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'fill="none" stroke="{curve.colour}" stroke-width="2" stroke-linecap="round"{dashed}'


def _values(curves: Sequence[Curve], width: int, across: Axis) -> str:
    data = {
        "width": width,
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
class Axis:
    low: float
    high: float
    step: float
    first: float  # the pixel of `low`
    last: float

    @classmethod
    def of(
        cls, values: Sequence[float], first: float, last: float, *, whole: bool = False, ticks: int = MOST_TICKS
    ) -> Axis:
        """An axis whose ends are round numbers, or, of whole numbers, the ends of what is there."""
        low, high = min(values), max(values)
        span = high - low
        if span <= abs(high) * 1e-9:
            span = max(abs(high), 1.0) * 0.1 if not whole else 1.0
            low, high = (low - span / 2, high + span / 2) if not whole else (low, low + 1)
        step = _round_step(span / ticks)
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
