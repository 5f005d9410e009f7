"""Weights of a model and where they are: in their place for good, or given to whoever manages the device's memory.

Inside ComfyUI the manager is ComfyUI's: it moves a model to the device when it is needed, and away from it when another
one needs the room. Ours are moved whole, because layers that are not ComfyUI's own cannot run half here and half there.

Nodes run in inference mode. A weight that is moved in it becomes a tensor of inference, through which no gradient ever
passes again, so every move is made outside of it.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from . import work
from .presence import IN_COMFYUI

if IN_COMFYUI:
    import comfy.model_management as memory  # type: ignore[import-not-found]
    import comfy.model_patcher  # type: ignore[import-not-found]

M = TypeVar("M", bound=nn.Module)


class Weights(Generic[M]):
    """A module of which somebody knows where it is; one that stays where it is now."""

    def __init__(self, module: M):
        self.module = module

    @property
    def bytes(self) -> int:
        """What the module takes in memory, here or there."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def device(self) -> torch.device:
        """Where the weights are now."""
        return next(self.module.parameters()).device

    @property
    def parts(self) -> tuple[Weights[Any], ...]:
        """The weights that come and go by themselves; for most it is they."""
        return (self,)

    def ready(self, activation_bytes: int = 0) -> torch.device:
        """Bring the weights to where they are used, with that much memory left for the work itself; say where."""
        ready_together([self], activation_bytes)
        return self.device


def ready_together(weights: Sequence[Weights[Any]], activation_bytes: int = 0) -> None:
    """Bring several to where they are used at once, so that none of them is put away for another."""
    # Each once, though it may be a part of several.
    parts = dict.fromkeys(part for each in weights for part in each.parts)
    managed = [part for part in parts if isinstance(part, _Managed)]
    if not managed:
        return
    if IN_COMFYUI:
        patchers = [each.patcher for each in managed]
        memory.load_models_gpu(patchers, memory_required=activation_bytes, force_full_load=True)
    else:
        _move_in(managed, activation_bytes)


def stationary(module: M) -> Weights[M]:
    """Weights that stay on the device that they are on."""
    return Weights(module)


def managed(module: M) -> Weights[M]:
    """Weights that are brought to `work.device()` when they are needed, and put away when others need the room."""
    return _Managed(module)


def extended(base: Weights[Any], module: M, added: nn.Module) -> Weights[M]:
    """Weights of a module that is made of `base`'s layers and of those in `added`, which are put where the former are.

    The layers that two modules share come and go together, and whoever manages the memory counts them once.
    """
    here = managed if isinstance(base.parts[0], _Managed) else stationary
    return _Extended(module, (*base.parts, here(added.to(base.device) if here is stationary else added)))


class _Extended(Weights[M]):
    """Weights of a module whose layers are other modules' too."""

    def __init__(self, module: M, parts: tuple[Weights[Any], ...]):
        super().__init__(module)
        self._parts = parts
        if IN_COMFYUI:
            self.patcher = getattr(parts[0], "patcher", None)

    @property
    def parts(self) -> tuple[Weights[Any], ...]:
        return self._parts


if IN_COMFYUI:

    class _Holder(nn.Module):
        """What ComfyUI's manager takes for the model: it sets `device`, which a module of diffusers does not allow."""

        def __init__(self, module: nn.Module):
            super().__init__()
            self.device: torch.device | None = None
            self.module = module

    class _WholePatcher(comfy.model_patcher.ModelPatcher):
        """Moves a model whole: its layers cannot fetch their own weights, as ComfyUI's can."""

        @torch.inference_mode(False)
        def load(
            self,
            device_to: torch.device | None = None,
            lowvram_model_memory: float = 0,
            force_patch_weights: bool = False,
            full_load: bool = False,
        ) -> None:
            super().load(device_to, lowvram_model_memory, force_patch_weights, full_load=True)

        @torch.inference_mode(False)
        def unpatch_model(self, device_to: torch.device | None = None, unpatch_weights: bool = True) -> None:
            super().unpatch_model(device_to, unpatch_weights)

        def partially_unload(
            self, device_to: torch.device, memory_to_free: float = 0, force_patch_weights: bool = False
        ) -> int:
            return 0  # so that the manager, which wanted a part, puts the whole away


class _Managed(Weights[M]):
    """Weights that come and go."""

    def __init__(self, module: M):
        super().__init__(module)
        if IN_COMFYUI:
            # The manager knows a patcher for as long as we do, and says "memory leak" of one that its model outlives.
            # So both live here, and end together.
            self.patcher = _WholePatcher(
                _Holder(module), load_device=memory.get_torch_device(), offload_device=memory.unet_offload_device()
            )


_uses = itertools.count()
_last_use: weakref.WeakKeyDictionary[_Managed[Any], int] = weakref.WeakKeyDictionary()
"""Outside ComfyUI: the weights that were brought to the device, and when they were last wanted there."""


@torch.inference_mode(False)
def _move_in(wanted: Sequence[_Managed[Any]], activation_bytes: int) -> None:
    device = work.device()
    if device.type == "cuda":
        arriving = sum(weights.bytes for weights in wanted if weights.device.type != device.type)
        _make_room(device, arriving + activation_bytes, wanted)
    for weights in wanted:
        if not _is_on(device, weights):  # to look through all layers takes as long as some of them take to compute
            weights.module.to(device)
        _last_use[weights] = next(_uses)


def _is_on(device: torch.device, weights: Weights[Any]) -> bool:
    here = weights.device
    return here.type == device.type and device.index in (None, here.index)


def _make_room(device: torch.device, bytes_needed: int, wanted: Sequence[_Managed[Any]]) -> None:
    """Put away what was not used for longest, for as long as there is not enough room."""
    for weights in sorted(_last_use, key=_last_use.__getitem__):
        if work.available_bytes(device) >= bytes_needed:
            return
        if weights not in wanted:
            weights.module.to("cpu")
            del _last_use[weights]
