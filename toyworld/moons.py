"""A scene of a moon that waxes and wanes, or does not, and what is true of it.

Axes: f frames, h height, w width, c channels, n points, d the two or three of a place (x to the right, y down, z
towards the viewer).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .chance import Chance
from .clip import ClipOptions, check_speed, empty_clip, times
from .drawing import coverage, in_steps_of_a_screen, paint, places_around
from .moon_faces import make_up_face
from .wording import with_article

TINTS = {
    "white": (236, 234, 226),
    "yellow": (246, 217, 122),
    "orange": (240, 160, 84),
    "red": (222, 106, 88),
    "green": (146, 204, 142),
    "blue": (132, 178, 236),
    "purple": (190, 150, 226),
}
SKIES = {"black": (5, 6, 9), "blue": (12, 22, 52), "purple": (34, 16, 48), "green": (8, 34, 30), "grey": (40, 42, 46)}
# The phase angle in half turns, in the first frame and in the last: 0 is full, 1 is new, 2 is full again.
PHASES = {"wane": (0.0, 1.0), "wax": (1.0, 2.0), "month": (1.0, 3.0), "steady": None}
CHANGES = {
    "wane": "wanes from full to new",
    "wax": "waxes from new to full",
    "month": "waxes from new to full and wanes to new again",
}
WAYS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
# Lengths where the picture's shorter side is 1.
SMALLEST, LARGEST = 0.2, 0.4  # radius
MARGIN = 0.03
DARKEST_STEADY = 0.8  # half turns; a moon that stays darker than this would be a black picture
EARTHSHINE = 0.035  # the light on the night side
DUSK = 0.06  # the sine of the sun's height at which its light is at three quarters
DARK, BRIGHT = 0.05, 0.3  # of the brightest: what shows more light is lit, what shows less is not


@dataclass(frozen=True, kw_only=True)
class MoonsOptions(ClipOptions):
    phases: str = "wane"  # one of PHASES; a steady moon shows one phase, from full to a crescent
    tilt_degrees: float = 25.0  # how far the moon's axis leans at most
    speed: float = 0.0  # of drifting, in shorter sides of the picture a second; it ends at the picture's border

    def __post_init__(self) -> None:
        super().__post_init__()
        check_speed(self.speed)
        if self.phases not in PHASES:
            raise ValueError(f"phases is {self.phases!r}. Choose one of {', '.join(PHASES)}.")
        if not 0 <= self.tilt_degrees <= 180:
            raise ValueError(f"tilt_degrees is {self.tilt_degrees}. Give degrees from 0 to 180.")


@dataclass(frozen=True, kw_only=True)
class Moon:
    tint: str
    sky: str
    radius: float  # the picture's shorter side being 1
    phases: str = "wane"  # one of PHASES
    phase: float = 0.0  # of a steady moon, in half turns
    tilt: float = 0.0  # of its axis, in radians, with the clock
    place: tuple[float, float] = (0.5, 0.5)  # where its way begins, as shares of the room that the way leaves
    way: str = ""  # one of WAYS, "" where it stays
    speed: float = 0.0  # in shorter sides a second
    face_seed: int = 0

    def half_turns(self, time: float) -> float:
        """The phase angle at a time from 0, the first frame, to 1, the last."""
        first, last = PHASES[self.phases] or (self.phase, self.phase)
        return first + (last - first) * time

    @property
    def caption(self) -> str:
        moon = with_article(f"{self.tint} moon")
        if self.phases == "steady":
            named = phase_name(lit_fraction(self.phase))
            moon = with_article(f"{named} {self.tint} moon")
        does = [CHANGES[self.phases]] if self.phases in CHANGES else []
        if self.way:
            does.append(f"drifts {self.way}")
        return f"{moon} {' and '.join(does) or 'stands still'} in a {self.sky} sky"


@dataclass(frozen=True)
class MoonTruth:
    lit_fractions: Tensor  # (f) the share of the disc that the sun lights
    phase_angles: Tensor  # (f) in degrees: 0 full, 180 new
    centers: Tensor  # (f d) in pixels
    radius: float  # in pixels

    @property
    def pixels_per_frame(self) -> float:
        """How far the moon drifts from one frame to the next."""
        steps = self.centers.diff(dim=0).norm(dim=-1)
        return steps.mean().item() if len(steps) else 0.0

    def record(self) -> dict[str, Any]:
        return {
            "lit_fractions": self.lit_fractions.tolist(),
            "phase_angles_degrees": self.phase_angles.tolist(),
            "centers": self.centers.tolist(),
            "radius": self.radius,
            "pixels_per_frame": self.pixels_per_frame,
        }


@dataclass(frozen=True)
class MoonsClip:
    scene: Moon
    options: MoonsOptions
    images: Tensor  # (f h w c) in 0..1

    @property
    def caption(self) -> str:
        return self.scene.caption

    @cached_property
    def truth(self) -> MoonTruth:
        return truth_of(self.scene, self.options)

    def masks(self, frame: int) -> Tensor:
        """The (1 h w) share of each pixel of this frame that the moon's disc covers, its night side included."""
        return disc(self.truth, self.options, frame)[None]


