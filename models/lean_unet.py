"""SVD's UNet in less time and memory: a forward of our own over diffusers' modules and weights.

`LeanUNet` is equal to `PlainUNet` up to rounding. It serves one run, for which it computes once what is the same in
each step. What it saves beyond lean_layers:

- Cross-attention looks at one token, the picture's. A softmax over one key is 1, so that the result is
  to_out(to_v(token)) whatever asks: a constant of the clip for each layer, which goes into the bias of the
  self-attention before it. With more tokens, or another attention processor, the attention is computed.
- The clip's numbers (motion, camera) and the frames' places are embedded once.
- The clips of a batch are computed one after another. Each is large enough to fill a device, and so they need the
  memory of one.

Axes: b clips of a batch, f frames, h height, w width, p pixels, c channels, k tokens, d channels of a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Size, Tensor, nn

from .lean_layers import (
    MOST_HEADS,
    add_feed_forward_,
    as_rows,
    channels_last,
    convolved_at_once,
    doubled,
    halved,
    is_common_attention,
    normalized,
    normalized_pictures,
    rows_at_once,
    self_attention,
    slices,
    spatial_residual,
    temporal_share,
    time_attention,
    time_residual_,
)


@dataclass(frozen=True)
class PlainUNet:
    """A UNet with the conditions of a clip, computed by its own forward."""

    unet: Any  # models.svd_unet.VideoUNet
    context: Tensor  # (b k d)
    vector: Tensor  # (b f c)

    def __call__(self, clip: Tensor, noise_level: Tensor) -> Tensor:
        """(b f c h w) at a noise level (b) or (1) -> (b f c h w)."""
        return self.unet(clip, noise_level.expand(len(clip)), self.context, self.vector)


class Layer(NamedTuple):
    """What the UNet does between two skip connections. Each part may be missing."""

    residual: Any = None  # SpatioTemporalResBlock
    transformer: Any = None  # TransformerSpatioTemporalModel
    resampler: Any = None  # Downsample2D or Upsample2D


def descent_of(unet: Any) -> list[Layer]:
    """The layers on the way down, each of which leaves a skip connection."""
    layers = []
    for block in unet.down_blocks:
        layers += residual_layers(block)
        layers += [Layer(resampler=resampler) for resampler in block.downsamplers or ()]
    return layers


def ascent_of(unet: Any) -> list[Layer]:
    """The layers on the way up, each of which takes a skip connection. They are one more: conv_in leaves one."""
    layers = []
    for block in unet.up_blocks:
        *others, last = residual_layers(block)
        layers += [*others, last._replace(resampler=block.upsamplers[0] if block.upsamplers else None)]
    return layers


def residual_layers(block: Any) -> list[Layer]:
    """A block's residual blocks, each with the transformer that follows it."""
    transformers = list(getattr(block, "attentions", ()))
    return [Layer(*pair) for pair in zip_longest(block.resnets, transformers)]


@dataclass
class Clip:
    """What the layers know of one clip of the batch."""

    context: Tensor  # (1 k d)
    constants: dict[nn.Module, Tensor]  # results (c) of cross-attentions that are the same for all that ask
    numbers: Tensor  # (1 c) the embedded vector, (f c) where frames differ
    noise: Tensor  # (1 c) or (f c) SiLU of the numbers and the noise level of this evaluation
    deep: Tensor | None = None  # what the inner layers made of an earlier evaluation
    evaluations: int = 0


