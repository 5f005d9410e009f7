"""SVD's decoders in less time and memory, equal to the VAE's own `decode` up to rounding: a whole clip without seams.

Decoded in chunks, as is usual where memory is short, the temporal decoder sees a chunk at a time, and the picture jumps
from one chunk to the next. But most of its layers keep frames apart, and the others keep pixels apart but for the
statistics of their normalization. So we go through the decoder layer by layer and take all frames through each, some
frames or pixels at a time: at once exist no more than two tensors of the size of the last layers' (128 channels at full
size) and what a few frames need.

Axes: f frames, h height, w width, p pixels, c channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from .lean_layers import (
    as_pictures,
    as_rows,
    channels_last,
    convolved_at_once,
    doubled,
    is_common_attention,
    new_pictures,
    normalized,
    normalized_pictures,
    self_attention,
    slices,
    spatial_residual,
    temporal_share,
    time_convolution,
    time_residual_,
)

PictureLayer = Callable[[Tensor], Tensor]


@torch.no_grad()
def lean_decode(vae: Any, latents: Tensor) -> Tensor:
    """Decode one clip's latents (f c h w), already divided by the scaling factor, to (f 3 8h 8w).

    `vae` is an AutoencoderKLTemporalDecoder, or an AutoencoderKL, for which frames are pictures.
    """
    x = channels_last(latents)
    if getattr(vae, "post_quant_conv", None) is not None:
        x = vae.post_quant_conv(x)
    # Only the first layer of a size is wider than the size's others: by half of the levels' widths, a factor of two.
    widest = 2 * vae.config.block_out_channels[0]
    for layers, mixed in stages_of(vae.decoder):
        x = by_picture(layers, x, widest)
        if mixed is not None:
            time_residual_(mixed.temporal_res_block, as_rows(x), temporal_share(mixed.time_mixer))
    if hasattr(vae.decoder, "time_conv_out"):
        x = as_pictures(time_convolution(vae.decoder.time_conv_out, as_rows(x)), *x.shape[2:])
    return x.contiguous()


def stages_of(decoder: Any) -> Iterator[tuple[list[PictureLayer], Any]]:
    """The decoder as runs of layers that keep pictures apart, each with the SpatioTemporalResBlock that mixes them."""
    run: list[PictureLayer] = []
    for module in modules_of(decoder):
        if hasattr(module, "temporal_res_block"):
            yield [*run, picture_layer(module.spatial_res_block)], module
            run = []
        else:
            run.append(picture_layer(module))
    yield [*run, partial(last_layer, decoder)], None


def modules_of(decoder: Any) -> Iterator[Any]:
    """The decoder's modules in the order of their work, without the last layer."""
    yield decoder.conv_in
    middle = decoder.mid_block
    for resnet, attention in zip_longest(middle.resnets, middle.attentions):
        yield resnet
        if attention is not None:
            yield attention
    for block in decoder.up_blocks:
        yield from block.resnets
        yield from block.upsamplers or ()


def picture_layer(module: Any) -> PictureLayer:
    """The module as a function of (f c h w) pictures, which it keeps apart."""
    layers: dict[str, Callable[[Any, Tensor], Tensor]] = {
        "ResnetBlock2D": lambda block, pictures: spatial_residual(block, [pictures]),
        "Attention": attend,
        "Upsample2D": lambda block, pictures: doubled(block, pictures, twice(pictures)),
    }
    layer = layers.get(type(module).__name__)
    return (lambda pictures: channels_last(module(pictures))) if layer is None else partial(layer, module)


def twice(pictures: Tensor) -> tuple[int, int]:
    return 2 * pictures.shape[2], 2 * pictures.shape[3]


def attend(attention: Any, pictures: Tensor) -> Tensor:
    """A VAE's attention among the pixels of each picture: normalized, and added to the picture."""
    if not is_common_attention(attention) or attention.group_norm is None:
        return channels_last(attention(pictures))
    rows = as_rows(pictures)
    result = self_attention(attention, normalized(attention.group_norm, rows, activated=False)(...))
    if attention.residual_connection:
        result += rows
    return as_pictures(result / attention.rescale_output_factor, *pictures.shape[2:])


def last_layer(decoder: Any, pictures: Tensor) -> Tensor:
    return channels_last(decoder.conv_out(normalized_pictures(decoder.conv_norm_out, pictures)))


def by_picture(layers: Sequence[PictureLayer], pictures: Tensor, channels: int) -> Tensor:
    """Put (f c h w) pictures through all the layers, some of them at a time."""

    def through_all(some: Tensor) -> Tensor:
        for layer in layers:
            some = layer(some)
        return some

    first = through_all(pictures[:1])  # its size says how many fit into a slice
    result = new_pictures(pictures, *first.shape[1:])
    result[:1] = first
    rest = pictures[1:]
    for some in slices(len(rest), convolved_at_once(rest, channels * first[0, 0].numel())):
        result[1:][some] = through_all(rest[some])
    return result
