"""Room in memory for clips, asked for before any time is spent on them.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import psutil

from .errors import MediaError

if TYPE_CHECKING:  # reading single frames does without torch
    import torch
    from torch import Tensor


def room_for_clip(
    frames: int, height: int, width: int, channels: int = 3, *, remedy: str, device: torch.device | str = "cpu"
) -> Tensor:
    """An (f h w c) clip of floats, not filled yet; where memory does not hold it, a sentence that ends in a remedy."""
    import torch

    shape = (frames, height, width, channels)
    needed, free = math.prod(shape) * torch.float32.itemsize, psutil.virtual_memory().available
    if torch.device(device).type == "cpu" and needed > free:  # elsewhere the allocator knows, and ComfyUI makes room
        raise MediaError(
            f"{frames} frames of {width}x{height} take {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB "
            f"are free. {remedy}"
        )
    return torch.empty(shape, device=device)
