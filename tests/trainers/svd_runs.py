"""Footage of a moment, and settings for runs of one."""

from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from zoetrope.clips.footage import Clip, Footage, update_manifest, write_manifest
from zoetrope.media.pictures import to_bytes
from zoetrope.toyworld.footage import RenderingOptions, render_footage
from zoetrope.toyworld.objects import ObjectsOptions
from zoetrope.toyworld.shapes import ShapesOptions, compose, render
from zoetrope.trainers.sv3d_settings import SV3DTraining
from zoetrope.trainers.svd_settings import SVDTraining

SIDE, FRAMES, RATE = 32, 6, 8.0


def draw_footage(root: Path, clips: int = 4, held_out: int = 1, frames: int = FRAMES) -> Footage:
    """Moving shapes, the last clips set aside."""
    made = []
    for number in range(clips):
        options = ShapesOptions(
            width=2 * SIDE, height=SIDE, seconds=frames / RATE, frames_per_second=RATE, seed=100 + number
        )
        images = render(compose(options), options).images
        folder = root / f"clip_{number}"
        folder.mkdir(parents=True)
        names = [f"frame_{index}.png" for index in range(frames)]
        for name, pixels in zip(names, to_bytes(images), strict=True):
            Image.fromarray(pixels).save(folder / name)
        made.append(
            Clip(
                name=folder.name,
                frames=tuple(names),
                width=2 * SIDE,
                height=SIDE,
                frames_per_second=RATE,
                split="validation" if number >= clips - held_out else "train",
                motion=0.1 * (number + 1),
            )
        )
    footage = Footage(root, tuple(made))
    write_manifest(footage)
    return footage


def draw_orbits(root: Path, clips: int = 4, frames: int = FRAMES, orbit: str = "views") -> Footage:
    """Objects from known angles, the last clip set aside."""
    options = ObjectsOptions(
        width=SIDE, height=SIDE, seconds=frames / RATE, frames_per_second=RATE, seed=100, orbit=orbit
    )
    drawn = render_footage(root, RenderingOptions(clips=clips, clip=options)).footage
    splits = ["train"] * (clips - 1) + ["validation"]
    footage = drawn.with_clips(replace(clip, split=split) for clip, split in zip(drawn.clips, splits, strict=True))
    update_manifest(footage, "split")
    return footage


def tiny_settings(model: Path, footage: Path, run: Path, **changes) -> SVDTraining:
    """A run of a moment on the tiny checkpoint, whose pictures have sides that are multiples of 16."""
    return SVDTraining(model=model, footage=footage, run=run, **(TINY | changes))


def tiny_orbit_settings(model: Path, footage: Path, run: Path, **changes) -> SV3DTraining:
    return SV3DTraining(model=model, footage=footage, run=run, **(TINY | changes))


TINY = {
    "rank": 4,
    "frames": 3,
    "width": SIDE,
    "height": SIDE,
    "steps": 3,
    "learning_rate": 1e-3,
    "warm_up_steps": 0,
    "schedule": "constant",
    "save_every": 2,
    "validate_at": (),
    "validation_clips": 1,
    "validation_levels": (0.5, 2.0, 8.0),
    "samples": 0,
    "sample_steps": 2,
}


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)