def lit_fraction(half_turns: float) -> float:
    """The share of a disc that is lit, at a phase angle in half turns."""
    return (1 + math.cos(math.pi * half_turns)) / 2


def phase_name(lit: float) -> str:
    """What people call a moon of which this share is lit."""
    if lit < 0.02:
        return "new"
    if lit > 0.98:
        return "full"
    if abs(lit - 0.5) <= 0.06:
        return "half"
    return "crescent" if lit < 0.5 else "gibbous"


def compose(options: MoonsOptions = MoonsOptions()) -> Moon:
    """Make up a moon from the seed."""
    chance = Chance(options.seed)
    lean = math.radians(options.tilt_degrees)
    moon = Moon(
        tint=chance.one_of(list(TINTS)),
        sky=chance.one_of(list(SKIES)),
        radius=chance.between(SMALLEST, LARGEST),
        phases=options.phases,
        # Every third one is full, as every clip begins in which the moon wanes.
        phase=chance.one_of([0.0, 1.0, 1.0]) * chance.between(-DARKEST_STEADY, DARKEST_STEADY),
        tilt=chance.between(-lean, lean),
        place=(chance.between(0, 1), chance.between(0, 1)),
        speed=options.speed,
        face_seed=options.seed,
    )
    return replace(moon, way=_roomiest(moon.place)) if options.speed else moon


def _roomiest(place: tuple[float, float]) -> str:
    """The way with the most room before it, so that the first frame tells where the moon will go."""
    return max(WAYS, key=lambda way: sum(along * (0.5 - share) for along, share in zip(WAYS[way], place, strict=True)))


def truth_of(moon: Moon, options: MoonsOptions) -> MoonTruth:
    angles = [moon.half_turns(time) for time in times(options.frames).tolist()]
    return MoonTruth(
        lit_fractions=torch.tensor([lit_fraction(angle) for angle in angles], dtype=torch.float64),
        phase_angles=torch.tensor([180 * abs((angle + 1) % 2 - 1) for angle in angles], dtype=torch.float64),
        centers=_centers(moon, options),
        radius=moon.radius * min(options.width, options.height),
    )


def disc(truth: MoonTruth, options: MoonsOptions, frame: int) -> Tensor:
    """The (h w) share of each pixel that the moon covers in a frame."""
    x, y = truth.centers[frame].tolist()
    places = places_around(x, y, 0.0, slice(0, options.height), slice(0, options.width))
    return coverage(places.norm(dim=-1) - truth.radius).float()


def render(
    scene: Moon,
    options: MoonsOptions = MoonsOptions(),
    on_frame: Callable[[int, Tensor], None] = lambda done, image: None,
) -> MoonsClip:
    """Draw the moon's clip. `on_frame` is told how many frames are done, and the last (h w c) one; it may raise."""
    images = empty_clip(options)
    truth = truth_of(scene, options)
    baked = make_up_face(scene.face_seed).bake(truth.radius)
    sky = torch.tensor(SKIES[scene.sky], dtype=torch.float64) / 255
    tint = torch.tensor(TINTS[scene.tint], dtype=torch.float64) / 255
    seen: _Seen | None = None
    for frame, time in enumerate(times(options.frames).tolist()):
        if seen is None or truth.pixels_per_frame:
            seen = _look_at(baked, truth.centers[frame], truth.radius, options)
        light = seen.sunlight(math.pi * scene.half_turns(time), scene.tilt)
        picture = sky.expand(options.height, options.width, 3).clone()
        # The air lies in front of the moon, as by day: what is in shadow has the sky's colour.
        paint(picture[seen.window], tint, seen.covered * (EARTHSHINE + (1 - EARTHSHINE) * light))
        images[frame] = in_steps_of_a_screen(picture)
        on_frame(frame + 1, images[frame])
    return MoonsClip(scene, options, images)