class LeanUNet:
    """A UNet with the conditions of a clip: context (b k d), vector (b f c).

    `cache_interval` above 1 is an approximation (DeepCache, arXiv 2312.00858): the layers inside skip connection number
    `cache_branch` (0 is the outermost, inside which is all but the first and last layer) are computed in one of so many
    evaluations, and their last result stands in for them in the others. Each instance counts its own evaluations.
    """

    def __init__(
        self, unet: Any, context: Tensor, vector: Tensor, *, cache_interval: int = 1, cache_branch: int = 0
    ) -> None:
        self.unet = unet
        self.descent, self.ascent = descent_of(unet), ascent_of(unet)
        self.middle = residual_layers(unet.mid_block)
        if cache_interval < 1:
            raise ValueError(f"cache_interval is {cache_interval}. Choose 1 to compute everything each time, or more.")
        if not 0 <= cache_branch < len(self.descent):
            raise ValueError(
                f"cache_branch is {cache_branch}. It numbers this UNet's skip connections from the outermost, 0, which "
                f"saves most, to {len(self.descent) - 1}."
            )
        self.cache_interval, self.cache_branch = cache_interval, cache_branch
        with torch.no_grad():
            self.shares = {module: temporal_share(module) for module in unet.modules() if hasattr(module, "mix_factor")}
            vector = vector.to(context.dtype)
            self.places = places_of(unet, vector.shape[1], vector)
            self.clips = [_clip(unet, *conditions) for conditions in zip(context.split(1), vector, strict=True)]

    @torch.no_grad()
    def __call__(self, clips: Tensor, noise_level: Tensor) -> Tensor:
        """(b f c h w) at a noise level (b) or (1) -> (b f c h w)."""
        levels = noise_level.expand(len(clips)).split(1)
        return torch.stack([self._evaluate(*own) for own in zip(self.clips, clips, levels, strict=True)])

    def _evaluate(self, clip: Clip, pictures: Tensor, noise_level: Tensor) -> Tensor:
        unet = self.unet
        embedded = unet.time_embedding(unet.time_proj(noise_level.float()).to(pictures.dtype))
        clip.noise = F.silu(embedded + clip.numbers)
        outer = len(self.descent) if self.cache_interval == 1 else self.cache_branch
        skips = self._descend(clip, unet.conv_in(channels_last(pictures)), self.descent[:outer])
        parts = [self._inside(clip, skips[-1], outer)]
        x = self._ascend(clip, parts, skips, self.ascent[-outer - 1 :])
        result = pictures.new_empty(len(x), unet.config.out_channels, *x.shape[2:])
        for some in slices(len(x), convolved_at_once(x, x[0].numel())):
            result[some] = unet.conv_out(normalized_pictures(unet.conv_norm_out, x[some]))
        return result

    def _inside(self, clip: Clip, x: Tensor, outer: int) -> Tensor:
        """What the layers inside the `outer` first and last ones make of x, or have made of an earlier one."""
        clip.evaluations += 1
        if clip.deep is not None and (clip.evaluations - 1) % self.cache_interval:
            return clip.deep
        clip.deep = None
        skips = self._descend(clip, x, self.descent[outer:])
        parts = [skips[-1]]
        del skips[0]  # it is x, and joined by the layer that is next outside
        for layer in self.middle:
            parts = [self._layer(clip, layer, parts)]
        x = self._ascend(clip, parts, skips, self.ascent[: -outer - 1], x.shape[2:])
        if self.cache_interval > 1:
            clip.deep = x
        return x

    def _descend(self, clip: Clip, x: Tensor, layers: list[Layer]) -> list[Tensor]:
        """x, and what each layer makes of what the one before it made."""
        skips = [channels_last(x)]
        for layer in layers:
            skips.append(self._layer(clip, layer, [skips[-1]]))
        return skips

    def _ascend(
        self, clip: Clip, parts: list[Tensor], skips: list[Tensor], layers: list[Layer], size: Size | None = None
    ) -> Tensor:
        """Join the skips to the one part, the last skip first; `size` (height, width) is what follows needs.

        Both lists are emptied on the way, so that what they held does not outlive its use.
        """
        for layer in layers:
            parts.append(skips.pop())
            parts = [self._layer(clip, layer, parts, skips[-1].shape[2:] if skips else size)]
        return parts[0]

    def _layer(self, clip: Clip, layer: Layer, parts: list[Tensor], size: Size | None = None) -> Tensor:
        """One layer on the pictures (f c h w) whose channels are those of all the parts; the list is emptied."""
        if layer.residual is None:
            return halved(layer.resampler, parts.pop())
        spatial, temporal = layer.residual.spatial_res_block, layer.residual.temporal_res_block
        x = spatial_residual(spatial, parts, spatial.time_emb_proj(clip.noise))
        parts.clear()
        share = self.shares[layer.residual.time_mixer]
        time_residual_(temporal, as_rows(x), share, temporal.time_emb_proj(clip.noise))
        if layer.transformer is not None:
            self._transform_(clip, layer.transformer, x)
        if layer.resampler is None:
            return x
        assert size is not None  # the next skip connection's: there is one after all that upsample
        return doubled(layer.resampler, x, size)

    def _transform_(self, clip: Clip, transformer: Any, pictures: Tensor) -> None:
        """diffusers' TransformerSpatioTemporalModel on (f c h w)."""
        rows = as_rows(pictures)
        frames, pixels, _ = rows.shape
        at_once = rows_at_once(rows, 5 * transformer.inner_dim)
        some_frames = list(slices(frames, max(1, at_once // pixels)))
        most_pixels = MOST_HEADS // transformer.num_attention_heads
        some_pixels = list(slices(pixels, min(most_pixels, max(1, at_once // frames))))
        share, places = self.shares[transformer.time_mixer], self.places[transformer]

        hidden = rows.new_empty(frames, pixels, transformer.inner_dim)
        for some in some_frames:
            hidden[some] = transformer.proj_in(normalized(transformer.norm, rows[some], activated=False)(...))
        blocks = zip(transformer.transformer_blocks, transformer.temporal_transformer_blocks, strict=True)
        for spatial, temporal in blocks:
            for some in some_frames:
                spatial_block_(spatial, hidden[some], clip)
            for some in some_pixels:
                mixed = hidden[:, some] + places
                time_block_(temporal, mixed, clip)
                hidden[:, some].lerp_(mixed, share)
        for some in some_frames:
            rows[some] += transformer.proj_out(hidden[some])


def _clip(unet: Any, context: Tensor, vector: Tensor) -> Clip:
    numbers = embedded_numbers(unet, vector)
    return Clip(context, constants_of(unet, context), numbers, numbers)


def spatial_block_(block: Any, rows: Tensor, clip: Clip) -> None:
    """diffusers' BasicTransformerBlock on (f p c)."""
    constant = clip.constants.get(block.attn2)
    rows += self_attention(block.attn1, block.norm1(rows), constant)
    if constant is None:
        rows += cross_attention(block.attn2, block.norm2(rows), clip.context)
    add_feed_forward_(rows, block.norm3, block.ff)


def time_block_(block: Any, rows: Tensor, clip: Clip) -> None:
    """diffusers' TemporalBasicTransformerBlock on (f p c)."""
    constant = clip.constants.get(block.attn2)
    add_feed_forward_(rows, block.norm_in, block.ff_in)
    rows += time_attention(block.attn1, block.norm1(rows), constant)
    if constant is None:
        rows += cross_attention(block.attn2, block.norm2(rows), clip.context)
    add_feed_forward_(rows, block.norm3, block.ff)


def cross_attention(attention: Any, rows: Tensor, context: Tensor) -> Tensor:
    """Attention of each row of (f p c) to the context (1 k d). It knows no neighbours, so any axes may be its batch."""
    return attention(rows, encoder_hidden_states=context.expand(len(rows), -1, -1))


def constants_of(unet: Any, context: Tensor) -> dict[nn.Module, Tensor]:
    """The results (c) of the cross-attentions, the same for all that ask where the context (1 k d) is one token."""
    if context.shape[1] != 1:
        return {}
    blocks = [block for block in unet.modules() if hasattr(block, "attn2")]
    attentions = [block.attn2 for block in blocks if is_common_attention(block.attn2)]
    return {attention: attention.to_out[0](attention.to_v(context))[0, 0] for attention in attentions}


def places_of(unet: Any, frames: int, like: Tensor) -> dict[nn.Module, Tensor]:
    """The places of frames (f 1 c) as each spatio-temporal transformer embeds them."""
    numbers = torch.arange(frames, device=like.device)
    return {
        module: module.time_pos_embed(module.time_proj(numbers).to(like.dtype))[:, None]
        for module in unet.modules()
        if hasattr(module, "time_pos_embed")
    }


def embedded_numbers(unet: Any, vector: Tensor) -> Tensor:
    """The embedding (1 c), or (f c) where frames differ, of a clip's numbers (f c)."""
    same = bool((vector == vector[:1]).all())
    return unet.add_embedding(vector[:1] if same else vector)
