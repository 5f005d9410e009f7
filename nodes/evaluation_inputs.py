"""What nodes that measure clips have in common: what is measured, and how numbers come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from ..evaluation.alignment import RULES, AlignmentOptions
from ..evaluation.errors import EvaluationError
from ..evaluation.evaluate import Candidate, TrueClip, evaluate
from ..evaluation.measuring import MeasuringOptions
from ..evaluation.metrics import GROUPS, METRICS, Metric, lacks, metric_of
from ..evaluation.perceptual import Perceptual, load_perceptual
from ..evaluation.report import ClipReport, Report
from ..evaluation.video_networks import SUFFIXES, VideoNetwork, load_video_network
from ..host import folders, io, work
from ..host.weights import managed
from .clip import AnyClipType, encoder_of

EvaluationType = io.Custom("ZOETROPE_EVALUATION")
FloatsType = io.Custom("FLOATS")
MAIN, SERIES = "the main one", "the series"
NONE = "none"
LPIPS_KIND, I3D_KIND = "lpips", "i3d"
NO_SERIES = "There is no series in the evaluation. Connect one, or choose another measure."
TRUTH = "truth"  # what reports call the true clip


def measure_input() -> io.Combo.Input:
    return io.Combo.Input(
        "measure",
        options=[MAIN, SERIES, *METRICS],
        default=MAIN,
        tooltip="Which measure is meant. the main one is the first that there is of CLIP to truth, SSIM, CLIP to "
        "prompt and warp error, of which less is better; the series is your own.",
    )


def measuring_inputs() -> list[Any]:
    """How clips are measured, whatever they are."""
    default = MeasuringOptions()
    return [
        *(
            io.Boolean.Input(f"measure_{group}", default=group in default.groups, tooltip=f"On: {what} is measured.")
            for group, what in GROUP_TOOLTIPS.items()
        ),
        io.String.Input(
            "prompt",
            default=default.prompt,
            multiline=True,
            tooltip="What the clips should show. Empty: nothing is held against words. It needs a CLIP that reads, "
            "from Load CLIP Zoetrope.",
        ),
        io.Boolean.Input(
            "loop",
            default=default.loop,
            tooltip="On for orbits: the last frame is a neighbour of the first. It needs CLIP.",
        ),
        io.Combo.Input(
            "rule",
            options=list(RULES),
            default=default.alignment.rule,
            tooltip="Which frame is held against which true one. index: the first with the first, as far as both go. "
            "time: as if both lasted as long. auto: index for clips of one length, else time. The report tells it.",
        ),
        io.Combo.Input(
            LPIPS_KIND,
            options=[NONE, "alex", "vgg"],
            default=NONE,
            tooltip="LPIPS, a network fitted to people's judgement, whose two files you have put into models/lpips.",
        ),
    ]


GROUP_TOOLTIPS = {
    "truth": "how near the pixels are to the true clip's",
    "clip": "what CLIP takes the frames for, where one is connected",
    "motion": "whether what moves stays the same on its way",
    "looks": "sharpness, colour and flicker of the clip alone",
}
assert GROUP_TOOLTIPS.keys() == GROUPS.keys()


def clip_input(optional: bool = True) -> Any:
    return AnyClipType.Input(
        "clip",
        optional=optional,
        tooltip="CLIP from Load CLIP Zoetrope; or ComfyUI's CLIP_VISION, which sees pictures and reads no prompt.",
    )


def series_name_input() -> io.String.Input:
    return io.String.Input(
        "series_name",
        default="series",
        optional=True,
        tooltip="What your own series is called in the report, such as lit fraction.",
    )


def series_input(name: str, of: str) -> Any:
    return FloatsType.Input(name, optional=True, tooltip=f"A number for each frame of {of}: a measure of your own.")


def i3d_input() -> io.Combo.Input:
    return io.Combo.Input(
        I3D_KIND,
        options=[NONE, *folders.list_models(I3D_KIND, SUFFIXES)],
        default=NONE,
        optional=True,
        tooltip="A network that knows video, by which whole clips are held against the true one: FVD's "
        "i3d_torchscript.pt, which you have put into models/i3d. Such a file is a program: take one that you trust.",
    )


def number_outputs() -> list[Any]:
    """What `numbers_of` gives."""
    return [
        io.Float.Output(display_name="value", tooltip="The mean of the chosen measure over the frames."),
        FloatsType.Output(
            display_name="per_frame",
            tooltip="The chosen measure by frame, NaN for a frame that has none. Empty where it is of the whole clip.",
        ),
    ]


def measured(
    candidates: Sequence[Candidate],
    *,
    measure: str = MAIN,
    clip: Any = None,
    lpips: str = NONE,
    i3d: str = NONE,
    prompt: str = "",
    loop: bool = False,
    rule: Any = "auto",
    **groups: bool,
) -> Report:
    """Measure clips that are in memory; shows how far it is, and can be cancelled.

    A `measure` that is not to be had of what is given is refused before the work.
    """
    chosen = tuple(group for group in GROUPS if groups[f"measure_{group}"])
    options = MeasuringOptions(groups=chosen, loop=loop, prompt=prompt, alignment=AlignmentOptions(rule=rule))
    encoder = encoder_of(clip)
    video = _video_network(i3d)
    given = {"truth": any(each.truth for each in candidates), "clip": encoder is not None, "loop": loop}
    given |= {"prompt": bool(prompt.strip()), "lpips": lpips != NONE, "i3d": video is not None}
    _check_measure(measure, options, given, any(each.series for each in candidates))
    # For motion, for CLIP, and for the video network.
    looks = 1 + (encoder is not None and "clip" in chosen) + (video is not None and "truth" in chosen)
    truths = {id(each.truth): each.truth for each in candidates if each.truth}
    loads = [each.load for each in candidates] + [truth.load for truth in truths.values()]
    frames = sum(len(load()) for load in loads)
    on_work = _telling(frames * looks)
    perceptual = None if lpips == NONE else partial(_perceptual, lpips)
    return evaluate(candidates, encoder=encoder, perceptual=perceptual, video=video, options=options, on_work=on_work)


def _check_measure(measure: str, options: MeasuringOptions, given: Mapping[Any, bool], has_series: bool) -> None:
    if measure == SERIES and not has_series:
        raise EvaluationError(NO_SERIES)
    if measure in METRICS and (
        why := lacks(METRICS[measure], options.groups, [need for need, is_given in given.items() if is_given])
    ):
        raise EvaluationError(
            f"{measure} is chosen and cannot be measured, for {why}. Give that, or choose another measure."
        )


def _telling(total: int) -> Callable[[int], None]:
    progress, done = work.Progress(total), 0

    def on_work(frames: int) -> None:
        nonlocal done
        done = min(total, done + frames)
        progress.update(done)

    on_work(0)
    return on_work


def _perceptual(trunk: str) -> Perceptual:
    places = folders.models_folders(LPIPS_KIND)
    place = next((place for place in places if place.is_dir()), places[0])
    return load_perceptual(place, trunk, place=managed)  # type: ignore[arg-type]  # it says which there are


def _video_network(name: str) -> VideoNetwork | None:
    """By its name in the folder of such networks: a path out of a workflow could lead to any program."""
    return None if name == NONE else load_video_network(folders.resolve_model(I3D_KIND, name), place=managed)


def candidate(name: str, images: Tensor, truth: TrueClip | None, series: Mapping[str, Sequence[float]]) -> Candidate:
    return Candidate(name=name, load=lambda: images, truth=truth, series=series)


def true_clip(images: Tensor | None, series: Mapping[str, Sequence[float]]) -> TrueClip | None:
    if images is None and series:
        raise EvaluationError("A series of the true clip is connected, and no true clip. Connect truth, too.")
    return None if images is None else TrueClip(name=TRUTH, load=lambda: images, series=series)


def named_series(name: str, values: Sequence[float] | float | None) -> dict[str, list[float]]:
    """The user's series, if there is one."""
    if values is None:
        return {}
    if not name.strip():
        raise EvaluationError("A series is connected, and series_name is empty. Give it a name.")
    listed = [values] if isinstance(values, float | int) else list(values)
    return {name.strip(): [_number(name.strip(), frame, value) for frame, value in enumerate(listed)]}


def _number(series: str, frame: int, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise EvaluationError(
            f"The series {series!r} has {value!r} for frame {frame}, which is no number. Give each frame one, NaN "
            "where it has none."
        ) from None


def chosen_metric(report: Report, measure: str) -> Metric:
    """The measure that a value of `measure_input` means."""
    if measure == MAIN:
        return metric_of(report.main)
    if measure == SERIES:
        own = [name for name in report.names if name not in METRICS]
        if not own:
            raise EvaluationError(NO_SERIES)
        return metric_of(own[0])
    if measure not in report.names:
        raise EvaluationError(
            f"{measure} was not measured. There are: {', '.join(report.names)}. Connect what it needs (a true clip, a "
            "CLIP, a prompt), or choose one of these."
        )
    return metric_of(measure)


def numbers_of(report: Report, clip: ClipReport, measure: str) -> tuple[float, list[float]]:
    """The mean and the values by frame of a clip."""
    name = chosen_metric(report, measure).name
    values = clip.metrics[name].per_frame if name in clip.metrics else ()
    return clip.mean(name), [math.nan if value is None else value for value in values]
