"""From the latents of a clip to its pictures.

SVD's decoder also looks at the frames beside each. The reference gives it `decoding_t` frames at a time, so a clip has
a seam between every two such chunks; without seams, all frames are decoded as one clip. SV3D's decoder looks at
pictures one by one, and knows no seams.

Axes: f frames, c channels, h height, w width.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from ..host import work
from ..host.weights import Weights
from ..models.svd import SVDModel
from .activations import dtype_of, tiny_decoder_bytes, vae_bytes


@torch.no_grad()
def decode_latents(
    model: SVDModel,
    latents: Tensor,
    *,
    decoding_t: int = 14,
    seams: bool = True,
    lean: bool = True,
    tiny_decoder: Weights[Any] | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Decode (f c h w) latents as they are sampled to pictures (f h w c) in 0..1, float32 on `device`.

    Where memory is not enough for a chunk, all are decoded in chunks of half its length, so that seams are alike. A
    tiny decoder (models.tiny_decoder) takes the VAE's place for fast and blurred pictures, which have no seams.
    """
    if tiny_decoder is not None:
        return _decode_roughly(tiny_decoder, latents, decoding_t, device)
    vae, frames = model.vae.module, len(latents)
    pixels = 2 ** (len(vae.config.block_out_channels) - 1)  # that a latent's pixel becomes, along each side
    height, width = (side * pixels for side in latents.shape[2:])
    chunk = min(decoding_t, frames) if seams or model.decoder == "image" else frames
    while True:
        needed = vae_bytes(vae, chunk, height, width, lean=lean)
        home = model.vae.ready(needed)
        # A CPU that runs out of memory does not say so; the process ends.
        if chunk == 1 or home.type != "cpu" or needed <= work.available_bytes(home):
            try:
                return _decode_in_chunks(model, latents.to(home), chunk, (height, width), lean, device)
            except work.out_of_memory_errors:
                if chunk == 1:
                    raise
        _tell_of_new_seams(model, chunk)
        chunk = (chunk + 1) // 2


def _decode_roughly(decoder: Weights[Any], latents: Tensor, decoding_t: int, device: torch.device | str) -> Tensor:
    frames, _, height, width = latents.shape
    size = (8 * height, 8 * width)
    home = decoder.ready(tiny_decoder_bytes(decoder.module, min(decoding_t, frames), *size))
    pictures = torch.empty(frames, *size, 3, device=device)
    for start in range(0, frames, decoding_t):
        work.raise_if_cancelled()
        part = latents[start : start + decoding_t].to(home, dtype_of(decoder.module))
        pictures[start : start + decoding_t] = _as_pictures(decoder.module(part))
    return pictures


def _as_pictures(decoded: Tensor) -> Tensor:
    """(f H W 3) in 0..1 of (f 3 H W) in about -1..1."""
    return ((decoded.float() + 1) / 2).clamp(0, 1).movedim(1, -1)


def _tell_of_new_seams(model: SVDModel, chunk: int) -> None:
    if model.decoder == "temporal":
        warnings.warn(
            f"Memory is not enough to decode {chunk} frames at a time, so it is done in chunks of {(chunk + 1) // 2}. "
            "The clip differs a little from one decoded as asked, near where chunks meet.",
            stacklevel=4,
        )


def _decode_in_chunks(
    model: SVDModel, latents: Tensor, chunk: int, size: tuple[int, int], lean: bool, device: torch.device | str
) -> Tensor:
    vae = model.vae.module
    pictures = torch.empty(len(latents), *size, 3, device=device)
    for start in range(0, len(latents), chunk):
        work.raise_if_cancelled()
        part = latents[start : start + chunk].float() / vae.config.scaling_factor
        decoded = _decode(model, part.to(dtype_of(vae)), lean)
        pictures[start : start + chunk] = _as_pictures(decoded)
    return pictures


def _decode(model: SVDModel, latents: Tensor, lean: bool) -> Tensor:
    """(f 3 H W) in about -1..1 of (f c h w) latents, not scaled."""
    from ..models.lean_vae import lean_decode

    vae = model.vae.module
    if lean:
        return lean_decode(vae, latents)
    if model.decoder == "temporal":
        return vae.decode(latents, num_frames=len(latents)).sample
    return vae.decode(latents).sample
