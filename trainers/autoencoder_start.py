"""What a new autoencoder begins as: one that keeps the mean colours of 8x8 pixels, and knows nothing of edges yet.

Left to chance it draws grey shapes for thousands of steps: random levels lose colours, and each norm of a network this
narrow hides how bright a channel is on the whole. So levels begin as means of what is below them, and residual blocks
as nothing; of the channels that are normed together two begin as opposite constants, beside which others keep what they
are; and the convolutions at both ends are fitted to some pictures by least squares.

Axes: n pictures, c channels, h height, w width, m places.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, silu

from ..models.svd_shapes import NORM_GROUPS

CHANCE = 0.1  # of what a new level does at random
FIRST_LOG_VARIANCE = -6.0  # of latents: with the noise that they bear later, what is faint in them is never learned
ANCHOR = 2.0  # signals beside it being about 1
FITTED_PLACES = 100_000
RIDGE = 1e-2  # of the mean variance of what is fitted to
MEANS = 3  # so many latents begin as means of colours


@torch.no_grad()
def begin(vae: Any, pictures: Tensor) -> None:
    """Prepare an untrained autoencoder of pictures, with (n c h w) of those it will learn, in -1..1."""
    encoder, decoder = vae.encoder, vae.decoder
    for name, module in vae.named_modules():
        if name.endswith(("conv_in", "conv_shortcut")):
            _look_at_single_places(module)
        if name.endswith((".conv2", ".to_out.0")):
            module.weight.zero_()
            module.bias.zero_()
        elif name.endswith("downsamplers.0.conv"):
            _add_to_each_channel(module, torch.tensor([0.5, 0.5, 0.0]))  # it is padded below and on the right
        elif name.endswith("upsamplers.0.conv"):
            _add_to_each_channel(module, torch.tensor([0.25, 0.5, 0.25]))
    _anchor(encoder.mid_block.resnets[-1].conv2)
    _anchor(decoder.up_blocks[-1].resnets[-1].conv2)
    _fit_encoder(vae, pictures)
    _fit_decoder(vae, pictures)


def _look_at_single_places(convolution: Any) -> None:
    """Make of what goes in as many mixtures, about as large, with little of what is around each place."""
    height, width = convolution.kernel_size
    middle = convolution.weight[:, :, height // 2, width // 2].clone()
    convolution.weight *= CHANCE
    # PyTorch draws evenly within 1 / sqrt(inputs), which makes a third of the variance.
    convolution.weight[:, :, height // 2, width // 2] = middle * math.sqrt(3 * height * width)
    convolution.bias.zero_()


def _add_to_each_channel(convolution: Any, taps: Tensor) -> None:
    """Make what a convolution does at random small beside these (3) taps, the same down and across."""
    channels = range(convolution.weight.shape[0])
    convolution.weight *= CHANCE
    convolution.bias.zero_()
    convolution.weight[channels, channels] += taps[:, None] * taps


def _anchor(convolution: Any) -> None:
    """Give channels that are normed together a large contrast of their own, which is what they are normed by."""
    together = len(convolution.bias) // NORM_GROUPS
    if together > 2:  # else no channel would be left for what there is to say
        convolution.bias[0::together] = ANCHOR
        convolution.bias[1::together] = -ANCHOR


def _fit_encoder(vae: Any, pictures: Tensor) -> None:
    channels = vae.config["latent_channels"]
    vae.quant_conv.weight.zero_()
    vae.quant_conv.bias.zero_()
    vae.quant_conv.weight[range(channels), range(channels)] = 1.0
    vae.quant_conv.bias[channels:] = FIRST_LOG_VARIANCE
    with _features(vae.encoder.conv_norm_out) as features:
        vae.encode(pictures)
    last, size = vae.encoder.conv_out, pictures.shape[2] // features[0].shape[2]
    weight, bias = _fitted(_by_place(features[0]), _by_place(_mean_colours(pictures, size)))
    last.weight[:MEANS] = 0
    last.weight[:MEANS, :, 1, 1] = weight
    last.bias[:MEANS] = bias
    others = vae.encode(pictures).latent_dist.mean[:, MEANS:]
    last.weight[MEANS:channels] /= others.std()
    last.bias[MEANS:channels] = (last.bias[MEANS:channels] - others.mean()) / others.std()


def _fit_decoder(vae: Any, pictures: Tensor) -> None:
    with _features(vae.decoder.conv_norm_out) as features:
        vae.decode(vae.encode(pictures).latent_dist.mean)
    last = vae.decoder.conv_out
    weight, bias = _fitted(_by_place(features[0]), _by_place(pictures))
    last.weight.zero_()
    last.weight[:, :, 1, 1] = weight
    last.bias.copy_(bias)


def _mean_colours(pictures: Tensor, size: int) -> Tensor:
    """Brightness and two differences of colours, averaged over squares, each deviating by 1."""
    red, green, blue = avg_pool2d(pictures, size).unbind(dim=1)
    means = torch.stack([red + green + blue, red - blue, 2 * green - red - blue], dim=1)
    return (means - means.mean(dim=(0, 2, 3), keepdim=True)) / means.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-3)


@contextmanager
def _features(norm: nn.Module) -> Iterator[list[Tensor]]:
    """What a norm and the activation after it give while the block runs."""
    seen: list[Tensor] = []
    handle = norm.register_forward_hook(lambda module, given, normed: seen.append(silu(normed)))
    try:
        yield seen
    finally:
        handle.remove()


def _by_place(maps: Tensor) -> Tensor:
    """(n c h w) maps as (m c), every so many places of them."""
    rows = maps.movedim(1, -1).flatten(0, 2)
    return rows[:: max(1, len(rows) // FITTED_PLACES)]


def _fitted(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The weight and bias of the linear layer that comes nearest to (m c) numbers, given others."""
    given, wanted = given.double(), wanted.double()
    centred = given - given.mean(dim=0)
    moments = centred.T @ centred / len(given)
    ridge = RIDGE * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)
    weight = torch.linalg.solve(moments + ridge, centred.T @ (wanted - wanted.mean(dim=0)) / len(given)).T
    return weight.float(), (wanted.mean(dim=0) - weight @ given.mean(dim=0)).float()
