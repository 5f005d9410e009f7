"""LoRA files for SVD and SV3D: read in the names of ComfyUI, kohya, diffusers and peft; written in ComfyUI's.

Axes: r rank, i input channels, o output channels, and the kernel of a convolution behind them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .checkpoints import Stored, ToWrite, listed, open_checkpoint, write_checkpoint
from .errors import CheckpointError
from .lora_layers import LoraLayer, LoraLayers, LoraPair
from .lora_names import LayerNames, other_kind, parse_key, purpose_of, stored_layer
from .recognition import what_it_is
from .svd_layouts import METADATA

WANTED = "Choose a LoRA that was trained for SVD or SV3D."
# What peft and diffusers call the file in a folder.
NAMES_IN_FOLDER = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
PEFT_CONFIG = "adapter_config.json"  # beside it, where peft wrote it
DIFFUSERS_CONFIG = "lora_adapter_metadata"  # in its metadata, where diffusers did


@dataclass(frozen=True)
class Matrices:
    """What a LoRA has for one layer."""

    down: Tensor  # (r i ...)
    up: Tensor  # (o r)
    alpha: float  # at strength 1 the layer's weight changes by alpha / r up down

    @property
    def rank(self) -> int:
        return self.down.shape[0]


@dataclass(frozen=True)
class Lora:
    """A LoRA in memory."""

    layers: Mapping[str, Matrices]  # by the original name, such as input_blocks.1.1.time_stack.0.attn1.to_q
    metadata: Mapping[str, str] = field(default_factory=dict)
    name: str = "The LoRA"

    @property
    def ranks(self) -> list[int]:
        """Of its layers, without repetition."""
        return sorted({matrices.rank for matrices in self.layers.values()})

    def tensors(self) -> dict[str, Tensor]:
        """As it is in a file, and in ComfyUI's LORA_MODEL; the matrices are those of the LoRA, not copies."""
        tensors: dict[str, Tensor] = {}
        for original, matrices in self.layers.items():
            kernel = matrices.down.ndim - 2
            name = stored_layer(original)
            tensors[f"{name}.lora_down.weight"] = matrices.down
            tensors[f"{name}.lora_up.weight"] = matrices.up.reshape(*matrices.up.shape, *(1,) * kernel)
            tensors[f"{name}.alpha"] = torch.tensor(float(matrices.alpha))
        return tensors


def trained_lora(layers: LoraLayers, name: str = "The LoRA") -> Lora:
    """What was trained so far, copied to main memory."""
    original = LayerNames(layers.unet).original
    found = {}
    for ours, layer in layers.layers.items():
        if ours not in original:
            raise CheckpointError(f"{ours} is no layer of an SVD, so a LoRA file has no name for it.")
        down, up = (each.detach().to("cpu", copy=True) for each in (layer.pair.down, layer.pair.up))
        found[original[ours]] = Matrices(down, up, layers.alpha)
    return Lora(found, name=name)


