"""A scene of coloured shapes that move over a ground, and what is true of it.

Axes: f frames, s shapes, h height, w width, c channels, d the two of a place (x to the right, y down).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .chance import Chance
from .clip import ClipOptions, check_speed, empty_clip
from .drawing import Outline, coverage, in_steps_of_a_screen, paint, places_around, polygon, shadow
from .wording import with_article

COLORS = {
    "red": (226, 61, 58),
    "orange": (245, 138, 31),
    "yellow": (252, 208, 58),
    "green": (72, 174, 98),
    "blue": (52, 128, 226),
    "purple": (146, 84, 200),
    "white": (244, 243, 238),
}
GROUNDS = {  # darker than the shape colours of the same names, so that shapes stand out
    "black": (32, 34, 42),
    "green": (38, 92, 82),
    "purple": (82, 60, 112),
    "grey": (92, 99, 110),
    "blue": (44, 74, 124),
}
OUTLINES = {"circle": Outline(0), "square": polygon(4), "triangle": polygon(3), "star": Outline(5, dent=0.5)}
PATHS = {
    "right": "moves right",
    "left": "moves left",
    "up": "moves up",
    "down": "moves down",
    "circle": "goes round in a circle",
    "swing": "swings from side to side",
    "bounce": "bounces",
}
STILL = "still"  # the path of a shape that does not move
STRAIGHT = ("right", "left", "up", "down")
CHOICES = {"any": tuple(PATHS), "straight": STRAIGHT}  # of paths
PLACES = (  # by row and column, in thirds of the picture
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)
JITTER = 0.1  # how far from its place's middle a still shape stands, as a share of the room; no farther, to be named
# Lengths where the picture's shorter side is 1.
SMALLEST, LARGEST = 0.1, 0.15  # the radius of a circle of about the shape's area
MARGIN = 0.03  # between the picture's border and the shape that comes nearest to it
SHADOW = 0.03
RIM = 0.012
ROUNDING = 0.08  # of a shape's corners, its own reach being 1
LAP_SECONDS = 4.0  # how long a lap of a path that comes back takes, about
MOST_SHAPES = len(OUTLINES)


@dataclass(frozen=True, kw_only=True)
class ShapesOptions(ClipOptions):
    shapes: int = 3
    # In shorter sides of the picture a second. None is as suits the clip's length; 0 stands still. A straight path ends
    # where its room does, so a fast shape may get no farther than that.
    speed: float | None = None
    paths: str = "any"  # one of CHOICES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.speed is not None:
            check_speed(self.speed)
        if self.paths not in CHOICES:
            raise ValueError(f"paths is {self.paths!r}. Choose one of {', '.join(CHOICES)}.")
        if not 1 <= self.shapes <= MOST_SHAPES:
            raise ValueError(f"shapes is {self.shapes}. A scene holds 1 to {MOST_SHAPES}, each of another kind.")


@dataclass(frozen=True, kw_only=True)
class Path:
    """Where a shape is at which time, as shares of the room (0 to 1) in which all of the shape is in the picture."""

    name: str
    across: float = 0.5  # where a straight path runs, a bounce hops or a swing hangs, seen across its direction
    laps: float = 1  # a straight path is gone once, whatever this says
    start: float = 0.0  # the share of a lap already gone in the first frame; of a still one, where it stands
    span: float = 1.0  # the share of its room that a straight path goes

    def at(self, time: float) -> tuple[float, float]:
        """The place (x, y) at a time from 0, the clip's first frame, to 1, the frame after its last."""
        turn = 2 * math.pi * (self.laps * time + self.start)
        gone = self.span * time
        return {
            STILL: (self.start, self.across),
            "right": (gone, self.across),
            "left": (1 - gone, self.across),
            "up": (self.across, 1 - gone),
            "down": (self.across, gone),
            "circle": (0.5 + 0.5 * math.cos(turn), 0.5 + 0.5 * math.sin(turn)),
            "swing": (0.5 + 0.5 * math.sin(turn), self.across),
            "bounce": (self.across, 1 - abs(math.sin(turn))),
        }[self.name]


