"""The demo: one picture of a moon becomes a clip, before and after a LoRA, and both are held against the truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..media.gifs import GifOptions, write_gif
from ..media.pictures import Pixels, encode_png, to_bytes
from ..media.writing import write_video
from ..models.lora import load_lora
from ..models.svd import SVDModel, load_svd
from ..pipelines.svd import SVDOptions
from .demo_pictures import AFTER, BEFORE, TRUTH, Shown, enlarged, phases_picture, side_by_side
from .held_out import held_out_seeds
from .moons import MoonsClip
from .phases import Phases, continued, draw_moon, phases_in

OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how many steps of it are, and of how many; to cancel, raise from it."""

FOLLOWS = 0.12  # an error of the lit fraction up to which one sees the moon wane as it should
CHANGES = 0.2  # of the lit fraction within a clip, below which one sees the same moon all the time
VIDEO_SIDE = 512  # pixels that a video's longer side has about, for players that show it at its own size


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    moon: int = 215  # which of the held-out ones; this one is large and in the middle
    seed: int = SVDOptions.seed  # of the noise
    steps: int = 0  # of sampling; 0 is the model's own number
    model: str | Path = "builtin:svd"
    lora: str | Path = "builtin:svd-moon-lora"
    device: str = "cpu"

    def __post_init__(self) -> None:
        held_out_seeds(1, self.moon)
        SVDOptions(seed=self.seed, steps=self.steps)

    @property
    def moon_seed(self) -> int:
        return held_out_seeds(1, self.moon)[0]


@dataclass(frozen=True)
class Made:
    """A clip that a model made of the moon's first frame."""

    images: Tensor  # (f h w c) in 0..1
    phases: Phases
    seconds: float  # that it took

    def sentence(self, who: str) -> str:
        """What is to be seen, and the numbers that say so."""
        phases = self.phases
        if phases.error <= FOLLOWS:
            seen = "wanes as it should"
        elif (phases.shown.max() - phases.shown.min()).item() < CHANGES:
            seen = "stays as it is"
        else:
            seen = "changes, but not as it should"
        gain = f"{phases.psnr - phases.still_psnr:+.1f}"
        held = {"+": f"{gain[1:]} dB above", "-": f"{gain[1:]} dB below"}[gain[0]] if float(gain) else "as much as"
        return (
            f"{who} the moon {seen}: its lit fraction is off by {phases.error:.2f} (the median of its frames), and the "
            f"clip has {phases.psnr:.1f} dB PSNR, {held} a still picture."
        )


@dataclass(frozen=True)
class Demo:
    options: DemoOptions
    sampling: SVDOptions  # completed with the model's own numbers
    moon: MoonsClip
    before: Made
    after: Made

    def sentences(self) -> list[str]:
        moon = self.moon.scene
        return [
            f"A {moon.tint} moon in a {moon.sky} sky, which no model has seen, goes from full to new.",
            self.before.sentence("Without the LoRA"),
            self.after.sentence("With it"),
        ]


def run_demo(options: DemoOptions = DemoOptions(), on_progress: OnProgress = lambda title, done, total: None) -> Demo:
    """Draw the moon, and let the model make its clip without the LoRA and with it."""
    model = load_svd(options.model, dtype=torch.float32, device=options.device)
    with_lora = load_lora(model, options.lora)
    moon = draw_moon(options.moon_seed, model)
    sampling = SVDOptions(seed=options.seed, steps=options.steps).completed(model)

    def make(title: str, model: SVDModel) -> Made:
        began = time.monotonic()
        on_progress(title, 0, sampling.steps)
        images = continued(model, moon, sampling, lambda step: on_progress(title, step.index + 1, step.steps))
        return Made(images, phases_in(images, moon), time.monotonic() - began)

    return Demo(options, sampling, moon, make("Without the LoRA", model), make("With the LoRA", with_lora))


def write_demo(folder: Path, demo: Demo) -> list[Path]:
    """Write what the demo has made into a folder that is there: the picture, videos, a GIF, a chart and a report."""
    from .demo_report import report_of

    clips = [
        Shown("truth", "as it was drawn", TRUTH, demo.moon.images, demo.moon.truth.lit_fractions.tolist()),
        Shown("before", "without the LoRA", BEFORE, demo.before.images, demo.before.phases.shown.tolist()),
        Shown("after", "with the LoRA", AFTER, demo.after.images, demo.after.phases.shown.tolist()),
    ]
    rate = demo.moon.options.frames_per_second
    names = ("picture.png", "before.mp4", "after.mp4", "side_by_side.gif", "phases.png", "report.html")
    picture, before, after, gif, phases, report = paths = [folder / name for name in names]
    picture.write_bytes(encode_png(next(to_bytes(demo.moon.images[:1]))))
    write_video(before, _large(demo.before.images), rate)
    write_video(after, _large(demo.after.images), rate)
    write_gif(gif, side_by_side(clips), rate, GifOptions(dither="none"))  # dots in enlarged pixels would be seen
    phases.write_bytes(encode_png(phases_picture(clips)))
    report.write_text(report_of(demo, gif, phases), encoding="utf-8", newline="\n")
    return paths


def _large(images: Tensor) -> list[Pixels]:
    times = max(1, VIDEO_SIDE // max(images.shape[1:3]))
    return [enlarged(pixels, times) for pixels in to_bytes(images)]
