"""Solid bodies made of convex parts, and what a ray from a camera meets first: exact, without a mesh.

A part is where all of its half-spaces and round walls (cylinders, ellipsoids) overlap; it may be hollowed out by
another. A ray crosses a convex part in one interval, so what it meets is found without marching.

Axes: n rays, k parts, p half-spaces of a part, q faces of all parts, c the channels of a colour, d the three of a point
(x to the right of who looks at the front, y up, z towards them).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

Point = tuple[float, float, float]
Color = tuple[float, float, float]  # levels of red, green and blue from 0 to 255

TINY = 1e-9  # an eye that lies in a face is moved off it by so much
NOTHING = -1  # the face that a ray meets where it meets none
SIDES: dict[str, Point] = {
    "right": (1, 0, 0),
    "left": (-1, 0, 0),
    "top": (0, 1, 0),
    "bottom": (0, -1, 0),
    "front": (0, 0, 1),
    "back": (0, 0, -1),
}


@dataclass(frozen=True)
class Wall:
    """A round wall: the points x for which the length of M (x - center) is 1; inside it is less."""

    matrix: tuple[Point, ...]  # M: two rows for a cylinder, three for an ellipsoid
    center: Point


@dataclass(frozen=True, kw_only=True)
class Part:
    """A convex body. Its faces are its half-spaces and then its walls, in this order."""

    normals: tuple[Point, ...] = ()  # pointing out
    offsets: tuple[float, ...] = ()  # a point x is inside where normal . x <= offset
    walls: tuple[Wall, ...] = ()
    colors: tuple[Color, ...]  # of each face
    reach: float  # the farthest point is no farther from the origin than this
    hollow: Part | None = None  # what is taken away; its faces show its colours

    @property
    def faces(self) -> int:
        return len(self.normals) + len(self.walls)


def box(low: Point, high: Point, color: Color, sides: Mapping[str, Color] | None = None) -> Part:
    """A box between two corners; `sides` gives some of SIDES a colour of their own."""
    corner = [max(abs(a), abs(b)) for a, b in zip(low, high, strict=True)]
    return Part(
        normals=tuple(SIDES.values()),
        offsets=(high[0], -low[0], high[1], -low[1], high[2], -low[2]),
        colors=tuple((sides or {}).get(side, color) for side in SIDES),
        reach=math.hypot(*corner),
    )


def prism(
    profile: Sequence[tuple[float, float]], left: float, right: float, color: Color, ends: Color | None = None
) -> Part:
    """A convex outline of (z, y) corners, in the order of the hands of a clock or against it, from left to right."""
    turned = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(profile, [*profile[1:], profile[0]], strict=True)]
    area = sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(profile, [*profile[1:], profile[0]], strict=True))
    normals, offsets = [], []
    for (z, y), (along_z, along_y) in zip(profile, turned, strict=True):
        length = math.copysign(math.hypot(along_z, along_y), area)
        normal = (0.0, -along_z / length, along_y / length)
        normals.append(normal)
        offsets.append(normal[1] * y + normal[2] * z)
    return Part(
        normals=(*normals, (1, 0, 0), (-1, 0, 0)),
        offsets=(*offsets, right, -left),
        colors=(*[color] * len(profile), *[ends or color] * 2),
        reach=max(math.hypot(max(abs(left), abs(right)), y, z) for z, y in profile),
    )


def cylinder(
    center: Point, axis: int, radius: float, half_length: float, color: Color, ends: Color | None = None
) -> Part:
    """A cylinder along the axis of a number, x being 0."""
    along, others = _unit(axis), [_unit(other) for other in range(3) if other != axis]
    wall = Wall(tuple(_scaled(row, 1 / radius) for row in others), center)
    return Part(
        normals=(along, _scaled(along, -1)),
        offsets=(center[axis] + half_length, half_length - center[axis]),
        walls=(wall,),
        colors=(ends or color, ends or color, color),
        reach=math.hypot(*center) + math.hypot(radius, half_length),
    )


def ellipsoid(center: Point, radii: Point, color: Color) -> Part:
    matrix = tuple(_scaled(_unit(axis), 1 / radius) for axis, radius in enumerate(radii))
    return Part(walls=(Wall(matrix, center),), colors=(color,), reach=math.hypot(*center) + max(radii))


def _unit(axis: int) -> Point:
    return (float(axis == 0), float(axis == 1), float(axis == 2))


def _scaled(point: Point, by: float) -> Point:
    return (point[0] * by, point[1] * by, point[2] * by)


@dataclass(frozen=True)
class Hits:
    """What each ray meets first."""

    faces: Tensor  # (n) the number of the face among all, or NOTHING
    colors: Tensor  # (n c) in 0..1
    normals: Tensor  # (n d), pointing towards the viewer


@dataclass(frozen=True)
class Solid:
    parts: tuple[Part, ...]

    @property
    def reach(self) -> float:
        """The radius of a ball about the origin that holds it all."""
        return max(part.reach for part in self.parts)

    def seen_from(self, eye: Tensor) -> View:
        """Ready to follow rays from one point outside, (d)."""
        return View(self._arrays, eye)

    @cached_property
    def _arrays(self) -> _Arrays:
        return _Arrays(self.parts)


class _Arrays:
    """The parts as arrays, so that all of them are crossed at once; hollows come behind the parts."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        hollowed = [(number, part.hollow) for number, part in enumerate(parts) if part.hollow]
        convex = [*parts, *(hollow for _, hollow in hollowed)]
        self.parts, self.convex = len(parts), len(convex)
        self.hollows = [(number, self.parts + place) for place, (number, _) in enumerate(hollowed)]
        first_faces = list(accumulate((part.faces for part in convex), initial=0))
        self.planes = [  # the faces of each part that are flat
            list(range(start, start + len(part.normals))) for start, part in zip(first_faces, convex, strict=False)
        ]
        self.normals = torch.zeros(first_faces[-1], 3, dtype=torch.float64)  # (q d), 0 where a face is round
        self.offsets = torch.ones(first_faces[-1], dtype=torch.float64)
        for planes, part in zip(self.planes, convex, strict=True):
            for face, normal, offset in zip(planes, part.normals, part.offsets, strict=True):
                self.normals[face], self.offsets[face] = torch.tensor(normal, dtype=torch.float64), offset
        self.colors = torch.tensor([color for part in convex for color in part.colors], dtype=torch.float64) / 255
        walls = [(number, wall) for number, part in enumerate(convex) for wall in part.walls]
        self.wall_parts = [number for number, _ in walls]
        self.wall_faces = [
            start + len(part.normals) + place
            for start, part in zip(first_faces, convex, strict=False)
            for place in range(len(part.walls))
        ]
        self.wall_matrices = torch.zeros(len(walls), 3, 3, dtype=torch.float64)
        self.wall_centers = torch.zeros(len(walls), 3, dtype=torch.float64)
        for place, (_, wall) in enumerate(walls):
            self.wall_matrices[place, : len(wall.matrix)] = torch.tensor(wall.matrix, dtype=torch.float64)
            self.wall_centers[place] = torch.tensor(wall.center, dtype=torch.float64)


