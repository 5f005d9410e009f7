"""Small networks of SVD's classes with random weights, none of which is without effect."""

from typing import Any

import torch
from torch import Tensor, nn

CONTEXT_WIDTH, VECTOR_WIDTH = 24, 40


def randomized(network: Any, seed: int) -> Any:
    """Draw what diffusers sets to 0 or 1, or to blends of half and half, as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(0.3 * noise)
            else:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
    return network.eval().requires_grad_(False)


def small_unet(
    widths: tuple[int, ...] = (32, 64),
    heads: tuple[int, ...] = (2, 4),
    *,
    layers: int = 1,
    attention: tuple[bool, ...] | None = None,
    transformer_layers: int = 1,
    seed: int = 0,
) -> Any:
    from zoetrope.models.svd_unet import VideoUNet

    attends = attention or (True,) * (len(widths) - 1) + (False,)
    down = tuple("CrossAttnDownBlockSpatioTemporal" if yes else "DownBlockSpatioTemporal" for yes in attends)
    up = tuple("CrossAttnUpBlockSpatioTemporal" if yes else "UpBlockSpatioTemporal" for yes in reversed(attends))
    unet = VideoUNet(
        block_out_channels=widths,
        num_attention_heads=heads,
        layers_per_block=layers,
        transformer_layers_per_block=transformer_layers,
        down_block_types=down,
        up_block_types=up,
        cross_attention_dim=CONTEXT_WIDTH,
        projection_class_embeddings_input_dim=VECTOR_WIDTH,
    )
    return randomized(unet, seed)


def small_temporal_vae(widths: tuple[int, ...] = (32, 64), *, seed: int = 0) -> Any:
    from diffusers import AutoencoderKLTemporalDecoder

    down = ("DownEncoderBlock2D",) * len(widths)
    vae = AutoencoderKLTemporalDecoder(block_out_channels=widths, down_block_types=down, layers_per_block=2)
    return randomized(vae, seed)


def small_image_vae(widths: tuple[int, ...] = (32, 64), *, post_quant: bool = False, seed: int = 0) -> Any:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=2,
        use_post_quant_conv=post_quant,
    )
    return randomized(vae, seed)


def distance(one: Tensor, other: Tensor) -> float:
    """The relative distance of two results."""
    return ((one.double() - other.double()).norm() / other.double().norm()).item()


class Lowered(nn.Module):
    """A layer with a correction of low rank beside it, as peft puts in its place."""

    def __init__(self, layer: nn.Module, correction: nn.Module) -> None:
        super().__init__()
        self.layer, self.correction = layer, correction

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.correction(x)
