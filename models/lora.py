"""LoRA for SVD and SV3D: a model with one on it, files in and out, and layers to train.

    model = load_svd("svd_xt.safetensors", dtype=torch.float16, device="cuda")
    waning = load_lora(model, "moon.safetensors", strength=0.8)
    both = load_lora(waning, "grain.safetensors", strength=-0.5)
    save_svd(merge_lora(both), "svd_xt_moon.safetensors")

`model` is as it was, and takes its memory once: what the others add is the LoRAs' own matrices, for rank 32 on the
attention among frames 10 MB in float16.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..host.weights import Weights, extended
from .errors import CheckpointError
from .lora_files import (
    Lora,
    Matrices,
    describe_lora,
    fitted,
    lora_of_tensors,
    pair_of,
    read_lora,
    save_lora,
    trained_lora,
)
from .lora_layers import PRESETS, LoraLayer, LoraLayers, add_lora, lora_targets, with_layers
from .lora_names import LayerNames
from .svd import SVDModel

__all__ = [
    "PRESETS",
    "Lora",
    "LoraLayers",
    "Matrices",
    "add_lora",
    "check_strength",
    "describe_lora",
    "load_lora",
    "lora_of_tensors",
    "lora_targets",
    "merge_lora",
    "read_lora",
    "save_lora",
    "trained_lora",
]

MOST_STRENGTH = 100.0


def load_lora(model: SVDModel, source: str | Path | Lora, strength: float = 1.0) -> SVDModel:
    """The model with a LoRA on it; the one that is given stays as it is, and they share its memory.

    The LoRA comes from a file, from a folder that peft wrote, or from memory, to be put on at several strengths without
    reading it again. Strength 0 is the model itself, and below 0 it does the opposite.
    """
    if not isinstance(model, SVDModel):
        raise CheckpointError(f"A LoRA is put on a model, such as load_svd gives, and this is {model!r}.")
    if not isinstance(source, str | os.PathLike | Lora):
        raise CheckpointError(f"A LoRA is loaded from the path of a file or a folder, and this is {source!r}.")
    check_strength(strength)
    unet: Any = model.unet.module
    names = LayerNames(unet)
    lora = fitted(source, unet, names) if isinstance(source, Lora) else read_lora(source, unet)
    if not strength:
        return model
    layers = _layers(unet, {names.ours[original]: matrices for original, matrices in lora.layers.items()}, strength)
    pairs = nn.ModuleList([layer.pair for layer in layers.values()])
    return replace(model, unet=extended(model.unet, with_layers(unet, layers), pairs))


def check_strength(strength: float) -> None:
    """Refuse a strength at which no LoRA can be put on."""
    if not -MOST_STRENGTH <= strength <= MOST_STRENGTH:  # which also refuses what is no number
        raise CheckpointError(
            f"The LoRA's strength is {strength:g}. Choose a number from {-MOST_STRENGTH:g} to {MOST_STRENGTH:g}; 1 is "
            "as it was trained."
        )


@torch.inference_mode(False)  # as in loading the model: what is made in it could never be trained on
def _layers(unet: nn.Module, matrices: dict[str, Matrices], strength: float) -> dict[str, LoraLayer]:
    modules: dict[str, Any] = dict(unet.named_modules())
    return {
        name: LoraLayer(modules[name], pair_of(each, modules[name].weight), strength * each.alpha / each.rank)
        for name, each in matrices.items()
    }


def merge_lora(model: SVDModel) -> SVDModel:
    """The model with all LoRAs that are on it summed into copies of the weights that they change, such as to save it.

    A weight is rounded once, however many LoRAs are on it. Layers without LoRA stay shared.
    """
    unet: Any = model.unet.module
    names = LayerNames(unet)
    modules = dict(unet.named_modules())
    touched = {name: layer for name in names.original if isinstance(layer := modules[name], LoraLayer)}
    if not touched:
        return model
    merged = {name: _merged(layer) for name, layer in touched.items()}
    base: Weights[Any] = model.unet.parts[0]
    return replace(model, unet=extended(base, with_layers(unet, merged), nn.ModuleList(merged.values())))


@torch.inference_mode(False)
@torch.no_grad()
def _merged(layer: LoraLayer) -> nn.Module:
    plain = layer.layer
    twin = plain.__new__(type(plain))
    vars(twin).update(vars(plain))
    vars(twin)["_parameters"] = dict(plain._parameters) | {
        "weight": nn.Parameter(_sum(layer).to(plain.weight.dtype), requires_grad=False)
    }
    return twin


def _sum(layer: Any) -> Tensor:
    """A weight and all that is on it, in float32 or better."""
    if not isinstance(layer, LoraLayer):
        return layer.weight.to(torch.promote_types(layer.weight.dtype, torch.float32))
    weight = _sum(layer.base)
    up, down = layer.pair.up.to(weight.dtype), layer.pair.down.to(weight.dtype)
    return torch.addmm(weight.flatten(1), up, down.flatten(1), alpha=layer.scale).view(weight.shape)
