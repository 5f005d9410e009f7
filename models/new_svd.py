"""New models of the kinds that `load_svd` knows, of any size: an untrained UNet beside a VAE and an image encoder.

What small models are trained from. Saved with svd_saving, they are files like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..host.weights import stationary
from .errors import CheckpointError
from .fresh_weights import with_fresh_weights
from .svd import FAMILIES, Family, SamplingNumbers, SVDModel
from .svd_layouts import HeadWidths, find_image_encoder, find_vae
from .svd_parts import build, fill
from .svd_shapes import HEAD_CHANNELS, NORM_GROUPS, is_temporal

if TYPE_CHECKING:
    from .svd_unet import VideoUNet


@dataclass(frozen=True, kw_only=True)
class UNetSize:
    """How large a UNet is. Levels come from the outermost, each after it half as high and wide as the one before."""

    widths: tuple[int, ...] = (64, 64)  # channels of each level
    layers: int = 1  # residual blocks on the way down, in each level; on the way up there is one more
    attention: tuple[bool, ...] = (False, True)  # whether each level has attention; the middle always has

    def __post_init__(self) -> None:
        if not self.widths or len(self.widths) != len(self.attention):
            raise CheckpointError(
                f"The UNet has {len(self.widths)} widths and {len(self.attention)} choices of attention. Give one of "
                "each for every level."
            )
        # With one channel in a group, its norm takes away all that the time embedding adds.
        if narrow := [width for width in self.widths if width % HEAD_CHANNELS]:
            raise CheckpointError(
                f"A level is {narrow[0]} wide. Choose multiples of {HEAD_CHANNELS}, the width of a head of attention, "
                f"which leaves {HEAD_CHANNELS // NORM_GROUPS} channels and more to each of the {NORM_GROUPS} groups "
                "that are normalized together."
            )
        if self.layers < 1:
            raise CheckpointError(f"layers is {self.layers}. A level has at least 1.")


def new_unet(family: Family, size: UNetSize, *, latent_channels: int, token_width: int, seed: int) -> VideoUNet:
    """An untrained UNet of a family, in float32 on the CPU."""
    kinds = ["CrossAttn" if has else "" for has in size.attention]
    levels = len(size.widths)
    config: dict[str, Any] = {
        "in_channels": 2 * latent_channels,  # the clip's, and the picture's beside them
        "out_channels": latent_channels,
        "down_block_types": tuple(f"{kind}DownBlockSpatioTemporal" for kind in kinds),
        "up_block_types": tuple(f"{kind}UpBlockSpatioTemporal" for kind in reversed(kinds)),
        "block_out_channels": size.widths,
        "layers_per_block": (size.layers,) * levels,
        "transformer_layers_per_block": (1,) * levels,
        "num_attention_heads": tuple(width // HEAD_CHANNELS for width in size.widths),
        "cross_attention_dim": token_width,
        "projection_class_embeddings_input_dim": next(width for width, name in FAMILIES.items() if name == family),
    }

    def make() -> VideoUNet:
        from .svd_unet import VideoUNet

        return VideoUNet(**config)

    return with_fresh_weights(make, seed).requires_grad_(False)


def new_svd(
    family: Family,
    size: UNetSize,
    *,
    vae: Path,
    image_encoder: Path,
    frames: int,
    width: int,
    height: int,
    seed: int,
    numbers: SamplingNumbers | None = None,
) -> SVDModel:
    """A model that makes clips of this many frames of this size, once it is trained; in float32 on the CPU."""
    vae_part = find_vae(vae, half=False)
    encoder_part = find_image_encoder(image_encoder, HeadWidths(), half=False)
    cpu = torch.device("cpu")
    unet = new_unet(
        family,
        size,
        latent_channels=vae_part.config["latent_channels"],
        token_width=encoder_part.config["projection_dim"],
        seed=seed,
    )
    return SVDModel(
        family=family,
        version="" if family == "svd" else family,
        decoder="temporal" if is_temporal(dict.fromkeys(vae_part.origins, ())) else "image",
        frames=frames,
        width=width,
        height=height,
        name="new",
        unet=stationary(unet),
        image_encoder=stationary(fill(build(encoder_part), encoder_part, torch.float32, cpu)),
        vae=stationary(fill(build(vae_part), vae_part, torch.float32, cpu)),
        dtype=torch.float32,
        numbers=numbers,
    )
