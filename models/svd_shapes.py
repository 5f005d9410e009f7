"""The architecture of a model, told from the shapes of its parameters (by the names of diffusers and transformers).

Shapes tell everything but how wide one head of attention is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import CheckpointError, WeightError

Shapes = Mapping[str, tuple[int, ...]]

HEAD_CHANNELS = 64
"""The width of an attention head in every UNet that was released."""
CLIP_HEAD_CHANNELS = 80
"""The width of an attention head in the image encoder of every checkpoint that was released."""
TEXT_HEAD_CHANNELS = 64
"""The width of an attention head in every text encoder of CLIP that was released."""
FORMER_END = 2
"""For transformers the sign that a text ends at its highest token, as in the original CLIP, whatever its number."""
NORM_GROUPS = 32


def count(names: Iterable[str], pattern: str) -> int:
    """One more than the highest number that a pattern finds in names; 0 where it finds none."""
    matches = (re.match(pattern, name) for name in names)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def unet_config(shapes: Shapes, head_channels: int, heads: Any = None) -> dict[str, Any]:
    """What to build a UNetSpatioTemporalConditionModel with; `heads` are those of a config.json, which has the word."""
    levels = count(shapes, r"down_blocks\.(\d+)\.")
    widths, layers, attention, depths = [], [], [], []
    for level in range(levels):
        block = rf"down_blocks\.{level}\."
        widths.append(_level_width(shapes, f"down_blocks.{level}.resnets.0.spatial_res_block.conv1.weight"))
        layers.append(count(shapes, block + r"resnets\.(\d+)\."))
        attention.append(count(shapes, block + r"attentions\.(\d+)\.") > 0)
        depths.append(count(shapes, block + r"attentions\.0\.transformer_blocks\.(\d+)\."))
    # The block in the middle takes its depth from the last level, which need not have attention of its own.
    depths[-1:] = [count(shapes, r"mid_block\.attentions\.0\.transformer_blocks\.(\d+)\.")]
    kinds = ["CrossAttn" if has else "" for has in attention]
    return {
        "in_channels": _size(shapes, "conv_in.weight", 1),
        "out_channels": _size(shapes, "conv_out.weight", 0),
        "down_block_types": tuple(f"{kind}DownBlockSpatioTemporal" for kind in kinds),
        "up_block_types": tuple(f"{kind}UpBlockSpatioTemporal" for kind in reversed(kinds)),
        "block_out_channels": tuple(widths),
        "layers_per_block": tuple(layers),
        "transformer_layers_per_block": tuple(max(1, depth) for depth in depths),
        "num_attention_heads": _unet_heads(widths, attention, head_channels, heads),
        "cross_attention_dim": _size(shapes, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1),
        "projection_class_embeddings_input_dim": _size(shapes, "add_embedding.linear_1.weight", 1),
    }


def _unet_heads(widths: list[int], attention: list[bool], head_channels: int, heads: Any) -> tuple[int, ...]:
    """How many heads each level has; a level without attention has some that nobody asks for."""
    if heads is None:
        heads = [max(1, width // head_channels) for width in widths]
        wanted = f"heads of {head_channels}. Give the width of one head of its attention as head_channels"
    else:
        heads = [heads] * len(widths) if isinstance(heads, int) else list(heads)
        if len(heads) != len(widths) or not all(isinstance(each, int) and each > 0 for each in heads):
            raise CheckpointError(f"its config.json gives {heads} as num_attention_heads of {len(widths)} levels.")
        wanted = f"the heads that its config.json gives, {heads}. Correct num_attention_heads there"
    # The block in the middle, as wide as the last level, always has attention.
    for width, has, each in zip(widths, [*attention[:-1], True], heads, strict=True):
        if has and (width % each or ("head_channels" in wanted and width != each * head_channels)):
            raise CheckpointError(
                f"it has a level that is {width} wide, which cannot be cut into {wanted}; the weights cannot tell it."
            )
    return tuple(heads)


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """What to build an AutoencoderKL or an AutoencoderKLTemporalDecoder with."""
    levels = count(shapes, r"encoder\.down_blocks\.(\d+)\.")
    widths = [_level_width(shapes, f"encoder.down_blocks.{level}.resnets.0.conv1.weight") for level in range(levels)]
    config = {
        "in_channels": _size(shapes, "encoder.conv_in.weight", 1),
        "out_channels": _size(shapes, "decoder.conv_out.weight", 0),
        "latent_channels": _size(shapes, "decoder.conv_in.weight", 1),
        "block_out_channels": tuple(widths),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "layers_per_block": count(shapes, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "scaling_factor": 0.18215,
    }
    if is_temporal(shapes):
        return config
    return config | {
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
    }


def is_temporal(shapes: Shapes) -> bool:
    """Whether a VAE's decoder mixes over time."""
    return any(name.startswith("decoder.time_conv_out.") for name in shapes)


