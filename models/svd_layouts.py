"""Where the parts of a video model lie: in a checkpoint of one file, in a folder of diffusers, or in files apart."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checkpoints import Checkpoint, listed, open_checkpoint, open_shards
from .errors import CheckpointError
from .recognition import what_it_is
from .svd_keys import (
    EMBEDDER,
    FIRST_STAGE,
    IMAGE_ENCODER,
    LEFTOVER,
    ImageEncoderNames,
    Names,
    Origin,
    PartName,
    image_encoder_layers,
    key_of,
    keys_by_part,
    names_of_part,
    vae_depths,
    vae_names,
)
from .svd_parts import Part, image_encoder_part, unet_part, vae_part
from .svd_shapes import CLIP_HEAD_CHANNELS, HEAD_CHANNELS

METADATA = "zoetrope."
"""How our own entries in a file's metadata begin."""
WANTED = "Choose an SVD or SV3D checkpoint, such as svd_xt.safetensors or sv3d_u.safetensors."
EMBEDDER_OF_SVD = 3
# What VAEs saved by early versions of diffusers call the layers of their attention.
FORMER_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
WEIGHTS_NAME = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>\w+))?\.safetensors")
INDEX_NAME = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<before>\w+))?\.safetensors\.index(?:\.(?P<variant>\w+))?\.json"
)


@dataclass(frozen=True)
class HeadWidths:
    """How wide heads of attention are, as the user gives it; None is what the file says, else the released models'."""

    unet: int | None = None
    image_encoder: int | None = None

    def __post_init__(self) -> None:
        for name, width in (("head_channels", self.unet), ("clip_head_channels", self.image_encoder)):
            if width is not None and (not isinstance(width, int) or width < 1):
                raise CheckpointError(
                    f"{name} is {width!r}, and a head of attention is a whole number wide, at least 1. The released "
                    f"models need none; theirs are {HEAD_CHANNELS} wide, and {CLIP_HEAD_CHANNELS} in the image encoder."
                )


@dataclass(frozen=True)
class Found:
    """A model as it lies on the disk: its parts, all but the UNet perhaps missing, and what is said about it."""

    unet: Part
    vae: Part | None = None
    image_encoder: Part | None = None
    version: str = ""
    frames: int | None = None
    size: tuple[int, int] | None = None  # width and height of the pictures that it was made for
    sampling: tuple[int, float, float] | None = None  # steps, lowest and highest guidance that suit it


def find_model(path: Path, heads: HeadWidths, *, half: bool) -> Found:
    """Find the parts of a model in a file or a folder; `half` prefers files in float16 where there is a choice."""
    if path.is_dir():
        return _in_folder(path, heads, half)
    checkpoint = open_checkpoint(path)
    keys = checkpoint.tensors
    if any(".temporal_transformer_blocks." in key for key in keys):  # a UNet alone, under the names of diffusers
        width = heads.unet or number(checkpoint, "head_channels", HEAD_CHANNELS)
        return Found(unet_part(checkpoint, {key: Origin(key) for key in keys}, str, width))
    if not any(".time_stack." in name for name in keys_by_part(keys).get("unet", ())):
        raise CheckpointError(f"{path.name} is {what_it_is(keys)}. {WANTED}")
    file = _SingleFile(checkpoint)
    return Found(
        file.unet(heads),
        file.vae(),
        file.image_encoder(heads),
        checkpoint.metadata.get(METADATA + "version", ""),
        number(checkpoint, "frames", 0) or None,
        _size(checkpoint),
        _sampling(checkpoint),
    )


def _size(checkpoint: Checkpoint) -> tuple[int, int] | None:
    width, height = (number(checkpoint, side, 0) for side in ("width", "height"))
    return (width, height) if width and height else None


def _sampling(checkpoint: Checkpoint) -> tuple[int, float, float] | None:
    # "steps" alone are those of training, in a file that a run has exported.
    steps = number(checkpoint, "sampling_steps", 0)
    lowest, highest = (_decimal(checkpoint, f"sampling_{which}_guidance", 1.0) for which in ("min", "max"))
    return (steps, lowest, highest) if steps else None


def find_vae(path: Path, *, half: bool) -> Part:
    """Find a VAE in a file or folder of its own, or in a whole checkpoint."""
    folder = path / "vae" if (path / "vae").is_dir() else path
    checkpoint = weights_in(folder, half) if path.is_dir() else open_checkpoint(path)
    if any(EMBEDDER.match(key) for key in checkpoint.tensors) and (part := _SingleFile(checkpoint).vae()):
        return part
    for prefix in ("", FIRST_STAGE, "vae."):
        within = below(checkpoint, prefix, besides=r"loss\.|model_ema\.")
        if {"encoder.conv_in.weight", "decoder.conv_in.weight"} - within.keys():
            continue
        if any(name.startswith("encoder.down_blocks.") for name in within):
            return vae_part(checkpoint, {_current(name): Origin(key) for name, key in within.items()}, str)
        names = vae_names(vae_depths(within))
        return vae_part(checkpoint, origins_of(checkpoint, names, within), stored_names(names, prefix.__add__))
    raise CheckpointError(
        f"{path.name} is {what_it_is(checkpoint.tensors)}. Choose a VAE that has an encoder and a decoder, such as an "
        "SVD checkpoint's own, or the folder named vae of a model in the layout of diffusers."
    )


