"""Names of weights: in Stability's checkpoints, and in the classes of diffusers and transformers that run them.

A checkpoint of one file holds several parts, each below a prefix of its own. Within a part, modules correspond one to
one, so a table of module names, built for the model's depths, translates any key both ways; the three exceptions are in
`TowerNames`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Protocol

PartName = Literal["unet", "image_encoder", "vae", "spare_encoder", "spare_decoder"]
"""The parts of a checkpoint. The picture that a clip starts from is encoded by the VAE that the file keeps among its
conditioners, and clips are decoded by the "first stage": those two make up "vae". Their other halves are never used."""

UNET = "model.diffusion_model."
IMAGE_ENCODER = "conditioner.embedders.0.open_clip.model.visual."
FIRST_STAGE = "first_stage_model."
EMBEDDER = re.compile(r"conditioner\.embedders\.[1-9]\.encoder\.")  # the fourth of svd, the second of sv3d
# What is in such files and of no use: the other half of CLIP, which reads text, and averages kept during training.
LEFTOVER = re.compile(
    r"conditioner\.embedders\.0\.open_clip\.model\."
    r"(positional_embedding|text_projection|logit_scale|token_embedding\.weight|ln_final\.(weight|bias))$"
    r"|model_ema\."
)

Pairs = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Origin:
    """Where a parameter's values are: under a key, in one of `shares` equal runs of its rows, perhaps transposed."""

    key: str
    share: int = 0
    shares: int = 1
    transposed: bool = False


class Names(Protocol):
    """Translates the names of one part."""

    def ours(self, key: str) -> tuple[str, ...]:
        """The parameters that a stored tensor becomes; none if the key is unknown."""

    def original(self, name: str) -> Origin | None:
        """Where a parameter is stored; None if the name is unknown."""


@dataclass(frozen=True)
class ModuleNames:
    """Translates by the longest module name in a table; what follows it, as ".weight", stays."""

    pairs: tuple[tuple[str, str], ...]

    @cached_property
    def _to_ours(self) -> dict[str, str]:
        return dict(self.pairs)

    @cached_property
    def _to_original(self) -> dict[str, str]:
        return {ours: original for original, ours in self.pairs}

    def ours(self, key: str) -> tuple[str, ...]:
        name = _translated(key, self._to_ours)
        return () if name is None else (name,)

    def original(self, name: str) -> Origin | None:
        key = _translated(name, self._to_original)
        return None if key is None else Origin(key)


def _translated(name: str, table: dict[str, str]) -> str | None:
    module, rest = name, ""
    while module:
        if module in table:
            return table[module] + rest
        module, dot, last = module.rpartition(".")
        rest = dot + last + rest
    return None


# --- The UNet -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UNetDepths:
    """What the names in a UNet depend on, per level from the widest picture to the smallest."""

    layers: tuple[int, ...]
    attention: tuple[bool, ...]


def unet_depths(keys: Iterable[str]) -> UNetDepths:
    """Read the depths from the original keys, without the prefix."""
    blocks: dict[int, set[str]] = {}
    for key in keys:
        if match := re.match(r"input_blocks\.(\d+)\.(.*)", key):
            blocks.setdefault(int(match[1]), set()).add(match[2])
    layers, attention = [0], [False]
    for index in sorted(blocks)[1:]:  # the first is the convolution that takes the picture in
        if any(name.startswith("0.op.") for name in blocks[index]):
            layers.append(0)
            attention.append(False)
        else:
            layers[-1] += 1
            attention[-1] |= any(name.startswith("1.") for name in blocks[index])
    return UNetDepths(tuple(layers), tuple(attention))


def unet_names(depths: UNetDepths) -> ModuleNames:
    return ModuleNames(tuple(_unet_pairs(depths)))


