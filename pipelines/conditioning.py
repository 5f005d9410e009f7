"""What a clip is made from, in the form in which SVD's network is told it.

The picture goes in twice: as one token that CLIP makes of it, and as a latent beside each frame. Numbers (frame rate,
motion, noise on the picture, camera) go in as a vector for each frame.

Noise is drawn on the CPU, the picture's first and the latents' second as the reference does, so that a seed means its
clip.

Axes: h height, w width, c channels, f frames, d CLIP channels, v vector width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..diffusion.schedules import sinusoid
from ..host.weights import Weights
from ..models.clip_layouts import DEVIATION, MEAN
from ..models.svd import SVDModel
from .activations import CLIP_BYTES, dtype_of, vae_bytes
from .previewing import LatentColours

NUMBER_WIDTH = 256
ANGLE_WIDTH = 512


@dataclass(frozen=True)
class Condition:
    """All that the network is told of a clip that it shall make."""

    context: Tensor  # (1 1 d) what CLIP sees in the picture
    latent: Tensor  # (1 c h w) the picture's latent; unlike those that are sampled it is not scaled
    vector: Tensor  # (f v) the embedded numbers
    colours: LatentColours  # for previews


def seeded(seed: int) -> torch.Generator:
    """The source of a clip's noise."""
    return torch.Generator("cpu").manual_seed(seed)


def draw_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Normal noise in float32 on the CPU."""
    return torch.randn(tuple(shape), generator=generator)


def checked_picture(image: Tensor) -> Tensor:
    """Give the colours (h w 3) of a picture (h w c) of floats in 0..1, or say what it is instead.

    Grey becomes a colour, and alpha is dropped, as by the reference. What a sharp filter threw a little out of 0..1
    comes back.
    """
    image = torch.as_tensor(image)
    if image.dim() != 3 or image.shape[2] not in (1, 3, 4) or not image.is_floating_point():
        raise ValueError(
            f"The picture is {tuple(image.shape)} of {image.dtype}, but it has to be (height, width, channels) of "
            "floats in 0..1 with 1, 3 or 4 channels. Of a batch, take one picture; divide bytes by 255."
        )
    if image.numel() == 0:
        raise ValueError(f"The picture is {image.shape[1]}x{image.shape[0]} pixels, so there is nothing to see in it.")
    if not image.isfinite().all():
        raise ValueError(
            "The picture holds NaN or infinity, which are no colours. Look for the node before that made it."
        )
    lowest, highest = image.min().item(), image.max().item()
    if lowest < -0.1 or highest > 1.1:
        raise ValueError(
            f"The picture's values go from {lowest:.3g} to {highest:.3g}, but 0 is black and 1 is white. Divide bytes "
            "by 255; from -1..1, add 1 and halve."
        )
    return image[..., :3].float().clamp(0, 1).expand(-1, -1, 3)


def encode_condition(
    model: SVDModel, picture: Tensor, vector: Tensor, *, cond_aug: float, generator: torch.Generator
) -> Condition:
    """Look at a (1 3 H W) picture in -1..1. Noise times `cond_aug` is drawn, and added before the VAE sees it."""
    noisy = picture + cond_aug * draw_noise(picture.shape, generator).to(picture.device)
    latent = encode_pictures(model.vae, noisy)
    colours = LatentColours.fitted(latent * model.vae.module.config.scaling_factor, noisy)
    return Condition(embed_picture(model.image_encoder, picture), latent, vector, colours)


@torch.no_grad()
def embed_picture(image_encoder: Weights[Any], picture: Tensor) -> Tensor:
    """The token (1 1 d) that CLIP makes of a (1 3 H W) picture in -1..1."""
    device = image_encoder.ready(CLIP_BYTES)
    encoder = image_encoder.module
    pixels = clip_pixels(picture.to(device, torch.float32), encoder.config.image_size)
    return encoder(pixels.to(dtype_of(encoder))).image_embeds[:, None].float()


def clip_pixels(picture: Tensor, size: int = 224) -> Tensor:
    """What CLIP is shown: the whole picture, squashed into a square as by the reference, and normalized."""
    from kornia.geometry import resize

    square = resize(picture, (size, size), interpolation="bicubic", align_corners=True, antialias=True)
    mean, deviation = (square.new_tensor(numbers)[:, None, None] for numbers in (MEAN, DEVIATION))
    return ((square + 1) / 2 - mean) / deviation


@torch.no_grad()
def encode_pictures(vae: Weights[Any], pictures: Tensor) -> Tensor:
    """The likeliest latents (f c h w), not scaled, of (f 3 H W) pictures in -1..1, one after another."""
    device = vae.ready(vae_bytes(vae.module, 1, *pictures.shape[2:]))
    latents = []
    for picture in pictures.split(1):
        encoded = vae.module.encode(picture.to(device, dtype_of(vae.module))).latent_dist
        latents.append(encoded.mode().float())
    return torch.cat(latents)


def svd_vector(frames: int, *, fps_id: float, motion_bucket_id: float, cond_aug: float) -> Tensor:
    """The numbers (f v) of SVD, the same for each frame."""
    return _embedded([fps_id, motion_bucket_id, cond_aug]).expand(frames, -1)


def sv3d_u_vector(frames: int, *, cond_aug: float) -> Tensor:
    """The numbers (f v) of SV3D_u, the same for each frame."""
    return _embedded([cond_aug]).expand(frames, -1)


def sv3d_p_vector(polars: Sequence[float], azimuths: Sequence[float], *, cond_aug: float) -> Tensor:
    """The numbers (f v) of SV3D_p: for each frame the camera's angle from straight above and around, in radians."""
    angles = [sinusoid(torch.tensor(each, dtype=torch.float32), ANGLE_WIDTH) for each in (polars, azimuths)]
    return torch.cat([_embedded([cond_aug]).expand(len(polars), -1), *angles], dim=1)


def _embedded(numbers: list[float]) -> Tensor:
    """Numbers side by side (1 v), as they are: 6 is 6 and not a share of anything."""
    return sinusoid(torch.tensor(numbers, dtype=torch.float32), NUMBER_WIDTH).flatten()[None]
