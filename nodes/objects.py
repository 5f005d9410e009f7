"""Preparing pictures of objects for SV3D."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..host import folders, io
from ..pipelines.objects import LARGEST_SIDE, SMALLEST_RATIO, SMALLEST_SIDE, ObjectOptions, prepare_object
from . import previews
from .frames import chosen

ONNX = (".onnx",)
NO_MODEL = "none"
RATE_OF_PREVIEW = 1.0  # pictures of a batch a second


class PrepareObject(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = ObjectOptions()
        return io.Schema(
            node_id="ZoetropePrepareObject",
            display_name="Prepare Object",
            category="Zoetrope/svd",
            description="Makes the picture that SV3D wants: the object cut out, in the middle of a white square, as "
            "large in it as in training.",
            search_aliases=["remove background", "rembg", "cut out", "white background", "recenter", "sv3d input"],
            inputs=[
                io.Image.Input("image", tooltip="A picture of the object. Of a batch, each is prepared."),
                _cut_out_input(),
                io.Float.Input(
                    "frame_ratio",
                    default=default.frame_ratio,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip=f"The object's longer side as a share of the picture's, {SMALLEST_RATIO} to 1. 0 keeps its "
                    "size, in a square as high as the picture, as Stability AI's script does it unless told otherwise.",
                ),
                io.Int.Input(
                    "side",
                    default=default.side,
                    min=SMALLEST_SIDE,
                    max=LARGEST_SIDE,
                    step=64,
                    tooltip="Width and height of the result. SV3D was trained on 576.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the object is, or with transparency where it is not: see cut_out.",
                ),
                io.Combo.Input(
                    "edges",
                    options=["fine", "reference"],
                    default=default.edges,
                    optional=True,
                    advanced=True,
                    tooltip="How edges are made smaller. reference is equal to Stability AI's script to the pixel, "
                    "which rounds on the way; fine does not, and leaves out faint traces beside the object.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The object on white, for SV3D Orbit."),
                io.Mask.Output(display_name="mask", tooltip="1 where the object is in that picture."),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        frame_ratio: float,
        side: int,
        cut_out: dict[str, Any] | None = None,
        mask: Tensor | None = None,
        edges: Any = "fine",
    ) -> io.NodeOutput:
        options = ObjectOptions(frame_ratio=frame_ratio or None, side=side, edges=edges)
        object_of = chosen("cut_out", CUTTERS, cut_out)
        masks = _masks_for(image, mask)
        prepared = [
            prepare_object(picture, options, **object_of(picture, each))
            for picture, each in zip(image, masks, strict=True)
        ]
        pictures, grounds = (torch.stack(each) for each in zip(*prepared, strict=True))
        return io.NodeOutput(pictures, grounds, ui=previews.animated(pictures, RATE_OF_PREVIEW))


def _cut_out_input() -> io.DynamicCombo.Input:
    models = folders.list_models("rembg", ONNX)
    return io.DynamicCombo.Input(
        "cut_out",
        options=[
            io.DynamicCombo.Option("mask", []),
            io.DynamicCombo.Option("transparency", []),
            io.DynamicCombo.Option(
                "rembg",
                [
                    io.Combo.Input(
                        "model",
                        options=models or [NO_MODEL],
                        default=models[0] if models else NO_MODEL,
                        tooltip="A file in models/rembg, such as u2net.onnx. The page of this node tells where to get "
                        "one.",
                    )
                ],
            ),
            io.DynamicCombo.Option("nothing", []),
        ],
        tooltip="How the object is told from its ground: where the mask is 1; by the picture's transparency, or the "
        "mask of Load Image, which is 1 where nothing is; by a model of rembg's; or the whole picture is the object.",
    )


ObjectOf = Callable[[Tensor, Tensor | None], dict[str, Any]]
"""Of a (h w c) picture and the (h w) mask that came with it, or None: what `prepare_object` is told of the object."""


def _by_mask(picture: Tensor, mask: Tensor | None) -> dict[str, Any]:
    if mask is None:
        raise ValueError("cut_out is mask, but no mask is connected. Connect one, or choose another way to cut out.")
    return {"mask": mask}


def _by_transparency(picture: Tensor, mask: Tensor | None) -> dict[str, Any]:
    if mask is None and picture.shape[-1] == 4:
        return {}
    if mask is None or not mask.any():
        raise ValueError(
            "The picture has no transparency that says where the object is. Choose a PNG that has, and where Load "
            "Image loads it connect its mask too; or cut out by rembg."
        )
    return {"mask": 1 - mask}


def _by_rembg(model: str) -> ObjectOf:
    file = _rembg_file(model)

    def told(picture: Tensor, mask: Tensor | None) -> dict[str, Any]:
        _refuse(mask, "rembg")
        return {"rembg_model": file}

    return told


def _by_nothing(picture: Tensor, mask: Tensor | None) -> dict[str, Any]:
    _refuse(mask, "nothing")
    return {"mask": torch.ones(picture.shape[:2])}


CUTTERS: dict[str, Callable[..., ObjectOf]] = {
    "mask": lambda: _by_mask,
    "transparency": lambda: _by_transparency,
    "rembg": _by_rembg,
    "nothing": lambda: _by_nothing,
}


def _rembg_file(model: str) -> Path:
    if model != NO_MODEL:
        return folders.resolve_model("rembg", model)
    places = " or ".join(map(str, folders.models_folders("rembg")))
    raise folders.MissingModel(
        f"There is no model for rembg in {places}. Put one there, such as u2net.onnx (176 MB) from "
        "https://github.com/danielgatis/rembg/releases/tag/v0.0.0, or cut out by a mask."
    )


def _refuse(mask: Tensor | None, way: str) -> None:
    if mask is not None:
        raise ValueError(f"A mask is connected, but cut_out is {way}, which takes none. Choose mask, or take it away.")


def _masks_for(images: Tensor, masks: Tensor | None) -> list[Tensor | None]:
    """A mask for each picture of the batch; one mask is for all."""
    if masks is None:
        return [None] * len(images)
    masks = masks[None] if masks.dim() == 2 else masks
    if len(masks) not in (1, len(images)):
        raise ValueError(f"There are {len(masks)} masks for {len(images)} pictures. Give one for each, or one for all.")
    return list(masks.expand(len(images), -1, -1))
