"""Whether a model that is shown a full moon makes it wane: its clips held against the truth.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.svd import SVDModel
from ..pipelines.sampling import OnStep
from ..pipelines.svd import SVDOptions, image_to_video
from .clip import seconds_of
from .moons import MoonsClip, MoonsOptions, compose, measure_lit_fractions, render


@dataclass(frozen=True)
class Phases:
    """The phases that a clip's moon goes through, and those that it should."""

    shown: Tensor  # (f) lit fractions, measured from the pixels
    true: Tensor  # (f) lit fractions, as the moon was drawn
    psnr: float  # of the clip against the moon's own, in dB
    still_psnr: float  # of its first frame held still against the moon's own

    @property
    def errors(self) -> Tensor:
        return (self.shown - self.true).abs()

    @property
    def error(self) -> float:
        """The median over the frames."""
        return self.errors.median().item()

    @property
    def correlation(self) -> float:
        return correlation(self.shown, self.true)


def waning(seed: int, frames: int, width: int, height: int) -> MoonsOptions:
    """A moon that goes from full to new in a clip, as the LoRA is trained on and as it is judged on."""
    rate = SVDOptions().fps_id + 1
    return MoonsOptions(
        seconds=seconds_of(frames, rate),
        frames_per_second=rate,
        width=width,
        height=height,
        phases="wane",
        # A full moon does not show how its axis leans, so nobody could tell where the shadow will come from.
        tilt_degrees=0.0,
        seed=seed,
    )


def draw_moon(seed: int, model: SVDModel) -> MoonsClip:
    """Such a moon, in a clip as the model makes them."""
    options = waning(seed, model.frames, model.width, model.height)
    return render(compose(options), options)


def continued(
    model: SVDModel, moon: MoonsClip, options: SVDOptions = SVDOptions(), on_step: OnStep | None = None
) -> Tensor:
    """The clip (f h w c) that the model makes of a moon's first frame, alike for each moon."""
    return image_to_video(model, moon.images[0], options, on_step=on_step).cpu()


def phases_in(images: Tensor, moon: MoonsClip) -> Phases:
    """Hold a clip (f h w c) against the moon that it is to show."""
    discs = torch.cat([moon.masks(frame) for frame in range(len(images))])
    return Phases(
        shown=measure_lit_fractions(images, discs),
        true=moon.truth.lit_fractions,
        psnr=psnr(images, moon.images),
        still_psnr=psnr(moon.images[:1].expand_as(moon.images), moon.images),
    )


def psnr(images: Tensor, true: Tensor) -> float:
    """The peak signal-to-noise ratio of pictures in 0..1, in dB."""
    error = (images.double() - true.double()).square().mean().item()
    return -10 * math.log10(error) if error else math.inf


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's, of two lists of numbers; NaN where either does not change."""
    one, other = one.double() - one.double().mean(), other.double() - other.double().mean()
    size = (one.square().sum() * other.square().sum()).sqrt().item()
    return (one @ other).item() / size if size else math.nan
