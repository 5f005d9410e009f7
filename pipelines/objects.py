"""Preparing the picture of an object for SV3D: cut out, in the middle of a square, on white.

Axes: h height, w width, c channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..media.pictures import Pixels, to_bytes
from ..media.resizing import ResizeOptions, resize
from .conditioning import checked_picture

EDGES = ("fine", "reference")
SMALLEST_RATIO = 0.05
SMALLEST_SIDE, LARGEST_SIDE = 64, 4096
CUTTING_SIDE = 768  # to which the reference makes pictures smaller before they are cut out
FAINT = 0.05  # of alpha: what a cut-out leaves around an object by mistake, and no part of it
HOW_TO_INSTALL = 'pip install "comfyui-zoetrope[cutout]"'


@dataclass(frozen=True, kw_only=True)
class ObjectOptions:
    # The object's longer side as a share of the picture's. None keeps the object's size in a square as high as the
    # picture, which is the default of the reference's script for SV3D; 0.917 is that of its scripts for SV4D.
    frame_ratio: float | None = 0.917
    side: int = 576
    # "reference" is equal to its script, which computes in bytes and cuts fractions off; "fine" rounds nothing, and
    # does not take the faintest traces beside an object for a part of it.
    edges: Literal["fine", "reference"] = "fine"

    def __post_init__(self) -> None:
        if self.frame_ratio is not None and not SMALLEST_RATIO <= self.frame_ratio <= 1:
            raise ValueError(
                f"frame_ratio is {self.frame_ratio}. It is the object's share of the picture's side, from "
                f"{SMALLEST_RATIO} to 1; SV3D does well with about 0.9."
            )
        if not SMALLEST_SIDE <= self.side <= LARGEST_SIDE:
            raise ValueError(
                f"side is {self.side}. It goes from {SMALLEST_SIDE} to {LARGEST_SIDE}; SV3D was trained with 576."
            )
        if self.edges not in EDGES:
            raise ValueError(f"edges is {self.edges!r}. Choose one of {', '.join(EDGES)}.")


def prepare_object(
    image: Tensor,
    options: ObjectOptions = ObjectOptions(),
    *,
    mask: Tensor | None = None,
    rembg_model: Path | None = None,
) -> tuple[Tensor, Tensor]:
    """Give a square picture (side side 3) in 0..1 of the object, on white, and its mask (side side).

    The object is where the (h w) mask is 1; without one, what a model of rembg's cuts out of the (h w c) picture;
    without both, where the picture's fourth channel is 1.
    """
    if mask is None and rembg_model is not None:
        image = cut_out(image, rembg_model)
    colours, alpha = checked_picture(image).cpu(), _alpha_of(image, mask).cpu()
    cut = torch.cat([colours, alpha[..., None]], dim=-1)
    if options.edges == "reference":
        return _as_the_reference(next(to_bytes(cut[None])), options)
    framed = _in_a_square(cut * (cut[..., 3:] > FAINT), options)
    framed = torch.cat([framed[..., :3] * framed[..., 3:], framed[..., 3:]], dim=-1)
    resized, _ = resize(framed[None], ResizeOptions(width=options.side, height=options.side))
    mask = resized[0, ..., 3]
    return (resized[0, ..., :3] + 1 - mask[..., None]).clamp(0, 1), mask


def cut_out(image: Tensor, model: Path) -> Tensor:
    """Cut the object out of a (h w c) picture in 0..1 with a model of rembg's: (h w 4), at most 768 pixels a side.

    The model is a file in a local folder, named as rembg names it, such as u2net.onnx; nothing is downloaded. Edges
    are matted as in the reference.
    """
    (pixels,) = to_bytes(checked_picture(image)[None])
    picture = Image.fromarray(pixels)
    picture.thumbnail((CUTTING_SIDE, CUTTING_SIDE), Image.Resampling.LANCZOS)
    session = _session(model)
    from rembg import remove

    cut = remove(picture.convert("RGBA"), alpha_matting=True, session=session)
    if cut.size != picture.size:
        raise ValueError(f"{model.name} cuts out several things at once. Choose a model for one object, as u2net.onnx.")
    return torch.from_numpy(np.array(cut.convert("RGBA"))).float() / 255


def _session(model: Path) -> Any:
    """A session of rembg's with the weights in that file."""
    if not model.is_file():
        raise ValueError(
            f"There is no {model.name} in {model.absolute().parent}. Download it from rembg's releases page on "
            "GitHub and put it there, or give the object's mask instead."
        )
    try:
        import onnxruntime  # rembg ends the whole process where this is missing
        from rembg.sessions import sessions_class
        from rembg.sessions.base import BaseSession
    except ImportError as error:
        raise ValueError(
            f"Cutting objects out needs rembg, and {error.name} is not installed. Run {HOW_TO_INSTALL}, or give the "
            "object's mask instead."
        ) from None
    # The others are made of several files, or send the picture away.
    kinds = {kind.name(): kind for kind in sessions_class if kind.__init__ is BaseSession.__init__}
    if model.stem not in kinds:
        raise ValueError(
            f"{model.name} is not named like a model that rembg cuts out with. Name it as it was released: "
            f"{', '.join(f'{name}.onnx' for name in sorted(kinds))}."
        )

    def where_it_lies(cls: type, *args: object, **kwargs: object) -> str:
        return str(model)

    # A class of rembg's asks itself for the file, and would download it.
    local = type("LocalSession", (kinds[model.stem],), {"download_models": classmethod(where_it_lies)})
    try:
        return local(model.stem, onnxruntime.SessionOptions())
    except Exception as error:  # onnxruntime's errors have no kind in common
        raise ValueError(
            f"{model} cannot be read as a model of rembg's: {error}. Download it again, and compare its size with the "
            "one that the releases page shows."
        ) from error