@dataclass(frozen=True, kw_only=True)
class Shape:
    kind: str
    color: str
    path: Path
    size: float = LARGEST
    spins: int = 0  # whole turns about itself in the clip, negative against the clock

    @property
    def reach(self) -> float:
        """How far the farthest point is from the centre. Shapes of one size look equally large, whatever their kind."""
        return self.size * math.sqrt(math.pi / OUTLINES[self.kind].area)

    @property
    def name(self) -> str:
        return with_article(f"{self.color} {self.kind}")


@dataclass(frozen=True, kw_only=True)
class Scene:
    ground: str
    shapes: tuple[Shape, ...]  # a later one covers an earlier one

    @property
    def caption(self) -> str:
        return self._told([PATHS.get(shape.path.name, "stands still") for shape in self.shapes], "over")

    def still_caption(self, options: ShapesOptions, frame: int = 0) -> str:
        """What a single frame shows: "a red circle at the top left on a blue ground"."""
        return self._told([place_name(_standing(shape, options, frame).center, options) for shape in self.shapes], "on")

    def _told(self, what: list[str], preposition: str) -> str:
        each = [f"{shape.name} {words}" for shape, words in zip(self.shapes, what, strict=True)]
        told = " and ".join(filter(None, [", ".join(each[:-1]), each[-1]]))
        return f"{told} {preposition} a {self.ground} ground"


@dataclass(frozen=True)
class ShapesTruth:
    scene: Scene
    positions: Tensor  # (f s d) centres in pixels
    pixels_per_frame: float  # how far a shape moves from one frame to the next, on average
    still_captions: tuple[str, ...]  # (f)

    def record(self) -> dict[str, Any]:
        return {
            "ground": self.scene.ground,
            "shapes": [
                {"kind": shape.kind, "color": shape.color, "path": shape.path.name} for shape in self.scene.shapes
            ],
            "positions": self.positions.tolist(),
            "pixels_per_frame": self.pixels_per_frame,
            "still_captions": list(self.still_captions),
        }


@dataclass(frozen=True)
class ShapesClip:
    scene: Scene
    options: ShapesOptions
    images: Tensor  # (f h w c) in 0..1

    @property
    def caption(self) -> str:
        return self.scene.caption

    @cached_property
    def truth(self) -> ShapesTruth:
        return truth_of(self.scene, self.options)

    @property
    def positions(self) -> Tensor:
        """The (f s d) centres of the shapes in pixels; the top left corner of the picture is (0, 0)."""
        return positions(self.scene, self.options)

    def masks(self, frame: int) -> Tensor:
        """The (s h w) share of each pixel of this frame that shows each shape, whatever covers it being left out."""
        return masks(self.scene, self.options, frame)


def compose(options: ShapesOptions = ShapesOptions()) -> Scene:
    """Make up a scene from the seed: no two shapes of one kind, of one colour or on one path."""
    chance = Chance(options.seed)
    ground = chance.one_of(list(GROUNDS))
    kinds = chance.some_of(list(OUTLINES), options.shapes)
    colors = chance.some_of([color for color in COLORS if color != ground], options.shapes)
    paths = chance.some_of(CHOICES[options.paths], options.shapes)
    lanes = chance.some_of(
        range(options.shapes), options.shapes
    )  # apart, so that shapes meet but seldom hide each other
    laps = max(1, round(options.seconds / LAP_SECONDS))
    scene = Scene(
        ground=ground,
        shapes=tuple(
            Shape(
                kind=kind,
                color=color,
                path=Path(
                    name=path,
                    across=(lane + chance.between(0, 1)) / options.shapes,
                    laps=laps,
                    start=chance.between(0, 1),
                ),
                size=chance.between(SMALLEST, LARGEST),
                spins=chance.one_of([-1, 1]) * laps,
            )
            for kind, color, path, lane in zip(kinds, colors, paths, lanes, strict=True)
        ),
    )
    if options.speed is None:
        return scene
    if options.speed == 0:
        return replace(scene, shapes=_at_places(scene.shapes, chance))
    return replace(scene, shapes=tuple(_at_speed(shape, options) for shape in scene.shapes))