def image_encoder_config(
    shapes: Shapes, head_channels: int, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What to build a CLIPVisionConfig with; what shapes cannot tell is as in Open CLIP, or as a config.json says."""
    patch = "vision_model.embeddings.patch_embedding.weight"
    width = _size(shapes, "vision_model.embeddings.class_embedding", 0)
    patch_size = _size(shapes, patch, 2)
    patches = _size(shapes, "vision_model.embeddings.position_embedding.weight", 0) - 1
    config: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": _size(shapes, "vision_model.encoder.layers.0.mlp.fc1.weight", 0),
        "num_hidden_layers": count(shapes, r"vision_model\.encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(1, width // head_channels),
        "num_channels": _size(shapes, patch, 1),
        "patch_size": patch_size,
        "image_size": patch_size * math.isqrt(patches),
        "projection_dim": _size(shapes, "visual_projection.weight", 0),
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    } | dict(overrides or {})
    told = "num_attention_heads" in (overrides or {})
    heads = config["num_attention_heads"]
    if width % heads or (not told and width != heads * head_channels):
        cut = f"{heads} heads, as its config.json says" if told else f"heads of {head_channels}"
        raise CheckpointError(
            f"it is {width} wide, which cannot be cut into {cut}. Give the width of one head of its attention as "
            "clip_head_channels; the weights cannot tell it."
        )
    return config


def text_encoder_config(shapes: Shapes, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What to build a CLIPTextConfig with; what shapes cannot tell is as in Open CLIP, or as a config.json says."""
    tokens, positions = (f"text_model.embeddings.{kind}_embedding.weight" for kind in ("token", "position"))
    width = _size(shapes, tokens, 1)
    config: dict[str, Any] = {
        "vocab_size": _size(shapes, tokens, 0),
        "hidden_size": width,
        "intermediate_size": _size(shapes, "text_model.encoder.layers.0.mlp.fc1.weight", 0),
        "num_hidden_layers": count(shapes, r"text_model\.encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(1, width // TEXT_HEAD_CHANNELS),
        "max_position_embeddings": _size(shapes, positions, 0),
        "projection_dim": _size(shapes, "text_projection.weight", 0),
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": None,
        "pad_token_id": None,
        "eos_token_id": FORMER_END,
    } | dict(overrides or {})
    heads = config["num_attention_heads"]
    if width % heads:
        raise CheckpointError(f"it is {width} wide, which cannot be cut into {heads} heads of attention.")
    return config


def _size(shapes: Shapes, name: str, axis: int) -> int:
    """The size of a tensor along an axis; a tensor that is not there or has no such axis is the file's fault."""
    if name not in shapes:
        raise WeightError(name, "is missing, without which the size of the model cannot be told.")
    if axis >= len(shapes[name]) or shapes[name][axis] < 1:
        raise WeightError(name, f"has the shape {list(shapes[name])}, which no such model has.")
    return shapes[name][axis]


def _level_width(shapes: Shapes, name: str) -> int:
    """How wide a level is, by one of its weights."""
    width = _size(shapes, name, 0)
    if width % NORM_GROUPS:
        raise WeightError(
            name,
            f"is {width} wide, which cannot be normalised in {NORM_GROUPS} groups, as all models of its kind do.",
        )
    return width
