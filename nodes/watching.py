"""What a node shows while it works: how far it is, and now and then the frame it is at."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..host import work
from ..media.pictures import opaque, to_bytes

# A preview costs about as much as saving the frame, and nobody watches more of them than this.
SECONDS_BETWEEN_PREVIEWS = 0.3


def watch(total: int | None = None, *, pictures: bool = True) -> Callable[..., None]:
    """A callback for (frames done, frames in all, frame), or (frames done, frame) where `total` is given here.

    The frame is (h w c), uint8 or float in 0..1, or None; or a function that gives it, called when one is to be shown.
    Raises when the user cancels. A node that shows its result wants no `pictures`: the last one would stay, in front of
    the result or below it.
    """
    progress: work.Progress | None = None
    last = -SECONDS_BETWEEN_PREVIEWS

    def on_frame(done: int, *of_and_frame: Any) -> None:
        nonlocal progress, last
        of, frame = of_and_frame if total is None else (total, *of_and_frame)
        progress = progress or work.Progress(of)
        due = pictures and frame is not None and time.monotonic() - last >= SECONDS_BETWEEN_PREVIEWS
        last = time.monotonic() if due else last
        progress.update(done, _picture(frame() if callable(frame) else frame) if due else None)

    return on_frame


def _picture(frame: Tensor | np.ndarray) -> Image.Image:
    return Image.fromarray(opaque(next(to_bytes(frame[None])) if isinstance(frame, Tensor) else frame))
