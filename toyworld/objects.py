"""A scene of a solid thing seen from a camera on an orbit; any other view of it can be drawn too.

The camera follows SV3D: azimuth 0 is the input view, elevation is absolute, and the camera always looks at the thing's
middle. With growing azimuth it goes to its own right, against the clock seen from above.

Axes: f frames, h height, w width, c channels, n rays, d the three of a point (x to the right, y up, z to the front).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .chance import Chance
from .clip import ClipOptions, empty_clip
from .drawing import in_steps_of_a_screen
from .object_kinds import KINDS
from .solids import NOTHING, Solid

ORBITS = ("turn", "wander", "views")
DISTANCE = 4.0  # from the thing's middle to the camera; a ball that holds the thing has the radius 1
MARGIN = 1.06  # the picture's half side, where that ball just touches it being 1
SAMPLES = 4  # across a pixel that an edge crosses, and down
LOWEST, HIGHEST = -10.0, 40.0  # degrees of elevation
TURN = 35.0  # degrees from a thing's front to where azimuth 0 is, so that two of its sides are seen from there
SWAY = 15.0  # degrees by which a wandering camera rises and sinks, about
HIGHEST_VIEW = 60.0  # degrees of elevation, where each frame is seen from anywhere


@dataclass(frozen=True, kw_only=True)
class ObjectsOptions(ClipOptions):
    kind: str = "any"  # one of KINDS, or any
    # turn goes once round at one height; wander rises, sinks and goes at an uneven pace on the way; views is no path at
    # all, each frame being seen from anywhere.
    orbit: str = "turn"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("any", *KINDS):
            raise ValueError(f"kind is {self.kind!r}. Choose any or one of {', '.join(KINDS)}.")
        if self.orbit not in ORBITS:
            raise ValueError(f"orbit is {self.orbit!r}. Choose one of {', '.join(ORBITS)}.")


@dataclass(frozen=True, eq=False)
class Thing:
    kind: str
    words: str  # what it is called: "a red mug with a blue label"
    solid: Solid
    turn_degrees: float = 0.0  # from its front, where azimuth 0 is


@dataclass(frozen=True, kw_only=True)
class Orbit:
    thing: Thing
    elevations: tuple[float, ...]  # degrees, by frame
    azimuths: tuple[float, ...]

    @property
    def caption(self) -> str:
        return f"{self.thing.words}, seen from all around on a white ground"


@dataclass(frozen=True)
class ObjectTruth:
    scene: Orbit

    def view(self, elevation_degrees: float, azimuth_degrees: float, size: int) -> Tensor:
        """Any other (h w c) view of the same thing."""
        return render_object(self.scene.thing, elevation_degrees, azimuth_degrees, size)

    def record(self) -> dict[str, Any]:
        return {
            "kind": self.scene.thing.kind,
            "elevations_degrees": list(self.scene.elevations),
            "azimuths_degrees": list(self.scene.azimuths),
        }


@dataclass(frozen=True)
class ObjectsClip:
    scene: Orbit
    options: ObjectsOptions
    images: Tensor  # (f h w c) in 0..1

    @property
    def caption(self) -> str:
        return self.scene.caption

    @cached_property
    def truth(self) -> ObjectTruth:
        return ObjectTruth(self.scene)

    def masks(self, frame: int) -> Tensor:
        """The (1 h w) share of each pixel of this frame that shows the thing."""
        elevation, azimuth = self.scene.elevations[frame], self.scene.azimuths[frame]
        view = _view(self.scene.thing, elevation, azimuth, self.options.height, self.options.width)
        return view[None, ..., 3].float()


def make_up_thing(seed: int, kind: str = "any") -> Thing:
    chance = Chance(seed)
    drawn = chance.one_of(list(KINDS))
    kind = drawn if kind == "any" else kind
    words, parts = KINDS[kind](chance)
    return Thing(kind, words, Solid(tuple(parts)), TURN)


def compose(options: ObjectsOptions = ObjectsOptions()) -> Orbit:
    """Make up a thing and an orbit around it from the seed."""
    thing, chance = make_up_thing(options.seed, options.kind), Chance(options.seed)
    elevation, start, pace, shift = (chance.between(*ends) for ends in ((LOWEST, HIGHEST), (0, 1), (0.3, 0.9), (0, 1)))
    shares = [(frame + 1) / options.frames for frame in range(options.frames)]  # the last is the input view again
    if options.orbit == "turn":
        elevations, azimuths = [elevation] * options.frames, [360 * share for share in shares]
    elif options.orbit == "views":
        elevations = [*(chance.between(LOWEST, HIGHEST_VIEW) for _ in shares[1:]), elevation]
        azimuths = [*(chance.between(0, 360) for _ in shares[1:]), 360.0]
    else:
        # Sines that come round with the turn, so that the clip loops; the pace never turns back.
        elevations = [elevation + SWAY * (_wave(share + start) - _wave(start)) for share in shares]
        azimuths = [
            360 * share + pace * 360 / (2 * math.pi) * (_wave(share + shift) - _wave(shift)) for share in shares
        ]
    return Orbit(thing=thing, elevations=tuple(elevations), azimuths=tuple(azimuths))


def _wave(turns: float) -> float:
    return math.sin(2 * math.pi * turns)


def render(
    scene: Orbit,
    options: ObjectsOptions = ObjectsOptions(),
    on_frame: Callable[[int, Tensor], None] = lambda done, image: None,
) -> ObjectsClip:
    """Draw the orbit's clip. `on_frame` is told how many frames are done, and the last (h w c) one; it may raise."""
    images = empty_clip(options)
    for frame, (elevation, azimuth) in enumerate(zip(scene.elevations, scene.azimuths, strict=True)):
        images[frame] = _on_white(_view(scene.thing, elevation, azimuth, options.height, options.width))
        on_frame(frame + 1, images[frame])
    return ObjectsClip(scene, options, images)


