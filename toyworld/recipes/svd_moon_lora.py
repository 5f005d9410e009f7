"""The recipe of `svd-moon-lora`: what `svd` does not know, the phases of the moon, as a user's LoRA would learn it.

It is trained by `train_svd`, as by the node Train SVD LoRA and by `zoetrope train svd`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ...media.files import written_beside
from ...pipelines.svd import SVDOptions
from ...trainers.svd import SVDTraining, train_svd
from ..clip import seconds_of
from ..footage import RenderingOptions
from ..held_out import training_seeds
from ..measuring import MeasuringOptions, measure
from ..moons import MoonsOptions
from .recipe import Made, Recipe, Workshop
from .svd import FRAMES, RATE, SIDE

FIRST_SEED = 100_000  # far from those of the base model's clips
CLIPS = 400


def footage() -> RenderingOptions:
    # A full moon does not show how its axis leans, so that the shadow would come from where nobody can tell.
    moons = MoonsOptions(
        seconds=seconds_of(FRAMES, RATE),
        frames_per_second=RATE,
        width=SIDE,
        height=SIDE,
        phases="wane",
        tilt_degrees=0.0,
        seed=training_seeds(CLIPS, FIRST_SEED).start,
    )
    return RenderingOptions(clips=CLIPS, clip=moons)


def settings(workshop: Workshop, shown: Path) -> SVDTraining:
    return SVDTraining(
        model=workshop.part("svd"),
        footage=shown,
        run=workshop.folder("run"),
        preset="strong",
        rank=32,
        width=SIDE,
        height=SIDE,
        # As clips are made where nobody says otherwise.
        motion_bucket=int(SVDOptions().motion_bucket_id),
        **workshop.length(4500),
        batch=4,
        learning_rate=1.5e-3,
        final_learning_rate=0.02,
        beta2=0.99,
        average_decay=0.99,
        dropout=0.1,
        checkpointing=False,
        noised_pictures=4,
        precision="bf16",
        save_every=500,
        validate_at=(),
        validate_every=1500,
        validation_clips=8,
        samples=4,
        caption="a moon that wanes from full to new",
        **workshop.limits,
    )


def make(workshop: Workshop) -> Made:
    shown = workshop.render(workshop.folder("footage"), footage())
    training = settings(workshop, shown.root)
    steps = train_svd(training, on_progress=workshop.show, note=workshop.note)
    workshop.train("Training svd-moon-lora", steps)
    result = workshop.out / RECIPE.file
    result.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(result) as draft:
        shutil.copyfile(workshop.result(training.run), draft)
    measured = measure(RECIPE.name, MeasuringOptions(model=training.model, lora=result), workshop.show)
    return Made(
        data=f"{CLIPS} clips of {FRAMES} frames, each of another moon that wanes from full to new where it stands.",
        runs=(training.run,),
        numbers={number.name: number.value for number in measured.numbers},
    )


RECIPE = Recipe(
    name="svd-moon-lora",
    file="loras/svd-moon-lora.safetensors",
    what="A LoRA for `svd` that makes a full moon wane.",
    needs=("svd",),
    make=make,
)