def find_image_encoder(path: Path, heads: HeadWidths, *, half: bool) -> Part:
    """Find CLIP's image encoder in a file or folder of its own, in all of CLIP, or in a whole checkpoint."""
    if path.is_dir():
        folder = path / "image_encoder" if (path / "image_encoder").is_dir() else path
        return _folder_image_encoder(folder, heads, half)
    checkpoint = open_checkpoint(path)
    width = heads.image_encoder or number(checkpoint, "clip_head_channels", CLIP_HEAD_CHANNELS)
    if any(key.startswith("vision_model.") for key in checkpoint.tensors):
        return image_encoder_part(checkpoint, _transformers_origins(checkpoint), str, width)
    for prefix in (IMAGE_ENCODER, "visual.", ""):
        within = below(checkpoint, prefix)
        if "class_embedding" in within:
            names = ImageEncoderNames(image_encoder_layers(within))
            origins = origins_of(checkpoint, names, within)
            return image_encoder_part(checkpoint, origins, stored_names(names, prefix.__add__), width)
    raise CheckpointError(
        f"{path.name} is {what_it_is(checkpoint.tensors)}. Choose CLIP's image encoder ViT-H-14, such as "
        "clip_vision_h.safetensors, or an SVD checkpoint that has it within."
    )


def number(checkpoint: Checkpoint, name: str, default: int) -> int:
    """A number from our entries in a file's metadata."""
    text = checkpoint.metadata.get(METADATA + name)
    if text is None:
        return default
    if not re.fullmatch(r"0*[1-9]\d{0,5}", text):
        raise CheckpointError(
            f"The metadata of {checkpoint.name} say that {METADATA}{name} is {text!r}, and a whole number above 0 is "
            "wanted. Save the file anew."
        )
    return int(text)


def _decimal(checkpoint: Checkpoint, name: str, default: float) -> float:
    text = checkpoint.metadata.get(METADATA + name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,3}(\.\d{1,6})?", text):
        raise CheckpointError(
            f"The metadata of {checkpoint.name} say that {METADATA}{name} is {text!r}, and a number such as 2.5 is "
            "wanted. Save the file anew."
        )
    return float(text)


# --- Checkpoints of one file ----------------------------------------------------------------------------------------


class _SingleFile:
    """A checkpoint in the layout in which Stability releases them."""

    def __init__(self, checkpoint: Checkpoint):
        self._checkpoint = checkpoint
        keys = [key for key in checkpoint.tensors if not LEFTOVER.match(key)]
        self._within = keys_by_part(keys)
        self._names = {part: names_of_part(part, within) for part, within in self._within.items()}
        taken = {key for within in self._within.values() for key in within.values()}
        unknown = [key for key in keys if key not in taken]
        for part, within in self._within.items():
            unknown += [key for name, key in within.items() if not self._names[part].ours(name)]
        if unknown:
            raise _with_unknown(checkpoint, unknown)
        self._embedder = next((int(key.split(".")[2]) for key in keys if EMBEDDER.match(key)), EMBEDDER_OF_SVD)

    def unet(self, heads: HeadWidths) -> Part:
        width = heads.unet or number(self._checkpoint, "head_channels", HEAD_CHANNELS)
        return unet_part(self._checkpoint, *self._how("unet"), width)

    def vae(self) -> Part | None:
        return vae_part(self._checkpoint, *self._how("vae")) if "vae" in self._within else None

    def image_encoder(self, heads: HeadWidths) -> Part | None:
        if "image_encoder" not in self._within:
            return None
        width = heads.image_encoder or number(self._checkpoint, "clip_head_channels", CLIP_HEAD_CHANNELS)
        return image_encoder_part(self._checkpoint, *self._how("image_encoder"), width)

    def _how(self, part: PartName) -> tuple[Mapping[str, Origin], Callable[[str], str]]:
        """Where the parameters of a part are, and what a parameter of it is called in the file."""
        names = self._names[part]
        called = stored_names(names, lambda name: key_of(part, name, self._embedder))
        return origins_of(self._checkpoint, names, self._within[part]), called


