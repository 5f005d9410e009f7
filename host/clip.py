"""What ComfyUI has of CLIP: its CLIP_VISION objects, and the words into which it cuts texts.

Axes: n pictures, h height, w width, c channels, d CLIP channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from .presence import IN_COMFYUI


def tokenizer_folder() -> Path | None:
    """The folder of the tokenizer that ComfyUI brings for the original CLIP; None outside ComfyUI."""
    if not IN_COMFYUI:
        return None
    import comfy.sd1_clip  # type: ignore[import-not-found]

    return Path(comfy.sd1_clip.__file__).parent / "sd1_tokenizer"


def is_clip_vision(model: Any) -> bool:
    """Whether something is a CLIP_VISION, as ComfyUI's loader gives it."""
    return callable(getattr(model, "encode_image", None)) and hasattr(model, "image_size")


def see(clip_vision: Any, images: Tensor) -> Tensor:
    """What a CLIP_VISION tells (n d) of (n h w c) pictures in 0..1, their middle cut out; ComfyUI puts it in place."""
    return clip_vision.encode_image(images, crop=True).image_embeds.float().cpu()


def name_of(clip_vision: Any) -> str:
    """What to call a CLIP_VISION in a report: all that it tells of itself."""
    width = clip_vision.config.get("hidden_size", "?")
    return f"CLIP_VISION ({clip_vision.model_type}, {clip_vision.image_size} pixels, {width} wide)"
