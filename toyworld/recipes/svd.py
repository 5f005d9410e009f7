"""The recipe of `svd`: image to video of shapes that move and of moons that drift, whose phase never changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ...media.files import written_beside
from ...models.checkpoints import open_checkpoint
from ...models.new_svd import UNetSize, new_svd
from ...models.svd import SamplingNumbers, load_svd
from ...models.svd_saving import save_svd
from ...trainers.svd import SVDTraining, train_svd
from ..clip import ClipOptions, seconds_of
from ..footage import RenderingOptions
from ..held_out import training_seeds
from ..measuring import MeasuringOptions, measure
from ..moons import MoonsOptions
from ..shapes import ShapesOptions
from .recipe import Made, Recipe, Workshop

SIDE = 64
FRAMES = 14
RATE = 7.0  # frames per second, for which most is asked
SAMPLING = SamplingNumbers(steps=20, min_guidance=1.0, max_guidance=1.0)
SIZE = UNetSize(widths=(64, 64), layers=1, attention=(False, True))

# Shorter sides of the picture a second. In two seconds a shape gets across its room at 0.38.
SPEEDS = (0.0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.19, 0.23, 0.27, 0.31, 0.35, 0.4)
# At other rates the same speeds are other steps from frame to frame.
OTHER_RATES = {4.0: (0.0, 0.04, 0.08, 0.12, 0.16, 0.2), 12.0: (0.0, 0.1, 0.2, 0.3, 0.4, 0.55)}
SPEEDS_OF_TWO = (0.05, 0.12, 0.2, 0.3)
SPEEDS_OF_MOONS = (0.03, 0.06, 0.1, 0.15, 0.2)
CLIPS, CLIPS_AT_OTHER_RATES, CLIPS_OF_TWO, CLIPS_OF_MOONS, STILL_MOONS = 55, 20, 35, 36, 90


def footage() -> tuple[RenderingOptions, ...]:
    """What the model is shown, kind by kind. The first free seed is that of the kind before and its number of clips."""
    kinds: list[tuple[ClipOptions, int]] = [(_shapes(RATE, speed), CLIPS) for speed in SPEEDS]
    for rate, speeds in OTHER_RATES.items():
        kinds += [(_shapes(rate, speed), CLIPS_AT_OTHER_RATES) for speed in speeds]
    kinds += [(replace(_shapes(RATE, speed), shapes=2), CLIPS_OF_TWO) for speed in SPEEDS_OF_TWO]
    kinds += [(_moons(speed), CLIPS_OF_MOONS) for speed in SPEEDS_OF_MOONS]
    kinds += [(_moons(0.0), STILL_MOONS)]
    first, rendered = 0, []
    for clip, clips in kinds:
        seeds = training_seeds(clips, first)
        rendered.append(RenderingOptions(clips=clips, clip=replace(clip, seed=seeds.start)))
        first = seeds.stop
    return tuple(rendered)


def _shapes(rate: float, speed: float) -> ShapesOptions:
    return ShapesOptions(
        seconds=seconds_of(FRAMES, rate),
        frames_per_second=rate,
        width=SIDE,
        height=SIDE,
        shapes=1,
        speed=speed,
        paths="straight",  # of which the first frame tells where they go: 14 frames are too few to learn to choose
    )


def _moons(speed: float) -> MoonsOptions:
    return MoonsOptions(
        seconds=seconds_of(FRAMES, RATE), frames_per_second=RATE, width=SIDE, height=SIDE, phases="steady", speed=speed
    )


def settings(workshop: Workshop, start: Path, shown: Path) -> SVDTraining:
    return SVDTraining(
        model=start,
        footage=shown,
        run=workshop.folder("run"),
        preset="all weights",
        width=SIDE,
        height=SIDE,
        **workshop.length(6400),
        batch=4,
        learning_rate=1.5e-3,
        final_learning_rate=0.02,
        beta2=0.99,
        average_decay=0.998,
        dropout=0.1,
        checkpointing=False,
        noised_pictures=4,
        precision="bf16",
        save_every=400,
        validate_at=(),
        validate_every=1600,
        validation_clips=12,
        samples=4,
        **workshop.limits,
    )


def make(workshop: Workshop) -> Made:
    shown = workshop.render(workshop.folder("footage"), *footage())
    training = settings(workshop, _start(workshop), shown.root)
    steps = train_svd(training, on_progress=workshop.show, note=workshop.note)
    workshop.train("Training svd", steps)
    result = workshop.out / RECIPE.file
    _finish(workshop.result(training.run), result)
    return Made(
        data=(
            f"{len(shown.clips)} clips of {FRAMES} frames: one shape or two that stand still or go their ways, at many "
            f"speeds and at {RATE:g}, 4 and 12 frames per second; moons that stand or drift, each at one phase that "
            "stays. No clip shows a phase that changes."
        ),
        runs=(training.run,),
        numbers={
            number.name: number.value
            for number in measure("svd", MeasuringOptions(model=result), workshop.show).numbers
        },
    )


def _start(workshop: Workshop) -> Path:
    """The untrained model as a file. A run that goes on takes from here what it does not train."""
    path = workshop.folder("untrained") / "svd.safetensors"
    model = new_svd(
        "svd",
        SIZE,
        vae=workshop.part("vae"),
        image_encoder=workshop.part("clip"),
        frames=FRAMES,
        width=SIDE,
        height=SIDE,
        seed=workshop.seed,
        numbers=SAMPLING,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_svd(model, path, dtype=torch.float16)
    return path


def _finish(trained: Path, result: Path) -> None:
    """Write the model without what only ComfyUI's own loader would read: that knows no model of this size."""
    metadata = open_checkpoint(trained).metadata
    model = load_svd(trained, dtype=torch.float16, device="cpu", vae_dtype=torch.float16)
    with written_beside(result) as draft:
        save_svd(model, draft, metadata, for_comfyui=False)


RECIPE = Recipe(
    name="svd",
    file="svd.safetensors",
    what="Turns a picture of the toy world into 14 frames of 64x64 pixels. It knows no phases of the moon.",
    needs=("vae", "clip"),
    make=make,
)
