"""A picture of a clip that is still forming, without decoding it.

Each channel of a latent is close to a mix of colours, which mix depends on the VAE. The picture that a clip starts from
is there both as pixels and as a latent; the mix is fitted to it, and so holds for every VAE.

Axes: f frames, c latent channels, h height, w width (of the latent), g colours; pictures have pixels H W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Keeps the fit of a picture of one colour from blowing up; latents have a variance near 1, so it costs others nothing.
RIDGE = 1e-3


@dataclass(frozen=True)
class LatentColours:
    """The linear map from a latent's channels to red, green and blue."""

    weights: Tensor  # (c g)
    ground: Tensor  # (g) what a latent of zeros shows

    @classmethod
    def fitted(cls, latent: Tensor, picture: Tensor) -> LatentColours:
        """By least squares from a (1 c h w) latent as it is sampled, and its (1 g H W) picture in -1..1."""
        inputs = latent[0].cpu().double().flatten(1).T  # (h w) c
        small = F.adaptive_avg_pool2d(picture.cpu().double(), (latent.shape[2], latent.shape[3]))
        targets = small[0].flatten(1).T / 2 + 0.5  # (h w) g
        middle, ground = inputs.mean(0), targets.mean(0)
        centred = inputs - middle
        squares = centred.T @ centred + RIDGE * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
        weights = torch.linalg.solve(squares, centred.T @ (targets - ground))
        return cls(weights.float(), (ground - middle @ weights).float())

    def show(self, latents: Tensor) -> Tensor:
        """Small pictures (f h w g) in 0..1, on the CPU, of (f c h w) latents."""
        channels_last = latents.detach().float().cpu().movedim(1, -1)
        return (channels_last @ self.weights + self.ground).clamp(0, 1)


def contact_sheet(pictures: Tensor) -> Tensor:
    """All (f h w g) pictures of a clip in one (H W g), in rows from the first to the last, about as high as wide."""
    frames, height, width, colours = pictures.shape
    columns = min(frames, max(1, round(math.sqrt(frames * height / width))))
    rows = math.ceil(frames / columns)
    sheet = pictures.new_zeros(rows * columns, height, width, colours)
    sheet[:frames] = pictures
    return (
        sheet.reshape(rows, columns, height, width, colours)
        .transpose(1, 2)
        .reshape(rows * height, columns * width, colours)
    )
