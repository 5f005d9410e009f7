"""Measuring many clips: one after the other, so that memory holds one of them, and a bad one stops no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor

from . import distributions
from .clip_encoders import ClipEncoder
from .distributions import Distance
from .errors import EvaluationError
from .measuring import ClipMeasures, MeasuringOptions, OnWork, Tools, Truth, measure, nobody_waits
from .perceptual import Perceptual
from .report import ClipReport, Report
from .scenes import first_scenes
from .shown import MOST_CLIPS, Shown

EXTREMES = 3  # highest and lowest frames of a clip that are shown, by each measure

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
    perceptual: Perceptual | None = None,
    options: MeasuringOptions = MeasuringOptions(),
    on_clip: OnClip = nobody_listens,
    on_work: OnWork = nobody_waits,
) -> Report:
    """Measure every clip with what there is; what cannot be measured is told in the report."""
    _check(candidates)
    tools, notes = _tools(encoder, perceptual, options, on_work)
    reports = _Reports()
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
            reports.add(candidate, clip, truth, measured)
            gists.add(candidate, measured)
        except ValueError as error:  # what the user can be told; a mistake of ours ends the work
            failed.append((candidate.name, str(error)))
        on_clip(done, candidate.name)
    sets, of_sets = gists.distances()
    return Report(
        clips=tuple(reports.clips),
        failed=tuple(failed),
        notes=(*notes, *of_sets),
        settings=_settings(encoder, perceptual, options),
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
    encoder: ClipEncoder | None, perceptual: Perceptual | None, options: MeasuringOptions, on_work: OnWork
) -> tuple[Tools, list[str]]:
    """What measures need, made ready before any clip is read."""
    notes = []
    prompt = None
    if options.prompt.strip():
        if encoder is None:
            raise EvaluationError("A prompt is given and no CLIP to read it. Load CLIP, or leave the prompt out.")
        read = encoder.texts([options.prompt])
        prompt = read.features[0]
        if read.left_out[0]:
            notes.append(f"The prompt is longer than CLIP reads: its last {read.left_out[0]} tokens are left out.")
    if encoder is None and "clip" in options.groups:
        notes.append("There is no CLIP, so nothing is told of what the frames show.")
    return Tools(encoder, perceptual, prompt, on_work), notes


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


class _Reports:
    """What is told of each clip so far. Pictures are kept of those alone that a page shows, whatever their number."""

    def __init__(self) -> None:
        self.clips: list[ClipReport] = []
        self._pictured: dict[str, TrueClip | None] = {}  # by the clip's name

    def add(self, candidate: Candidate, clip: Tensor, truth: Truth | None, measured: ClipMeasures) -> None:
        told = _reported(candidate, measured)
        # The more clips a scene has, the fewer scenes are shown: one that is out does not come back.
        shown = {each.name for scene in first_scenes([*self.clips, told], MOST_CLIPS) for each in scene}
        for place, each in enumerate(self.clips):
            if each.name in self._pictured and each.name not in shown:
                self.clips[place] = replace(each, shown=None, true_shown=None)
                del self._pictured[each.name]
        if told.name in shown:
            extremes = _extremes(measured)
            own = Shown.of(clip, measured.frames, extremes)
            made = self._true_jpegs(candidate)
            true = Shown.of(truth.clip, measured.true_frames, extremes, made) if truth else None
            told = replace(told, shown=own, true_shown=true)
            self._pictured[told.name] = candidate.truth
        self.clips.append(told)

    def _true_jpegs(self, candidate: Candidate) -> dict[int, bytes]:
        """The frames of its true clip, by their numbers, that are kept for other clips already."""
        return {
            each.true_frames[place]: jpeg
            for each in self.clips
            if each.true_shown is not None and self._pictured[each.name] is candidate.truth
            for place, jpeg in each.true_shown.jpegs.items()
        }


def _reported(candidate: Candidate, measured: ClipMeasures) -> ClipReport:
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
        notes=measured.notes,
    )


def _extremes(measured: ClipMeasures) -> set[int]:
    """The places of the frames that are the highest and the lowest by some measure: any can be asked for."""
    places: set[int] = set()
    for values in measured.values.values():
        known = sorted((value, place) for place, value in enumerate(values.per_frame) if value is not None)
        places |= {place for _, place in [*known[:EXTREMES], *known[-EXTREMES:]]}
    return places


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


def _settings(
    encoder: ClipEncoder | None, perceptual: Perceptual | None, options: MeasuringOptions
) -> dict[str, object]:
    return {
        "clip_model": encoder.name if encoder else None,
        "lpips": perceptual.name if perceptual else None,
        "prompt": options.prompt,
        "groups": list(options.groups),
        "loop": options.loop,
        "alignment": asdict(options.alignment),
        "mean": "PSNR and all others are means of the frames' own values",
    }
