"""Where CLIP's two encoders lie: in a folder of transformers or of Open CLIP, or in one file under the names of either.

Names tell the layout and shapes the size. What neither tells is taken from a configuration beside the weights, else
from how the released models of that size are: the width of a head of attention, and which of two activations the
layers have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .checkpoints import Checkpoint, open_checkpoint
from .errors import CheckpointError
from .recognition import what_it_is
from .svd_keys import ImageEncoderNames, Origin, TextEncoderNames, image_encoder_layers
from .svd_layouts import INDEX_NAME, WEIGHTS_NAME, below, config_in, number, origins_of, stored_names, weights_in
from .svd_parts import Part, image_encoder_part, text_encoder_part

Activation = Literal["auto", "gelu", "quick_gelu"]
ACTIVATIONS = ("auto", "gelu", "quick_gelu")
WANTED = (
    "Choose all of CLIP, such as the folder of openai/clip-vit-base-patch32, or an image encoder alone, such as "
    "clip_vision_h.safetensors."
)
HEAD_CHANNELS, HEAD_CHANNELS_BY_WIDTH = 64, {1280: 80, 1408: 88, 1664: 104}
"""Of the image encoders: ViT-B and ViT-L, then ViT-H, ViT-g and ViT-bigG."""
WIDTHS_OF_OPENAI = {768, 1024}
"""Image encoders of these widths, under the names of transformers, are nearly always OpenAI's, with quick_gelu."""
OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
# What Open CLIP's files hold at the same level as the text encoder's weights.
NO_TEXT_WEIGHT = r"visual\.|logit_scale$|logit_bias$|attn_mask$|input_resolution$|context_length$|vocab_size$"


@dataclass(frozen=True)
class Preprocessing:
    """How a picture is made ready: its shorter side to `size` and the middle cut out, then normalized."""

    size: int
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = DEVIATION
    squashed: bool = False  # the whole picture made square, and nothing cut away


@dataclass(frozen=True)
class Found:
    """CLIP as it lies on the disk."""

    image: Part
    text: Part | None  # None where the file holds an image encoder alone
    preprocessing: Preprocessing


def find_clip(path: Path, *, half: bool, activation: Activation, head_channels: int | None) -> Found:
    """Find the encoders in a file or folder; `half` prefers files in float16 where there is a choice."""
    source = _source(path, half)
    image = _image(source, activation, head_channels)
    return Found(image, _text(source, image.config["hidden_act"]), _preprocessing(source, image.config["image_size"]))


@dataclass(frozen=True)
class _Source:
    """Weights, and what the configurations beside them say."""

    checkpoint: Checkpoint
    folder: Path | None  # None for a file that stands for itself
    image: Mapping[str, Any]  # as transformers calls it
    text: Mapping[str, Any]

    @property
    def is_open_clip(self) -> bool:
        return any(".resblocks." in key for key in self.checkpoint.tensors)

    @property
    def open_clip(self) -> Mapping[str, Any]:
        """What Open CLIP's configuration says, which lies beside the weights or nowhere."""
        folder = self.folder or self.checkpoint.path.parent
        return config_in(folder, OPEN_CLIP_CONFIG) if self.is_open_clip else {}


def _source(path: Path, half: bool) -> _Source:
    if not path.is_dir():
        return _Source(open_checkpoint(path), None, {}, {})
    config = config_in(path)
    image = config.get("vision_config", config) if config.get("model_type", "").startswith("clip") else {}
    return _Source(_weights_in(path, half), path, _told(image), _told(config.get("text_config", {})))


