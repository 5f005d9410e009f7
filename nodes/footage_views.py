"""Looking at footage: a report, pairs of frames, and a clip as images."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..clips.footage import Clip, Footage, update_manifest
from ..clips.pairs import FramePairs as Pairs
from ..clips.pairs import PairOptions, cuts_of
from ..clips.pairs_picture import draw_pairs
from ..clips.report import ASSUMED_RATE, as_text, examine
from ..clips.report_picture import draw_report
from ..host import io
from ..media.memory import room_for_clip
from ..media.pictures import Pixels, read_picture
from . import previews
from .footage import FootageType, watch_counts
from .frames import chosen
from .watching import watch

MOST_ROWS = 200  # of the table in a text that a browser shows
MOST = 1_000_000


class FootageReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeFootageReport",
            display_name="Footage Report",
            category="Zoetrope/footage",
            description="Looks at every frame of a training set and says what is worth fixing: clips that do not move, "
            "cuts, black or repeated frames, sizes, captions, splits. Its picture shows all clips, the stillest first.",
            search_aliases=["dataset health", "motion bucket", "optical flow", "contact sheet", "check dataset"],
            inputs=[
                FootageType.Input("footage", tooltip="The clips to look at."),
                io.Boolean.Input(
                    "save",
                    default=False,
                    tooltip="On: the motion of each clip is kept in the footage's manifest, for training. Off: it is "
                    "only passed on.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="picture",
                    tooltip="How motion is spread over the clips and their motion buckets, and a frame of each clip.",
                ),
                io.String.Output(display_name="report", tooltip="What is worth fixing, and a table of the clips."),
                FootageType.Output(display_name="footage", tooltip="The clips, each with its motion."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, footage: Footage, save: bool) -> io.NodeOutput:
        report = examine(footage, on_clip=watch_counts())
        measured = report.with_motion()
        if save:
            update_manifest(measured, "motion")
        picture = draw_report(report)
        return io.NodeOutput(_image(picture), as_text(report, MOST_ROWS), measured, ui=previews.still(picture))


class FramePairs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = PairOptions()
        return io.Schema(
            node_id="ZoetropeFramePairs",
            display_name="Frame Pairs",
            category="Zoetrope/footage",
            description="Shows what a model that predicts frames is trained with: some frames of a clip, and the frame "
            "that it should give. No pair reaches across a cut.",
            search_aliases=[
                "next frame prediction",
                "input target pairs",
                "frame interpolation data",
                "paired dataset",
            ],
            inputs=[
                FootageType.Input("footage", tooltip="The clips that pairs are made of."),
                *(
                    io.Int.Input(name, default=getattr(default, name), min=1, max=MOST, tooltip=tooltip)
                    for name, tooltip in PAIR_TOOLTIPS.items()
                ),
                io.Boolean.Input(
                    "find_cuts",
                    default=True,
                    tooltip="On: every frame is looked at for cuts, and no pair reaches across one. Off: each clip is "
                    "taken for one scene.",
                ),
                io.Int.Input(
                    "shown", default=8, min=1, max=100, tooltip="So many pairs are shown, spread over all of them."
                ),
            ],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="Pairs side by side, with their clips and frames."),
                io.Int.Output(display_name="count", tooltip="How many pairs there are in all."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, footage: Footage, step: int, stride: int, context: int, spacing: int, find_cuts: bool, shown: int
    ) -> io.NodeOutput:
        options = PairOptions(step=step, stride=stride, context=context, spacing=spacing)
        pairs = Pairs(footage, options, cuts_of(footage, watch_counts()) if find_cuts else None)
        picture = draw_pairs(pairs, shown)
        return io.NodeOutput(_image(picture), len(pairs), ui=previews.still(picture))


PAIR_TOOLTIPS = {
    "step": "The target is so many frames after the last frame that the model sees.",
    "stride": "From one pair to the next, in frames. 1 makes all pairs that there are.",
    "context": "So many frames are seen at once.",
    "spacing": "From one of these to the next, in frames.",
}


class FootageToFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeFootageToFrames",
            display_name="Footage To Frames",
            category="Zoetrope/footage",
            description="Loads the frames of one clip of a training set as images, with the rate at which they keep "
            "time.",
            search_aliases=["load clip", "clip to images", "image sequence", "dataset sample"],
            inputs=[
                FootageType.Input("footage", tooltip="The clips to choose one of."),
                io.DynamicCombo.Input(
                    "clip",
                    options=[
                        io.DynamicCombo.Option(
                            "number",
                            [
                                io.Int.Input(
                                    "number",
                                    default=0,
                                    min=-MOST,
                                    max=MOST,
                                    tooltip="0 is the first clip, 1 the next; -1 is the last one.",
                                )
                            ],
                        ),
                        io.DynamicCombo.Option(
                            "name",
                            [
                                io.String.Input(
                                    "name", default="", tooltip="The name of the clip's folder, as the report tells it."
                                )
                            ],
                        ),
                    ],
                    tooltip="Which clip: by its number or by its name.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The clip's frames, in order."),
                io.Float.Output(
                    display_name="frames_per_second",
                    tooltip=f"The rate at which they keep time. {ASSUMED_RATE:g} where it is not known.",
                ),
                io.String.Output(display_name="caption", tooltip="The clip's caption. Empty where it has none."),
                io.String.Output(display_name="name", tooltip="The clip's name."),
            ],
        )

    @classmethod
    def execute(cls, footage: Footage, clip: dict[str, Any] | None = None) -> io.NodeOutput:
        found = chosen("clip", {"number": partial(_numbered, footage), "name": footage.clip}, clip)
        images = _load(footage, found)
        rate = found.frames_per_second or ASSUMED_RATE
        shown = previews.animated(images, rate)
        return io.NodeOutput(images, rate, found.caption, found.name, ui=shown)


def _numbered(footage: Footage, number: int) -> Clip:
    clips = footage.clips
    if not -len(clips) <= number < len(clips):
        raise ValueError(
            f"Clip {number} is not there: the footage has {len(clips)}, numbered from 0. Negative numbers count from "
            "the end, so -1 is the last."
        )
    return clips[number]


def _load(footage: Footage, clip: Clip) -> Tensor:
    """The clip's frames as (f h w c)."""
    paths = footage.paths(clip)
    if not paths:
        raise ValueError(f"The clip {clip.name} has no frames.")
    first = read_picture(paths[0])
    height, width, _ = first.shape
    images = room_for_clip(len(paths), height, width, remedy="Choose a clip with fewer or smaller frames.")
    on_frame = watch(len(paths), pictures=False)
    for number, path in enumerate(paths):
        pixels = read_picture(path)
        if pixels.shape != first.shape:
            raise ValueError(
                f"{path.name} of {clip.name} is {pixels.shape[1]}x{pixels.shape[0]}, and its first frame is "
                f"{width}x{height}. Extract the clip again with a size, or resize its frames."
            )
        torch.div(torch.from_numpy(pixels), 255, out=images[number])
        on_frame(number + 1, pixels)
    return images


def _image(picture: Pixels) -> Tensor:
    """A drawn picture as a clip of one (f h w c) image."""
    return torch.from_numpy(picture.copy()).float().div_(255)[None]