def _unet_pairs(depths: UNetDepths) -> Pairs:
    yield from (
        ("time_embed.0", "time_embedding.linear_1"),
        ("time_embed.2", "time_embedding.linear_2"),
        ("label_emb.0.0", "add_embedding.linear_1"),
        ("label_emb.0.2", "add_embedding.linear_2"),
        ("input_blocks.0.0", "conv_in"),
        ("out.0", "conv_norm_out"),
        ("out.2", "conv_out"),
    )
    last = len(depths.layers) - 1
    index = 1
    for level, layers in enumerate(depths.layers):
        for layer in range(layers):
            yield from _unet_resnet(f"input_blocks.{index}.0", f"down_blocks.{level}.resnets.{layer}")
            if depths.attention[level]:
                yield from _unet_attention(f"input_blocks.{index}.1", f"down_blocks.{level}.attentions.{layer}")
            index += 1
        if level < last:
            yield f"input_blocks.{index}.0.op", f"down_blocks.{level}.downsamplers.0.conv"
            index += 1
    yield from _unet_resnet("middle_block.0", "mid_block.resnets.0")
    yield from _unet_attention("middle_block.1", "mid_block.attentions.0")
    yield from _unet_resnet("middle_block.2", "mid_block.resnets.1")
    index = 0
    for block, level in enumerate(reversed(range(last + 1))):
        for layer in range(depths.layers[level] + 1):
            yield from _unet_resnet(f"output_blocks.{index}.0", f"up_blocks.{block}.resnets.{layer}")
            if depths.attention[level]:
                yield from _unet_attention(f"output_blocks.{index}.1", f"up_blocks.{block}.attentions.{layer}")
            index += 1
        if level > 0:  # the upsampler follows the level's last layer, in the same list of modules
            place = 2 if depths.attention[level] else 1
            yield f"output_blocks.{index - 1}.{place}.conv", f"up_blocks.{block}.upsamplers.0.conv"


def _unet_resnet(theirs: str, ours: str) -> Pairs:
    for original, module in (("", "spatial_res_block"), (".time_stack", "temporal_res_block")):
        yield f"{theirs}{original}.in_layers.0", f"{ours}.{module}.norm1"
        yield f"{theirs}{original}.in_layers.2", f"{ours}.{module}.conv1"
        yield f"{theirs}{original}.emb_layers.1", f"{ours}.{module}.time_emb_proj"
        yield f"{theirs}{original}.out_layers.0", f"{ours}.{module}.norm2"
        yield f"{theirs}{original}.out_layers.3", f"{ours}.{module}.conv2"
        yield f"{theirs}{original}.skip_connection", f"{ours}.{module}.conv_shortcut"
    yield f"{theirs}.time_mixer", f"{ours}.time_mixer"


def _unet_attention(theirs: str, ours: str) -> Pairs:
    for module in ("norm", "proj_in", "transformer_blocks", "proj_out", "time_mixer"):
        yield f"{theirs}.{module}", f"{ours}.{module}"
    yield f"{theirs}.time_stack", f"{ours}.temporal_transformer_blocks"
    yield f"{theirs}.time_pos_embed.0", f"{ours}.time_pos_embed.linear_1"
    yield f"{theirs}.time_pos_embed.2", f"{ours}.time_pos_embed.linear_2"


# --- The VAE --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VAEDepths:
    """What the names in a VAE depend on."""

    levels: int
    temporal: bool  # the decoder mixes over time


MOST_VAE_LAYERS = 8  # names of layers that a VAE lacks do no harm in the table


def vae_depths(keys: Iterable[str]) -> VAEDepths:
    """Read the depths from the original keys, without the prefix."""
    levels, temporal = 0, False
    for key in keys:
        if match := re.match(r"(?:encoder\.down|decoder\.up)\.(\d+)\.", key):
            levels = max(levels, int(match[1]) + 1)
        temporal |= key.startswith("decoder.") and ".time_stack." in key
    return VAEDepths(levels, temporal)


def vae_names(depths: VAEDepths) -> ModuleNames:
    return ModuleNames(tuple(_vae_pairs(depths)))


