"""Measuring clips, against a true one where there is one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..evaluation.errors import EvaluationError
from ..evaluation.measuring import OUT_OF_ORDER, STANDS_STILL
from ..evaluation.report import Report
from ..evaluation.report_pictures import curves_picture
from ..evaluation.report_text import as_text
from ..host import io
from ..media.pictures import as_images
from . import previews
from .evaluation_inputs import (
    EvaluationType,
    FloatsType,
    candidate,
    chosen_metric,
    clip_input,
    i3d_input,
    measure_input,
    measured,
    measuring_inputs,
    named_series,
    number_outputs,
    numbers_of,
    series_input,
    series_name_input,
    true_clip,
)

GENERATED = "generated"
FEWEST_CLIPS, MOST_CLIPS = 2, 8
ONLY_CLIP: dict[str, Any] = {
    "measure_truth": False,
    "measure_clip": True,
    "measure_motion": False,
    "measure_looks": False,
}


class CLIPSimilarity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeCLIPSimilarity",
            display_name="CLIP Similarity",
            category="Zoetrope/evaluation",
            description="How alike what CLIP sees in each frame of a generated clip and of the true one is: 1 is the "
            "same. Draws it over the frames, with what a clip would have that only repeats the first true frame.",
            search_aliases=["clip score", "cosine similarity", "compare videos", "ground truth", "evaluate"],
            inputs=[
                io.Image.Input("generated", tooltip="The clip to measure, in order."),
                io.Image.Input("truth", tooltip="What it should be. Another size or length is brought to it."),
                clip_input(optional=False),
            ],
            outputs=[
                io.Float.Output(display_name="similarity", tooltip="The mean over the frames; 1 is the same."),
                FloatsType.Output(display_name="per_frame", tooltip="The similarity of each frame."),
                io.Float.Output(display_name="lowest", tooltip="The similarity of the frame that is least alike."),
                io.Int.Output(display_name="worst_frame", tooltip="That frame's number in the generated clip, from 0."),
                io.Image.Output(display_name="picture", tooltip="The similarity over the frames, drawn."),
                EvaluationType.Output(display_name="evaluation", tooltip="All of it, for Evaluation Report."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, generated: Tensor, truth: Tensor, clip: Any) -> io.NodeOutput:
        candidates = [candidate(GENERATED, generated, true_clip(truth, {}), {})]
        report = measured(candidates, clip=clip, **ONLY_CLIP)
        found = report.clips[0]
        mean, values = numbers_of(report, found, "clip")
        lowest = min(values)
        picture = curves_picture(report, "clip")
        worst = found.frames[values.index(lowest)]
        return io.NodeOutput(mean, values, lowest, worst, as_images(picture), report, ui=previews.still(picture))


class EvaluateVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeEvaluateVideo",
            display_name="Evaluate Video",
            category="Zoetrope/evaluation",
            description="Measures a clip by all that the inputs allow: against the true clip, against a prompt, and by "
            "itself. A clip that stands still, or whose frames are in no order, is told for what it is.",
            search_aliases=["psnr", "ssim", "lpips", "clip score", "flicker", "vbench", "video quality", "metrics"],
            inputs=[
                io.Image.Input("generated", tooltip="The clip to measure, in order."),
                measure_input(),
                *measuring_inputs(),
                io.Image.Input(
                    "truth",
                    optional=True,
                    tooltip="What it should be. Another size or length is brought to it, and the report tells how.",
                ),
                clip_input(),
                series_name_input(),
                series_input("series", "the clip"),
                series_input("true_series", "the true clip"),
                i3d_input(),
            ],
            outputs=[
                EvaluationType.Output(display_name="evaluation", tooltip="All of it, for Evaluation Report."),
                *number_outputs(),
                io.Boolean.Output(
                    display_name="moves", tooltip="Off for a clip that stands still or whose frames are in no order."
                ),
                io.String.Output(display_name="report", tooltip="What was found, a line for each measure."),
            ],
        )

    @classmethod
    def execute(
        cls,
        generated: Tensor,
        measure: str,
        truth: Tensor | None = None,
        series_name: str = "series",
        series: Sequence[float] | None = None,
        true_series: Sequence[float] | None = None,
        **measuring: Any,
    ) -> io.NodeOutput:
        true = true_clip(truth, named_series(series_name, true_series))
        clip = candidate(GENERATED, generated, true, named_series(series_name, series))
        report = measured([clip], measure=measure, **measuring)
        value, values = numbers_of(report, report.clips[0], measure)
        moves = report.clips[0].verdict not in (STANDS_STILL, OUT_OF_ORDER)
        return io.NodeOutput(report, value, values, moves, as_text(report))


class CompareVideos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeCompareVideos",
            display_name="Compare Videos",
            category="Zoetrope/evaluation",
            description="Measures two to eight clips in the same way, against one true clip where there is one, and "
            "ranks them. A clip that stands still, whose frames are in no order, or that ends long before the true "
            "one, comes last whatever its numbers.",
            search_aliases=["compare models", "before and after", "ab test", "benchmark", "rank videos", "metrics"],
            inputs=[
                *(_nth_clip(number) for number in range(1, FEWEST_CLIPS + 1)),
                io.String.Input(
                    "names",
                    default="",
                    multiline=True,
                    tooltip="What the clips are called, one a line, in the order of their inputs. One without a name "
                    "is called after its input.",
                ),
                measure_input(),
                *measuring_inputs(),
                *(_nth_clip(number) for number in range(FEWEST_CLIPS + 1, MOST_CLIPS + 1)),
                io.Image.Input(
                    "truth",
                    optional=True,
                    tooltip="What all of them should be. Another size or length is brought to it.",
                ),
                clip_input(),
                series_name_input(),
                *(series_input(f"series_{number}", f"clip_{number}") for number in range(1, MOST_CLIPS + 1)),
                series_input("true_series", "the true clip"),
                i3d_input(),
            ],
            outputs=[
                EvaluationType.Output(display_name="evaluation", tooltip="All of it, for Evaluation Report."),
                io.String.Output(
                    display_name="winner",
                    tooltip="The name of the clip with the best rank. Empty where none is ahead, or where, without a "
                    "true clip, it moves far less than another: the report says why.",
                ),
                io.Int.Output(
                    display_name="winner_number", tooltip="The number of its input, from 1. 0 where none is ahead."
                ),
                FloatsType.Output(
                    display_name="values", tooltip="The mean of the chosen measure for each clip, in their order."
                ),
                io.Float.Output(
                    display_name="gain", tooltip="How much higher it is for the last clip than for the first."
                ),
                io.String.Output(display_name="report", tooltip="What was found, in sentences and a table."),
            ],
        )

    @classmethod
    def execute(
        cls,
        names: str,
        measure: str,
        truth: Tensor | None = None,
        series_name: str = "series",
        true_series: Sequence[float] | None = None,
        **others: Any,
    ) -> io.NodeOutput:
        clips, series, measuring = _sorted(others)
        true = true_clip(truth, named_series(series_name, true_series))
        called = _names(names, list(clips))
        candidates = [
            candidate(called[number], images, true, named_series(series_name, series.get(number)))
            for number, images in clips.items()
        ]
        report = measured(candidates, measure=measure, **measuring)
        values = _values(report, list(called.values()), measure)
        first = next((number for number, name in called.items() if name == report.winner), 0)
        return io.NodeOutput(report, report.winner, first, values, values[-1] - values[0], as_text(report))


def _nth_clip(number: int) -> io.Image.Input:
    return io.Image.Input(
        f"clip_{number}", optional=number > FEWEST_CLIPS, tooltip=f"Clip {number} of those to compare, in order."
    )


def _sorted(inputs: Mapping[str, Any]) -> tuple[dict[int, Tensor], dict[int, Any], dict[str, Any]]:
    """The clips and their series by number, and how they are measured."""
    rest = dict(inputs)
    numbers = range(1, MOST_CLIPS + 1)
    clips = {number: rest.pop(f"clip_{number}", None) for number in numbers}
    series = {number: rest.pop(f"series_{number}", None) for number in numbers}
    for number in numbers:
        if series[number] is not None and clips[number] is None:
            raise EvaluationError(f"series_{number} is connected, and clip_{number} is not. Connect both or neither.")
    return {number: clip for number, clip in clips.items() if clip is not None}, series, rest


def _names(text: str, numbers: Sequence[int]) -> dict[int, str]:
    """What each clip is called."""
    lines = text.rstrip().splitlines()
    if len(lines) > len(numbers):
        raise EvaluationError(
            f"names has {len(lines)} lines, and {len(numbers)} clips are connected. Write a line for each clip."
        )
    given = [line.strip() for line in lines] + [""] * (len(numbers) - len(lines))
    return {number: name or f"clip {number}" for number, name in zip(numbers, given, strict=True)}


def _values(report: Report, names: Sequence[str], measure: str) -> list[float]:
    """The mean of a measure for each clip; NaN for one that has none."""
    name = chosen_metric(report, measure).name
    found = {clip.name: clip.mean(name) for clip in report.clips}
    return [found.get(each, math.nan) for each in names]