def _told(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration of transformers says that shapes do not; what it leaves out has transformers' defaults."""
    defaults = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    kept = ("hidden_act", "layer_norm_eps", "num_attention_heads", "eos_token_id")
    return (defaults | {name: config[name] for name in kept if name in config}) if config else {}


def _weights_in(folder: Path, half: bool) -> Checkpoint:
    names = sorted(path.name for path in folder.iterdir())
    if any(WEIGHTS_NAME.fullmatch(name) or INDEX_NAME.fullmatch(name) for name in names):
        return weights_in(folder, half)
    if OPEN_CLIP_WEIGHTS in names:
        return open_checkpoint(folder / OPEN_CLIP_WEIGHTS)
    pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    also = f" {pickles[0]} in it is a pickle, which can run code when it is opened, and is not read." if pickles else ""
    raise CheckpointError(
        f"{folder} has no weights of CLIP in safetensors format, such as model.safetensors or {OPEN_CLIP_WEIGHTS}."
        f"{also} Download the .safetensors file into it."
    )


def _image(source: _Source, activation: Activation, head_channels: int | None) -> Part:
    origins, stored_name = _image_names(source.checkpoint)
    classed = origins.get("vision_model.embeddings.class_embedding")
    shape = source.checkpoint.tensors[classed.key].shape if classed is not None else ()
    width = shape[0] if shape else 0
    told = {name: value for name, value in source.image.items() if name != "eos_token_id"}
    if activation != "auto":
        told["hidden_act"] = activation
    told.setdefault("hidden_act", _usual_activation(source, width))
    if head_channels is not None:
        told.pop("num_attention_heads", None)
    usual = HEAD_CHANNELS_BY_WIDTH.get(width, HEAD_CHANNELS)
    heads = head_channels or number(source.checkpoint, "clip_head_channels", usual)
    return image_encoder_part(source.checkpoint, origins, stored_name, heads, told)


def _image_names(checkpoint: Checkpoint) -> tuple[Mapping[str, Origin], Callable[[str], str]]:
    """Where the image encoder's parameters are, and what one of them is called in the file."""
    if any(key.startswith("vision_model.") for key in checkpoint.tensors):
        return _origins_of_transformers(checkpoint, ("vision_model.", "visual_projection.")), str
    for prefix in ("visual.", ""):
        if f"{prefix}class_embedding" in checkpoint.tensors:
            within = below(checkpoint, prefix)
            names = ImageEncoderNames(image_encoder_layers(within))
            return origins_of(checkpoint, names, within), stored_names(names, prefix.__add__)
    raise CheckpointError(
        f"{checkpoint.name} is {what_it_is(checkpoint.tensors)}, without an image encoder of CLIP. {WANTED}"
    )


def _usual_activation(source: _Source, width: int) -> str:
    if source.is_open_clip:
        model = source.open_clip.get("model_cfg", {})
        return "quick_gelu" if isinstance(model, dict) and model.get("quick_gelu") else "gelu"
    return "quick_gelu" if width in WIDTHS_OF_OPENAI else "gelu"


def _text(source: _Source, activation: str) -> Part | None:
    checkpoint = source.checkpoint
    told = {"hidden_act": activation} | dict(source.text)
    if any(key.startswith("text_model.") for key in checkpoint.tensors):
        origins = _origins_of_transformers(checkpoint, ("text_model.", "text_projection."))
        return text_encoder_part(checkpoint, origins, str, told)
    for prefix in ("text.", ""):
        if f"{prefix}token_embedding.weight" in checkpoint.tensors:
            within = below(checkpoint, prefix, besides=NO_TEXT_WEIGHT)
            names = TextEncoderNames(image_encoder_layers(within))
            origins = origins_of(checkpoint, names, within)
            return text_encoder_part(checkpoint, origins, stored_names(names, prefix.__add__), told)
    return None


def _origins_of_transformers(checkpoint: Checkpoint, prefixes: tuple[str, ...]) -> dict[str, Origin]:
    """What lies below some prefixes; positions are counted, not loaded."""
    return {
        key: Origin(key)
        for key in checkpoint.tensors
        if key.startswith(prefixes) and not key.endswith("embeddings.position_ids")
    }


def _preprocessing(source: _Source, size: int) -> Preprocessing:
    if source.is_open_clip:
        told = source.open_clip.get("preprocess_cfg", {})
        return Preprocessing(
            size,
            _three(told.get("mean"), MEAN),
            _three(told.get("std"), DEVIATION),
            squashed=told.get("resize_mode") == "squash",
        )
    told = _image_processor(source.folder) if source.folder is not None else {}
    wanted = told.get("size")
    return Preprocessing(
        size,
        _three(told.get("image_mean"), MEAN),
        _three(told.get("image_std"), DEVIATION),
        squashed=isinstance(wanted, dict) and "shortest_edge" not in wanted and not told.get("do_center_crop", True),
    )


def _image_processor(folder: Path) -> Mapping[str, Any]:
    """What a folder says of its preprocessing, for which transformers 4 and 5 have names of their own."""
    return config_in(folder, "preprocessor_config.json") or config_in(folder, "processor_config.json").get(
        "image_processor", {}
    )


def _three(told: Any, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    """Numbers for red, green and blue."""
    if told is None:
        return otherwise
    if not (isinstance(told, list) and len(told) == 3 and all(isinstance(each, int | float) for each in told)):
        raise CheckpointError(
            f"The configuration of CLIP's preprocessing gives {told!r} where three numbers, for red, green and blue, "
            "belong. Download it again."
        )
    return tuple(float(each) for each in told)
