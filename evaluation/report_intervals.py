"""Means of several models with their intervals as SVG for a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .metrics import Metric
from .report_curves import Axis
from .statistics import Mean

WIDTH, ROW_HEIGHT, TOP, BOTTOM = 500, 28, 8, 30
LEFT, RIGHT = 130, 20  # pixels around the rows, for names and for half a label
LONGEST_NAME = 16
MOST_TICKS = 4


@dataclass(frozen=True)
class Row:
    name: str
    mean: Mean
    colour: str
    is_hollow: bool  # some of its clips fail


def drawn(rows: Sequence[Row], metric: Metric) -> str:
    """A dot for each mean, and a line from one end of its interval to the other."""
    edges = [edge for row in rows for edge in (row.mean.low, row.mean.value, row.mean.high)]
    known = [edge for edge in edges if edge is not None and math.isfinite(edge)]
    if not known:
        return '<p class="faint">There is no value to draw.</p>'
    bottom = TOP + ROW_HEIGHT * len(rows)
    label = escape(f"{metric.title} of the models")
    parts = [f'<svg viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img" aria-label="{label}">']
    across = Axis.of(known, LEFT, WIDTH - RIGHT, ticks=MOST_TICKS)
    for value in across.ticks:
        x = across.place(value)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 20}" text-anchor="middle">{across.label(value)}</text>')
    for number, row in enumerate(rows):
        parts.append(_row(row, TOP + ROW_HEIGHT * number + ROW_HEIGHT // 2, across))
    return "".join([*parts, "</svg>"])


def _row(row: Row, y: int, across: Axis) -> str:
    name = row.name if len(row.name) <= LONGEST_NAME else f"...{row.name[3 - LONGEST_NAME :]}"
    parts = [f'<text x="{LEFT - 12}" y="{y + 5}" text-anchor="end">{escape(name)}</text>']
    mean = row.mean
    if mean.low is not None and mean.high is not None:
        ends = f'x1="{across.place(mean.low)}" x2="{across.place(mean.high)}" y1="{y}" y2="{y}"'
        parts.append(f'<line {ends} stroke="{row.colour}" stroke-width="4" stroke-opacity=".55"/>')
    if math.isfinite(mean.value):
        fill = "var(--paper)" if row.is_hollow else row.colour
        place = f'cx="{across.place(mean.value)}" cy="{y}" r="6"'
        parts.append(f'<circle {place} fill="{fill}" stroke="{row.colour}" stroke-width="2"/>')
    return "".join(parts)
