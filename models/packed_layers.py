"""Layers with weights that lie as a CPU's arithmetic reads them.

A plain layer brings its weights into that order at every call. A model that only looks, on a CPU, does so once:
CLIP of the size of ViT-B/32 sees a frame 1.1 to 1.2 times as fast (`benchmarks/clip.py`).
"""

from __future__ import annotations

import platform

import torch
from einops import rearrange
from torch import Tensor, nn

PRECISIONS = (torch.float32, torch.bfloat16)
TRIED_ON = ("x86_64", "amd64")
_oneDNN = torch.ops.mkldnn


class PackedLinear(nn.Module):
    """What nn.Linear does with a weight. Here it can neither be trained nor cast, nor leave the CPU."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        # No parameter: it has no storage that can be asked for, and who looks after memory asks all parameters.
        self.weight: Tensor = _oneDNN._reorder_linear_weight(weight.detach(), None)
        self.bias = bias

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = _oneDNN._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")
        return outputs


class PackedPatches(nn.Module):
    """What a convolution does whose windows stand side by side."""

    def __init__(self, convolution: nn.Conv2d):
        super().__init__()
        self.height, self.width = convolution.kernel_size
        self.linear = PackedLinear(convolution.weight.flatten(1), convolution.bias)

    @property
    def weight(self) -> Tensor:
        return self.linear.weight

    def forward(self, pictures: Tensor) -> Tensor:
        rows, columns = pictures.shape[-2] // self.height, pictures.shape[-1] // self.width
        pictures = pictures[..., : rows * self.height, : columns * self.width]
        patches = rearrange(pictures, "n c (y h) (x w) -> n y x (c h w)", h=self.height, w=self.width)
        return rearrange(self.linear(patches), "n y x d -> n d y x")


def can_pack(dtype: torch.dtype) -> bool:
    """Whether torch has such layers for this CPU, and it computes in the precision."""
    if platform.machine().lower() not in TRIED_ON or not torch.backends.mkldnn.is_available():
        return False
    if dtype not in PRECISIONS:
        return False
    if not all(hasattr(_oneDNN, name) for name in ("_reorder_linear_weight", "_linear_pointwise")):
        return False
    return dtype == torch.float32 or bool(_oneDNN._is_mkldnn_bf16_supported())


def pack_layers(module: nn.Module) -> None:
    """Pack the layers in a module that lies on the CPU and is not trained, where that can be done."""
    for name, child in module.named_children():
        if type(child) is nn.Linear and can_pack(child.weight.dtype):
            setattr(module, name, PackedLinear(child.weight, child.bias))
        elif type(child) is nn.Conv2d and can_pack(child.weight.dtype) and _side_by_side(child):
            setattr(module, name, PackedPatches(child))
        else:
            pack_layers(child)


def _side_by_side(layer: nn.Conv2d) -> bool:
    plain = layer.padding == (0, 0) and layer.dilation == (1, 1) and layer.groups == 1
    return plain and layer.stride == layer.kernel_size
