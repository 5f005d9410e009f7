"""Which models a loader offers, and what is said of those that are not there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from ..host import folders
from ..models.builtin_models import builtin_names, find_builtin, is_builtin
from ..models.released import how_to_get

DIFFUSERS = "diffusers:"  # before the name of a folder in models/diffusers
OF_THE_CHECKPOINT = "of the checkpoint"
MARKER = "model_index.json"
PIPELINES = ("StableVideoDiffusionPipeline",)  # as diffusers' folders of SVD call themselves
LIKELY = ("svd", "sv3d", "video")


def checkpoint_names() -> list[str]:
    """What Load SVD offers: what ships, with which it works at once, then files and folders, those called SVD first."""
    names = [
        *folders.list_models("checkpoints"),
        *(DIFFUSERS + name for name in folders.list_model_folders("diffusers", MARKER) if _is_video_folder(name)),
    ]
    return [*builtin_names("models"), *sorted(names, key=lambda name: not any(word in name.lower() for word in LIKELY))]


def _is_video_folder(name: str) -> bool:
    try:
        index = json.loads((folders.resolve_model("diffusers", name) / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and index.get("_class_name") in PIPELINES


def find_checkpoint(name: str) -> Path:
    """What a value of Load SVD stands for, in words that `load_svd` takes; says where a missing one comes from."""
    if is_builtin(name):
        return find_builtin(name, "models")
    if name.startswith(DIFFUSERS):
        return folders.resolve_model("diffusers", name.removeprefix(DIFFUSERS))
    try:
        return folders.resolve_model("checkpoints", name)
    except folders.MissingModel as error:
        raise folders.MissingModel(f"{error} {how_to_get(name)} Put it there, or choose another one.") from None


def lora_names() -> list[str]:
    """What Load LoRA offers."""
    return [*builtin_names("loras"), *folders.list_models("loras")]


def find_lora(name: str) -> Path:
    """The file that a value of Load LoRA names."""
    if is_builtin(name):
        return find_builtin(name, "loras")
    try:
        return folders.resolve_model("loras", name)
    except folders.MissingModel as error:
        raise folders.MissingModel(
            f"{error} Put the LoRA there, or train one with `zoetrope train svd`, and press R to see it."
        ) from None


def part_names(kind: str) -> list[str]:
    """What is offered for a part of a checkpoint that may come from a file of its own."""
    return [OF_THE_CHECKPOINT, *folders.list_models(kind)]


def find_part(kind: str, name: str) -> Path | None:
    return None if name == OF_THE_CHECKPOINT else folders.resolve_model(kind, name)


def changed(*places: Path | None) -> str:
    """Tells one state of these files and folders from another."""
    return " ".join(f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in _files(places))


def _files(places: tuple[Path | None, ...]) -> Iterator[tuple[Path, os.stat_result]]:
    for place in places:
        if place is not None:
            below = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
            yield from ((path, path.stat()) for path in below)
