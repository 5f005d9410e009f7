"""What of an SVD is trained: a LoRA on some of its layers, or copies of the weights themselves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from ..host.weights import extended
from ..models.lora import PRESETS, LoraLayers, add_lora, lora_targets
from ..models.lora_layers import with_layers
from ..models.svd import SVDModel
from .errors import TrainingError

Preset = Literal["motion", "motion and look", "strong", "temporal weights", "all weights"]
LORA_PRESETS = tuple(PRESETS)
# The modules that only a video model has.
TEMPORAL = ("temporal_res_block.", "temporal_transformer_blocks.", "time_mixer.", "time_pos_embed.")
# The picture is a single token. A softmax over one is 1 whatever asks, so these have no gradient.
WITHOUT_GRADIENT = ("attn2.to_q.", "attn2.to_k.")


@dataclass(frozen=True)
class Trained:
    """A model of which some weights are trained, and those by name. The model that it was made of stays as it was."""

    model: SVDModel
    weights: Mapping[str, nn.Parameter]
    lora: LoraLayers | None  # None where the model's own weights are trained


def is_lora(preset: str) -> bool:
    return preset in LORA_PRESETS


def own_weights(unet: nn.Module, preset: Preset) -> list[str]:
    """The names of the model's own weights that a preset trains."""
    return [
        name
        for name, _ in unet.named_parameters()
        if not any(part in name for part in WITHOUT_GRADIENT)
        and (preset == "all weights" or any(part in name for part in TEMPORAL))
    ]


@torch.inference_mode(False)  # ComfyUI's nodes run in it, and what is made in it can never be trained
def make_trainable(model: SVDModel, preset: Preset, rank: int, alpha: float, seed: int) -> Trained:
    """Put a LoRA on a model, or copy the weights that shall be trained, in float32 and where the model is."""
    model.unet.ready()
    unet: Any = model.unet.module
    if is_lora(preset):
        layers = add_lora(unet, lora_targets(unet, preset), rank, alpha, seed)
        pairs = nn.ModuleList([layer.pair for layer in layers.layers.values()])
        weights = {
            f"{name}.{matrix}": getattr(layer.pair, matrix)
            for name, layer in layers.layers.items()
            for matrix in ("down", "up")
        }
        return Trained(replace(model, unet=extended(model.unet, layers.unet, pairs)), weights, layers)
    names = own_weights(unet, preset)
    copies = _copies(unet, names)
    twin = with_layers(unet, copies)
    parameters = dict(twin.named_parameters())
    weights = {name: parameters[name].requires_grad_() for name in names}
    return Trained(replace(model, unet=extended(model.unet, twin, nn.ModuleList(copies.values()))), weights, None)


def _copies(unet: nn.Module, names: list[str]) -> dict[str, nn.Module]:
    """Copies, in float32, of the layers that have these weights."""
    owners = dict.fromkeys(name.rpartition(".")[0] for name in names)
    modules = dict(unet.named_modules())
    if not owners:
        raise TrainingError("This model has no weights of the kind that is to be trained. Choose another preset.")
    assert not any(list(modules[owner].children()) for owner in owners), "only layers have weights of their own"
    return {owner: copy.deepcopy(modules[owner]).float() for owner in owners}
