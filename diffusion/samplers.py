"""Taking the noise out of a clip, step by step: integrating dx/dsigma = (x - D(x, sigma)) / sigma down to 0.

D is the denoised clip that a model sees in the noisy clip x. Everything here works on tensors of any shape.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]  # of the noisy clip and its sigma
SamplerName = Literal["euler", "heun", "dpm++2m"]


@dataclass(frozen=True)
class Level:
    """What is known at a noise level: the noisy clip, and the clip that the model sees in it."""

    sigma: Tensor
    noisy: Tensor
    denoised: Tensor

    @property
    def slope(self) -> Tensor:
        return (self.noisy - self.denoised) / self.sigma


Rule = Callable[[Denoiser, Level, Tensor, Level | None], Tensor]
"""From the level here, the next sigma and the level before (None at the start), the noisy clip at the next sigma."""


def euler(denoise: Denoiser, here: Level, following: Tensor, before: Level | None) -> Tensor:
    """Follow the slope: one evaluation a step, as the reference samples SVD."""
    return here.noisy + here.slope * (following - here.sigma)


def heun(denoise: Denoiser, here: Level, following: Tensor, before: Level | None) -> Tensor:
    """Follow the mean of the slopes here and where Euler's step leads (Karras et al. 2022, algorithm 1).

    Two evaluations a step, but for the last one: at sigma 0 there is no slope.
    """
    there = euler(denoise, here, following, before)
    if following == 0:
        return there
    ahead = Level(following, there, denoise(there, following))
    return here.noisy + (here.slope + ahead.slope) / 2 * (following - here.sigma)


def dpm_plus_plus_2m(denoise: Denoiser, here: Level, following: Tensor, before: Level | None) -> Tensor:
    """Carry on how the denoised clip changed since the step before (Lu et al. 2022, DPM-Solver++ 2M).

    One evaluation a step. The first step has nothing to carry on, and the last one ends on the denoised clip itself.
    """
    kept = following / here.sigma
    aim = here.denoised
    if before is not None and following > 0:
        # How long the step before was beside this one, in ln(sigma), in which the denoised clip changes evenly.
        ratio = torch.log(before.sigma / here.sigma) / torch.log(here.sigma / following)
        aim = here.denoised + (here.denoised - before.denoised) / (2 * ratio)
    return kept * here.noisy + (1 - kept) * aim


SAMPLERS: dict[str, Rule] = {"euler": euler, "heun": heun, "dpm++2m": dpm_plus_plus_2m}


def sample(
    denoise: Denoiser,
    noisy: Tensor,
    sigmas: Tensor,
    sampler: SamplerName = "euler",
    on_step: Callable[[int, Level], None] = lambda index, level: None,
) -> Tensor:
    """Take the noise out of a clip whose noise level is the first of the (steps + 1) falling sigmas, down to the last.

    `on_step` is told each step's number, from 0, and what was seen there, before the step is taken; to cancel, raise.
    """
    rule, before = SAMPLERS[sampler], None
    for index, (sigma, following) in enumerate(pairwise(sigmas)):
        here = Level(sigma, noisy, denoise(noisy, sigma))
        on_step(index, here)
        noisy = rule(denoise, here, following, before)
        before = here
    return noisy
