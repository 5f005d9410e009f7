"""Resizing clips."""

from typing import Any

from torch import Tensor

from ..host import io
from ..media.resizing import ANCHORS, FILTER_NAMES, LARGEST_SIDE, ResizeOptions, resize
from .watching import watch


class ResizeFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = ResizeOptions()
        return io.Schema(
            node_id="ZoetropeResizeFrames",
            display_name="Resize Frames",
            category="Zoetrope/frames",
            description="Gives images another size: stretched, cropped to cover it, or padded to fit into it. Filters "
            "are antialiased; transparency is kept, and padding is opaque.",
            search_aliases=["scale", "crop", "pad", "letterbox", "fit", "upscale image", "downscale", "aspect ratio"],
            inputs=[
                io.Image.Input("images", tooltip="The frames to resize."),
                io.Int.Input(
                    "width",
                    default=default.width,
                    min=0,
                    max=LARGEST_SIDE,
                    tooltip="In pixels. 0 follows from the height and the aspect; both 0 keep the size.",
                ),
                io.Int.Input(
                    "height",
                    default=default.height,
                    min=0,
                    max=LARGEST_SIDE,
                    tooltip="In pixels. 0 follows from the width and the aspect; both 0 keep the size.",
                ),
                fit_input(default),
                io.Int.Input(
                    "multiple_of",
                    default=default.multiple_of,
                    min=1,
                    max=1024,
                    tooltip="Both sides become multiples of this, rounded down, but at least one multiple. Many models "
                    "need 8, 32 or 64.",
                ),
                io.Combo.Input(
                    "filter",
                    options=list(FILTER_NAMES),
                    default=default.filter,
                    tooltip="lanczos is sharpest, bicubic and bilinear are softer, area averages, nearest keeps hard "
                    "pixels.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The frames in their new size."),
                io.Mask.Output(display_name="mask", tooltip="1 where padding was added, 0 where the frame is."),
            ],
        )

    @classmethod
    def execute(
        cls, images: Tensor, width: int, height: int, multiple_of: int, filter: Any, fit: dict[str, Any] | None = None
    ) -> io.NodeOutput:
        options = ResizeOptions(width=width, height=height, multiple_of=multiple_of, filter=filter, **fit_of(fit))
        resized, mask = resize(images, options, watch(len(images)))
        # One picture seen many times is no mask for nodes that change masks in place.
        return io.NodeOutput(resized, mask.contiguous())


GROUNDS = {"white": "white", "black": "black", "blurred edges": "blur"}


def fit_of(choice: dict[str, Any] | None) -> dict[str, Any]:
    """The options that the dynamic combos' value describes."""
    # ComfyUI passes on nothing where a prompt's key is unknown to it.
    if not choice or "fit" not in choice:
        raise ValueError("fit is not set to one of its options. Choose stretch, cover or pad.")
    if choice["fit"] != "pad":
        return choice
    ground = choice.get("ground") or {}
    if "ground" not in ground:
        raise ValueError(f"ground is not set to one of its options. Choose color, {', '.join(GROUNDS)}.")
    return {"fit": "pad", "ground": ground["color"] if ground["ground"] == "color" else GROUNDS[ground["ground"]]}


def fit_input(default: ResizeOptions) -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "fit",
        options=[
            io.DynamicCombo.Option("stretch", []),
            io.DynamicCombo.Option(
                "cover",
                [
                    io.Combo.Input(
                        "anchor",
                        options=list(ANCHORS),
                        default=default.anchor,
                        tooltip="The part of the frame that is kept when the rest is cropped.",
                    )
                ],
            ),
            io.DynamicCombo.Option("pad", [_ground_input()]),
        ],
        tooltip="stretch fills the size, cover fills it and crops what is too much, pad shows everything and fills "
        "the rest.",
    )


def _ground_input() -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "ground",
        options=[
            io.DynamicCombo.Option("white", []),
            io.DynamicCombo.Option("black", []),
            io.DynamicCombo.Option(
                "color",
                [
                    io.String.Input(
                        "color", default="#1a6b5f", tooltip="A name like teal, or #rrggbb. It fills the padding."
                    )
                ],
            ),
            io.DynamicCombo.Option("blurred edges", []),
        ],
        tooltip="What the padding shows: a colour, or the frame itself, enlarged and blurred.",
    )
