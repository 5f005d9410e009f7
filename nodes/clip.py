"""Loading CLIP, which tells how alike pictures and words are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import torch

from ..evaluation.clip_encoders import ClipEncoder
from ..host import folders, io
from ..host.weights import managed
from ..models.clip import load_clip
from ..models.clip_layouts import ACTIVATIONS
from .choosing_models import changed

ClipType = io.Custom("ZOETROPE_CLIP")
AnyClipType = io.Custom("ZOETROPE_CLIP,CLIP_VISION")  # where only pictures are looked at, ComfyUI's own will do
BUILTIN = "builtin"
KINDS = ("clip_vision", "text_encoders", "diffusers")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TRANSFORMERS, OPEN_CLIP = "config.json", "open_clip_config.json"
BESIDE = (OPEN_CLIP, "tokenizer.json", "vocab.json", "merges.txt")  # what is read beside a file of weights
SEEING = ("clip", "clip_vision_model")  # as configurations call models with an image encoder


class LoadCLIP(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeLoadCLIP",
            display_name="Load CLIP Zoetrope",
            category="Zoetrope/evaluation",
            description="Loads a whole CLIP, with which videos are measured: it sees frames and reads prompts. A "
            "folder of transformers or Open CLIP, one file, or the small one that comes with the pack.",
            search_aliases=["clip score", "clip model", "open clip", "image encoder", "clip vision"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=clip_names(),
                    default=BUILTIN,
                    tooltip="A file in models/clip_vision or, where it is called like CLIP, in models/text_encoders; a "
                    "folder of transformers or Open CLIP there or in models/diffusers; or builtin, the small one.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(DTYPES),
                    default="fp32",
                    tooltip="The precision. fp32 gives the same numbers everywhere; bf16 and fp16 are faster, and "
                    "change the third decimal place.",
                ),
                io.Combo.Input(
                    "activation",
                    options=list(ACTIVATIONS),
                    default="auto",
                    optional=True,
                    advanced=True,
                    tooltip="The activation of its layers. auto is what the configuration says, or else what the "
                    "released models of this size have.",
                ),
                io.Int.Input(
                    "head_channels",
                    default=0,
                    min=0,
                    max=1024,
                    optional=True,
                    advanced=True,
                    tooltip="The width of a head of attention. 0 is what the configuration says, or else what the "
                    "released models have.",
                ),
            ],
            outputs=[
                ClipType.Output(
                    display_name="clip",
                    tooltip="The CLIP, for CLIP Similarity, Evaluate Video and Compare Videos. It remembers the frames "
                    "that it has seen.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, model: str | None = None) -> bool | str:
        try:
            _ = model is None or find_clip(model)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None, **others: Any) -> str:
        if model in (None, BUILTIN):
            return changed()
        place = Path(find_clip(model))
        beside = [] if place.is_dir() else [place.with_name(name) for name in BESIDE]
        return changed(place, *(path for path in beside if path.is_file()))

    @classmethod
    def execute(cls, model: str, dtype: str, activation: Any = "auto", head_channels: int = 0) -> io.NodeOutput:
        loaded = load_clip(
            find_clip(model),
            dtype=DTYPES[dtype],
            device="cpu",
            activation=activation,
            clip_head_channels=head_channels or None,
            place=managed,
        )
        return io.NodeOutput(ClipEncoder(loaded))


def clip_names() -> list[str]:
    """What is offered: each name with the folder of models that it lies in."""
    return [BUILTIN, *sorted(set(_names()))]


def _names() -> Iterator[str]:
    for kind in KINDS:
        models = list(_model_folders(kind))
        yield from (f"{kind}/{name}" for name in models)
        for name in _files(kind):
            if not any(PurePath(name).is_relative_to(model) for model in models):
                yield f"{kind}/{name}"


def _files(kind: str) -> list[str]:
    if kind == "clip_vision":
        return folders.list_models(kind)
    if kind == "text_encoders":  # most are no CLIP there, and to look into each of them takes long
        return [name for name in folders.list_models(kind) if "clip" in name.lower()]
    return []


def _model_folders(kind: str) -> Iterator[str]:
    yield from folders.list_model_folders(kind, OPEN_CLIP)
    for name in folders.list_model_folders(kind, TRANSFORMERS):
        if _sees(folders.resolve_model(kind, name) / TRANSFORMERS):
            yield name


def _sees(config: Path) -> bool:
    try:
        told = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a file of somebody else's
        return False
    return isinstance(told, dict) and told.get("model_type") in SEEING


def find_clip(name: str) -> Path | str:
    """What a value stands for, in words that `load_clip` takes."""
    if name == BUILTIN:
        return name
    kind, _, inside = name.partition("/")
    if kind not in KINDS:
        raise ValueError(f"{name!r} is no CLIP: it lies in none of {', '.join(KINDS)}. Choose one of the list.")
    return folders.resolve_model(kind, inside)


def encoder_of(clip: Any) -> ClipEncoder | None:
    """What measures frames, of a CLIP of ours or a CLIP_VISION of ComfyUI's."""
    return clip if clip is None or isinstance(clip, ClipEncoder) else ClipEncoder(clip)
