"""An invisible watermark in images: writing it, and finding it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..host import io
from ..media.watermark import REFERENCE_BITS, Bits, bits_of_text, embed, find
from .frames import chosen
from .watching import watch

MARKS: dict[str, Callable[..., Bits]] = {"reference": lambda: REFERENCE_BITS, "text": bits_of_text}


class Watermark(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeWatermark",
            display_name="Watermark",
            category="Zoetrope/watermark",
            description="Writes an invisible mark into every image, which says that they are made by a machine, or "
            "whose they are. It outlives high-quality JPEG and video, not resizing or cropping.",
            search_aliases=["invisible watermark", "imwatermark", "dwtDct", "mark as ai generated", "provenance"],
            inputs=[
                io.Image.Input("images", tooltip="The images to mark, at least 256 x 256 pixels."),
                io.DynamicCombo.Input(
                    "mark",
                    options=[
                        io.DynamicCombo.Option("reference", []),
                        io.DynamicCombo.Option(
                            "text",
                            [
                                io.String.Input(
                                    "text",
                                    default="made by AI",
                                    tooltip="A few words: the shorter, the surer they are read. Each letter takes at "
                                    "least 8 of the bits for which the images have room, one in each 8 x 8 pixels.",
                                )
                            ],
                        ),
                    ],
                    tooltip="reference is the 48 bits that Stability AI's scripts write into their videos; text is "
                    "words of yours.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The marked images, to the eye the same.")],
        )

    @classmethod
    def execute(cls, images: Tensor, mark: dict[str, Any] | None = None) -> io.NodeOutput:
        return io.NodeOutput(embed(images, chosen("mark", MARKS, mark), watch(len(images), pictures=False)))


class ReadWatermark(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeReadWatermark",
            display_name="Read Watermark",
            category="Zoetrope/watermark",
            description="Looks for the mark of Watermark, of Stability AI's scripts, or of any that was written by the "
            "dwtDct method of the invisible-watermark package. All images vote together.",
            search_aliases=["detect watermark", "invisible watermark", "imwatermark", "is it ai generated", "decode"],
            inputs=[
                io.Image.Input(
                    "images", tooltip="The images to look at, as they were saved: not resized, not cropped."
                ),
                io.Int.Input(
                    "bytes",
                    default=0,
                    min=0,
                    max=1024,
                    optional=True,
                    advanced=True,
                    tooltip="How many bytes the text has, if that is known. 0 finds it by itself, up to 64.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="text",
                    tooltip="What is written there; of the reference's mark, its number. Empty where none is found.",
                ),
                io.Boolean.Output(display_name="found", tooltip="Whether there is a mark."),
                io.Float.Output(
                    display_name="agreement",
                    tooltip="The share of the images' votes that say the same: 1 is untouched, little over 0.5 chance.",
                ),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, bytes: int = 0) -> io.NodeOutput:
        found = find(images, bytes)
        return io.NodeOutput(found.text, found.is_there, found.agreement)
