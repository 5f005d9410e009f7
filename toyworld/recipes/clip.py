"""The recipe of the small CLIP: pictures of the toy world, and captions that say all that is in them."""

from __future__ import annotations

from itertools import count

from ...media.files import written_beside
from ...models.new_clip import ClipSize
from ...trainers.clip import Captioned, ClipTraining, train_clip
from ..captioned import ONE_PICTURE, ONE_SHAPE, Pictures, draw_different, draw_pictures, joined
from ..clip import ClipOptions
from ..held_out import FIRST_HELD_OUT, training_seeds
from ..measuring import MeasuringOptions
from ..measuring_retrieval import measure_retrieval
from ..moons import MoonsOptions
from ..objects import ObjectsOptions
from ..shapes import ShapesOptions
from .recipe import Made, Recipe, Workshop

KINDS: tuple[tuple[ClipOptions, int], ...] = (
    (ONE_SHAPE, 15_000),
    (ShapesOptions(shapes=2, speed=0.0, **ONE_PICTURE), 3_000),
    (MoonsOptions(phases="steady", **ONE_PICTURE), 2_000),
    (ObjectsOptions(**ONE_PICTURE), 1_500),
)
VALIDATED = 200  # pictures, with seeds beyond those that the model is measured with
FIRST_VALIDATED = FIRST_HELD_OUT + 500_000
STEPS = 1500
SIZE = ClipSize()
DATA = (
    f"{sum(pictures for _, pictures in KINDS)} pictures of the toy world, {SIZE.side}x{SIZE.side} pixels: shapes at "
    "places with names, alone and in twos, moons in one phase, and objects; each with a caption that says all of it."
)


def make(workshop: Workshop) -> Made:
    run = workshop.folder("clip")
    settings = ClipTraining(
        run=run,
        learning_rate=1e-3,
        beta2=0.98,
        precision="bf16",
        average_decay=0.99,
        save_every=250,
        validate_at=(),
        validate_every=250,
        size=SIZE,
        **workshop.length(STEPS),
        **workshop.limits,
    )
    held_out = draw_different(VALIDATED, count(FIRST_VALIDATED))
    workshop.train("Training CLIP", train_clip(settings, _captioned(_drawn(workshop)), _captioned(held_out)))
    folder = workshop.out / RECIPE.file
    for path in sorted(workshop.result(run).iterdir()):
        with written_beside(folder / path.name) as draft:
            draft.write_bytes(path.read_bytes())
    measured = measure_retrieval(MeasuringOptions(model=folder), workshop.show)
    return Made(data=DATA, runs=(run,), numbers={number.name: number.value for number in measured.numbers})


def _drawn(workshop: Workshop) -> Pictures:
    parts, first = [], 0
    for options, pictures in KINDS:
        seeds = training_seeds(pictures, first)
        title = f"Drawing {type(options).__name__.removesuffix('Options').lower()}"
        parts.append(draw_pictures(options, seeds, _counting(workshop, title, pictures)))
        first = seeds.stop
    return joined(parts)


def _counting(workshop: Workshop, title: str, total: int):  # type: ignore[no-untyped-def]
    return lambda done: workshop.show(title, done, total)


def _captioned(pictures: Pictures) -> Captioned:
    return Captioned(pictures.images, pictures.captions)


RECIPE = Recipe(
    name="clip",
    file="clip",
    what="A CLIP of 64x64 pictures of the toy world and their captions: it describes pictures to the built-in video "
    "models, and tells how well clips match words.",
    make=make,
)
