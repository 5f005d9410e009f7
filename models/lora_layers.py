"""LoRA: small matrices beside the layers of a network, which change what it does and leave its weights as they are.

A LoRA of rank r adds (strength alpha / r) up down to the weight of a layer. Nothing is merged: a network with a LoRA on
it is a second tree of modules that shares every layer, and so all of the memory, with the first. Its strength is a
number, and the first network is as it was.

Computed layer by layer, that costs little. Where many rows pass through a layer, as in every large one of a video
model, adding the matrices up first takes fewer operations than two products more for each row: the sum lives only while
its layer is computed. Where gradients are recorded or rows are few, the matrices are applied to the rows.

peft does as much, but changes the network that it is given, which others may be using here, knows only the products
for each row, and takes seconds to import. Results are equal; the tests compare them.

Axes: r rank, i input channels, o output channels, and the kernel of a convolution behind them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import CheckpointError

LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d)
"""What a LoRA can be put on."""

# The picture is a single token, so a softmax over it is 1 whatever asks: queries and keys of cross-attention ("attn2")
# have no gradient.
ATTENTION = r"attn1\.(to_q|to_k|to_v|to_out\.0)|attn2\.(to_v|to_out\.0)"
FEED_FORWARD = r"ff(_in)?\.net\.(0\.proj|2)"
PRESETS = {
    "motion": rf"temporal_transformer_blocks\.\d+\.({ATTENTION})",
    "motion and look": rf"(temporal_)?transformer_blocks\.\d+\.({ATTENTION})",
    "strong": rf"(temporal_)?transformer_blocks\.\d+\.({ATTENTION}|{FEED_FORWARD})",
}
"""Which layers are trained: attention among frames; all attention; all attention and feed-forward."""


class LoraPair(nn.Module):
    """The two matrices: down (r i ...) and up (o r)."""

    def __init__(self, down: Tensor, up: Tensor, *, trainable: bool = False):
        super().__init__()
        self.down = nn.Parameter(down, requires_grad=trainable)
        self.up = nn.Parameter(up, requires_grad=trainable)

    @property
    def rank(self) -> int:
        return self.down.shape[0]


class LoraLayer(nn.Module):
    """A layer with a LoRA on it, where the layer was. The layer may itself be one with a LoRA on it."""

    def __init__(self, base: nn.Module, pair: LoraPair, scale: float):
        super().__init__()
        self.base, self.pair = base, pair
        self.scale = scale  # strength alpha / r

    @property
    def layer(self) -> Any:
        """The layer without any LoRA."""
        return self.base.layer if isinstance(self.base, LoraLayer) else self.base

    @property
    def weight(self) -> Tensor:
        """The layer's weight and all that is on it, summed up anew at each call."""
        weight = cast(Tensor, self.base.weight)
        if not self.scale:
            return weight
        up, down = self.pair.up.to(weight.dtype), self.pair.down.to(weight.dtype)
        return torch.addmm(weight.flatten(1), up, down.flatten(1), alpha=self.scale).view(weight.shape)

    # What else may be asked of a layer by who uses its weight instead of calling it.
    bias = property(lambda self: self.layer.bias)
    stride = property(lambda self: self.layer.stride)
    padding = property(lambda self: self.layer.padding)
    out_channels = property(lambda self: self.layer.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        if not self.scale:
            return self.base(x)
        if self._is_quicker_summed(x):
            return _computed(self.layer, x, self.weight, self.bias)
        return self.base(x) + self._change(x)

    def _is_quicker_summed(self, x: Tensor) -> bool:
        """Whether up down, for once, takes fewer operations than down and up for each row.

        Not where gradients are recorded: they would need the sum again, and one of its size.
        """
        inputs, outputs = self.pair.down[0].numel(), len(self.pair.up)
        rows = x.numel() // self.pair.down.shape[1]
        return not torch.is_grad_enabled() and rows * (inputs + outputs) > inputs * outputs

    def _change(self, x: Tensor) -> Tensor:
        """What the LoRA adds to the layer's result."""
        # As autocast does: trained matrices are in float32, and computed with in the precision of what comes in.
        down, up = self.pair.down.to(x.dtype), self.pair.up.to(x.dtype)
        lowered = _computed(self.layer, x, down, None) * self.scale
        if isinstance(self.layer, nn.Linear):
            return F.linear(lowered, up)
        return torch.einsum("b r ..., o r -> b o ...", lowered, up)


def _computed(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The layer's result with another weight."""
    return F.linear(x, weight, bias) if isinstance(layer, nn.Linear) else layer._conv_forward(x, weight, bias)


def with_layers(network: nn.Module, replaced: Mapping[str, nn.Module], name: str = "") -> Any:
    """The network with other layers in some places, by their names.

    Every other layer is the same object as in the network, so its weights are wherever that one's are. What only holds
    layers is new, so that modes and hooks set on one network are not set on the other.
    """
    if name in replaced:
        return replaced[name]
    if not module_children(network):
        return network
    twin = network.__new__(type(network))
    vars(twin).update(vars(network))
    vars(twin).update({own: vars(network)[own].copy() for own in _OWN_DICTS if own in vars(network)})
    prefix = f"{name}." if name else ""
    for child_name, child in module_children(network).items():
        twin._modules[child_name] = with_layers(child, replaced, prefix + child_name)
    return twin


_OWN_DICTS = [name for name, value in vars(nn.Module()).items() if isinstance(value, dict)]


def module_children(module: nn.Module) -> dict[str, nn.Module]:
    return {name: child for name, child in module._modules.items() if child is not None}


def lora_targets(unet: nn.Module, preset: str) -> list[str]:
    """The names of the layers that a preset trains."""
    if preset not in PRESETS:
        raise CheckpointError(f"There is no preset {preset!r}. Choose one of {', '.join(PRESETS)}.")
    pattern = re.compile(rf"(.*\.)?({PRESETS[preset]})")
    return [name for name, _ in unet.named_modules() if pattern.fullmatch(name)]


@dataclass(frozen=True)
class LoraLayers:
    """A network with trainable matrices on some of its layers, which shares everything else with the first one."""

    unet: Any
    layers: Mapping[str, LoraLayer]  # by the names that the layers had
    alpha: float

    def parameters(self) -> list[nn.Parameter]:
        """All that is trained, in a fixed order."""
        return [parameter for layer in self.layers.values() for parameter in (layer.pair.down, layer.pair.up)]

    @property
    def strength(self) -> float:
        layer = next(iter(self.layers.values()))
        return layer.scale * layer.pair.rank / self.alpha

    def set_strength(self, strength: float) -> None:
        """0 is exactly the network without the LoRA."""
        for layer in self.layers.values():
            layer.scale = strength * self.alpha / layer.pair.rank


@torch.inference_mode(False)  # ComfyUI's nodes run in it, and what is made in it can never be trained
def add_lora(unet: nn.Module, names: Iterable[str], rank: int, alpha: float, seed: int) -> LoraLayers:
    """Put trainable matrices, in float32, on layers of a network that stays as it is; it says the same until trained.

    `down` is drawn as torch draws a linear layer's weight (and peft its lora_A), `up` is 0.
    """
    if rank < 1:
        raise CheckpointError(f"The rank is {rank}. Choose at least 1; 8 to 64 is usual.")
    if not (math.isfinite(alpha) and alpha > 0):
        raise CheckpointError(f"alpha is {alpha:g}. Choose a number above 0, such as the rank, {rank}.")
    generator = torch.Generator().manual_seed(seed)
    modules = dict(unet.named_modules())
    layers = {name: _trainable(_layer_called(modules, name), rank, alpha, generator) for name in names}
    if not layers:
        raise CheckpointError("No layers are chosen for the LoRA, so nothing would be trained. Name some.")
    return LoraLayers(with_layers(unet, layers), layers, alpha)


def _layer_called(modules: Mapping[str, nn.Module], name: str) -> nn.Module:
    layer = modules.get(name)
    if not isinstance(layer, (*LAYERS, LoraLayer)):
        what = "no such module" if layer is None else f"a {type(layer).__name__}"
        raise CheckpointError(f"{name} is {what} in this network; LoRA goes onto linear layers and convolutions.")
    return layer


def _trainable(layer: nn.Module, rank: int, alpha: float, generator: torch.Generator) -> LoraLayer:
    weight = cast(Tensor, layer.layer.weight if isinstance(layer, LoraLayer) else layer.weight)
    down = torch.empty(rank, *weight.shape[1:])
    nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
    up = torch.zeros(len(weight), rank)
    return LoraLayer(layer, LoraPair(down.to(weight.device), up.to(weight.device), trainable=True), alpha / rank)
