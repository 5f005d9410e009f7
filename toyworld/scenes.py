"""The scenes of the toy world, by name, and the one way to draw a clip of any."""

from collections.abc import Callable

from torch import Tensor

from . import moons, objects, shapes
from .clip import ClipOptions, ToyClip
from .moons import MoonsOptions
from .objects import ObjectsOptions
from .shapes import ShapesOptions

SCENES: dict[str, type[ClipOptions]] = {"shapes": ShapesOptions, "moons": MoonsOptions, "objects": ObjectsOptions}


def scene_of(options: ClipOptions) -> str:
    """The name of the scene that options are for."""
    for name, options_of in SCENES.items():
        if isinstance(options, options_of):
            return name
    raise _no_scene(options)


def draw(options: ClipOptions, on_frame: Callable[[int, Tensor], None] = lambda done, image: None) -> ToyClip:
    """Draw the clip that these options, their seed among them, stand for.

    `on_frame` is told how many frames are done, and the last (h w c) one; to cancel, raise from it.
    """
    if isinstance(options, ShapesOptions):
        return shapes.render(shapes.compose(options), options, on_frame)
    if isinstance(options, MoonsOptions):
        return moons.render(moons.compose(options), options, on_frame)
    if isinstance(options, ObjectsOptions):
        return objects.render(objects.compose(options), options, on_frame)
    raise _no_scene(options)


def _no_scene(options: ClipOptions) -> TypeError:
    return TypeError(f"{type(options).__name__} belongs to no scene. Give the options of one of {', '.join(SCENES)}.")