def origins_of(checkpoint: Checkpoint, names: Names, within: Mapping[str, str]) -> dict[str, Origin]:
    """Where parameters are stored, given a part's keys by their names within it."""
    origins: dict[str, Origin] = {}
    unknown = []
    for name, key in within.items():
        parameters = names.ours(name)
        if not parameters:
            unknown.append(key)
        for parameter in parameters:
            origin = names.original(parameter)
            assert origin is not None, parameter
            origins[parameter] = Origin(key, origin.share, origin.shares, origin.transposed)
    if unknown:
        raise _with_unknown(checkpoint, unknown)
    return origins


def stored_names(names: Names, key_of_name: Callable[[str], str]) -> Callable[[str], str]:
    def called(parameter: str) -> str:
        origin = names.original(parameter)
        return parameter if origin is None else key_of_name(origin.key)

    return called


def _with_unknown(checkpoint: Checkpoint, unknown: list[str]) -> CheckpointError:
    return CheckpointError(
        f"{checkpoint.name} has weights that no model of its kind has: {listed(unknown)}. It is of another kind, or "
        "was changed by a program that this one does not know."
    )


def below(checkpoint: Checkpoint, prefix: str, besides: str = r"(?!)") -> dict[str, str]:
    """The keys that begin with a prefix, by what follows it, without those where that matches `besides`."""
    named = {key[len(prefix) :]: key for key in checkpoint.tensors if key.startswith(prefix)}
    return {name: key for name, key in named.items() if not re.match(besides, name)}


# --- Names of diffusers and transformers ----------------------------------------------------------------------------


def _current(name: str) -> str:
    return re.sub(
        rf"(\.attentions\.\d+\.)({'|'.join(FORMER_ATTENTION)})\.",
        lambda match: f"{match[1]}{FORMER_ATTENTION[match[2]]}.",
        name,
    )


def _transformers_origins(checkpoint: Checkpoint) -> dict[str, Origin]:
    """The image encoder alone, where the file may hold all of CLIP; positions are counted, not loaded."""
    wanted = ("vision_model.", "visual_projection.")
    return {
        key: Origin(key)
        for key in checkpoint.tensors
        if key.startswith(wanted) and not key.endswith("embeddings.position_ids")
    }


def _in_folder(path: Path, heads: HeadWidths, half: bool) -> Found:
    if not (path / "unet").is_dir():
        raise CheckpointError(
            f"{path} has no folder named unet, so it is not a model in the layout of diffusers. Choose the folder that "
            "holds model_index.json, or a checkpoint of one file."
        )
    checkpoint, config = weights_in(path / "unet", half), config_in(path / "unet")
    origins = {key: Origin(key) for key in checkpoint.tensors}
    told = config.get("num_attention_heads") if heads.unet is None else None
    unet = unet_part(checkpoint, origins, str, heads.unet or HEAD_CHANNELS, told)
    vae = find_vae(path / "vae", half=half) if (path / "vae").is_dir() else None
    image_encoder = None
    if (path / "image_encoder").is_dir():
        image_encoder = _folder_image_encoder(path / "image_encoder", heads, half)
    frames = config.get("num_frames")
    return Found(unet, vae, image_encoder, frames=frames if isinstance(frames, int) and frames > 0 else None)


def _folder_image_encoder(folder: Path, heads: HeadWidths, half: bool) -> Part:
    checkpoint, config = weights_in(folder, half), config_in(folder)
    overrides: dict[str, Any] = {name: config[name] for name in ("hidden_act", "layer_norm_eps") if name in config}
    if heads.image_encoder is None and "num_attention_heads" in config:
        overrides["num_attention_heads"] = config["num_attention_heads"]
    width = heads.image_encoder or CLIP_HEAD_CHANNELS
    return image_encoder_part(checkpoint, _transformers_origins(checkpoint), str, width, overrides)


def config_in(folder: Path, name: str = "config.json") -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}. Download it again.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is no configuration of a model. Download it again.")
    return config


def weights_in(folder: Path, half: bool) -> Checkpoint:
    """The weights in a folder, of one file or several; of its variants, that in float16 or that in full."""
    choices: list[tuple[tuple[float, bool, str], Path]] = []
    for path in sorted(folder.iterdir()):
        whole, index = WEIGHTS_NAME.fullmatch(path.name), INDEX_NAME.fullmatch(path.name)
        variant = whole["variant"] if whole else index and (index["variant"] or index["before"])
        if whole or index:
            choices.append(((_rank(variant, half), index is not None, path.name), path))
    if not choices:
        raise CheckpointError(
            f"{folder} has no weights in safetensors format, such as diffusion_pytorch_model.safetensors. Download "
            "that folder again, with its .safetensors files."
        )
    path = min(choices)[1]
    return open_shards(path) if path.suffix == ".json" else open_checkpoint(path)


def _rank(variant: str | None, half: bool) -> float:
    """How far a variant of a file is from what is wanted."""
    return {None: 1, "fp16": 0 if half else 2}.get(variant, math.inf)