def _at_places(shapes: tuple[Shape, ...], chance: Chance) -> tuple[Shape, ...]:
    """The shapes without their ways, each at another place that has a name."""
    corners = chance.some_of([(column / 2, row / 2) for row in range(3) for column in range(3)], len(shapes))
    places = [tuple(min(1, max(0, share + chance.between(-JITTER, JITTER))) for share in place) for place in corners]
    return tuple(
        replace(shape, path=Path(name=STILL, start=x, across=y), spins=0)
        for shape, (x, y) in zip(shapes, places, strict=True)
    )


def _at_speed(shape: Shape, options: ShapesOptions) -> Shape:
    """The shape on the same path, as fast as the options say; it does not spin, so that its speed is its motion.

    A straight path begins where its room does: the first frame tells which way a shape is going to move.
    """
    assert options.speed is not None
    edge, shorter = _edge(shape, options), min(options.width, options.height)
    across, down = options.width - 2 * edge, options.height - 2 * edge
    distance = options.speed * shorter * options.seconds
    path = shape.path
    if path.name in STRAIGHT:
        span = min(1, distance / (across if path.name in ("right", "left") else down))
        return replace(shape, path=replace(path, span=span), spins=0)
    length = {"circle": math.pi * math.hypot(across, down) / math.sqrt(2), "swing": 2 * across, "bounce": 4 * down}
    return replace(shape, path=replace(path, laps=distance / length[path.name]), spins=0)


def place_name(place: tuple[float, float], options: ClipOptions) -> str:
    """What people call a place (x, y) in pixels, in a picture."""
    row, column = min(2, int(3 * place[1] / options.height)), min(2, int(3 * place[0] / options.width))
    return PLACES[row][column]


def truth_of(scene: Scene, options: ShapesOptions) -> ShapesTruth:
    centers = positions(scene, options)
    steps = centers.diff(dim=0).norm(dim=-1)
    return ShapesTruth(
        scene=scene,
        positions=centers,
        pixels_per_frame=steps.mean().item() if steps.numel() else 0.0,
        still_captions=tuple(scene.still_caption(options, frame) for frame in range(options.frames)),
    )


def positions(scene: Scene, options: ShapesOptions) -> Tensor:
    """The (f s d) centres of the shapes in pixels."""
    return torch.tensor(
        [[_standing(shape, options, frame).center for shape in scene.shapes] for frame in range(options.frames)],
        dtype=torch.float64,
    )


def masks(scene: Scene, options: ShapesOptions, frame: int) -> Tensor:
    """The (s h w) share of each pixel that shows each shape in one frame."""
    shown = torch.zeros(len(scene.shapes), options.height, options.width)
    for index, shape in enumerate(scene.shapes):
        standing = _standing(shape, options, frame)
        rows, columns = standing.window(options, margin=1)
        covered = coverage(standing.distance((rows, columns))).float()
        shown[:index, rows, columns] *= 1 - covered
        shown[index, rows, columns] = covered
    return shown


def render(
    scene: Scene,
    options: ShapesOptions = ShapesOptions(),
    on_frame: Callable[[int, Tensor], None] = lambda done, image: None,
) -> ShapesClip:
    """Draw the scene's clip. `on_frame` is told how many frames are done, and the last (h w c) one; it may raise."""
    images = empty_clip(options)
    ground = _ground(GROUNDS[scene.ground], options)
    for frame in range(options.frames):
        picture = ground.clone()
        for shape in scene.shapes:
            _draw(picture, shape, _standing(shape, options, frame), options)
        images[frame] = in_steps_of_a_screen(picture)
        on_frame(frame + 1, images[frame])
    return ShapesClip(scene, options, images)


