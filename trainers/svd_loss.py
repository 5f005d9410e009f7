"""What SVD is trained on, as formulas: how noisy a clip is made, what the network is to say of it, how wrong it is.

SVD predicts v. In EDM's terms the clip as the network sees it is D = c_skip x + c_out F(c_in x), and its loss is
weighted by (1 + sigma^2) / sigma^2. As that times c_out^2 is 1, it is the plain mean square of F - v, which nothing
divides by a small number.

Axes: b clips, f frames, c channels, h height, w width (of the latent).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from .randomness import Chance

# Of the natural logarithms of the noise levels: what SVD_Xtend and the models made with it are trained with.
LEVELS = NormalDist(0.7, 1.6)
# A sampler spends 9 of its 25 steps above 70, where the normal distribution has 1.3 % of its levels, and there the
# layout and the amount of motion are decided. So some samples are drawn evenly from here.
TAIL_SHARE, TAIL_START, TAIL_END = 0.12, 10.0, 700.0
LOWEST = 0.002  # the samplers' last level
PICTURE_LEVELS = NormalDist(-3.0, 0.5)  # of the noise on the picture that the clip starts from


@dataclass(frozen=True)
class Kept:
    """What a sample is told of the picture that its clip starts from."""

    token: bool  # what CLIP makes of it
    latent: bool


def noise_level(chance: Chance, *, parity: bool) -> float:
    """How noisy the clip of a sample is made.

    Any row of samples has its levels spread evenly over the distribution, so that a short run, too, meets them all and
    its loss jumps less. `parity` draws each by itself from the normal distribution alone, as SVD_Xtend does.
    """
    if parity:
        return math.exp(LEVELS.mean + LEVELS.stdev * chance.normal("noise level").item())
    return spread_level(chance.even("noise level"))


def spread_level(share: float) -> float:
    """The noise level at a share, 0 to 1, of the distribution."""
    if share < TAIL_SHARE:
        return TAIL_START * (TAIL_END / TAIL_START) ** (share / TAIL_SHARE)
    quantile = (share - TAIL_SHARE) / (1 - TAIL_SHARE)
    quantile = min(max(quantile, 1e-9), 1 - 1e-9)  # at 0 and 1 the normal distribution has no number
    return min(max(math.exp(LEVELS.inv_cdf(quantile)), LOWEST), TAIL_END)


def picture_noise_level(chance: Chance) -> float:
    """How much noise the picture gets before it is encoded, and what the network is told of it."""
    return math.exp(PICTURE_LEVELS.mean + PICTURE_LEVELS.stdev * chance.normal("noise level of the picture").item())


def what_is_kept(chance: Chance, dropout: float, *, parity: bool) -> Kept:
    """Whether a sample has to do without the picture, so that the network can also be sampled without it.

    The two ways in which it is told go together, as they do in sampling. `parity` drops the one, both and the other,
    each with that probability, as SVD_Xtend does.
    """
    place = chance.uniform("dropout").item()
    if not parity:
        return Kept(place >= dropout, place >= dropout)
    return Kept(token=place >= 2 * dropout, latent=not dropout <= place < 3 * dropout)


def noised(clips: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """(b f c h w) clips with unit noise times the levels (b) on them."""
    return clips + _beside(levels, clips) * noise


def velocity(clips: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """What the network is to say of noised (b f c h w) clips: the noise less sigma times the clip, at unit variance."""
    sigma = _beside(levels, clips)
    return (noise - sigma * clips) / (sigma**2 + 1).sqrt()


def velocity_loss(predicted: Tensor, clips: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """The loss (b) of each clip, in float32 whatever the network computes in."""
    wrong = predicted.float() - velocity(clips, noise, levels)
    return wrong.square().flatten(1).mean(1)


def _beside(levels: Tensor, clips: Tensor) -> Tensor:
    return levels.to(torch.float32).view(-1, *(1,) * (clips.ndim - 1))
