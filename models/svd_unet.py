"""The UNet of SVD and SV3D as the reference runs it, in the modules of diffusers, under their names.

Imports diffusers: import this module where it is used.

Axes: b batch, f frames, c channels, h height, w width, d width of the context, adm width of the vector.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNetSpatioTemporalConditionModel
from einops import rearrange, repeat
from torch import Tensor, nn


class VideoUNet(UNetSpatioTemporalConditionModel):
    """Differs from its parent in two things, both as in the reference.

    Each frame has a vector of its own, which SV3D_p needs for its camera; the parent has one for the whole clip. And
    GroupNorm in the residual blocks adds 1e-5 to the variance, where the parent adds 1e-6 in most of them.
    """

    def __init__(self, **config: Any):
        super().__init__(**config)
        for name, module in self.named_modules():
            if isinstance(module, nn.GroupNorm) and ".resnets." in name:
                module.eps = 1e-5

    def forward(self, x: Tensor, c_noise: Tensor, context: Tensor, vector: Tensor) -> Tensor:
        """Say what is to be taken from (b f c h w) latents, the picture's own behind them in c; (b f 4 h w).

        `c_noise` is (b), `context` (b 1 d) and `vector` (b f adm).
        """
        batch, frames = x.shape[:2]
        embedding = self.embedding(c_noise, vector, x.dtype)
        images = x.new_zeros(batch, frames)  # of the frames, none is a lone picture that has no time
        context = repeat(context, "b k d -> (b f) k d", f=frames)
        common: dict[str, Any] = {"temb": embedding, "image_only_indicator": images}

        hidden = self.conv_in(rearrange(x, "b f c h w -> (b f) c h w"))
        skips = (hidden,)
        for block in self.down_blocks:
            attention = {"encoder_hidden_states": context} if has_attention(block) else {}
            hidden, block_skips = block(hidden_states=hidden, **common, **attention)
            skips += block_skips
        hidden = self.mid_block(hidden_states=hidden, encoder_hidden_states=context, **common)
        for block in self.up_blocks:
            used = len(block.resnets)
            own, skips = skips[-used:], skips[:-used]
            attention = {"encoder_hidden_states": context} if has_attention(block) else {}
            # A size that cannot be halved evenly is met again by telling what it was.
            size = skips[-1].shape[-2:] if skips else None
            hidden = block(hidden_states=hidden, res_hidden_states_tuple=own, upsample_size=size, **common, **attention)
        hidden = self.conv_out(self.conv_act(self.conv_norm_out(hidden)))
        return rearrange(hidden, "(b f) c h w -> b f c h w", b=batch)

    def embedding(self, c_noise: Tensor, vector: Tensor, dtype: torch.dtype) -> Tensor:
        """What tells all residual blocks the noise level and each frame's vector: ((b f) c)."""
        frames = vector.shape[1]
        noise = self.time_embedding(self.time_proj(c_noise.float()).to(dtype))
        return repeat(noise, "b c -> (b f) c", f=frames) + self.add_embedding(
            rearrange(vector, "b f adm -> (b f) adm").to(dtype)
        )


def has_attention(block: nn.Module) -> bool:
    return bool(getattr(block, "has_cross_attention", False))
