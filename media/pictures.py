"""Single pictures: between tensors, bytes of pixels, and the bytes of PNG and JPEG files.

Axes: f frames, h height, w width, c channels. Pixels are uint8 in the order red, green, blue (, alpha).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from .errors import MediaError

if TYPE_CHECKING:  # single pictures do without torch
    from torch import Tensor

Pixels = NDArray[np.uint8]  # (h w c)

PNG_HEADER_BYTES = 33  # the signature and the IHDR chunk, which must come first
JPEG_LONGEST_SIDE = 65500
BROKEN_PICTURE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def to_bytes(images: Tensor) -> Iterator[Pixels]:
    """Give the frames of a (f h w c) clip in 0..1 one by one as (h w c) bytes, rounded and clamped.

    A grey clip of one channel becomes red, green and blue; a fourth channel stays.
    """
    import torch

    check_clip(images)
    for index, frame in enumerate(images):
        frame = frame.detach().to("cpu", torch.float32)
        if frame.isnan().any():
            raise not_a_number(index)
        pixels = (frame * 255).round_().clamp_(0, 255).to(torch.uint8).numpy()
        yield np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def as_images(pixels: Pixels) -> Tensor:
    """Give one (h w c) picture of bytes as a (1 h w c) clip in 0..1."""
    import torch

    return torch.from_numpy(np.array(pixels))[None].float() / 255


def not_a_number(index: int) -> MediaError:
    return MediaError(f"Frame {index} holds NaN, which is no colour. Look for the node before that made it.")


def check_clip(images: Tensor) -> None:
    """Refuse what is no clip of (f h w c) pictures with at least one frame and one pixel."""
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[3] not in (1, 3, 4) or not images.is_floating_point():
        raise MediaError(
            f"A clip is (frames, height, width, channels) of floats with 1, 3 or 4 channels, but this one is "
            f"{shape} of {images.dtype}."
        )
    if 0 in shape:
        raise MediaError(f"The clip has {shape[0]} frames of {shape[2]}x{shape[1]} pixels, so it holds no picture.")


def check_pixels(pixels: Pixels) -> None:
    """Refuse what is no (h w c) picture of bytes."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or 0 in pixels.shape:
        raise MediaError(
            f"A frame is (height, width, 3 or 4) of uint8, but this one is {pixels.shape} of {pixels.dtype}."
        )


def content_digest(pictures: Iterable[Pixels]) -> bytes:
    """By which pictures are known again, wherever they come from: their sizes and colours."""
    digest = sha1(usedforsecurity=False)  # the quickest: many CPUs have it built in
    for pixels in pictures:
        digest.update(str(pixels.shape).encode())
        digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def opaque(pixels: Pixels) -> Pixels:
    """Leave the fourth channel out, for formats that know no transparency. The colours stay as they are."""
    return pixels[..., :3]


def encode_png(pixels: Pixels, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Encode (h w c) pixels as a PNG file; `metadata` goes in as JSON under its keys, where ComfyUI looks for it."""
    import cv2

    check_pixels(pixels)
    order = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    encoded, png = cv2.imencode(".png", cv2.cvtColor(pixels, order))
    if not encoded:
        raise MediaError(f"A picture of {pixels.shape[1]}x{pixels.shape[0]} pixels is too large for a PNG file.")
    if not metadata:
        return png.tobytes()
    texts = b"".join(_text_chunk(key, json.dumps(value)) for key, value in metadata.items())
    return png[:PNG_HEADER_BYTES].tobytes() + texts + png[PNG_HEADER_BYTES:].tobytes()


def _text_chunk(key: str, text: str) -> bytes:
    """Build a tEXt chunk; JSON escapes what is not ASCII, so the chunk's Latin-1 is enough for it."""
    name = key.encode("latin-1", "replace").replace(b"\0", b"")[:79]
    body = b"tEXt" + name + b"\0" + text.encode("ascii")
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def encode_jpeg(pixels: Pixels, quality: int = 95) -> bytes:
    """Encode (h w c) pixels as a JPEG file of `quality` 1 to 100."""
    import cv2

    check_pixels(pixels)
    if not 1 <= quality <= 100:
        raise MediaError(f"The JPEG quality is {quality}. It goes from 1 (small) to 100 (best).")
    height, width = pixels.shape[:2]
    if max(height, width) > JPEG_LONGEST_SIDE:
        raise MediaError(
            f"The picture is {width}x{height}, but a JPEG holds at most {JPEG_LONGEST_SIDE} pixels a side. Choose PNG."
        )
    bgr = cv2.cvtColor(np.ascontiguousarray(opaque(pixels)), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def read_picture(path: str | Path, *, keep_alpha: bool = False) -> Pixels:
    """Read a picture file as (h w 3) pixels, turned upright; 16 bits become 8.

    Transparency is left out, unless it is to be kept: a picture that has any is (h w 4) then.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            return np.array(_as_colours(ImageOps.exif_transpose(image), path, keep_alpha))
    except (MediaError, MemoryError):
        raise
    except FileNotFoundError:
        raise MediaError(f"There is no file {path}. Check the name and the folder.") from None
    except IsADirectoryError:
        raise MediaError(f"{path} is a folder, not a picture.") from None
    except PermissionError:
        raise MediaError(f"{path} cannot be opened: this user may not read it.") from None
    except UnidentifiedImageError:
        raise MediaError(f"{path} is no picture that can be read. Open it in an image viewer to check it.") from None
    except Image.DecompressionBombError as error:
        raise MediaError(f"{path} is too large to be a picture that was meant to be opened: {error}") from None
    except BROKEN_PICTURE_ERRORS as error:
        raise MediaError(f"{path} is broken or cut off: {error}. Get the file again from its source.") from error


def _as_colours(image: Image.Image, path: Path, keep_alpha: bool) -> Image.Image:
    if image.mode == "F":
        raise MediaError(f"{path} holds floating-point pixels, whose range is unknown. Save it with 8 or 16 bits.")
    if image.mode.startswith("I"):  # 16 bits of grey, in one of several byte orders
        wide = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.clip(wide / 257 + 0.5, 0, 255).astype(np.uint8)).convert("RGB")
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    if image.mode == "P" and has_alpha:
        image = image.convert("RGBA")
    return image.convert("RGBA" if has_alpha and keep_alpha else "RGB")


def parse_color(text: str) -> tuple[int, int, int]:
    """Read a colour's name, `#rgb` or `#rrggbb` as red, green and blue from 0 to 255."""
    color: tuple[int, ...] = ()
    with suppress(ValueError):
        color = ImageColor.getrgb(text.strip())
    if len(color) != 3:  # an unknown name, or one with alpha
        raise MediaError(f"{text!r} is no colour. Write a name like teal, or #rrggbb like #1a6b5f.")
    return color[0], color[1], color[2]
