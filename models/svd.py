"""SVD and SV3D: loading a model from a checkpoint of one file or from a folder as diffusers writes it."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from ..host.weights import Weights, stationary
from .checkpoints import Checkpoint, open_checkpoint
from .errors import CheckpointError
from .svd_keys import LEFTOVER, keys_by_part, names_of_part
from .svd_parts import Part, image_encoder_part, load_part, origins_by, unet_part, vae_part
from .svd_shapes import CLIP_HEAD_CHANNELS, HEAD_CHANNELS

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionModelWithProjection

    from .svd_unet import VideoUNet

Family = Literal["svd", "sv3d_u", "sv3d_p"]
Place = Callable[[Any], Weights[Any]]

VECTOR_WIDTHS: dict[int, Family] = {768: "svd", 256: "sv3d_u", 1280: "sv3d_p"}
"""What the numbers that a clip is conditioned on take, as sinusoids: the one thing that tells the families apart."""
FRAMES = {"svd": 14, "svd_xt": 25, "svd_xt_1_1": 25, "sv3d_u": 21, "sv3d_p": 21}
METADATA = "zoetrope."
BUILTIN = Path(__file__).parent / "builtin"
# How versions are called in names of files and folders, the most telling first.
VERSIONS = (
    ("sv3d_u", r"sv3d[-_ .]?u"),
    ("sv3d_p", r"sv3d[-_ .]?p"),
    ("svd_xt_1_1", r"xt[-_ .]?1[-_ .]1"),
    ("svd_xt", r"svd[-_ .]?xt|img2vid[-_ .]?xt"),
    ("svd", r"svd|stable[-_ .]?video[-_ .]?diffusion|img2vid"),
)


@dataclass(frozen=True)
class SVDModel:
    """A model that turns a picture into a clip, its parts where `place` put them."""

    family: Family
    version: str  # "svd", "svd_xt", "svd_xt_1_1", "sv3d_u", "sv3d_p", or "" where nothing tells
    decoder: Literal["temporal", "image"]
    frames: int  # what it was trained to make
    name: str
    unet: Weights[VideoUNet]
    image_encoder: Weights[CLIPVisionModelWithProjection]
    vae: Weights[AutoencoderKLTemporalDecoder | AutoencoderKL]
    dtype: torch.dtype  # of the UNet and the image encoder


def load_svd(
    source: str | Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    head_channels: int | None = None,
    clip_head_channels: int | None = None,
    vae_dtype: torch.dtype = torch.float32,
    place: Place = stationary,
) -> SVDModel:
    path = Path(source)
    checkpoint = open_checkpoint(path)
    parts = _parts_of_file(
        checkpoint,
        head_channels or int(checkpoint.metadata.get(METADATA + "head_channels", HEAD_CHANNELS)),
        clip_head_channels or int(checkpoint.metadata.get(METADATA + "clip_head_channels", CLIP_HEAD_CHANNELS)),
    )
    device = torch.device(device)
    unet = _load(parts["unet"], dtype, device, place)
    vae = _load(parts["vae"], vae_dtype, device, place)
    image_encoder = _load(parts["image_encoder"], dtype, device, place)
    family = VECTOR_WIDTHS[unet.module.config.projection_class_embeddings_input_dim]
    version = checkpoint.metadata.get(METADATA + "version", family)
    return SVDModel(
        family=family,
        version=version,
        decoder="temporal" if hasattr(vae.module.decoder, "time_conv_out") else "image",
        frames=int(checkpoint.metadata.get(METADATA + "frames", FRAMES[version])),
        name=path.stem,
        unet=unet,
        image_encoder=image_encoder,
        vae=vae,
        dtype=dtype,
    )


def _parts_of_file(checkpoint: Checkpoint, head_channels: int, clip_head_channels: int) -> dict[str, Part]:
    found = keys_by_part(key for key in checkpoint.tensors if not LEFTOVER.match(key))
    origins = {part: origins_by(names_of_part(part, within), within)[0] for part, within in found.items()}
    return {
        "unet": unet_part(checkpoint, origins["unet"], head_channels),
        "vae": vae_part(checkpoint, origins["vae"]),
        "image_encoder": image_encoder_part(checkpoint, origins["image_encoder"], clip_head_channels),
    }


def _load(part: Part, dtype: torch.dtype, device: torch.device, place: Place) -> Weights[Any]:
    key = (part.stamp, dtype, device, place)
    weights = _loaded.get(key)
    if weights is None:
        weights = _loaded[key] = place(load_part(part, dtype, device))
    return weights


_loaded: weakref.WeakValueDictionary[tuple[object, ...], Weights[Any]] = weakref.WeakValueDictionary()