def _vae_pairs(depths: VAEDepths) -> Pairs:
    yield "quant_conv", "quant_conv"
    yield "post_quant_conv", "post_quant_conv"
    for half in ("encoder", "decoder"):
        temporal = depths.temporal and half == "decoder"
        yield f"{half}.conv_in", f"{half}.conv_in"
        yield f"{half}.norm_out", f"{half}.conv_norm_out"
        yield f"{half}.conv_out", f"{half}.conv_out"
        for index in (0, 1):
            yield from _vae_resnet(f"{half}.mid.block_{index + 1}", f"{half}.mid_block.resnets.{index}", temporal)
        for theirs, ours in (
            ("norm", "group_norm"),
            ("q", "to_q"),
            ("k", "to_k"),
            ("v", "to_v"),
            ("proj_out", "to_out.0"),
        ):
            yield f"{half}.mid.attn_1.{theirs}", f"{half}.mid_block.attentions.0.{ours}"
    for level in range(depths.levels):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{depths.levels - 1 - level}"
        for layer in range(MOST_VAE_LAYERS):
            yield from _vae_resnet(f"encoder.down.{level}.block.{layer}", f"{down}.resnets.{layer}", False)
            yield from _vae_resnet(f"decoder.up.{level}.block.{layer}", f"{up}.resnets.{layer}", depths.temporal)
        yield f"encoder.down.{level}.downsample.conv", f"{down}.downsamplers.0.conv"
        yield f"decoder.up.{level}.upsample.conv", f"{up}.upsamplers.0.conv"
    if depths.temporal:
        yield "decoder.conv_out.time_mix_conv", "decoder.time_conv_out"


def _vae_resnet(theirs: str, ours: str, temporal: bool) -> Pairs:
    spatial = f"{ours}.spatial_res_block" if temporal else ours
    for module in ("norm1", "conv1", "norm2", "conv2"):
        yield f"{theirs}.{module}", f"{spatial}.{module}"
    yield f"{theirs}.nin_shortcut", f"{spatial}.conv_shortcut"
    if temporal:
        for original, module in (
            ("in_layers.0", "norm1"),
            ("in_layers.2", "conv1"),
            ("out_layers.0", "norm2"),
            ("out_layers.3", "conv2"),
        ):
            yield f"{theirs}.time_stack.{original}", f"{ours}.temporal_res_block.{module}"
        yield f"{theirs}.mix_factor", f"{ours}.time_mixer.mix_factor"


# --- CLIP's encoders ------------------------------------------------------------------------------------------------

QKV = ("q_proj", "k_proj", "v_proj")


def image_encoder_layers(keys: Iterable[str]) -> int:
    """Read the depth from the original keys, without the prefix."""
    matches = (re.match(r"transformer\.resblocks\.(\d+)\.", key) for key in keys)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


@dataclass(frozen=True)
class TowerNames:
    """Open CLIP keeps queries, keys and values in one tensor, and its last projection transposed, under a bare name."""

    layers: int
    tower: ClassVar[str]  # below which transformers keeps the tower, all but its projection
    projection: ClassVar[tuple[str, str]]  # Open CLIP's name, and ours
    ends: ClassVar[tuple[tuple[str, str], ...]]  # what is before the layers and behind them, Open CLIP's name and ours

    @cached_property
    def _modules(self) -> ModuleNames:
        return ModuleNames(tuple(self._pairs()))

    def _pairs(self) -> Pairs:
        for theirs, ours in self.ends:
            yield theirs, f"{self.tower}.{ours}"
        for layer in range(self.layers):
            theirs, ours = f"transformer.resblocks.{layer}", f"{self.tower}.encoder.layers.{layer}"
            yield f"{theirs}.ln_1", f"{ours}.layer_norm1"
            yield f"{theirs}.ln_2", f"{ours}.layer_norm2"
            yield f"{theirs}.attn.out_proj", f"{ours}.self_attn.out_proj"
            yield f"{theirs}.mlp.c_fc", f"{ours}.mlp.fc1"
            yield f"{theirs}.mlp.c_proj", f"{ours}.mlp.fc2"

    def ours(self, key: str) -> tuple[str, ...]:
        if match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", key):
            return tuple(f"{self.tower}.encoder.layers.{match[1]}.self_attn.{each}.{match[2]}" for each in QKV)
        theirs, ours = self.projection
        return (ours,) if key == theirs else self._modules.ours(key)

    def original(self, name: str) -> Origin | None:
        pattern = rf"{self.tower}\.encoder\.layers\.(\d+)\.self_attn\.([qkv]_proj)\.(weight|bias)"
        if match := re.fullmatch(pattern, name):
            key = f"transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}"
            return Origin(key, QKV.index(match[2]), len(QKV))
        theirs, ours = self.projection
        return Origin(theirs, transposed=True) if name == ours else self._modules.original(name)


