"""Drawing outlines without jagged edges, from how far each pixel is from them.

Axes: h height, w width, d the two of a point (x to the right, y down), c the channels of a colour. A distance is
negative inside the outline. Lengths are in pixels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Outline:
    """A circle, or a star of so many points; a star whose dents lie on the line between two points is a polygon."""

    points: int  # 0 is a circle
    dent: float = 1.0  # how far from the centre a dent lies, a point being at 1

    @property
    def area(self) -> float:
        """The area where the points lie at 1 from the centre."""
        return self.points * self.dent * math.sin(math.pi / self.points) if self.points else math.pi

    def distance(self, places: Tensor, reach: float) -> Tensor:
        """From (h w d) places, relative to the centre, to the outline whose points lie `reach` from the centre."""
        radius = places.norm(dim=-1)
        if not self.points:
            return radius - reach
        # Every wedge from a point to its dent is the same, mirrored; so each place is folded into the first one, where
        # the outline is a single edge.
        wedge = math.pi / self.points
        angle = torch.atan2(places[..., 1], places[..., 0])
        angle = ((angle + wedge).remainder(2 * wedge) - wedge).abs()
        x, y = radius * angle.cos(), radius * angle.sin()
        edge_x, edge_y = self.dent * math.cos(wedge) * reach - reach, self.dent * math.sin(wedge) * reach
        along = (((x - reach) * edge_x + y * edge_y) / (edge_x**2 + edge_y**2)).clamp(0, 1)
        away = torch.hypot(x - reach - along * edge_x, y - along * edge_y)
        outside = (x - reach) * edge_y > y * edge_x
        return torch.where(outside, away, -away)


def polygon(corners: int) -> Outline:
    return Outline(corners, math.cos(math.pi / corners))


def places_around(x: float, y: float, angle: float, rows: slice, columns: slice) -> Tensor:
    """The (h w d) centres of these pixels as a shape sees them that stands at (x, y), turned by `angle` radians."""
    right = torch.arange(columns.start, columns.stop, dtype=torch.float64) + 0.5 - x
    down = torch.arange(rows.start, rows.stop, dtype=torch.float64)[:, None] + 0.5 - y
    sine, cosine = math.sin(angle), math.cos(angle)
    return torch.stack([right * cosine + down * sine, down * cosine - right * sine], dim=-1)


def coverage(distance: Tensor) -> Tensor:
    """How much of each pixel lies inside: 1 inside, 0 outside, and the share in between where the edge crosses it."""
    return (0.5 - distance).clamp(0, 1)


def shadow(distance: Tensor, softness: float) -> Tensor:
    """Coverage whose edge fades over about `softness` pixels on either side."""
    return torch.sigmoid(distance / softness * -3)


def paint(picture: Tensor, color: Tensor, opacity: Tensor) -> None:
    """Lay a colour, (c) or (h w c), over an (h w c) picture, in place."""
    picture += (color - picture) * opacity[..., None]


def in_steps_of_a_screen(picture: Tensor) -> Tensor:
    """Rounded to the 256 levels of a screen, so that the last bit of a processor's sine does not change the clip."""
    return (picture.clamp(0, 1) * 255).round() / 255
