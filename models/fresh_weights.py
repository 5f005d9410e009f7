"""New models, their weights drawn from a seed as PyTorch draws them, without touching anybody's random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from .svd_parts import fill_buffers

M = TypeVar("M", bound=nn.Module)
EMBEDDING_DEVIATION = 0.02  # of tables of embeddings, and of what belongs to no layer of a known kind


@torch.inference_mode(False)  # weights made in inference mode, which ComfyUI's nodes run in, could never be trained
def with_fresh_weights(make: Callable[[], M], seed: int) -> M:
    """Build a module on the CPU, in float32 and evaluation mode; what its layers set to a number themselves stays."""
    with torch.device("meta"):
        module = make()
    generator = torch.Generator("cpu").manual_seed(seed)
    for owner in module.modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            if parameter.is_meta:
                values = _drawn(owner, name, parameter, generator)
                owner.register_parameter(name, nn.Parameter(values))
    fill_buffers(module, torch.device("cpu"))
    return module.eval()


def _drawn(owner: nn.Module, name: str, empty: Tensor, generator: torch.Generator) -> Tensor:
    values = torch.empty(empty.shape)
    if isinstance(owner, nn.Linear | nn.modules.conv._ConvNd):
        inputs = owner.weight.shape[1:].numel()
        return values.uniform_(-1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=generator)
    if isinstance(owner, nn.GroupNorm | nn.LayerNorm):
        return values.fill_(1.0 if name == "weight" else 0.0)
    return values.normal_(0, EMBEDDING_DEVIATION, generator=generator)
