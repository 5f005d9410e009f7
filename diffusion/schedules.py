"""How noisy a clip is at each step of sampling, and how that noise is told to a model.

Axes: s sigmas, n numbers, d embedding width.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def karras_sigmas(steps: int, sigma_min: float = 0.002, sigma_max: float = 700.0, rho: float = 7.0) -> Tensor:
    """Give the (steps + 1) noise levels from sigma_max down to sigma_min, and 0 (Karras et al. 2022, equation 5)."""
    if steps < 1:
        raise ValueError(f"steps is {steps}. Sampling needs at least 1; 20 to 30 suits most clips.")
    highest, lowest = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (highest + torch.linspace(0, 1, steps) * (lowest - highest)) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)])


@dataclass(frozen=True)
class Preconditioning:
    """What stands around a network F, so that what it takes and gives has unit variance at every noise level.

    The clip as the model sees it is c_skip x + c_out F(c_in x, c_noise).
    """

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


def v_prediction(sigma: Tensor) -> Preconditioning:
    """The preconditioning of a model that predicts v, told the noise as EDM does: ln(sigma) / 4."""
    variance = sigma**2 + 1.0
    return Preconditioning(
        c_skip=1.0 / variance, c_out=-sigma / variance**0.5, c_in=1.0 / variance**0.5, c_noise=0.25 * sigma.log()
    )


def sinusoid(numbers: Tensor, width: int, slowest: float = 10000.0) -> Tensor:
    """Embed (n) numbers as (n d) cosines and sines, in float32; the wave lengths go from 2 pi to 2 pi `slowest`."""
    half = width // 2
    frequencies = torch.exp(-math.log(slowest) * torch.arange(half, dtype=torch.float32, device=numbers.device) / half)
    angles = numbers.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
