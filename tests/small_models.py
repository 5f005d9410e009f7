"""Shipped workflows made small: tiny models under the names of the released ones, small pictures, few steps."""

import copy
from pathlib import Path
from typing import Any

import torch

from zoetrope.models.lora import add_lora, lora_targets, save_lora
from zoetrope.models.svd import load_svd

from .random_checkpoints import write_tiny

RELEASED = {
    "svd.safetensors": "svd",
    "svd_xt.safetensors": "svd",
    "sv3d_u.safetensors": "sv3d_u",
    "sv3d_p.safetensors": "sv3d_p",
}
SIDE = 64
SMALL: dict[str, dict[str, Any]] = {
    "ZoetropeToyWorldClip": {"width": SIDE, "height": SIDE},
    # Of a size at which x264 makes the same of the same frames each time.
    "ZoetropeToyWorldVideos": {"width": 256, "height": 160, "count": 4, "seconds": 1.0},
    "ZoetropeSVDImageToVideo": {"frames": 3, "steps": 2, "width": SIDE, "height": SIDE},
    "ZoetropeCompareBeforeAndAfter": {"frames": 3, "steps": 2, "width": SIDE, "height": SIDE},
    "ZoetropeTrainSVDLoRA": {
        "steps": 2,
        "warm_up_steps": 0,
        "frames": 3,
        "width": SIDE,
        "height": SIDE,
        "sample_steps": 2,
        "validation_clips": 1,
    },
    "ZoetropeSVDChain": {"frames": 3, "steps": 2, "width": SIDE, "height": SIDE, "overlap": 1},
    "ZoetropeSV3DOrbit": {"frames": 3, "steps": 2, "side": SIDE},
    "ZoetropeCameraPath": {"frames": 3, "path.keys": "1: 0, 0; 3: 20, 360"},
    "ZoetropePrepareObject": {"side": SIDE},
}


def put_models(folder: Path) -> Path:
    """Fill a folder of models with tiny ones under the names that the shipped workflows ask for."""
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    for name, kind in RELEASED.items():
        write_tiny(kind, checkpoints / name)
    put_lora(folder)
    return folder


def put_lora(folder: Path) -> Path:
    """A LoRA for the tiny svd.safetensors, strong enough to be seen."""
    unet = load_svd(folder / "checkpoints" / "svd.safetensors", dtype=torch.float32, device="cpu").unet.module
    layers = add_lora(unet, lora_targets(unet, "motion"), rank=2, alpha=2, seed=0)
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(1))
    (folder / "loras").mkdir(exist_ok=True)
    save_lora(folder / "loras" / "svd_lora.safetensors", layers)
    return folder / "loras" / "svd_lora.safetensors"


def put_svd_and_lora(folder: Path) -> dict[str, Path]:
    """A tiny SVD model and a LoRA for it, by the names that options have for them."""
    checkpoint = folder / "checkpoints" / "svd.safetensors"
    checkpoint.parent.mkdir(parents=True)
    write_tiny("svd", checkpoint)
    return {"model": checkpoint, "lora": put_lora(folder)}


def needs_models(prompt: dict[str, Any]) -> bool:
    return any(node["class_type"] == "ZoetropeLoadSVD" for node in prompt.values())


def made_small(prompt: dict[str, Any]) -> dict[str, Any]:
    """A prompt as it is if it needs no models, else with small sizes; what is linked stays linked."""
    if not needs_models(prompt):
        return prompt
    small = copy.deepcopy(prompt)
    for node in small.values():
        inputs = node["inputs"]
        for name, value in SMALL.get(node["class_type"], {}).items():
            assert name in inputs, f"{node['class_type']} has no {name}"
            inputs[name] = inputs[name] if isinstance(inputs[name], list) else value
    return small