@dataclass(frozen=True)
class ImageEncoderNames(TowerNames):
    tower = "vision_model"
    projection = ("proj", "visual_projection.weight")
    ends = (
        ("class_embedding", "embeddings.class_embedding"),
        ("conv1", "embeddings.patch_embedding"),
        ("positional_embedding", "embeddings.position_embedding.weight"),
        ("ln_pre", "pre_layrnorm"),
        ("ln_post", "post_layernorm"),
    )


@dataclass(frozen=True)
class TextEncoderNames(TowerNames):
    tower = "text_model"
    projection = ("text_projection", "text_projection.weight")
    ends = (
        ("token_embedding", "embeddings.token_embedding"),
        ("positional_embedding", "embeddings.position_embedding.weight"),
        ("ln_final", "final_layer_norm"),
    )


# --- A checkpoint of one file ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a stored tensor belongs: a part, and the parameters of it that take the tensor's rows in turn."""

    part: PartName
    names: tuple[str, ...]


def part_of(key: str) -> tuple[PartName, str] | None:
    """The part that a key of a checkpoint belongs to, and the key's name within it."""
    for prefix, part in ((UNET, "unet"), (IMAGE_ENCODER, "image_encoder")):
        if key.startswith(prefix):
            return part, key.removeprefix(prefix)  # type: ignore[return-value]  # a literal of the line above
    if match := EMBEDDER.match(key):
        name = key[match.end() :]
        return ("vae" if name.startswith(("encoder.", "quant_conv.")) else "spare_decoder"), name
    if key.startswith(FIRST_STAGE):
        name = key.removeprefix(FIRST_STAGE)
        return ("vae" if name.startswith(("decoder.", "post_quant_conv.")) else "spare_encoder"), name
    return None


def key_of(part: PartName, name: str, embedder: int) -> str:
    """The key of a part's tensor; `embedder` counts the conditioners up to the one that encodes pictures."""
    if part == "unet":
        return UNET + name
    if part == "image_encoder":
        return IMAGE_ENCODER + name
    encodes = name.startswith(("encoder.", "quant_conv."))
    embedded = encodes == (part == "vae")
    return (f"conditioner.embedders.{embedder}.encoder." if embedded else FIRST_STAGE) + name


def keys_by_part(keys: Iterable[str]) -> dict[PartName, dict[str, str]]:
    """For each part that is there, the keys by their names within it."""
    parts: dict[PartName, dict[str, str]] = {}
    for key in keys:
        if (found := part_of(key)) is not None:
            part, name = found
            parts.setdefault(part, {})[name] = key
    return parts


def names_of_part(part: PartName, keys: Iterable[str]) -> Names:
    """How a part's names are translated, given its keys without their prefix."""
    keys = list(keys)
    if part == "unet":
        return unet_names(unet_depths(keys))
    if part == "image_encoder":
        return ImageEncoderNames(image_encoder_layers(keys))
    return vae_names(vae_depths(keys))


def places(keys: Iterable[str]) -> dict[str, Place | None]:
    """Where each key of a checkpoint belongs; None where nothing has that name."""
    keys = list(keys)
    found: dict[str, Place | None] = dict.fromkeys(keys)
    for part, within in keys_by_part(keys).items():
        names = names_of_part(part, within)
        for name, key in within.items():
            ours = names.ours(name)
            found[key] = Place(part, ours) if ours else None
    return found
