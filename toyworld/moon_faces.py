"""The face of a moon that never was: dark maria and craters, made up from a seed, as functions on the unit sphere.

Axes: n points, m waves, k craters, d the three of a point (x to the right, y down, z towards the viewer).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .chance import Chance

WAVES = 48
LOWEST, HIGHEST = 1.6, 20.0  # waves of noise around the sphere's radius; the lowest make maria, the highest grain
CRATERS = 44
SMALLEST_CRATER, LARGEST_CRATER = 0.055, 0.3  # radius, the sphere's being 1
RIM_WIDTH = 0.32  # of a crater, its radius being 1
DARKEST = 0.55  # how bright a mare is, the highlands being 1
TEXELS = 1.5  # of a baked face for each pixel of its disc: enough for what has no detail finer than a pixel


@dataclass(frozen=True)
class Face:
    """What is drawn of a surface: how bright it is, and where it slopes."""

    waves: Tensor  # (m d) directions, as long as their frequency
    starts: Tensor  # (m) phases of the waves
    heights: Tensor  # (m)
    sea_level: float  # where noise lies above it, there is a mare
    craters: Tensor  # (k d) centres
    radii: Tensor  # (k)

    def bake(self, radius: float) -> Tensor:
        """The side that faces the viewer as (1 4 n n) of the square around a disc: brightness, and the lean of normals.

        `radius` is the disc's in pixels. What is finer than a pixel fades out, so that a small picture shows the same
        moon as a large one, and not chance samples of its grain.
        """
        across = torch.linspace(-1, 1, 2 * math.ceil(TEXELS * radius) + 1, dtype=torch.float64)
        y, x = torch.meshgrid(across, across, indexing="ij")
        points = on_sphere(x, y)
        brightness, lean = self._look(points.flatten(0, 1), 1 / radius)
        return torch.cat([brightness[None], lean.T]).view(1, 4, len(across), len(across))

    def _look(self, points: Tensor, pixel: float) -> tuple[Tensor, Tensor]:
        frequencies = self.waves.norm(dim=-1)
        heights = self.heights * torch.exp(-((frequencies * pixel / 2) ** 2))
        noise = torch.sin(points @ self.waves.T + self.starts) @ heights
        seas = torch.sigmoid((noise - self.sea_level) * 8)
        lean, glow = self._craters(points, pixel)
        brightness = (1 - (1 - DARKEST) * seas + 0.05 * noise) * (1 + glow)
        return brightness.clamp(DARKEST - 0.1, 1.1), lean

    def _craters(self, points: Tensor, pixel: float) -> tuple[Tensor, Tensor]:
        """How far the (n d) normals lean from the sphere's, and the (n) share by which the ground is brighter."""
        facing = self.craters[:, 2] > -LARGEST_CRATER
        craters, radii = self.craters[facing], self.radii[facing]
        towards = points @ craters.T
        away = (2 - 2 * towards).clamp(min=1e-12).sqrt() / radii  # (n k), 1 at the rim
        seen = 1 - torch.exp(-((radii / (1.5 * pixel)) ** 2))
        rim = torch.exp(-(((away - 1) / RIM_WIDTH) ** 2))
        bowl = torch.exp(-((away / 0.8) ** 4))
        # The slopes of a rim of height 0.1 and a bowl of depth 0.16, both times the radius.
        slopes = -0.2 * (away - 1) / RIM_WIDTH**2 * rim + 0.64 * away**3 / 0.8**4 * bowl
        leaning = slopes * seen / (away * radii)
        lean = leaning @ craters - (leaning * towards).sum(dim=-1, keepdim=True) * points
        return lean, (0.14 * rim - 0.08 * bowl) @ seen


def on_sphere(x: Tensor, y: Tensor) -> Tensor:
    """The points of the unit sphere's near side that are seen at (x, y), with d at the end; outside it, its limb."""
    away = torch.hypot(x, y).clamp(min=1)
    x, y = x / away, y / away
    return torch.stack([x, y, (1 - x**2 - y**2).clamp(min=0).sqrt()], dim=-1)


def make_up_face(seed: int) -> Face:
    chance = Chance(seed)
    frequencies = [LOWEST * (HIGHEST / LOWEST) ** (number / (WAVES - 1)) for number in range(WAVES)]
    heights = torch.tensor([frequency**-0.8 for frequency in frequencies], dtype=torch.float64)
    waves = torch.stack([_direction(chance) * frequency for frequency in frequencies])
    near, far = 1 / LARGEST_CRATER**2, 1 / SMALLEST_CRATER**2  # small craters are many, as on the Moon
    return Face(
        waves=waves,
        starts=torch.tensor([chance.between(0, 2 * math.pi) for _ in range(WAVES)], dtype=torch.float64),
        heights=heights / heights.norm() * 1.1,
        sea_level=chance.between(-0.1, 0.5),
        craters=torch.stack([_direction(chance) for _ in range(CRATERS)]),
        radii=torch.tensor([chance.between(near, far) ** -0.5 for _ in range(CRATERS)], dtype=torch.float64),
    )


def _direction(chance: Chance) -> Tensor:
    """Any direction, each as likely."""
    z, turn = chance.between(-1, 1), chance.between(0, 2 * math.pi)
    around = math.sqrt(1 - z**2)
    return torch.tensor([around * math.cos(turn), around * math.sin(turn), z], dtype=torch.float64)
