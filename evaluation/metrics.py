"""The measures of a report: what each is called, what it means, which way is better, and whether it decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

Group = Literal["truth", "clip", "motion", "looks"]
Need = Literal["truth", "clip", "prompt", "loop", "lpips", "i3d"]
GROUPS: dict[str, str] = {
    "truth": "how near the pixels are to the true clip's",
    "clip": "what CLIP takes the frames for",
    "motion": "how much moves, and whether it stays the same on its way",
    "looks": "sharpness, colour and flicker of the clip alone",
}


@dataclass(frozen=True)
class Metric:
    name: str
    title: str
    group: Group
    better: Literal["higher", "lower", "neither"]  # neither: it tells what a clip is like, and not how good it is
    meaning: str  # in a sentence, for reports
    decides: Literal["with truth", "without truth", "always", "never"] = "never"  # whether the ranks are made of it
    unit: str = ""
    needs: tuple[Need, ...] = ()  # beside the clip
    always: bool = False  # measured whatever groups are asked for

    @property
    def arrow(self) -> str:
        return {"higher": "\u2191", "lower": "\u2193", "neither": ""}[self.better]


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            *("clip", "CLIP to truth", "clip", "higher"),
            "Cosine of CLIP's features of each frame and of the true one; 1 is the same.",
            "with truth",
            needs=("truth", "clip"),
        ),
        Metric(
            *("psnr", "PSNR", "truth", "higher"),
            "Signal to noise against the true frame, the mean of the frames' own; at most 100.",
            "with truth",
            "dB",
            needs=("truth",),
        ),
        Metric(
            *("ssim", "SSIM", "truth", "higher"),
            "Structural similarity to the true frame; 1 is equal.",
            "with truth",
            needs=("truth",),
        ),
        Metric(
            *("lpips", "LPIPS", "truth", "lower"),
            "How different from the true frame it looks to a network fitted to people; 0 is the same.",
            "with truth",
            needs=("truth", "lpips"),
        ),
        Metric(
            *("i3d", "I3D to truth", "truth", "higher"),
            "Cosine of what a network that knows video finds in the whole clip and in the true one; 1 is the same.",
            needs=("truth", "i3d"),
        ),
        Metric(
            *("colour_error", "Colour error", "truth", "lower"),
            "How far the frame's mean colour is from the true one's, in CIELAB; about 2 is just seen.",
            "with truth",
            needs=("truth",),
        ),
        Metric(
            *("warp_error", "Warp error, true flow", "motion", "lower"),
            "How far a frame is from the next, brought back along the true clip's flow. A frozen clip has a large one.",
            "with truth",
            needs=("truth",),
        ),
        Metric(
            *("warp_error_own", "Warp error, own flow", "motion", "lower"),
            "The same along the clip's own flow, in the mean of those steps in which something moves.",
            "without truth",
        ),
        Metric(
            *("dynamic_degree", "Dynamic degree", "motion", "neither"),
            "How far the twentieth that moves most goes from frame to frame, in shorter sides of the picture.",
            always=True,
        ),
        Metric(
            *("still_steps", "Still steps", "motion", "neither"),
            "The share of steps from frame to frame in which nothing moves.",
            always=True,
        ),
        Metric(
            *("clip_prompt", "CLIP to prompt", "clip", "higher"),
            "Cosine of CLIP's features of the frame and of the prompt.",
            "always",
            needs=("clip", "prompt"),
        ),
        Metric(
            *("clip_next", "CLIP to next frame", "clip", "higher"),
            "Cosine of neighbours. A frozen clip has 1: read it beside the dynamic degree.",
            needs=("clip",),
        ),
        Metric(
            *("clip_first", "CLIP to first frame", "clip", "neither"),
            "Cosine of each frame and the first. A frozen clip has 1, and a clip in which much happens has less.",
            needs=("clip",),
        ),
        Metric(
            *("clip_loop", "CLIP around the loop", "clip", "higher"),
            "Cosine of neighbours in an orbit, the last frame and the first among them.",
            "without truth",
            needs=("clip", "loop"),
        ),
        Metric(
            *("loop_seam", "Seam of the loop", "clip", "lower"),
            "How much less alike the last frame and the first are than other neighbours.",
            "without truth",
            needs=("clip", "loop"),
        ),
        Metric(
            *("progression", "Progression", "looks", "neither"),
            "How much nearer neighbours are to each other than any two frames: 1 is gradual, 0 shuffled, or fast.",
            always=True,
        ),
        Metric(
            *("turns", "Turns", "looks", "neither"),
            "The share of frames at which the clip turns back: 0 goes on, about a half is a shuffled clip.",
            always=True,
        ),
        Metric(
            *("colour_drift", "Colour drift", "looks", "lower"),
            "How far the mean colour has gone from the first frame's, in CIELAB; about 2 is just seen.",
            "without truth",
        ),
        Metric(
            *("brightness_flicker", "Brightness flicker", "looks", "lower"),
            "Second difference of the mean brightness, of 0 to 1.",
            "without truth",
        ),
        Metric(
            *("jitter", "Second difference", "looks", "neither"),
            "Second difference of the pixels, of 0 to 1. Motion has it too: hold it against the true clip's.",
        ),
        Metric(
            *("steadiness", "VBench flicker", "looks", "neither"),
            "1 less the mean difference of neighbours. It rewards stillness: a frozen clip has 1.",
        ),
        Metric(
            *("sharpness", "Sharpness", "looks", "neither"),
            "Variance of the Laplacian. Blur lowers it and noise raises it: hold it against the true clip's.",
        ),
    )
}


NEEDS: dict[Need, str] = {
    "truth": "a true clip",
    "clip": "CLIP",
    "prompt": "a prompt",
    "loop": "a loop",
    "lpips": "LPIPS",
    "i3d": "I3D",
}
# What the table's first columns are called.
COLUMNS = ("name", "model", "item", "frame", "true_frame")


def lacks(metric: Metric, groups: Sequence[str], given: Collection[Need]) -> str:
    """Why a measure cannot be told of any clip, whatever the clips are like; "" where it may be."""
    if metric.group not in groups and not metric.always:
        return f"the group {metric.group} is off"
    missing = [told for need, told in NEEDS.items() if need in metric.needs and need not in given]
    return f"it needs {' and '.join(missing)}" if missing else ""


def metric_of(name: str) -> Metric:
    """A measure by its name; one that is not ours is a series of the user's."""
    known = METRICS.get(name)
    return known or Metric(name, name, "looks", "neither", "A series given with the clip.")


def deciding(names: list[str], has_truth: bool) -> list[str]:
    """Those of which ranks are made: with a true clip, those that hold the clip against it."""
    when = ("always", "with truth" if has_truth else "without truth")
    return [name for name in names if metric_of(name).decides in when]
