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

# How many tensors as wide as the network's first channels are there at once: what was counted, and a tenth more.
UNET_TENSORS = 30
LEAN_UNET_TENSORS = 14
VAE_TENSORS = 11
# The lean decoder holds two of all frames, and the others of one.
LEAN_VAE_TENSORS, LEAN_VAE_TENSORS_OF_ONE_FRAME = 2.2, 9
TINY_DECODER_TENSORS = 4
# What the lean networks take for the slices that they work on where memory is large.
SLICE_BYTES = 2**29


def bytes_per_number(module: nn.Module) -> int:
    return dtype_of(module).itemsize


def dtype_of(module: nn.Module) -> torch.dtype:
    """The type that a network computes in."""
    return next(parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())


def unet_bytes(unet: Any, shape: tuple[int, ...], *, clips: int = 1, lean: bool = False) -> int:
    """For latents of a shape (f c h w), of which so many clips are in one batch; the lean network takes one by one."""
    frames, _, height, width = shape
    one_tensor = unet.config.block_out_channels[0] * frames * height * width * bytes_per_number(unet)
    return LEAN_UNET_TENSORS * one_tensor + SLICE_BYTES if lean else UNET_TENSORS * clips * one_tensor


def vae_bytes(vae: Any, frames: int, height: int, width: int, *, lean: bool = False) -> int:
    """For so many pictures at once, encoded or decoded; height and width in pixels."""
    one_frame = vae.config.block_out_channels[0] * height * width * bytes_per_number(vae)
    if lean:
        return round((LEAN_VAE_TENSORS * frames + LEAN_VAE_TENSORS_OF_ONE_FRAME) * one_frame) + SLICE_BYTES
    return VAE_TENSORS * frames * one_frame


def tiny_decoder_bytes(decoder: nn.Module, frames: int, height: int, width: int) -> int:
    """For so many pictures at once; height and width in pixels."""
    channels = next(decoder.parameters()).shape[0]
    return TINY_DECODER_TENSORS * channels * frames * height * width * bytes_per_number(decoder)
