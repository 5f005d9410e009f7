"""The recipe of the autoencoder: pictures of the whole toy world into latents and back, alone and as clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...media.files import written_beside
from ...models.autoencoders import SCALING, load_autoencoder
from ...trainers.autoencoder import AutoencoderTraining, deviation, encode, noise_ratio, train_autoencoder
from ..clip import ClipOptions
from ..footage import RenderingOptions
from ..held_out import FIRST_HELD_OUT, training_seeds
from ..moons import MoonsOptions
from ..objects import ObjectsOptions
from ..scenes import draw
from ..shapes import ShapesOptions
from .recipe import Made, Recipe, Workshop

SIDE = 64
CLIPS = 250  # of each kind of footage
MEASURED = 20  # held-out clips of each scene
FRAMES: dict[str, Any] = {"seconds": 1.0, "frames_per_second": 6.0, "width": SIDE, "height": SIDE}
KINDS: tuple[ClipOptions, ...] = (
    MoonsOptions(phases="wane", **FRAMES),
    MoonsOptions(phases="wax", speed=0.3, tilt_degrees=90, **FRAMES),
    MoonsOptions(phases="month", tilt_degrees=90, **FRAMES),
    MoonsOptions(phases="steady", speed=0.2, **FRAMES),
    ShapesOptions(shapes=1, speed=0.0, **FRAMES),
    ShapesOptions(shapes=1, speed=0.3, **FRAMES),
    ShapesOptions(shapes=2, **FRAMES),
    ShapesOptions(shapes=3, **FRAMES),
    ObjectsOptions(orbit="wander", **FRAMES),
    ObjectsOptions(orbit="wander", **FRAMES),
    ObjectsOptions(orbit="turn", **FRAMES),
)
# What all stages share, and what each trains: all that follow leave the encoder, and so all latents, as they are.
RUNS: dict[str, Any] = {
    "batch": 4,
    "precision": "bf16",
    "beta2": 0.99,
    "save_every": 500,
    "validate_at": (),
    "validate_every": 500,
    "widths": (96, 32, 64, 96),
}
STAGES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("vae-pictures", "Training the autoencoder", {"steps": 4800, "learning_rate": 3e-4, "average_decay": 0.995}),
    (
        "vae-clips",
        "Training its layers among frames",
        {
            "steps": 400,
            "learning_rate": 1e-3,
            "trains": "temporal layers",
            "frames": 4,
            "batch": 1,
            "latent_noise": 0.1,
            "precision": "fp32",
        },
    ),
)
DATA = (
    f"{len(KINDS) * CLIPS} clips of 6 frames of the toy world, {SIDE}x{SIDE} pixels: moons in all phases, shapes that "
    "stand and move, objects from all around."
)


def make(workshop: Workshop) -> Made:
    """Train all of it on pictures, then the layers among frames of the twin that decodes clips."""
    footage = workshop.folder("pictures")
    for number, kind in enumerate(KINDS):
        seeds = training_seeds(CLIPS, number * CLIPS)
        workshop.render(footage, RenderingOptions(clips=CLIPS, clip=replace(kind, seed=seeds[0])))
    common: dict[str, Any] = {"footage": footage, **RUNS, **workshop.limits}
    runs = []
    start: Path | None = None
    for name, title, settings in STAGES:
        run = workshop.folder(name)
        length = workshop.length(settings["steps"])
        training = AutoencoderTraining(run=run, start=start, **{**common, **settings, **length})
        workshop.train(title, train_autoencoder(training))
        start = workshop.result(run)
        runs.append(run)
        result = workshop.out / ("vae.safetensors" if training.trains == "temporal layers" else "vae_image.safetensors")
        with written_beside(result) as draft:
            draft.write_bytes(start.read_bytes())
    return Made(data=DATA, runs=tuple(runs), numbers=measured(workshop.out))


def measured(out: Path) -> dict[str, float]:
    """How near held-out pictures come back, in decibels, and how even the brightness of still clips stays."""
    pictures, clips = load_autoencoder(out / "vae_image.safetensors"), load_autoencoder(out / "vae.safetensors")
    numbers: dict[str, float] = {}
    latents = []
    for scene, kind in {"moons": KINDS[2], "shapes": KINDS[6], "objects": KINDS[8]}.items():
        drawn = [draw(replace(kind, seed=FIRST_HELD_OUT + number)).images for number in range(MEASURED)]
        ratios: dict[str, list[torch.Tensor]] = {"each picture by itself": [], "as clips": []}
        for images in drawn:
            given = images.movedim(-1, 1) * 2 - 1
            with torch.no_grad():
                mean = encode(pictures, given)
                ratios["each picture by itself"].append(noise_ratio(pictures.decode(mean).sample.clamp(-1, 1), given))
                decoded = clips.decode(mean, num_frames=len(mean)).sample.clamp(-1, 1)
                ratios["as clips"].append(noise_ratio(decoded, given))
            latents.append(mean)
        numbers |= {f"{scene}, {how}, dB": torch.cat(each).mean().item() for how, each in ratios.items()}
    return numbers | {"deviation of scaled latents": SCALING * deviation(torch.cat(latents))}


RECIPE = Recipe(
    name="vae",
    file="vae.safetensors",
    what="An autoencoder of 64x64 pictures of the toy world, the first stage of all built-in video models; "
    "vae_image.safetensors beside it is the same with a decoder of single pictures.",
    make=make,
)