@dataclass(frozen=True)
class _Standing:
    """A shape in one frame, in pixels."""

    center: tuple[float, float]
    outline: Outline
    reach: float
    angle: float

    def window(self, options: ShapesOptions, margin: float) -> tuple[slice, slice]:
        """The rows and columns of the picture that lie within the shape's reach and so many pixels more."""
        x, y = self.center
        near = self.reach + margin
        rows = slice(max(0, math.floor(y - near)), min(options.height, math.ceil(y + near)))
        columns = slice(max(0, math.floor(x - near)), min(options.width, math.ceil(x + near)))
        return rows, columns

    def distance(self, window: tuple[slice, slice], offset: float = 0.0) -> Tensor:
        """From each pixel to the outline, moved by `offset` to the right and twice as far down."""
        x, y = self.center
        places = places_around(x + offset, y + 2 * offset, self.angle, *window)
        corner = ROUNDING * self.reach
        return self.outline.distance(places, self.reach - corner) - corner


def _standing(shape: Shape, options: ShapesOptions, frame: int) -> _Standing:
    shorter = min(options.width, options.height)
    reach = shape.reach * shorter
    time = frame / options.frames
    x, y = shape.path.at(time)
    edge = _edge(shape, options)
    center = (edge + x * (options.width - 2 * edge), edge + y * (options.height - 2 * edge))
    upright = -math.pi / 2  # an outline's first point lies to the right; upright it lies at the top
    if shape.kind == "square":
        upright += math.pi / 4
    return _Standing(center, OUTLINES[shape.kind], reach, upright + 2 * math.pi * shape.spins * time)


def _edge(shape: Shape, options: ShapesOptions) -> float:
    """How near to the picture's border, in pixels, the shape's centre comes."""
    shorter = min(options.width, options.height)
    return shape.reach * shorter + max(1, MARGIN * shorter)  # a pixel that an edge crosses is still in the picture


def _draw(picture: Tensor, shape: Shape, standing: _Standing, options: ShapesOptions) -> None:
    """Draw a shape with its shadow onto an (h w c) picture."""
    shorter = min(options.width, options.height)
    softness = SHADOW * shorter
    window = standing.window(options, margin=3 * softness)
    here = picture[window]
    paint(here, torch.zeros(3, dtype=picture.dtype), 0.45 * shadow(standing.distance(window, softness / 2), softness))
    distance = standing.distance(window)
    # Lit from above, with a brighter rim: light falls off from the top of the shape to its foot.
    height = (torch.arange(window[0].start, window[0].stop) + 0.5 - standing.center[1]) / standing.reach
    color = _color(COLORS[shape.color]) * (1 - 0.1 * height[:, None, None])
    rim = 0.25 * torch.exp(distance.clamp(max=0) / (RIM * shorter)) * (0.5 - 0.5 * height[:, None]).clamp(0, 1)
    paint(here, (color + (1 - color) * rim[..., None]).clamp(0, 1), coverage(distance))


def _ground(color: tuple[int, int, int], options: ShapesOptions) -> Tensor:
    """An (h w c) picture, brighter where the light falls, above the middle."""
    x = (torch.arange(options.width, dtype=torch.float64) + 0.5) / options.width - 0.5
    y = (torch.arange(options.height, dtype=torch.float64)[:, None] + 0.5) / options.height - 0.35
    light = 1.2 - 0.9 * (x**2 + y**2)
    return (_color(color) * light[..., None]).clamp(0, 1)


def _color(levels: tuple[int, int, int]) -> Tensor:
    return torch.tensor(levels, dtype=torch.float64) / 255
