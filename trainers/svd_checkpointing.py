"""SVD's UNet with gradients, in the memory of its layers' inputs.

diffusers' gradient checkpointing keeps what the temporal blocks and most normalizations compute until the way back.
Here a whole layer, a residual block with its transformer or a change of size, is computed once more on the way back,
from its inputs alone; and those are what the skip connections hold anyway.

Axes: b batch, f frames, c channels, h height, w width, d width of the context, v of the vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Size, Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from ..models.lean_unet import Layer, ascent_of, descent_of, residual_layers


def recomputed(function: Callable[..., Tensor], *given: Any) -> Tensor:
    """The function's result, computed once more on the way back; nothing is drawn in it that would have to be again."""
    return checkpoint(function, *given, use_reentrant=False, preserve_rng_state=False)


def checkpointed_unet(
    unet: Any,
    x: Tensor,
    c_noise: Tensor,
    context: Tensor,
    vector: Tensor,
    through: Callable[..., Tensor] = recomputed,
) -> Tensor:
    """The same as `unet(x, c_noise, context, vector)`, see VideoUNet.forward; layers are computed by `through`."""
    batch, frames = x.shape[:2]
    temb = unet.embedding(c_noise, vector, x.dtype)
    told = repeat(context, "b k d -> (b f) k d", f=frames)
    images = x.new_zeros(batch, frames)  # of the frames, none is a lone picture that has no time

    def computed(layer: Layer, hidden: Tensor, skip: Tensor | None = None, size: Size | None = None) -> Tensor:
        return through(_layer, layer, hidden, skip, temb, told, images, size)

    hidden = unet.conv_in(rearrange(x, "b f c h w -> (b f) c h w"))
    skips = [hidden]
    for layer in descent_of(unet):
        skips.append(computed(layer, skips[-1]))
    hidden = skips[-1]
    for layer in residual_layers(unet.mid_block):
        hidden = computed(layer, hidden)
    for layer in ascent_of(unet):
        skip = skips.pop()
        hidden = computed(layer, hidden, skip, skips[-1].shape[-2:] if skips else None)
    hidden = through(_last_layer, unet, hidden)
    return rearrange(hidden, "(b f) c h w -> b f c h w", b=batch)


def _layer(
    layer: Layer, hidden: Tensor, skip: Tensor | None, temb: Tensor, context: Tensor, images: Tensor, size: Size | None
) -> Tensor:
    if skip is not None:
        hidden = torch.cat([hidden, skip], dim=1)
    if layer.residual is not None:
        hidden = layer.residual(hidden, temb, image_only_indicator=images)
    if layer.transformer is not None:
        told = {"encoder_hidden_states": context, "image_only_indicator": images}
        hidden = layer.transformer(hidden, **told, return_dict=False)[0]
    if layer.resampler is None:
        return hidden
    # A size that cannot be halved evenly is met again by telling what it was.
    return layer.resampler(hidden) if skip is None else layer.resampler(hidden, size)


def _last_layer(unet: Any, hidden: Tensor) -> Tensor:
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))


class KeptBytes:
    """Counts, in its block, what autograd keeps for the way back: each storage once, parameters not at all."""

    def __init__(self, module: nn.Module) -> None:
        self._counted = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
        self._held: list[Tensor] = []  # so that no other tensor gets the place of one that was counted
        self._hooks = saved_tensors_hooks(self._count, lambda tensor: tensor)
        self.bytes = 0

    def __enter__(self) -> KeptBytes:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)
        self._held.clear()

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._counted:
            self._counted.add(storage._cdata)
            self._held.append(tensor)
            self.bytes += storage.nbytes()
        return tensor