def _alpha_of(image: Tensor, mask: Tensor | None) -> Tensor:
    size = tuple(image.shape[:2])
    if mask is None:
        if image.shape[2] != 4:
            raise ValueError(
                "The picture has no transparency that says where the object is. Give a mask, a picture with alpha, or "
                "a model of rembg's that cuts it out."
            )
        mask = image[..., 3]
    if tuple(mask.shape) != size:
        raise ValueError(
            f"The mask is {' x '.join(map(str, mask.shape))} and the picture {size[0]} x {size[1]} (height x width). "
            "Give a mask of the picture's size."
        )
    if not mask.isfinite().all():
        raise ValueError("The mask holds NaN or infinity. Look for the node before that made it.")
    return mask.float().clamp(0, 1)


def _as_the_reference(pixels: Pixels, options: ObjectOptions) -> tuple[Tensor, Tensor]:
    framed = Image.fromarray(np.ascontiguousarray(_in_a_square(torch.from_numpy(pixels), options).numpy()))
    resized = np.asarray(framed.resize((options.side, options.side), Image.Resampling.LANCZOS)) / 255.0
    on_white = resized[..., :3] * resized[..., 3:] + (1 - resized[..., 3:])
    picture = torch.from_numpy((on_white * 255).astype(np.uint8)).float() / 255
    return picture, torch.from_numpy(resized[..., 3]).float()


def _in_a_square(cut: Tensor, options: ObjectOptions) -> Tensor:
    """The (h w 4) object with its bounding box in the middle of a transparent square (side side 4)."""
    rows, columns = (cut[..., 3].amax(axis).nonzero().flatten().tolist() for axis in (1, 0))
    if not rows:
        raise ValueError(
            "The mask, or the picture's transparency, leaves nothing of the object: it is empty everywhere. Give one "
            "that is 1 (white) where the object is."
        )
    box = cut[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = box.shape[:2]
    ratio = options.frame_ratio
    side = cut.shape[0] if ratio is None else int(max(height, width) / ratio)
    if width > side:
        raise ValueError(
            f"The object is {width} pixels wide, but without a frame_ratio it has to fit into a square as high as the "
            f"picture, {side}. Choose a frame_ratio, such as 0.917."
        )
    square = cut.new_zeros(side, side, 4)
    top, left = side // 2 - height // 2, side // 2 - width // 2
    square[top : top + height, left : left + width] = box
    return square
