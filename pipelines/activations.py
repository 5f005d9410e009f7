"""How much memory the networks of SVD take while they work, beside their weights.

Estimates, a little high: what matters at a network's widest point grows with the number of latent pixels, or pixels,
times the channels there. `tests/pipelines/test_activations.py` holds them to readings.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

CLIP_BYTES = 64 * 2**20
"""For one picture, with room to spare: 257 tokens are little at any width."""

# Tensors as wide as the network's first channels that are there at once.
UNET_TENSORS = 32
LEAN_UNET_TENSORS = 24
VAE_TENSORS = 12
# The lean decoder holds few tensors of all frames, and the others of a frame or two.
LEAN_VAE_TENSORS = 3


def bytes_per_number(module: nn.Module) -> int:
    return dtype_of(module).itemsize


def dtype_of(module: nn.Module) -> torch.dtype:
    """The type that a network computes in."""
    return next(parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())


def unet_bytes(unet: Any, shape: tuple[int, ...], *, clips: int = 1, lean: bool = False) -> int:
    """For latents of a shape (f c h w), of which so many clips are in one batch."""
    frames, _, height, width = shape
    tensors = LEAN_UNET_TENSORS if lean else UNET_TENSORS * clips
    return tensors * unet.config.block_out_channels[0] * frames * height * width * bytes_per_number(unet)


def vae_bytes(vae: Any, frames: int, height: int, width: int, *, lean: bool = False) -> int:
    """For so many pictures at once, encoded or decoded; height and width in pixels."""
    tensors = LEAN_VAE_TENSORS * frames + VAE_TENSORS if lean else VAE_TENSORS * frames
    return tensors * vae.config.block_out_channels[0] * height * width * bytes_per_number(vae)
