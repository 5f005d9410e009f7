"""Measuring many clips: one after the other, so that memory holds one of them, and a bad one stops no other."""

from __future__ import annotations

from collections import Counter
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
from .video_networks import VideoNetwork

EXTREMES = 3  # highest and lowest frames of a clip that are shown, by each measure
NAMED = 3  # models in a note on why a distance is left out

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
    video: VideoNetwork | None = None,
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
    tools, of_tools = _tools(encoder, perceptual, video, options, beside_truth, on_work)
    reports = _Reports()
    failed: list[tuple[str, str]] = []
    gists = _Gists(tools, options)
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
            if truth is not None:
                gists.add(candidate.model or candidate.name, truth, measured)
        except ValueError as error:  # what the user can be told; a mistake of ours ends the work
            failed.append((candidate.name, str(error)))
        on_clip(done, candidate.name)
    sets, of_sets = gists.distances()
    return Report(
        clips=tuple(reports.clips),
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
    video: VideoNetwork | None,
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
    if not (beside_truth and "truth" in options.groups):
        why = "there is no true clip" if not beside_truth else "the group truth, to which it belongs, is off"
        idle = [name for name, tool in (("LPIPS", perceptual), ("I3D", video)) if tool is not None]
        notes += [f"{name} is not used: {why}." for name in idle]
        perceptual, video = None, None
    return Tools(encoder, perceptual() if perceptual else None, video, prompt, on_work), notes


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
        order_is_told=measured.order_is_told,
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
    """Of every network a row of features for each clip, by model, and one for each different true clip."""

    def __init__(self, tools: Tools, options: MeasuringOptions) -> None:
        self._networks = {
            "clip": tools.encoder.name if tools.encoder else "",
            "i3d": tools.video.name if tools.video else "",
        }
        self._fewest = tools.video.fewest if tools.video and "truth" in options.groups else 0
        self._own: dict[str, dict[str, list[Tensor]]] = {}
        # A true clip that several clips are held against, or that lies there twice, is one sample and not many.
        self._true: dict[str, dict[str, dict[bytes, Tensor]]] = {}
        self._too_short: Counter[str] = Counter()

    def add(self, model: str, truth: Truth, measured: ClipMeasures) -> None:
        for seen_by, (own, true) in measured.gists.items():
            self._own.setdefault(seen_by, {}).setdefault(model, []).append(own)
            self._true.setdefault(seen_by, {}).setdefault(model, {}).setdefault(truth.digest, true)
        if len(measured.frames) < self._fewest:
            self._too_short[model] += 1

    def distances(self) -> tuple[dict[str, dict[str, Distance]], list[str]]:
        """For each model those that mean anything, and why others are left out."""
        found: dict[str, dict[str, Distance]] = {}
        notes = []
        for seen_by, models in self._own.items():
            chance = []
            for model, rows in models.items():
                sets = torch.stack(rows), torch.stack(list(self._true[seen_by][model].values()))
                for name, distance in _distances(*sets).items():
                    named = replace(distance, network=self._networks[seen_by])
                    found.setdefault(model, {})[f"{name}_{seen_by}"] = named
                if len(rows) > 1 and min(map(len, sets)) < distributions.FEWEST_FOR_FRECHET:
                    chance.append(f"{model} has {len(sets[0])} clips and {len(sets[1])} different true ones")
            if chance:
                more = f" and {len(chance) - NAMED} models more have too few" if len(chance) > NAMED else ""
                notes.append(
                    f"Distances between sets of clips by {self._networks[seen_by]} are left out where they would be "
                    f"chance: {', '.join(chance[:NAMED])}{more}. The kernel distance takes "
                    f"{distributions.FEWEST_FOR_KERNEL} or more of each, the Frechet distance "
                    f"{distributions.FEWEST_FOR_FRECHET}."
                )
        if self._too_short:
            short = ", ".join(f"{count} of {model}" for model, count in self._too_short.items())
            notes.append(
                f"{self._networks['i3d']} takes {self._fewest} frames or more, so shorter clips are left out of what "
                f"it tells: {short}."
            )
        return found, notes


def _distances(own: Tensor, true: Tensor) -> dict[str, Distance]:
    """Those of (n d) and (m d) samples for which there are enough on both sides."""
    found = {}
    if min(len(own), len(true)) >= distributions.FEWEST_FOR_KERNEL:
        found["kernel"] = distributions.kernel_with_interval(own, true)
    if min(len(own), len(true)) >= distributions.FEWEST_FOR_FRECHET:
        found["frechet"] = distributions.frechet_with_interval(own, true)
    return found


def _settings(tools: Tools, options: MeasuringOptions) -> dict[str, object]:
    return {
        "clip_model": tools.encoder.name if tools.encoder else None,
        "lpips": tools.perceptual.name if tools.perceptual else None,
        "i3d": tools.video.name if tools.video else None,
        "prompt": options.prompt,
        "groups": list(options.groups),
        "loop": options.loop,
        "alignment": asdict(options.alignment),
        "mean": "PSNR and all others are means of the frames' own values",
    }
