"""Autoencoders by themselves: new ones, one that decodes pictures and its twin that decodes clips, and their files."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .checkpoints import ToWrite, write_checkpoint
from .fresh_weights import with_fresh_weights
from .svd_layouts import find_vae
from .svd_parts import build, fill, temporal_vae

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder

SCALING = 0.18215  # by which latents are multiplied for the UNet, after which they deviate by about 1
LATENT_CHANNELS = 4
SPATIAL = ".spatial_res_block"  # what a residual block of a picture is called within one of a clip
TEMPORAL = (".temporal_res_block.", ".time_mixer.", ".time_conv_out.")
"""In the names of a clip's decoder: what a picture's has not."""


def new_autoencoder(widths: tuple[int, ...], layers: int, seed: int) -> AutoencoderKL:
    """An untrained one of pictures. Each level after the first halves the picture's sides."""
    from diffusers import AutoencoderKL

    levels = len(widths)
    return with_fresh_weights(
        lambda: AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=layers,
            latent_channels=LATENT_CHANNELS,
            use_post_quant_conv=False,
            scaling_factor=SCALING,
        ),
        seed,
    )


def decoding_clips(vae: AutoencoderKL, seed: int) -> AutoencoderKLTemporalDecoder:
    """A twin whose decoder has layers that mix over time. Until they are trained it decodes as the other does."""
    config = {name: vae.config[name] for name in ("block_out_channels", "layers_per_block", "latent_channels")}
    config |= {"down_block_types": vae.config["down_block_types"], "scaling_factor": SCALING}
    twin: Any = with_fresh_weights(lambda: temporal_vae(config), seed)
    parameters = dict(twin.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            if not is_temporal_layer(name):
                parameter.copy_(vae.get_parameter(name.replace(SPATIAL, "")))
            elif ".temporal_res_block.conv2." in name:  # then the block adds nothing
                parameter.zero_()
        last = twin.decoder.time_conv_out
        last.weight.zero_()
        last.bias.zero_()
        middle = last.weight.shape[2] // 2
        last.weight[:, :, middle, 0, 0] = torch.eye(last.weight.shape[0])
    return twin


def is_temporal_layer(name: str) -> bool:
    """Whether a parameter of a clip's autoencoder belongs to what mixes over time."""
    return any(part in f".{name}" for part in TEMPORAL)


@torch.no_grad()
def with_latents_scaled(vae: nn.Module, factor: float) -> Any:
    """A copy whose latents are larger by a factor, and which decodes them all the same."""
    scaled: Any = copy.deepcopy(vae)
    channels = scaled.config["latent_channels"]
    quant, first = scaled.quant_conv, scaled.decoder.conv_in
    quant.weight[:channels] *= factor
    quant.bias[:channels] *= factor
    quant.bias[channels:] += 2 * torch.tensor(factor).log()  # the logarithm of the variance
    first.weight /= factor
    return scaled


def load_autoencoder(path: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Any:
    """The autoencoder of a file or folder: AutoencoderKL, or AutoencoderKLTemporalDecoder where it decodes clips."""
    part = find_vae(path, half=dtype == torch.float16)
    return fill(build(part), part, dtype, torch.device(device))


def save_autoencoder(
    vae: nn.Module, path: Path, metadata: Mapping[str, str] | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write it as a file of its own, under the names of diffusers."""

    def wanted(tensor: Tensor) -> ToWrite:
        return ToWrite(dtype, tuple(tensor.shape), lambda: tensor)

    write_checkpoint(path, {name: wanted(each) for name, each in vae.state_dict().items()}, metadata or {})
