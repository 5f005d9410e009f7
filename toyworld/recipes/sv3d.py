"""The recipes of `sv3d_p` and `sv3d_u`: from a picture of a thing to the views around it.

`sv3d_p` learns from things seen from anywhere, on even turns and along wandering paths. `sv3d_u` goes on from it: it
has all of its weights but the layer that takes up the vector, in which there is no camera, and learns even turns alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ...models.new_svd import UNetSize, new_svd
from ...models.svd import Family, SamplingNumbers, SVDModel, load_svd
from ...models.svd_saving import save_svd
from ...trainers.sv3d import SV3DTraining, train_sv3d
from ..clip import seconds_of
from ..footage import RenderingOptions
from ..held_out import training_seeds
from ..measuring import MeasuringOptions, measure
from ..objects import ObjectsOptions
from .recipe import Made, Recipe, Workshop

SIDE = 64
FRAMES = 21
RATE = 7.0
SIZE = UNetSize(widths=(64, 64), layers=1, attention=(False, True))
# Of the paths of the camera, the first seed and how many clips; each clip shows another thing.
PATHS = {"turn": (0, 250), "views": (100_000, 250), "wander": (200_000, 200)}
TURNS = (0, 250)  # which sv3d_p has seen
SAMPLING = SamplingNumbers(steps=25, min_guidance=1.0, max_guidance=1.0)  # more steps change little


def footage_of_p() -> tuple[RenderingOptions, ...]:
    return tuple(_orbits(path, first, clips) for path, (first, clips) in PATHS.items())


def footage_of_u() -> RenderingOptions:
    return _orbits("turn", *TURNS)


def _orbits(path: str, first: int, clips: int) -> RenderingOptions:
    clip = ObjectsOptions(
        seconds=seconds_of(FRAMES, RATE),
        frames_per_second=RATE,
        width=SIDE,
        height=SIDE,
        seed=training_seeds(clips, first).start,
        orbit=path,
    )
    return RenderingOptions(clips=clips, clip=clip)


def settings_of_p(workshop: Workshop, start: Path, shown: Path) -> SV3DTraining:
    return SV3DTraining(
        model=start,
        footage=shown,
        run=workshop.folder("run"),
        preset="all weights",
        width=SIDE,
        height=SIDE,
        batch=4,
        learning_rate=1.5e-3,
        final_learning_rate=0.02,
        beta2=0.99,
        average_decay=0.998,
        dropout=0.1,
        checkpointing=False,
        precision="bf16",
        save_every=200,
        validate_at=(),
        validate_every=500,
        validation_clips=6,
        samples=2,
        **workshop.length(4500),
        **workshop.limits,
    )


def settings_of_u(workshop: Workshop, start: Path, shown: Path) -> SV3DTraining:
    return replace(settings_of_p(workshop, start, shown), learning_rate=1e-3, **workshop.length(800))


def make_p(workshop: Workshop) -> Made:
    shown = workshop.render(workshop.folder("footage"), *footage_of_p())
    counts = ", ".join(f"{path} {clips}" for path, (_, clips) in PATHS.items())
    return _made(
        workshop,
        settings_of_p(workshop, _start_of_p(workshop), shown.root),
        SV3D_P,
        data=f"{len(shown.clips)} clips of {FRAMES} frames, each of another thing, by paths of the camera: {counts}.",
    )


def make_u(workshop: Workshop) -> Made:
    shown = workshop.render(workshop.folder("footage"), footage_of_u())
    return _made(
        workshop,
        settings_of_u(workshop, _start_of_u(workshop), shown.root),
        SV3D_U,
        data=(
            f"{len(shown.clips)} clips of {FRAMES} frames, each of another thing that the camera goes once around at "
            "one height. The weights go on from those of sv3d_p."
        ),
    )


def _made(workshop: Workshop, training: SV3DTraining, recipe: Recipe, data: str) -> Made:
    steps = train_sv3d(training, on_progress=workshop.show, note=workshop.note)
    workshop.train(f"Training {recipe.name}", steps)
    result = workshop.out / recipe.file
    trained = load_svd(workshop.result(training.run), dtype=torch.float32, device="cpu")
    # ComfyUI's own nodes would read a second decoder, with which the file would be too large to ship.
    save_svd(trained, result, dtype=torch.float16, for_comfyui=False)
    measured = measure(recipe.name, MeasuringOptions(model=result), workshop.show)
    return Made(data=data, runs=(training.run,), numbers={number.name: number.value for number in measured.numbers})


def _start_of_p(workshop: Workshop) -> Path:
    """A model that has seen nothing yet, as a file."""
    return _written(workshop, _new(workshop, "sv3d_p"))


def _start_of_u(workshop: Workshop) -> Path:
    """A model that knows what sv3d_p knows, as a file."""
    model = _new(workshop, "sv3d_u")
    known = load_svd(workshop.part("sv3d_p"), dtype=torch.float32, device="cpu")
    take_over(model.unet.module, known.unet.module)
    return _written(workshop, model)


def _new(workshop: Workshop, family: Family) -> SVDModel:
    return new_svd(
        family,
        SIZE,
        vae=workshop.part("vae_image"),
        image_encoder=workshop.part("clip"),
        frames=FRAMES,
        width=SIDE,
        height=SIDE,
        seed=workshop.seed,
        numbers=SAMPLING,
    )


def _written(workshop: Workshop, model: SVDModel) -> Path:
    path = workshop.folder("untrained") / f"{model.family}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_svd(model, path)
    return path


@torch.no_grad()
def take_over(unet: nn.Module, other: nn.Module) -> None:
    """Give a network the weights of another wherever they have the same shape."""
    theirs = dict(other.named_parameters())
    for name, weight in unet.named_parameters():
        if weight.shape == theirs[name].shape:
            weight.copy_(theirs[name])


SV3D_P = Recipe(
    name="sv3d_p",
    file="sv3d_p.safetensors",
    what="Looks around a thing of the toy world along any camera path: 21 views of 64x64 pixels.",
    needs=("vae", "clip"),
    make=make_p,
)
SV3D_U = Recipe(
    name="sv3d_u",
    file="sv3d_u.safetensors",
    what="Goes once around a thing of the toy world, at the height of its picture: 21 views of 64x64 pixels.",
    needs=("sv3d_p",),
    make=make_u,
)
