"""Clips into animated WebP files, and out of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from .errors import MediaError
from .files import written_beside
from .pictures import Pixels, opaque
from .rates import delays, exact_rate
from .streams import OnFrame, check_same_size, nobody_listens, with_first

WEBP_LONGEST_SIDE = 16383
MAKE, MODEL = 0x010F, 0x0110  # the EXIF tags in which ComfyUI keeps a workflow and a prompt


@dataclass(frozen=True, kw_only=True)
class WebpOptions:
    lossless: bool = False
    quality: int = 80  # 0 to 100; for lossless how hard to try
    method: int = 4  # 0 (fast) to 6 (small)

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 100:
            raise MediaError(f"The WebP quality is {self.quality}. It goes from 0 (small) to 100 (best).")
        if not 0 <= self.method <= 6:
            raise MediaError(f"The WebP method is {self.method}. It goes from 0 (fast) to 6 (small).")


def write_webp(
    path: str | Path,
    frames: Iterable[Pixels],
    frames_per_second: Fraction | float,
    options: WebpOptions = WebpOptions(),
    metadata: Mapping[str, Any] | None = None,
    on_frame: OnFrame = nobody_listens,
) -> Path:
    """Write an animated WebP that plays for ever, with a workflow in the EXIF tags where ComfyUI reads it.

    Pillow takes all frames at once: they lie in memory as bytes. `on_frame` hears of each as it is taken.
    """
    path, rate = Path(path), exact_rate(frames_per_second)
    first, frames = with_first(frames)
    height, width = first.shape[:2]
    if max(height, width) > WEBP_LONGEST_SIDE:
        raise MediaError(f"The clip is {width}x{height}, but a WebP holds at most {WEBP_LONGEST_SIDE} pixels a side.")
    images = []
    for index, frame in enumerate(frames):
        check_same_size(frame, index, height, width)
        images.append(Image.fromarray(frame))
        on_frame(index + 1, opaque(frame))
    with written_beside(path) as draft:
        images[0].save(
            draft,
            format="WEBP",
            save_all=True,
            append_images=images[1:],
            duration=delays(len(images), rate, 1000),
            loop=0,
            exif=_webp_exif(metadata or {}),
            lossless=options.lossless,
            quality=options.quality,
            method=options.method,
        )
    return path


def read_webp(path: str | Path) -> tuple[list[Pixels], float]:
    """The frames (h w 3) of an animated WebP, and how many of them a second has; 1 where it is but one picture."""
    path = Path(path)
    try:
        with Image.open(path, formats=["WEBP"]) as image:
            read = [
                (np.asarray(frame.convert("RGB")), frame.info.get("duration", 0))
                for frame in ImageSequence.Iterator(image)
            ]
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow says of files that it cannot make sense of
        raise MediaError(f"{path} cannot be read as WebP: {error}. Make it again, or remove it.") from error
    shortest = min(milliseconds for _, milliseconds in read)
    if not shortest:
        return [pixels for pixels, _ in read], 1.0
    # Frames that are equal to the one before are not in the file; that one lasts longer instead.
    frames = [pixels for pixels, milliseconds in read for _ in range(round(milliseconds / shortest))]
    return frames, 1000 * len(frames) / sum(milliseconds for _, milliseconds in read)


def _webp_exif(metadata: Mapping[str, Any]) -> Image.Exif:
    exif = Image.Exif()
    tag = MAKE
    for key, value in metadata.items():
        text = f"{key}:{json.dumps(value)}"
        if key == "prompt":
            exif[MODEL] = text
        else:  # as ComfyUI counts down, so that its frontend finds them
            exif[tag] = text
            tag -= 1
    return exif