def save_lora(
    path: str | Path,
    lora: Lora | LoraLayers,
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a LoRA that this pack, ComfyUI's own loaders and managers of LoRA files read, in a precision or as it is.

    The file appears whole or not at all. Its metadata are the LoRA's own, then those given.
    """
    if isinstance(lora, LoraLayers):
        lora = trained_lora(lora)
    entries = {**lora.metadata, **_told_by_tensors(lora), **(metadata or {})}
    for key, value in entries.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise CheckpointError(
                f"The metadata of a LoRA file are texts, and {key!r} is {value!r}. Write it as a text, such as "
                f"{json.dumps(value, default=str)!r}."
            )
    tensors = lora.tensors()
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"{key} holds values that are no numbers, so the LoRA would make black frames. Training went wrong "
                "before: go back to an earlier state of it."
            )
    write_checkpoint(Path(path), {key: _to_write(key, tensor, dtype) for key, tensor in tensors.items()}, entries)


def _to_write(key: str, tensor: Tensor, dtype: torch.dtype | None) -> ToWrite:
    stored = tensor.dtype if dtype is None or key.endswith(".alpha") else dtype
    return ToWrite(stored, tuple(tensor.shape), lambda: tensor)


def describe_lora(
    *,
    base: str,
    trigger: str = "",
    steps: int | None = None,
    data_hash: str = "",
    settings: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Metadata for a file: our own entries, and kohya's where other programs look for the same.

    `base` is the model that was trained on, such as svd_xt; `trigger` a word or caption of the footage.
    """
    ours = {
        "base": base,
        "trigger": trigger,
        "steps": "" if steps is None else str(steps),
        "data_hash": data_hash,
        "settings": json.dumps(settings, sort_keys=True, default=str) if settings else "",
    }
    kohya = {
        "ss_base_model_version": base,
        "ss_steps": ours["steps"],
        # Managers show as trigger words what captions were counted here.
        "ss_tag_frequency": json.dumps({"footage": {trigger: 1}}) if trigger else "",
    }
    entries = {METADATA + name: value for name, value in ours.items()} | kohya
    return {name: value for name, value in entries.items() if value}


def _told_by_tensors(lora: Lora) -> dict[str, str]:
    alphas = sorted({float(matrices.alpha) for matrices in lora.layers.values()})
    rank = str(lora.ranks[0]) if len(lora.ranks) == 1 else "Dynamic"  # as kohya says of several
    alpha = f"{alphas[0]:g}" if len(alphas) == 1 else "Dynamic"
    return {
        METADATA + "rank": rank,
        METADATA + "alpha": alpha,
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": alpha,
    }


# --- Reading --------------------------------------------------------------------------------------------------------


def read_lora(source: str | Path, unet: nn.Module) -> Lora:
    """Read a LoRA for a UNet from a file, or from a folder that peft or diffusers wrote.

    All of it must fit: a LoRA that is half applied makes clips that are nobody's.
    """
    return _lora_of(open_checkpoint(_file_of(Path(source))), unet)


def lora_of_tensors(tensors: Mapping[str, Tensor], unet: nn.Module, name: str = "The LoRA") -> Lora:
    """Read a LoRA for a UNet from tensors as a file would hold them, such as ComfyUI's LORA_MODEL."""
    if not isinstance(tensors, Mapping):  # ComfyUI lets what is of any type be connected to anything
        raise CheckpointError(f"{name} is no LoRA: it is {str(tensors)[:80]!r}. {WANTED}")
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise CheckpointError(
            f"{name} is no LoRA: it holds {'what are no tensors' if tensors else 'nothing'}. {WANTED}"
        )
    return _lora_of(_InMemory(name, tensors), unet)


class _Holding(Protocol):
    """Tensors by their keys, in a file or in memory."""

    @property
    def path(self) -> Path | None: ...
    @property
    def name(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def tensors(self) -> Mapping[str, Stored] | Mapping[str, Tensor]: ...
    def reading(self) -> AbstractContextManager[Any]: ...


@dataclass(frozen=True)
class _InMemory:
    """Tensors that are in no file."""

    name: str
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    def reading(self) -> AbstractContextManager[_InMemory]:
        return nullcontext(self)

    def read(self, key: str) -> Tensor:
        return self.tensors[key].detach()


def _lora_of(checkpoint: _Holding, unet: nn.Module) -> Lora:
    keys_of, others = _keys_of_layers(checkpoint)
    _refuse_other_kinds(checkpoint, keys_of, others)
    names, alphas = LayerNames(unet), _Alphas(checkpoint)
    original = _original_names(checkpoint, keys_of, names)
    with checkpoint.reading() as reader:
        layers = {
            original[layer]: _matrices(checkpoint.name, layer, keys, reader.read, partial(alphas.of, layer))
            for layer, keys in keys_of.items()
        }
    called = {name: layer for layer, name in original.items()}
    return fitted(Lora(layers, checkpoint.metadata, checkpoint.name), unet, names, called)


def fitted(lora: Lora, unet: nn.Module, names: LayerNames, called: Mapping[str, str] | None = None) -> Lora:
    """The LoRA with its matrices as the UNet's layers want them; refused where they are not for these.

    `called` is what the layers are called in the file.
    """
    modules = dict(unet.named_modules())
    layers = {}
    for original, matrices in lora.layers.items():
        name = (called or {}).get(original, original)
        if original not in names.ours:
            raise CheckpointError(f"{lora.name} is for a layer {name} that this model does not have. {WANTED}")
        shape = _weight_of(modules[names.ours[original]]).shape
        # Some files have linear layers as convolutions of one pixel, or the other way round.
        pointwise = math.prod(matrices.down.shape[2:]) == math.prod(shape[2:]) == 1
        down = matrices.down.reshape(*matrices.down.shape[:2], *shape[2:]) if pointwise else matrices.down
        layers[original] = replace(matrices, down=down)
        if (len(matrices.up), *down.shape[1:]) != shape:
            raise _misfit(lora, name, (len(matrices.up), *down.shape[1:]), shape)
    return replace(lora, layers=layers)


def _weight_of(layer: Any) -> Tensor:
    return (layer.layer if isinstance(layer, LoraLayer) else layer).weight


def _misfit(lora: Lora, layer: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> CheckpointError:
    purpose = purpose_of({original: each.down.shape[1] for original, each in lora.layers.items()}, lora.metadata)
    for_what = f", a LoRA for {purpose}," if purpose else ""
    return CheckpointError(
        f"{lora.name}{for_what} does not fit this model: its matrices for {layer} change a weight of the shape "
        f"{list(theirs)}, and here the layer has {list(ours)}. {WANTED}"
    )


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in NAMES_IN_FOLDER if (path / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{path} holds no {' or '.join(NAMES_IN_FOLDER)}. Choose the LoRA's file itself.")
    return found


def _keys_of_layers(checkpoint: _Holding) -> tuple[dict[str, dict[str, str]], list[str]]:
    """By layer as it is written and tensor on it: the keys; and the keys that are none of a LoRA."""
    keys_of: dict[str, dict[str, str]] = {}
    others = []
    for key in checkpoint.tensors:
        parts = parse_key(key)
        if parts is None:
            others.append(key)
        elif (first := keys_of.setdefault(parts.layer, {}).setdefault(parts.tensor, key)) != key:
            raise CheckpointError(
                f"{checkpoint.name} holds more than one LoRA for a layer: {first} and {key}. Save each in a file of "
                "its own, and load one after the other."
            )
    return keys_of, others


def _refuse_other_kinds(checkpoint: _Holding, keys_of: Mapping[str, Any], others: list[str]) -> None:
    kind = other_kind(others)
    if kind is not None:
        raise CheckpointError(
            f"{checkpoint.name} holds {kind}, in {listed(key for key in others if other_kind([key]))}; only plain LoRA "
            "can be loaded here. Convert it, or train it as LoRA."
        )
    if not any({"down", "up"} & keys.keys() for keys in keys_of.values()):
        raise CheckpointError(f"{checkpoint.name} is {what_it_is(checkpoint.tensors)}, and no LoRA. {WANTED}")
    if others:
        raise CheckpointError(
            f"{checkpoint.name} holds tensors beside its LoRA that are of no kind known here: {listed(others)}. They "
            "would be left out, so the clips would not be its own. Choose a file that holds a LoRA alone."
        )


def _original_names(
    checkpoint: _Holding, keys_of: Mapping[str, Mapping[str, str]], names: LayerNames
) -> dict[str, str]:
    """The original names of the layers, by how they are written."""
    found = {layer: names.find(layer) for layer in keys_of}
    unknown = [layer for layer, original in found.items() if original is None]
    purpose = purpose_of(_inputs_of(checkpoint, keys_of), checkpoint.metadata) if unknown else None
    if purpose:
        raise CheckpointError(
            f"{checkpoint.name} is a LoRA for {purpose}: of its {len(found)} layers this model has "
            f"{len(found) - len(unknown)}, and not {listed(unknown)}. {WANTED}"
        )
    if unknown:
        raise CheckpointError(
            f"{checkpoint.name} is for layers that this model does not have, {len(unknown)} of {len(found)}: "
            f"{listed(unknown)}. {WANTED}"
        )
    known = {layer: original for layer, original in found.items() if original is not None}
    by_original: dict[str, str] = {}
    for layer, original in known.items():
        if (first := by_original.setdefault(original, layer)) != layer:
            raise CheckpointError(
                f"{checkpoint.name} names one layer twice, as {first} and as {layer}. Make or download it again."
            )
    return known


def _inputs_of(checkpoint: _Holding, keys_of: Mapping[str, Mapping[str, str]]) -> dict[str, int | None]:
    """How many channels each layer takes in."""
    shapes = {layer: checkpoint.tensors[keys["down"]].shape for layer, keys in keys_of.items() if "down" in keys}
    return {layer: shape[1] if len(shape := shapes.get(layer, ())) > 1 else None for layer in keys_of}


def _matrices(
    file: str,
    layer: str,
    keys: Mapping[str, str],
    read: Callable[[str], Tensor],
    alpha_elsewhere: Callable[[int], float],
) -> Matrices:
    for tensor in ("down", "up"):
        if tensor not in keys:
            there = listed(keys.values())
            raise CheckpointError(f"{file} lacks the {tensor} matrix of {layer}; it has {there}. Download it again.")
    down, up = read(keys["down"]), read(keys["up"])
    if down.ndim < 2 or up.ndim < 2 or math.prod(up.shape[2:]) != 1:
        raise CheckpointError(
            f"{file} has matrices of the shapes {list(down.shape)} and {list(up.shape)} for {layer}, which no LoRA "
            "has. Make or download it again."
        )
    if "mid" in keys:
        down = _with_middle(file, keys["mid"], read(keys["mid"]), down)
    if down.shape[0] != up.shape[1] or not down.numel() or not up.numel():
        raise CheckpointError(
            f"{file} has matrices for {layer} that do not belong together: {keys['down']} has the rank "
            f"{down.shape[0]}, and {keys['up']} has {up.shape[1]}. Make or download it again."
        )
    alpha = _number(file, keys["alpha"], read(keys["alpha"])) if "alpha" in keys else alpha_elsewhere(down.shape[0])
    for name, numbers in ((keys["down"], down), (keys["up"], up), (f"{layer}.alpha", torch.tensor(alpha))):
        if not numbers.float().isfinite().all():
            raise CheckpointError(
                f"{name} in {file} holds values that are no numbers, which would make every frame black. The training "
                "that made it went wrong: choose an earlier state of it."
            )
    return Matrices(down, up.flatten(1), alpha)


def _number(file: str, key: str, tensor: Tensor) -> float:
    if tensor.numel() != 1:
        raise CheckpointError(f"{key} in {file} has the shape {list(tensor.shape)}, and one number is wanted.")
    return float(tensor)


def _with_middle(file: str, key: str, middle: Tensor, down: Tensor) -> Tensor:
    """One matrix (r i ...) for a convolution (r r ...) after one of a pixel (r i 1 1), as LoCon stores them."""
    if middle.ndim < 3 or middle.shape[1] != down.shape[0] or math.prod(down.shape[2:]) != 1:
        raise CheckpointError(
            f"{key} in {file} has the shape {list(middle.shape)}, which does not fit the matrix before it, "
            f"{list(down.shape)}. Make or download it again."
        )
    return torch.einsum("r q ..., q i -> r i ...", middle, down.flatten(1))


class _Alphas:
    """Where peft and diffusers keep alpha: in a configuration beside the tensors. Without one it is the rank."""

    def __init__(self, checkpoint: _Holding):
        self._config = dict(_configuration(checkpoint))

    def of(self, layer: str, rank: int) -> float:
        alpha = self._matched("alpha_pattern", layer, self._config.get("lora_alpha", rank))
        if not isinstance(alpha, int | float):
            raise CheckpointError(f"The LoRA's configuration says that alpha is {alpha!r}, and a number is wanted.")
        # A LoRA that is "rank stabilized" is scaled by alpha / sqrt(r).
        return alpha * math.sqrt(rank) if self._config.get("use_rslora") else alpha

    def _matched(self, pattern: str, layer: str, default: Any) -> Any:
        """The entry whose key is the end of the layer's name; regular expressions are left to peft."""
        entries = self._config.get(pattern)
        for name, value in entries.items() if isinstance(entries, dict) else ():
            if f".{layer}".endswith("." + name.removeprefix("^")):
                return value
        return default


def _configuration(checkpoint: _Holding) -> Iterator[tuple[str, Any]]:
    text, prefix = checkpoint.metadata.get(DIFFUSERS_CONFIG), "unet."
    if text is None and (beside := _config_beside(checkpoint.path)) is not None:
        text, prefix = beside.read_text(encoding="utf-8"), ""
    try:
        config = json.loads(text or "{}")
        yield from ((key.removeprefix(prefix), value) for key, value in config.items())
    except (ValueError, AttributeError) as error:
        raise CheckpointError(
            f"The configuration of {checkpoint.name} cannot be read, so alpha is not known: {error}. Download it again."
        ) from error


def _config_beside(path: Path | None) -> Path | None:
    if path is None or path.name != NAMES_IN_FOLDER[0]:
        return None
    beside = path.with_name(PEFT_CONFIG)
    return beside if beside.is_file() else None


def pair_of(matrices: Matrices, weight: Tensor) -> LoraPair:
    """The matrices in the precision and place of a layer's weight."""
    return LoraPair(*(each.to(weight.device, weight.dtype, copy=True) for each in (matrices.down, matrices.up)))
