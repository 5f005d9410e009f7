"""All measures of one clip, with or without the true one.

Axes: f frames, h height, w width, c channels, d CLIP channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..media.pictures import check_clip, content_digest, not_a_number, to_bytes
from . import motion, pixels, similarities
from .alignment import AlignmentOptions, align
from .clip_encoders import ClipEncoder
from .errors import EvaluationError
from .metrics import COLUMNS, GROUPS, METRICS
from .perceptual import Perceptual
from .video_networks import VideoNetwork

STILL = 0.002  # of the shorter side: half a pixel of 256; a dynamic degree below it is none
STILL_SHARE, ORDER_SHARE = 0.25, 0.5  # of the true clip's dynamic degree and progression, below which a clip fails
LEAST_PROGRESSION = 0.25  # of a true clip, below which it is too fast for its progression to be told
MOST_TURNS = 0.3  # more than the true clip has, or than none
LEAST_FOLLOWED = 0.6  # of the pixels, which can be followed from frame to frame of a clip that goes on, though fast
LEAST_COVERED = 0.75  # of the truth's time
LONGEST_REST = 0.25  # of the steps, for which a clip may stand still longer at a time than the true one
STANDS_STILL, OUT_OF_ORDER, TOO_SHORT = "stands still", "out of order", "too short"
REASONS = {  # what verdicts mean, in words that go on "CLIP ..."
    STANDS_STILL: "stands still: little or nothing in it moves",
    OUT_OF_ORDER: "is out of order: neighbours are hardly alike",
    TOO_SHORT: f"is too short: less than {LEAST_COVERED:.0%} of the truth has a frame of it beside it",
}

Values = tuple[float | None, ...]
OnWork = Callable[[int], None]
"""Told of frames as they are looked at, how many of them; to cancel, it raises."""


def nobody_waits(frames: int) -> None:
    """For work whose progress nobody wants to see."""


@dataclass(frozen=True)
class Measured:
    """One measure of one clip."""

    mean: float | None  # None where it cannot be told
    per_frame: Values = ()  # None for frames that have none, as the first has none of the steps to a frame; () for all


@dataclass(frozen=True, kw_only=True)
class MeasuringOptions:
    groups: tuple[str, ...] = tuple(GROUPS)
    loop: bool = False  # an orbit, whose last frame is a neighbour of the first
    prompt: str = ""
    alignment: AlignmentOptions = field(default_factory=AlignmentOptions)

    def __post_init__(self) -> None:
        unknown = [group for group in self.groups if group not in GROUPS]
        if unknown or not self.groups:
            raise EvaluationError(
                f"{', '.join(unknown) or 'Nothing'} is no group of measures. Choose of {', '.join(GROUPS)}."
            )


@dataclass(frozen=True)
class Tools:
    """What measures need beside the clips."""

    encoder: ClipEncoder | None = None
    perceptual: Perceptual | None = None
    video: VideoNetwork | None = None
    prompt: Tensor | None = None  # (d) of `MeasuringOptions.prompt`
    on_work: OnWork = nobody_waits


@dataclass(frozen=True)
class ClipMeasures:
    """What was measured of a clip, and what of it is worth a sentence."""

    values: Mapping[str, Measured]
    truth: Mapping[str, Measured]  # the measures of the true clip alone, over the frames that are compared
    floor: Mapping[str, Measured]  # what a copy of the true first frame would have
    notes: tuple[str, ...]
    verdict: str  # "" or one of REASONS: such a clip never wins
    order_is_told: bool  # False for a clip so fast that a shuffled one would look no different
    frames: tuple[int, ...]  # those that are measured, by their numbers in the clip
    true_frames: tuple[int, ...]
    # (d) of the clip and of the true one, by the measure of the network that saw both: "clip" is the mean of CLIP's
    # features, "i3d" those of the video network. By these, sets of clips are held against each other.
    gists: Mapping[str, tuple[Tensor, Tensor]]


def checked(clip: Tensor, what: str = "The clip") -> Tensor:
    """Give the colours (f h w 3) of a clip in 0..1, or say what it is instead."""
    check_clip(clip)
    clip = clip[..., :3].float()
    for number, frame in enumerate(clip):
        if not frame.isfinite().all():
            if frame.isnan().any():
                raise not_a_number(number)
            raise EvaluationError(f"Frame {number} of {what.lower()} holds infinity, which is no colour.")
    lowest, highest = clip.min().item(), clip.max().item()
    if lowest < -0.1 or highest > 1.1:
        raise EvaluationError(
            f"{what} has values from {lowest:.3g} to {highest:.3g}, but 0 is black and 1 is white. Divide bytes by 255."
        )
    return clip.clamp(0, 1).expand(-1, -1, -1, 3)


class Seen:
    """A (f h w c) clip, and what is found in it, each but once."""

    def __init__(self, clip: Tensor, tools: Tools) -> None:
        self.clip = clip
        self._tools = tools

    @cached_property
    def small(self) -> Any:
        return motion.shrunk(self.clip)

    @cached_property
    def flows(self) -> list[Any]:
        found = []
        for flow in motion.flows(self.small):
            found.append(flow)
            self._tools.on_work(1)
        return found

    @cached_property
    def lab(self) -> Tensor:
        return pixels.mean_lab(self.clip)

    @cached_property
    def features(self) -> Tensor:
        """(f d)"""
        assert self._tools.encoder is not None
        done = 0

        def on_frames(seen: int) -> None:
            nonlocal done
            self._tools.on_work(seen - done)
            done = seen

        return self._tools.encoder.frames(to_bytes(self.clip), on_frames)

    @cached_property
    def whole(self) -> Tensor:
        """(d) what the video network finds."""
        assert self._tools.video is not None
        found = self._tools.video(self.clip)
        self._tools.on_work(len(self.clip))
        return found


class Truth:
    """A true (f h w c) clip, which is measured once for all clips that are held against the same frames of it."""

    def __init__(self, clip: Tensor, series: Mapping[str, Sequence[float]] | None = None) -> None:
        self.clip = checked(clip, "The truth")
        self.series = series or {}
        _check_series(self.series, len(self.clip), "true clip")
        self._seen: tuple[tuple[int, ...], Seen, dict[str, Measured]] | None = None

    @cached_property
    def digest(self) -> bytes:
        return content_digest(to_bytes(self.clip))

    def measured(
        self, frames: Sequence[int], tools: Tools, options: MeasuringOptions
    ) -> tuple[Seen, dict[str, Measured]]:
        """Some of its frames, by their numbers, and what can be told of them alone."""
        key = tuple(frames)
        if self._seen is None or self._seen[0] != key:
            seen = Seen(self.clip[list(frames)], tools)
            self._seen = key, seen, _alone(seen, tools, options) | _series(self.series, frames)
        return self._seen[1:]


def measure(
    clip: Tensor,
    truth: Truth | None,
    tools: Tools,
    options: MeasuringOptions = MeasuringOptions(),
    *,
    rate: float | None = None,
    true_rate: float | None = None,
    series: Mapping[str, Sequence[float]] | None = None,
) -> ClipMeasures:
    """Measure a (f h w c) clip in 0..1, against the true one where there is one.

    `series` are the user's own measures, with a value for each frame.
    """
    clip = checked(clip)
    _check_series(series or {}, len(clip), "clip")  # before anything that takes long
    aligned = align(clip, truth.clip, options.alignment, rate=rate, true_rate=true_rate) if truth else None
    frames = tuple(aligned.frames if aligned else range(len(clip)))
    own = Seen(aligned.clip if aligned else clip, tools)
    values = _alone(own, tools, options)
    true: Seen | None = None
    true_values: dict[str, Measured] = {}
    floor: dict[str, Measured] = {}
    if truth and aligned:
        true, true_values = truth.measured(aligned.true_frames, tools, options)
        values |= _against(own, true, tools, options)
        floor = _floor(true, values)
    values |= _series(series or {}, frames)
    # Of one frame no motion can be told, and to look like the true clip's first one is easily had.
    unmoved = len(frames) == 1 and (truth is None or len(truth.clip) > 1)
    verdict = STANDS_STILL if unmoved else _verdict(values, true_values, aligned.covered if aligned else 1.0)
    order_is_told = _order_is_told(own, values)
    notes = [*(aligned.notes if aligned else ()), *_notes(own.clip, aligned is not None, tools, options)]
    if aligned is None and not verdict and not order_is_told:
        notes.append("It cannot be told whether its frames are in order: none is like another, nor can be followed.")
    order = [*METRICS, *(name for name in values if name not in METRICS)]
    return ClipMeasures(
        values={name: values[name] for name in order if name in values},
        truth=true_values,
        floor=floor,
        notes=tuple(notes),
        verdict=verdict,
        order_is_told=order_is_told,
        frames=frames,
        true_frames=tuple(aligned.true_frames) if aligned else (),
        gists=_gists(own, true, values) if true else {},
    )


def _alone(seen: Seen, tools: Tools, options: MeasuringOptions) -> dict[str, Measured]:
    """What can be told of a clip by itself."""
    clip = seen.clip
    found: dict[str, Measured] = {}
    # Whatever else is asked for: a clip that stands still, or is in no order, must be seen for what it is.
    found["progression"] = Measured(_finite(pixels.progression(clip)))
    found["turns"] = Measured(_finite(pixels.turns(clip)))
    if len(clip) > 1:
        degrees = motion.dynamic_degree(seen.flows)
        moves = [degree >= STILL for degree in degrees]
        found["dynamic_degree"] = _of(degrees, before=1)
        found["still_steps"] = Measured(1 - sum(moves) / len(moves))
        if "motion" in options.groups:
            errors = motion.warp_error(seen.small, seen.flows)
            # A step in which nothing moves has no error, which is no merit.
            moving = [error if moved else math.nan for error, moved in zip(errors, moves, strict=True)]
            found["warp_error_own"] = _of(moving, before=1)
    if "looks" in options.groups:
        found["sharpness"] = _of(pixels.sharpness(clip))
        found["colour_drift"] = _of(pixels.colour_drift(seen.lab))
        if len(clip) > 1:
            found["steadiness"] = _of(pixels.steadiness(clip), before=1)
        if len(clip) > 2:
            found["jitter"] = _of(pixels.jitter(clip), before=1, behind=1)
            found["brightness_flicker"] = _of(pixels.brightness_flicker(clip), before=1, behind=1)
    if "clip" in options.groups and tools.encoder is not None:
        found |= _of_features(seen.features, tools.prompt, options.loop)
    return found


def _of_features(features: Tensor, prompt: Tensor | None, loop: bool) -> dict[str, Measured]:
    found: dict[str, Measured] = {}
    if prompt is not None:
        found["clip_prompt"] = _of(similarities.to_prompt(features, prompt))
    if len(features) > 1:
        found["clip_next"] = _of(similarities.to_next(features), before=1)
        found["clip_first"] = _of(similarities.to_first(features), before=1)
    if loop and len(features) > 2:
        found["clip_loop"] = _of(similarities.around_loop(features))
        found["loop_seam"] = Measured(_finite(similarities.loop_seam(features)))
    return found


def _against(own: Seen, true: Seen, tools: Tools, options: MeasuringOptions) -> dict[str, Measured]:
    """What can be told of a clip beside the true one."""
    found = {}
    if "truth" in options.groups:
        found["psnr"] = _of(pixels.psnr(own.clip, true.clip))
        if min(own.clip.shape[1:3]) >= pixels.SSIM_WINDOW:
            found["ssim"] = _of(pixels.ssim(own.clip, true.clip))
        found["colour_error"] = _of(pixels.colour_error(own.lab, true.lab))
        if tools.perceptual is not None and min(own.clip.shape[1:3]) >= tools.perceptual.smallest_side:
            found["lpips"] = _of(tools.perceptual(own.clip, true.clip))
        if tools.video is not None and len(own.clip) >= tools.video.fewest:
            found["i3d"] = Measured(_finite(F.cosine_similarity(own.whole, true.whole, dim=0).item()))
    if "clip" in options.groups and tools.encoder is not None:
        found["clip"] = _of(similarities.to_truth(own.features, true.features))
    if "motion" in options.groups and len(own.clip) > 1:
        found["warp_error"] = _of(motion.warp_error(own.small, true.flows), before=1)
    return found


def _gists(own: Seen, true: Seen, values: Mapping[str, Measured]) -> dict[str, tuple[Tensor, Tensor]]:
    """What the whole clips are to the networks that saw both."""
    found = {}
    if "clip" in values:
        found["clip"] = own.features.mean(0), true.features.mean(0)
    if "i3d" in values:
        found["i3d"] = own.whole, true.whole
    return found


def _floor(true: Seen, values: Mapping[str, Measured]) -> dict[str, Measured]:
    """What a clip would have that only repeats the true first frame: a model has to be above it."""
    found = {}
    if "clip" in values:
        found["clip"] = _of(true.features @ true.features[0])
    if "psnr" in values:
        found["psnr"] = _of(pixels.psnr(true.clip[:1].expand_as(true.clip), true.clip))
    return found


def _of(values: Tensor | Sequence[float], before: int = 0, behind: int = 0) -> Measured:
    """The mean of those that are numbers; frames before and behind those that have a value have none."""
    listed = [_finite(float(value)) for value in values]
    numbers = [value for value in listed if value is not None]
    mean = math.fsum(numbers) / len(numbers) if numbers else None
    return Measured(mean, (*[None] * before, *listed, *[None] * behind))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _check_series(series: Mapping[str, Sequence[float]], count: int, what: str) -> None:
    for name, values in series.items():
        if name in METRICS:
            raise EvaluationError(f"A series is called {name!r}, as a measure of ours is. Choose another name.")
        if name in COLUMNS:
            raise EvaluationError(f"A series is called {name!r}, as a column of the table is. Choose another name.")
        if len(values) != count:
            raise EvaluationError(
                f"The series {name!r} has {len(values)} values and the {what} {count} frames. Give each frame one."
            )


def _series(series: Mapping[str, Sequence[float]], frames: Sequence[int]) -> dict[str, Measured]:
    return {name: _of([values[number] for number in frames]) for name, values in series.items()}


def _notes(clip: Tensor, beside_truth: bool, tools: Tools, options: MeasuringOptions) -> list[str]:
    notes = []
    if len(clip) == 1:
        notes.append("There is one frame, so nothing between frames is measured.")
    side = min(clip.shape[1:3])
    if beside_truth and "truth" in options.groups:
        if side < pixels.SSIM_WINDOW:
            notes.append(f"SSIM is left out: the picture is smaller than its windows of {pixels.SSIM_WINDOW} pixels.")
        if tools.perceptual is not None and side < tools.perceptual.smallest_side:
            notes.append(
                f"LPIPS is left out: with {tools.perceptual.trunk} it sees no picture below "
                f"{tools.perceptual.smallest_side} pixels."
            )
        if tools.video is not None and len(clip) < tools.video.fewest:
            notes.append(
                f"I3D is left out: {len(clip)} frames are compared, and {tools.video.name} takes {tools.video.fewest} "
                "or more."
            )
    return notes


def _order_is_told(own: Seen, values: Mapping[str, Measured]) -> bool:
    """Whether a clip that moves would be seen to be out of order if it were."""
    if _mean(values, "progression") is None or _mean(values, "turns") is not None:
        return True
    return motion.followed(own.flows) >= LEAST_FOLLOWED


def _verdict(values: Mapping[str, Measured], truth: Mapping[str, Measured], covered: float) -> str:
    """Why a clip must not win, whatever its other numbers: without motion, and without order, most are easily had.

    So they are near the first frame, which many a model is given: a clip that ends there must not win either.
    """
    degree, true_degree = (_mean(each, "dynamic_degree") for each in (values, truth))
    if degree is not None:
        least = STILL if true_degree is None else STILL_SHARE * true_degree if true_degree > STILL else 0.0
        if degree < least or _longest_rest(values) > _longest_rest(truth) + LONGEST_REST:
            return STANDS_STILL
    turns, true_turns = (_mean(each, "turns") for each in (values, truth))
    if turns is not None and turns > (true_turns or 0.0) + MOST_TURNS:
        return OUT_OF_ORDER
    order, true_order = (_mean(each, "progression") for each in (values, truth))
    if order is not None and (true_order or 0) >= LEAST_PROGRESSION and order < ORDER_SHARE * (true_order or 0):
        return OUT_OF_ORDER
    return TOO_SHORT if covered < LEAST_COVERED else ""


def _longest_rest(values: Mapping[str, Measured]) -> float:
    """The longest run of steps in which nothing moves, as a share of all."""
    if "dynamic_degree" not in values:
        return 0.0
    steps = [degree for degree in values["dynamic_degree"].per_frame if degree is not None]
    runs = [len(list(run)) for still, run in groupby(steps, key=lambda degree: degree < STILL) if still]
    return max(runs, default=0) / len(steps)


def _mean(values: Mapping[str, Measured], name: str) -> float | None:
    return values[name].mean if name in values else None