class View:
    """A solid and an eye: what a ray meets depends only on where it goes.

    All is computed in nearness, one over the distance from the eye. A ray at a nearness s is inside a half-space where
    the nearness is at most, or at least, a number that is linear in the ray's direction; so a part is crossed where the
    least of some is above the greatest of others, with no division and no case apart.
    """

    def __init__(self, arrays: _Arrays, eye: Tensor) -> None:
        self.arrays, self.eye = arrays, eye
        above = arrays.normals @ eye - arrays.offsets  # (q) how far the eye is in front of each face
        above = above.where(above.abs() > TINY, TINY)
        slopes, in_front = -arrays.normals / above[:, None], (above > 0).tolist()
        self._entries = _Chosen(slopes, [[face for face in planes if in_front[face]] for planes in arrays.planes])
        self._exits = _Chosen(slopes, [[face for face in planes if not in_front[face]] for planes in arrays.planes])
        self._starts = (arrays.wall_matrices @ (eye - arrays.wall_centers)[..., None])[..., 0]
        outside = self._starts.square().sum(dim=-1, keepdim=True) - 1
        self._outside = outside.where(outside.abs() > TINY, TINY)

    def cast(self, directions: Tensor) -> Hits:
        """Follow (n d) rays of length 1."""
        rays = directions.T.contiguous()  # (d n), so that what is done to all rays runs along memory
        entries, exits = self._entries.slopes @ rays, self._exits.slopes @ rays
        wall_in, wall_out = self._walls(rays)
        nearest = self._entries.least(entries)  # (k n) nearness where each ray enters each part
        farthest = self._exits.greatest(exits)  # and where it leaves it
        for wall, part in enumerate(self.arrays.wall_parts):
            torch.minimum(nearest[part], wall_in[wall], out=nearest[part])
            torch.maximum(farthest[part], wall_out[wall], out=farthest[part])
        hit = nearest > farthest  # which is not below 0
        within = torch.zeros_like(hit[: self.arrays.parts])
        for part, hollow in self.arrays.hollows:
            # A ray that enters where the part is hollow goes on to the hollow's far side, and sees it from within.
            within[part] = hit[part] & (nearest[hollow] >= nearest[part]) & (farthest[hollow] < nearest[part])
            hit[part] &= ~(within[part] & (farthest[hollow] <= farthest[part]))
            nearest[part] = farthest[hollow].where(within[part], nearest[part])
        nearness, parts = nearest[: self.arrays.parts].where(hit[: self.arrays.parts], 0.0).max(dim=0)
        faces = torch.full_like(parts, NOTHING)
        from_within = within.gather(0, parts[None])[0] & (nearness > 0)
        self._name(faces, (nearness > 0) & ~from_within, parts, self._entries, entries, wall_in)
        hollow_of = torch.arange(self.arrays.convex)
        for hollowed, hollow in self.arrays.hollows:
            hollow_of[hollowed] = hollow
        self._name(faces, from_within, hollow_of[parts], self._exits, exits, wall_out)
        normals = self._normals(faces, directions, nearness)
        normals[from_within] *= -1
        return Hits(faces, self.arrays.colors[faces.clamp(min=0)], normals)

    def _walls(self, rays: Tensor) -> tuple[Tensor, Tensor]:
        """The nearness at which each of (d n) rays enters and leaves each round wall."""
        half = (self._starts[:, None] @ self.arrays.wall_matrices)[:, 0] @ rays
        square = (self.arrays.wall_matrices.flatten(0, 1) @ rays).view(-1, 3, rays.shape[1]).square().sum(dim=1)
        inside = half.square() - self._outside * square
        root = inside.clamp(min=0).sqrt()
        # An eye inside a wall, as above a mug, is where every ray has entered already.
        enters = ((root - half) / self._outside).where(self._outside > 0, math.inf)
        return enters.where(inside > 0, -math.inf), (-half - root) / self._outside

    def _name(
        self, faces: Tensor, which: Tensor, parts: Tensor, planes: _Chosen, slopes: Tensor, walls: Tensor
    ) -> None:
        """Write down through which face of its part each ray went that is meant."""
        here = which.nonzero()[:, 0]
        if not len(here):
            return
        is_entry = planes is self._entries
        there = slopes.view(self.arrays.convex, -1, slopes.shape[1])[parts[here], :, here]  # (n p)
        best, place = there.min(dim=1) if is_entry else there.max(dim=1)
        has_planes = planes.is_there[parts[here]]
        best = best.where(has_planes, math.inf if is_entry else -math.inf)
        named = planes.faces[parts[here], place]
        for wall, (of, face) in enumerate(zip(self.arrays.wall_parts, self.arrays.wall_faces, strict=True)):
            there_too = walls[wall, here]
            is_wall = (parts[here] == of) & (there_too < best if is_entry else there_too > best)
            best, named = there_too.where(is_wall, best), named.masked_fill(is_wall, face)
        faces[here] = named

    def _normals(self, faces: Tensor, directions: Tensor, nearness: Tensor) -> Tensor:
        normals = self.arrays.normals[faces.clamp(min=0)]
        for wall, face in enumerate(self.arrays.wall_faces):
            if len(here := (faces == face).nonzero()[:, 0]):
                matrix = self.arrays.wall_matrices[wall]
                points = self.eye + directions[here] / nearness[here, None] - self.arrays.wall_centers[wall]
                normals[here] = torch.nn.functional.normalize(points @ matrix.T @ matrix, dim=-1)
        return normals


class _Chosen:
    """Some of the flat faces of every part, as many of each: where there are fewer, one stands several times."""

    def __init__(self, slopes: Tensor, chosen: list[list[int]]) -> None:
        most = max(1, *map(len, chosen))
        padded = [(faces + faces[:1] * most)[:most] if faces else [0] * most for faces in chosen]
        self.faces = torch.tensor(padded)  # (k p)
        self.is_there = torch.tensor([bool(faces) for faces in chosen])  # (k)
        self.slopes = slopes[self.faces.flatten()]  # (k * p d)

    def least(self, slopes: Tensor) -> Tensor:
        return self._of_parts(slopes).amin(dim=1).where(self.is_there[:, None], math.inf)

    def greatest(self, slopes: Tensor) -> Tensor:
        """The greatest, and no less than 0, which is infinitely far."""
        return self._of_parts(slopes).amax(dim=1).where(self.is_there[:, None], 0.0).clamp_(min=0)

    def _of_parts(self, slopes: Tensor) -> Tensor:
        return slopes.view(len(self.faces), -1, slopes.shape[1])