def measure_lit_fractions(images: Tensor, discs: Tensor) -> Tensor:
    """Estimate the lit fraction in each frame of (f h w c) pictures whose moon covers the (f h w) discs, as (f).

    How bright the day is, is told from the brightest of all frames, so a clip must show some sunlit ground; how dark
    the night is, from the sky. Even maria are half as bright as the brightest highlands, so a threshold tells day from
    night; a pixel that the terminator crosses counts by the light that it shows.
    """
    grey = images.double().mean(dim=-1)
    covered = discs.double()
    inside = grey[covered > 0.99]
    if not inside.numel():
        raise ValueError("No pixel lies wholly on the moon's disc. Give larger pictures, or the right discs.")
    bright = inside.topk(math.ceil(len(inside) / 50)).values.min()
    sky = grey[covered == 0]
    dark = sky.median() if sky.numel() else inside.min()
    # Pixels of the limb are as dark as the sky that shares them, so what they show is scaled up to a whole one.
    shown = (grey - dark) / covered.clamp(min=0.2) / (bright - dark).clamp(min=1e-6)
    lit = ((shown - DARK) / (BRIGHT - DARK)).clamp(0, 1)
    return (lit * covered).sum(dim=(1, 2)) / covered.sum(dim=(1, 2))


@dataclass(frozen=True)
class _Seen:
    """A moon's disc in the picture, without its light."""

    window: tuple[slice, slice]
    radius: float  # in pixels
    covered: Tensor  # (h w)
    places: Tensor  # (h w d) of pixels from the disc's centre, its radius being 1
    brightness: Tensor  # (h w)
    lean: Tensor  # (h w d) of normals from the sphere's

    def sunlight(self, angle: float, tilt: float) -> Tensor:
        """The (h w) light that the ground throws back at a phase angle, both angles in radians."""
        # A waning moon is lit from the left, as it is seen north of the equator.
        side = -1.0 if math.sin(angle) > 0 else 1.0
        right, down = side * math.cos(tilt), side * math.sin(tilt)
        height, slant = math.cos(angle), abs(math.sin(angle))  # of the sun, towards the viewer and along the disc
        along = self.places[..., 0] * right + self.places[..., 1] * down
        half = (1 - (self.places[..., 1] * right - self.places[..., 0] * down) ** 2).clamp(min=0.0025).sqrt()
        # Seen along the sun's direction, the day reaches from the terminator to the limb. A pixel is lit as far as it
        # lies between them; so a crescent thinner than a pixel is a faint line and not a row of dots.
        pixel = 0.5 / self.radius
        first = torch.maximum(along - pixel, -height * half)
        last = torch.minimum(along + pixel, half)
        whole = (last - torch.maximum(along - pixel, -half)).clamp(min=0.2 * pixel)
        share = ((last - first).clamp(min=0) / whole).clamp(max=1)
        across = (first + last) / 2
        day = (across * slant + (half**2 - across**2).clamp(min=0).sqrt() * height).clamp(min=0)
        # The Moon's dust throws light back to where it came from: by day it is nearly as bright at the limb as in the
        # middle. Only at the terminator light falls off steeply, and relief shows.
        tall = (1 - self.places.square().sum(dim=-1)).clamp(min=0).sqrt()
        lean = self.lean @ torch.tensor([right * slant, down * slant, height], dtype=torch.float64)
        relief = (1 + 1.2 * tall * lean / (0.3 + day)).clamp(0.45, 1.4)
        return share * torch.tanh(day / DUSK) * relief * (0.8 + 0.2 * tall) * self.brightness


def _look_at(baked: Tensor, center: Tensor, radius: float, options: MoonsOptions) -> _Seen:
    x, y = center.tolist()
    rows = slice(max(0, math.floor(y - radius - 1)), min(options.height, math.ceil(y + radius + 1)))
    columns = slice(max(0, math.floor(x - radius - 1)), min(options.width, math.ceil(x + radius + 1)))
    places = places_around(x, y, 0.0, rows, columns) / radius
    face = torch.nn.functional.grid_sample(baked, places[None], align_corners=True, padding_mode="border")[0]
    return _Seen(
        window=(rows, columns),
        radius=radius,
        covered=coverage((places.norm(dim=-1) - 1) * radius),
        places=places,
        brightness=face[0],
        lean=face[1:].movedim(0, -1),
    )


def _centers(moon: Moon, options: MoonsOptions) -> Tensor:
    """The (f d) places of the moon's middle in pixels, so that the whole moon is always in the picture."""
    shorter = min(options.width, options.height)
    edge = moon.radius * shorter + max(1, MARGIN * shorter)
    rooms = (options.width - 2 * edge, options.height - 2 * edge)
    pixels = moon.speed * shorter / options.frames_per_second * (options.frames - 1)
    centers = []
    for room, along, place in zip(rooms, WAYS.get(moon.way, (0, 0)), moon.place, strict=True):
        length = min(pixels, room) * along
        begin = place * (room - abs(length)) + max(0.0, -length)
        centers.append(edge + begin + length * times(options.frames))
    return torch.stack(centers, dim=-1)
