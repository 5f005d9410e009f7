"""AdamW, in 32 or in 8 bits, and its memory as plain tensors under the names of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .errors import TrainingError

OptimizerName = Literal["adamw", "adamw8bit"]
Numbers = dict[str, dict[str, float]]
"""What an optimizer remembers of each weight that is no tensor."""


def make_optimizer(
    name: OptimizerName, weights: Sequence[nn.Parameter], betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    """The learning rate is set at every step, by who steps."""
    if name == "adamw":
        return torch.optim.AdamW(weights, betas=betas, weight_decay=weight_decay)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise TrainingError(
            f"The optimizer is adamw8bit, which needs bitsandbytes, and that cannot be loaded ({error}). Install it "
            "with `pip install bitsandbytes`, or set optimizer to adamw: for a LoRA the difference is a few megabytes."
        ) from error
    return AdamW8bit(weights, betas=betas, weight_decay=weight_decay)


def memory_of(optimizer: torch.optim.Optimizer, names: Sequence[str]) -> tuple[dict[str, Tensor], Numbers]:
    """What it remembers of the weights, which have these names in its order; tensors as "weight/what"."""
    tensors: dict[str, Tensor] = {}
    numbers: Numbers = {}
    for index, remembered in optimizer.state_dict()["state"].items():
        for what, value in remembered.items():
            if isinstance(value, Tensor):
                tensors[f"{names[index]}/{what}"] = value
            else:
                numbers.setdefault(names[index], {})[what] = value
    return tensors, numbers


def remind(
    optimizer: torch.optim.Optimizer, names: Sequence[str], tensors: Mapping[str, Tensor], numbers: Numbers
) -> None:
    """The reverse of `memory_of`."""
    memory: dict[str, dict[str, Any]] = {name: dict(values) for name, values in numbers.items()}
    for key, tensor in tensors.items():
        name, _, what = key.rpartition("/")
        memory.setdefault(name, {})[what] = tensor
    state = {index: memory[name] for index, name in enumerate(names) if name in memory}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
