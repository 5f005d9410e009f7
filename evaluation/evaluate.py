"""Measuring many clips: one after the other, so that memory holds one of them, and a bad one stops no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from . import distributions
from .clip_encoders import ClipEncoder
from .distributions import Distance
from .errors import EvaluationError
from .measuring import ClipMeasures, MeasuringOptions, OnWork, Tools, Truth, measure, nobody_waits
from .perceptual import Perceptual
from .report import ClipReport, Report
from .shown import Shown

EXTREMES = 3  # best and worst frames of a clip that are shown

OnClip = Callable[[int, str], None]
"""Told after each clip how many are done, and its name; to cancel, it raises."""


def nobody_listens(done: int, name: str) -> None:
    """For work whose progress nobody wants to see."""


@dataclass(frozen=True, kw_only=True)
class TrueClip:
    """A clip that generated ones are held against. `load` gives it as (f h w c) in 0..1 when it is needed."""

    name: str
    load: Callable[[], Tensor]
    rate: float | None = None  # frames per second, where they are known
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)  # the user's own measures, by frame


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A clip to measure. `load` gives it as (f h w c) in 0..1 when its turn has come."""

    name: str
    load: Callable[[], Tensor]
    rate: float | None = None
    truth: TrueClip | None = None
    model: str = ""  # what made it; "" is its own name
    item: str = ""  # what it shows, by which clips of several models belong together; "" is the true clip's name
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)  # the user's own measures, by frame


def evaluate(
    candidates: Sequence[Candidate],
    *,
    encoder: ClipEncoder | None = None,
    perceptual: Callable[[], Perceptual] | None = None,
    options: MeasuringOptions = MeasuringOptions(),
    notes: Sequence[str] = (),
    on_clip: OnClip = nobody_listens,
    on_work: OnWork = nobody_waits,
) -> Report:
    """Measure every clip with what there is; what cannot be measured is told in the report.

    `perceptual` loads LPIPS, and is asked where it is of use. `notes` are told with those of the report.
    """
    _check(candidates)
    beside_truth = any(candidate.truth for candidate in candidates)
    tools, of_tools = _tools(encoder, perceptual, options, beside_truth, on_work)
    clips: list[ClipReport] = []
    failed: list[tuple[str, str]] = []
    gists = _Gists()
    truths = _Truths()
    for done, candidate in enumerate(candidates, 1):
        try:
            truth = truths.of(candidate.truth) if candidate.truth else None
            clip = candidate.load()
            measured = measure(
                clip,
                truth,
                tools,
                options,
                rate=candidate.rate,
                true_rate=candidate.truth.rate if candidate.truth else None,
                series=candidate.series,
            )
            clips.append(_reported(candidate, clip, truth, measured))
            gists.add(candidate, measured)
        except ValueError as error:  # what the user can be told; a mistake of ours ends the work
            failed.append((candidate.name, str(error)))
        on_clip(done, candidate.name)
    sets, of_sets = gists.distances()
    return Report(
        clips=tuple(clips),
        failed=tuple(failed),
        notes=(*notes, *of_tools, *of_sets),
        settings=_settings(tools, options),
        sets=sets,
    )


def _check(candidates: Sequence[Candidate]) -> None:
    if not candidates:
        raise EvaluationError("There is no clip to measure. Give one or more.")
    names = [candidate.name for candidate in candidates]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EvaluationError(f"Two clips are called {twice!r}. Give each a name of its own.")


def _tools(
    encoder: ClipEncoder | None,
    perceptual: Callable[[], Perceptual] | None,
    options: MeasuringOptions,
    beside_truth: bool,
    on_work: OnWork,
) -> tuple[Tools, list[str]]:
    """What measures need, made ready before any clip is read; and what is asked for and does nothing."""
    notes = []
    prompt = None
    if "clip" not in options.groups:
        encoder = None
        idle = [what for what, asked in (("prompt", options.prompt.strip()), ("loop", options.loop)) if asked]
        notes += [f"The {what} is not used: the group clip, whose measures need it, is off." for what in idle]
    elif options.prompt.strip():
        if encoder is None:
            raise EvaluationError("A prompt is given and no CLIP to read it. Load CLIP, or leave the prompt out.")
        read = encoder.texts([options.prompt])
        prompt = read.features[0]
        if read.left_out[0]:
            notes.append(f"The prompt is longer than CLIP reads: its last {read.left_out[0]} tokens are left out.")
    if encoder is None and "clip" in options.groups:
        so = ", nor of the loop" if options.loop else ""
        notes.append(f"There is no CLIP, so nothing is told of what the frames show{so}.")
    if perceptual is not None and not (beside_truth and "truth" in options.groups):
        why = "there is no true clip" if not beside_truth else "the group truth, to which it belongs, is off"
        notes.append(f"LPIPS is not used: {why}.")
        perceptual = None
    return Tools(encoder, perceptual() if perceptual else None, prompt, on_work), notes