def render_object(thing: Thing, elevation_degrees: float, azimuth_degrees: float, size: int) -> Tensor:
    """One (h w c) view on white, square."""
    return _on_white(_view(thing, elevation_degrees, azimuth_degrees, size, size))


def render_orbit(thing: Thing, elevations: Sequence[float], azimuths: Sequence[float], size: int) -> Tensor:
    """An (f h w c) clip of views at these angles, in degrees."""
    return torch.stack([render_object(thing, *angles, size) for angles in zip(elevations, azimuths, strict=True)])


def _on_white(view: Tensor) -> Tensor:
    return in_steps_of_a_screen(view[..., :3] + 1 - view[..., 3:]).float()


def _view(thing: Thing, elevation: float, azimuth: float, height: int, width: int) -> Tensor:
    """An (h w 4) picture: the colours as far as the thing covers each pixel, and how far that is."""
    camera = _Camera(thing.solid, math.radians(elevation), math.radians(azimuth + thing.turn_degrees))
    # Where the corners of a pixel show one face its colour runs evenly between them; else it is looked at closely.
    down, right = torch.arange(height + 1, dtype=torch.float64), torch.arange(width + 1, dtype=torch.float64)
    y, x = (axis.flatten() for axis in torch.meshgrid(down, right, indexing="ij"))
    seen, faces = camera.look(x, y, height, width)
    seen, faces = seen.view(height + 1, width + 1, 4), faces.view(height + 1, width + 1)
    corners = [(slice(None, -1), slice(None, -1)), (slice(None, -1), slice(1, None))]
    corners += [(slice(1, None), slice(None, -1)), (slice(1, None), slice(1, None))]
    picture = torch.stack([seen[corner] for corner in corners]).mean(dim=0)
    several = torch.stack([faces[corner] for corner in corners])
    rows, columns = (several != several[0]).any(dim=0).nonzero(as_tuple=True)
    if len(rows):
        inner = (torch.arange(SAMPLES, dtype=torch.float64) + 0.5) / SAMPLES
        y = (rows[:, None, None] + inner[:, None]).expand(-1, -1, SAMPLES).flatten()
        x = (columns[:, None, None] + inner).expand(-1, SAMPLES, -1).flatten()
        closer, _ = camera.look(x, y, height, width)
        picture[rows, columns] = closer.view(len(rows), SAMPLES**2, 4).mean(dim=1)
    return picture


class _Camera:
    """A camera on the orbit, with a light above it."""

    def __init__(self, solid: Solid, elevation: float, azimuth: float) -> None:
        flat, high = math.cos(elevation), math.sin(elevation)
        away = torch.tensor([flat * math.sin(azimuth), high, flat * math.cos(azimuth)], dtype=torch.float64)
        self.right = torch.tensor([math.cos(azimuth), 0, -math.sin(azimuth)], dtype=torch.float64)
        self.up = torch.tensor([-high * math.sin(azimuth), flat, -high * math.cos(azimuth)], dtype=torch.float64)
        self.forward = -away
        self.view = solid.seen_from(DISTANCE * solid.reach * away)
        # Above the camera and not beside it, so that a thing that is its own mirror image stays one.
        self.light = torch.nn.functional.normalize(away + 0.9 * self.up, dim=0)

    def look(self, x: Tensor, y: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """What is seen at (n) places of the picture, in pixels: colours and cover as (n 4), and faces as (n)."""
        half = min(height, width) / 2
        spread = MARGIN / math.sqrt(DISTANCE**2 - 1) / half
        across, upward = (x - width / 2) * spread, (height / 2 - y) * spread
        seen, faces = torch.zeros(len(x), 4, dtype=torch.float64), torch.full((len(x),), NOTHING)
        near = (across.square() + upward.square() < 1 / (DISTANCE**2 - 1)).nonzero()[:, 0]
        rays = self.forward + across[near, None] * self.right + upward[near, None] * self.up
        rays = torch.nn.functional.normalize(rays, dim=-1)
        hits = self.view.cast(rays)
        faces[near] = hits.faces
        met = (hits.faces != NOTHING).nonzero()[:, 0]
        shown = self._shade(hits.colors[met], hits.normals[met], rays[met])
        seen[near[met]] = torch.cat([shown, torch.ones(len(met), 1, dtype=torch.float64)], dim=1)
        return seen, faces

    def _shade(self, colors: Tensor, normals: Tensor, rays: Tensor) -> Tensor:
        lit = (normals @ self.light).clamp(min=0)
        sky = 0.5 + 0.5 * normals[:, 1]
        halfway = torch.nn.functional.normalize(self.light - rays, dim=-1)
        gloss = 0.16 * (normals * halfway).sum(dim=-1).clamp(min=0) ** 40
        light = 0.5 + 0.16 * sky + 0.5 * lit
        return (colors * light[:, None] + gloss[:, None]).clamp(0, 1)
