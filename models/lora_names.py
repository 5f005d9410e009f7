"""What the tensors of LoRA files are called, by which program, and which layer of the UNet each belongs to.

A key names a layer and one of the tensors on it. Programs write the layer's name with dots or with underscores, behind
prefixes of their own, and in one of two languages: the original checkpoint's, which ComfyUI uses inside, or diffusers'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from .lora_layers import LAYERS, LoraLayer
from .svd_keys import UNetDepths, unet_names

PREFIX = "lora_unet_"
"""Before the original name, its dots turned to underscores: what ComfyUI and every manager of LoRA files reads."""
PREFIXES = re.compile(r"base_model\.model\.|(model\.)?diffusion_model\.|unet\.|lora_unet_|lycoris_")
TEXT_ENCODER = re.compile(r"(base_model\.model\.)?(lora_te\d?_|text_encoders?(_\d)?\.|te\d?\.)")

# (layer) (tensor on it), as written by kohya, ComfyUI and OneTrainer (lora_down), peft (lora_A, with the adapter's name
# or without), and diffusers of several ages (.lora.down, .processor.to_q_lora.down, .lora_linear_layer.down).
LORA_KEY = re.compile(
    r"(?P<layer>.+?)"
    r"(?:[._]lora(?:_linear_layer)?[._](?P<tensor>up|down|mid|A|B)(?:\.(?!weight|bias)\w+)?(?:\.weight)?|\.(?P<alpha>alpha))"
)
TENSORS = {"A": "down", "B": "up"}

# What other ways of fine-tuning leave in their files.
OTHER_KINDS = (
    (r"\.dora_scale$|\.lora_magnitude_vector", "DoRA"),
    (r"\.hada_", "LoHa"),
    (r"\.lokr_", "LoKr"),
    (r"\.(oft|boft)_", "OFT"),
    (r"\.(diff|diff_b|set_weight|w_norm|b_norm)$", "differences of whole weights"),
    (r"\.lora_(B|up)\.bias$", "biases"),
)
# By their layers' names, what some LoRAs are for.
PURPOSES = (
    (r"motion_modules", "AnimateDiff"),
    (
        r"(double_blocks|single_blocks|joint_blocks|single_transformer_blocks)[._]\d|"
        r"^(base_model\.model\.|diffusion_model\.|lora_unet_|transformer\.|lora_transformer_)*(transformer_)?(blocks|layers)[._]\d",
        "a diffusion transformer, such as Flux, Wan or LTX",
    ),
)
# By the width of what cross-attention looks at.
PURPOSE_OF_CONTEXT = {768: "Stable Diffusion 1", 2048: "SDXL"}
BASES = (  # by the beginning of what trainers write about the base model into the metadata
    (r"sd_v1|sd1|stable-diffusion-v1", "Stable Diffusion 1"),
    (r"sd_v2|sd2|stable-diffusion-v2", "Stable Diffusion 2"),
    (r"sdxl|stable-diffusion-xl", "SDXL"),
    (r"flux|wan|ltx|hunyuan|qwen|sd3|stable-diffusion-v3|stable-diffusion-3", "a diffusion transformer"),
)


@dataclass(frozen=True)
class KeyParts:
    """What a key of a LoRA file says."""

    layer: str  # as it is written there
    tensor: str  # down, up, mid or alpha


def parse_key(key: str) -> KeyParts | None:
    """Take a key apart; None where it is none of a LoRA."""
    match = LORA_KEY.fullmatch(key)
    if match is None:
        return None
    tensor = match["alpha"] or match["tensor"]
    return KeyParts(match["layer"], TENSORS.get(tensor, tensor))


def other_kind(keys: Iterable[str]) -> str | None:
    """What way of fine-tuning that is not LoRA the keys speak of."""
    keys = list(keys)
    return next((kind for pattern, kind in OTHER_KINDS if any(re.search(pattern, key) for key in keys)), None)


def purpose_of(layers: Mapping[str, int | None], metadata: Mapping[str, str]) -> str | None:
    """What model a LoRA is for, given its layers as they are written and how many channels each takes in.

    None where nothing tells.
    """
    base = metadata.get("ss_base_model_version") or metadata.get("modelspec.architecture") or ""
    for pattern, purpose in BASES:
        if re.match(pattern, base, re.IGNORECASE):
            return purpose
    for pattern, purpose in PURPOSES:
        if any(re.search(pattern, layer) for layer in layers):
            return purpose
    for layer, inputs in layers.items():
        if re.search(r"attn2[._](processor[._])?to_[kv]$", layer) and inputs in PURPOSE_OF_CONTEXT:
            return PURPOSE_OF_CONTEXT[inputs]
    if any(TEXT_ENCODER.match(layer) for layer in layers):
        return "a model that reads text"
    return None


class LayerNames:
    """The layers of one UNet that a LoRA can be on, by all their names."""

    def __init__(self, unet: Any):
        names = unet_names(_depths_of(unet))
        self.original: dict[str, str] = {}
        """The original name of each layer, by the one that it has here."""
        for name, module in unet.named_modules():
            inner = _without_lora(name)
            if inner == name and isinstance(module, (*LAYERS, LoraLayer)):
                origin = names.original(name)
                if origin is not None:
                    self.original[name] = origin.key
        self.ours = {original: name for name, original in self.original.items()}
        self._flat = {_flat(name): name for pair in self.original.items() for name in pair}

    def find(self, layer: str) -> str | None:
        """The original name of the layer that a file calls so; None where the UNet has none."""
        while match := PREFIXES.match(layer):
            layer = layer[match.end() :]
        flat = _flat(layer.replace(".processor.", "."))
        name = self._flat.get(flat) or self._flat.get(f"{flat}_0")  # some leave out the 0 of to_out.0
        return None if name is None else self.original.get(name, name)


def stored_layer(original: str) -> str:
    """What we call a layer in a file."""
    return PREFIX + _flat(original)


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _without_lora(name: str) -> str:
    """The place of a module in the UNet without LoRA, where a layer with one holds the layer as `base`."""
    return re.sub(r"\.base\b.*|\.pair$", "", name)


def _depths_of(unet: nn.Module) -> UNetDepths:
    blocks: Any = unet.down_blocks
    return UNetDepths(
        tuple(len(block.resnets) for block in blocks), tuple(hasattr(block, "attentions") for block in blocks)
    )