class _Truths:
    """Keeps the last true clip, which the next clip is likely to be held against too."""

    def __init__(self) -> None:
        self._last: tuple[TrueClip, Truth] | None = None

    def of(self, source: TrueClip) -> Truth:
        if self._last is None or self._last[0] is not source:
            self._last = None  # so that two are never in memory
            try:
                self._last = source, Truth(source.load(), source.series)
            except ValueError as error:
                raise EvaluationError(f"The true clip {source.name} cannot be used: {error}") from error
        return self._last[1]


def _reported(candidate: Candidate, clip: Tensor, truth: Truth | None, measured: ClipMeasures) -> ClipReport:
    extremes = _extremes(measured)
    true_frames = list(measured.true_frames)
    return ClipReport(
        name=candidate.name,
        model=candidate.model or candidate.name,
        item=candidate.item or (candidate.truth.name if candidate.truth else ""),
        truth=candidate.truth.name if candidate.truth else "",
        frames=measured.frames,
        true_frames=measured.true_frames,
        metrics=measured.values,
        truth_metrics=measured.truth,
        floor=measured.floor,
        verdict=measured.verdict,
        order_is_told=measured.order_is_told,
        notes=measured.notes,
        shown=Shown.of(clip[list(measured.frames)], extremes),
        true_shown=Shown.of(truth.clip[true_frames], extremes) if truth else None,
    )


def _extremes(measured: ClipMeasures) -> list[int]:
    """The places of the frames that are the best and the worst by some measure that is likely to be drawn."""
    places: set[int] = set()
    for name in ("clip", "ssim", "clip_prompt", "clip_next", "warp_error_own"):
        values = measured.values[name].per_frame if name in measured.values else ()
        known = sorted((value, place) for place, value in enumerate(values) if value is not None)
        places |= {place for _, place in [*known[:EXTREMES], *known[-EXTREMES:]]}
    return sorted(places)


class _Gists:
    """One row of features a clip, by model, and those of the true clips."""

    def __init__(self) -> None:
        self._own: dict[str, list[Tensor]] = {}
        self._true: dict[str, list[Tensor]] = {}

    def add(self, candidate: Candidate, measured: ClipMeasures) -> None:
        if measured.gist is not None and measured.true_gist is not None:
            model = candidate.model or candidate.name
            self._own.setdefault(model, []).append(measured.gist)
            self._true.setdefault(model, []).append(measured.true_gist)

    def distances(self) -> tuple[dict[str, dict[str, Distance]], list[str]]:
        """For each model, where its clips are enough to mean anything."""
        found: dict[str, dict[str, Distance]] = {}
        notes = []
        for model, own in self._own.items():
            sets = torch.stack(own), torch.stack(self._true[model])
            if len(own) >= distributions.FEWEST_FOR_KERNEL:
                found[model] = {"kernel": distributions.kernel_with_interval(*sets)}
            if len(own) >= distributions.FEWEST_FOR_FRECHET:
                found[model]["frechet"] = distributions.frechet_with_interval(*sets)
        most = max(map(len, self._own.values()), default=0)
        if 1 < most < distributions.FEWEST_FOR_FRECHET:
            kernel = distributions.FEWEST_FOR_KERNEL
            notes.append(
                f"Distances between sets of clips are left out where they would be chance: there are {most} clips, the "
                f"kernel distance takes {kernel} and the Frechet distance {distributions.FEWEST_FOR_FRECHET}."
            )
        return found, notes


def _settings(tools: Tools, options: MeasuringOptions) -> dict[str, object]:
    return {
        "clip_model": tools.encoder.name if tools.encoder else None,
        "lpips": tools.perceptual.name if tools.perceptual else None,
        "prompt": options.prompt,
        "groups": list(options.groups),
        "loop": options.loop,
        "alignment": asdict(options.alignment),
        "mean": "PSNR and all others are means of the frames' own values",
    }
