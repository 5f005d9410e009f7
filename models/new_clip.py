"""A small CLIP of one's own: an untrained one, and its folder as transformers reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..media.files import folder_written_beside
from .errors import CheckpointError
from .fresh_weights import with_fresh_weights
from .svd_shapes import CLIP_HEAD_CHANNELS
from .word_pieces import END, START, Vocabulary

if TYPE_CHECKING:
    from transformers import CLIPModel

TEXT_HEAD_CHANNELS = 32
FIRST_SCALE = 2.6592  # the logarithm of how much likenesses are scaled before they are trained, as in CLIP
MEAN = [0.48145466, 0.4578275, 0.40821073]
DEVIATION = [0.26862954, 0.26130258, 0.27577711]


@dataclass(frozen=True, kw_only=True)
class ClipSize:
    side: int = 64  # of pictures, in pixels
    patch: int = 8
    width: int = 80  # of the tower that looks, a multiple of the width of its heads
    layers: int = 4
    text_width: int = 64
    text_layers: int = 2
    text_length: int = 48  # in pieces of words
    token_width: int = 64  # of what both towers give

    def __post_init__(self) -> None:
        # Heads of this width are what is assumed of an image encoder in a checkpoint.
        for name, heads in (("width", CLIP_HEAD_CHANNELS), ("text_width", TEXT_HEAD_CHANNELS)):
            if (value := getattr(self, name)) < 1 or value % heads:
                raise CheckpointError(f"{name} is {value}. Choose a multiple of {heads}, the width of a head.")
        if self.side % self.patch:
            raise CheckpointError(f"side is {self.side}, which patches of {self.patch} do not fill. Change one.")


def new_clip(size: ClipSize, vocabulary: Vocabulary, seed: int) -> CLIPModel:
    """An untrained one, in float32 on the CPU."""
    from transformers import CLIPConfig, CLIPModel

    common = {"projection_dim": size.token_width, "hidden_act": "gelu", "layer_norm_eps": 1e-5}
    vision = {
        "hidden_size": size.width,
        "intermediate_size": 4 * size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.width // CLIP_HEAD_CHANNELS,
        "image_size": size.side,
        "patch_size": size.patch,
    }
    text = {
        "hidden_size": size.text_width,
        "intermediate_size": 4 * size.text_width,
        "num_hidden_layers": size.text_layers,
        "num_attention_heads": size.text_width // TEXT_HEAD_CHANNELS,
        "max_position_embeddings": size.text_length,
        "vocab_size": len(vocabulary.pieces),
        "bos_token_id": vocabulary.start,
        "eos_token_id": vocabulary.end,
        "pad_token_id": vocabulary.end,
    }
    config = CLIPConfig(vision_config=vision | common, text_config=text | common, projection_dim=size.token_width)
    clip = with_fresh_weights(lambda: CLIPModel(config), seed)
    with torch.no_grad():
        clip.logit_scale.fill_(FIRST_SCALE)
    return clip


def save_clip(clip: CLIPModel, vocabulary: Vocabulary, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a folder that CLIPModel and CLIPProcessor of transformers read; it appears whole or not at all."""
    from safetensors.torch import save_file

    config = clip.config.to_dict() | {"architectures": ["CLIPModel"], "model_type": "clip"}
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in clip.state_dict().items()
        if not name.endswith("position_ids")
    }
    length, side = clip.config.text_config.max_position_embeddings, clip.config.vision_config.image_size
    with folder_written_beside(folder) as draft:
        save_file(tensors, draft / "model.safetensors", metadata={"format": "pt"})
        _write_json(draft / "config.json", _kept(config))
        _write_json(draft / "vocab.json", vocabulary.pieces)
        merges = "".join(f"{first} {second}\n" for first, second in vocabulary.merges)
        (draft / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8", newline="\n")
        words = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
        _write_json(draft / "special_tokens_map.json", words)
        _write_json(
            draft / "tokenizer_config.json",
            {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "do_lower_case": True, **words},
        )
        _write_json(draft / "preprocessor_config.json", _preprocessing(side))


def _kept(config: dict[str, Any]) -> dict[str, Any]:
    """Of a configuration, what says how the model is built and not by which version of a library."""
    wanted = ("architectures", "model_type", "projection_dim", "logit_scale_init_value", "text_config", "vision_config")
    towers = (
        "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "projection_dim",
        "hidden_act", "layer_norm_eps", "image_size", "patch_size", "num_channels", "max_position_embeddings",
        "vocab_size", "bos_token_id", "eos_token_id", "pad_token_id",
    )  # fmt: skip
    return {
        name: {key: value[key] for key in towers if key in value} if isinstance(value, dict) else value
        for name, value in config.items()
        if name in wanted
    }


def _preprocessing(side: int) -> dict[str, Any]:
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": side},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": DEVIATION,
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
