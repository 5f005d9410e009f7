"""What an evaluation found: every clip with its measures, models with their means and ranks, as JSON and as a table."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from io import StringIO
from itertools import combinations
from typing import Any

from .distributions import Distance
from .errors import EvaluationError
from .measuring import REASONS, Measured
from .metrics import COLUMNS, METRICS, Metric, deciding, metric_of
from .shown import Shown
from .statistics import Comparison, Mean, compare, mean_with_interval, ranks

BESIDE = ("dynamic_degree", "progression")  # what is compared though it does not decide
MOST_PAIRS = 28  # of models that are held against each other: all of eight
MOST_MOTION = 3.0  # times as much as a winner's without a true clip, beside which its stillness may be what won
NAMED = 3  # clips that a sentence names where it is about more


@dataclass(frozen=True, kw_only=True)
class ClipReport:
    """One clip and what was measured of it."""

    name: str
    model: str
    item: str  # what it shows: clips of one item are held against each other
    truth: str  # the true clip's name, or ""
    frames: tuple[int, ...]  # those that were measured, by their numbers in the clip
    true_frames: tuple[int, ...]
    metrics: Mapping[str, Measured]
    truth_metrics: Mapping[str, Measured]  # of the true clip alone
    floor: Mapping[str, Measured]  # of a copy of the true first frame
    verdict: str
    notes: tuple[str, ...]
    shown: Shown | None = None  # pictures, which are kept of a few clips
    true_shown: Shown | None = None
    order_is_told: bool = True  # False for one so fast that it would look no different if it were shuffled

    def mean(self, name: str) -> float:
        """NaN where there is none."""
        measured = self.metrics.get(name)
        return math.nan if measured is None or measured.mean is None else measured.mean

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": self.model,
            "item": self.item,
            "truth": self.truth,
            "verdict": self.verdict,
            "notes": list(self.notes),
            "frames": list(self.frames),
            "true_frames": list(self.true_frames),
            "metrics": {name: _measured_json(measured) for name, measured in self.metrics.items()},
            "truth_metrics": {name: _measured_json(measured) for name, measured in self.truth_metrics.items()},
            "floor": {name: _measured_json(measured) for name, measured in self.floor.items()},
        }


def _measured_json(measured: Measured) -> dict[str, Any]:
    return {"mean": measured.mean, "per_frame": list(measured.per_frame)}


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """All clips of one model together."""

    name: str
    clips: int
    failing: int  # clips with a verdict
    metrics: Mapping[str, Mean]
    rank: float | None  # the mean over items and deciding measures, 1 is the best; None where nothing is to be ranked
    sets: Mapping[str, Distance]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two models on the clips of the items that both have."""

    one: str
    other: str
    metrics: Mapping[str, Comparison]


@dataclass(frozen=True, kw_only=True)
class Report:
    clips: tuple[ClipReport, ...]
    failed: tuple[tuple[str, str], ...] = ()  # (a clip's name, what is wrong with it in a sentence)
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)  # what the numbers depend on
    sets: Mapping[str, Mapping[str, Distance]] = field(default_factory=dict)  # by model, then by distance

    def __post_init__(self) -> None:
        if not self.clips:
            faults = " ".join(f"{name}: {fault}" for name, fault in self.failed[:3])
            raise EvaluationError(f"No clip could be measured. {faults}".strip())

    @cached_property
    def names(self) -> list[str]:
        """The measures that some clip has, in the order in which they are told."""
        found = dict.fromkeys(name for clip in self.clips for name in clip.metrics)
        return [*(name for name in METRICS if name in found), *(name for name in found if name not in METRICS)]

    @property
    def metrics(self) -> list[Metric]:
        return [metric_of(name) for name in self.names]

    @cached_property
    def has_truth(self) -> bool:
        return all(clip.truth for clip in self.clips)

    @cached_property
    def deciding(self) -> list[str]:
        return deciding(self.names, self.has_truth)

    @cached_property
    def main(self) -> str:
        """The measure that is drawn first; none that a frozen clip wins."""
        for name in ("clip", "ssim", "clip_prompt", *METRICS, *self.names):
            if name in self.names and any(clip.metrics[name].per_frame for clip in self.clips if name in clip.metrics):
                return name
        return self.names[0]

    @cached_property
    def models(self) -> list[ModelReport]:
        """From the best to the worst where they can be ranked."""
        by_model = self._by_model()
        placed = self._placed()
        found = [
            ModelReport(
                name=model,
                clips=len(clips),
                failing=sum(bool(clip.verdict) for clip in clips),
                metrics={name: mean_with_interval([clip.mean(name) for clip in clips]) for name in self.names},
                rank=math.fsum(placed[model]) / len(placed[model]) if placed[model] else None,
                sets=self.sets.get(model, {}),
            )
            for model, clips in by_model.items()
        ]
        return sorted(found, key=lambda model: math.inf if model.rank is None else model.rank)

    @cached_property
    def winner(self) -> str:
        """The model of the best rank; "" where there is none, or where it may not deserve it."""
        best = self._best
        return "" if best is None or self.doubt else best.name

    @cached_property
    def doubt(self) -> str:
        """Why the model of the best rank is not named the winner, in a sentence; "" where it is, or where none is."""
        best = self._best
        if best is None or self.has_truth:
            return ""
        first = f"{best.name} has the best mean rank, and no winner is named:"
        untold = [clip for clip in self._by_model()[best.name] if not clip.order_is_told]
        if 2 * len(untold) >= best.clips:
            return f"{first} it cannot be told whether its frames are in order."
        if "dynamic_degree" not in self.names:
            return ""
        degrees = {model.name: model.metrics["dynamic_degree"].value for model in self._sound()}
        own, most = degrees[best.name], max(degrees.values())
        if not most > MOST_MOTION * own:
            return ""
        name = next(name for name, degree in degrees.items() if degree == most)
        return (
            f"{first} {name} moves over {MOST_MOTION:g} times as much (dynamic degree {most:.4f} against {own:.4f}), "
            "and most of what is measured without a true clip likes stillness."
        )

    @property
    def _best(self) -> ModelReport | None:
        """The model of the best rank; None where there are not two, where two share it, or where its clips fail."""
        sound = self._sound()
        if not sound or sum(model.rank is not None for model in self.models) < 2:
            return None
        shared = len(sound) > 1 and abs(_rank(sound[1]) - _rank(sound[0])) < 1e-9
        return None if shared else sound[0]

    def _sound(self) -> list[ModelReport]:
        """The ranked models most of whose clips have no verdict."""
        return [model for model in self.models if model.rank is not None and 2 * model.failing < model.clips]

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every two models, the better ranked one first."""
        by_model = {model.name: self._by_item(model.name) for model in self.models}
        found = []
        for one, other in list(combinations(by_model, 2))[:MOST_PAIRS]:
            items = [item for item in by_model[one] if item in by_model[other]]
            if items:
                names = [*self.deciding, *(name for name in BESIDE if name in self.names)]
                compared = {}
                for name in names:
                    ours, theirs = ([_mean(by_model[model][item], name) for item in items] for model in (one, other))
                    compared[name] = compare(ours, theirs)
                found.append(Pair(one=one, other=other, metrics=compared))
        return found

    def summary(self) -> list[str]:
        """What a person should know first, in sentences."""
        told = []
        if self.winner:
            decisive = ", ".join(metric_of(name).title for name in self.deciding)
            told.append(f"{self.winner} has the best mean rank, by {decisive}.")
        elif len(self.models) > 1:
            told += self._without_winner()
        for verdict, names in _together((clip.name, clip.verdict) for clip in self.clips if clip.verdict).items():
            if len(names) == 1:
                told.append(f"{names[0]} {REASONS[verdict]}, so it is ranked last.")
            else:
                told.append(f"{self._listed(names)} are ranked last: each {REASONS[verdict]}.")
        told += [f"{name} could not be measured: {fault}" for name, fault in self.failed]
        told += self.notes
        noted = _together((clip.name, note) for clip in self.clips for note in clip.notes)
        return [*told, *(f"{self._listed(names)}: {note}" for note, names in noted.items())]

    def _without_winner(self) -> list[str]:
        """Why there is none, of several models."""
        if not self.deciding:
            return ["Nothing was measured by which models are ranked."]
        ranked = [model.name for model in self.models if model.rank is not None]
        alone = [model.name for model in self.models if model.rank is None]
        why = "shows what a clip of another does. Give clips that show the same the same name in each folder."
        if not ranked:
            return [f"The models are not compared, for no clip of one {why}"]
        told = [self.doubt or "No model is ahead of the others."]
        return [*told, f"{listed(alone)}: not compared, for no clip of theirs {why}"] if alone else told

    def _listed(self, names: Sequence[str]) -> str:
        return f"All {len(names)} clips" if 1 < len(names) == len(self.clips) else listed(names)

    def to_json(self) -> str:
        return json.dumps(self.record(), indent=1, allow_nan=False) + "\n"

    def record(self) -> dict[str, Any]:
        """The report as JSON holds it; numbers that cannot be told are null."""
        return {
            "settings": dict(self.settings),
            "winner": self.winner or None,
            "summary": self.summary(),
            "ranked_by": self.deciding,
            "metrics": {
                metric.name: {
                    "title": metric.title,
                    "better": metric.better,
                    "unit": metric.unit,
                    "meaning": metric.meaning,
                }
                for metric in self.metrics
            },
            "clips": [clip.to_json() for clip in self.clips],
            "failed": [{"name": name, "error": fault} for name, fault in self.failed],
            "models": [_without_nan(asdict(model)) for model in self.models],
            "comparisons": [_without_nan(asdict(pair)) for pair in self.pairs],
        }

    def to_csv(self) -> str:
        """A row for each clip's mean, and one for each of its frames."""
        text = StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow([*COLUMNS, *self.names])
        for clip in self.clips:
            means = [clip.metrics[name].mean if name in clip.metrics else None for name in self.names]
            table.writerow([clip.name, clip.model, clip.item, "mean", "", *map(_cell, means)])
            for place, frame in enumerate(clip.frames):
                true_frame = clip.true_frames[place] if clip.true_frames else ""
                row = [value_at(clip.metrics.get(name), place) for name in self.names]
                table.writerow([clip.name, clip.model, clip.item, frame, true_frame, *map(_cell, row)])
        return text.getvalue()

    def to_html(self) -> str:
        """A page that needs nothing else."""
        from .report_html import page

        return page(self)

    def _by_model(self) -> dict[str, list[ClipReport]]:
        by_model: dict[str, list[ClipReport]] = {}
        for clip in self.clips:
            by_model.setdefault(clip.model, []).append(clip)
        return by_model

    def _by_item(self, model: str) -> dict[str, list[ClipReport]]:
        by_item: dict[str, list[ClipReport]] = {}
        for clip in self._by_model()[model]:
            by_item.setdefault(clip.item, []).append(clip)
        return by_item

    def _placed(self) -> dict[str, list[float]]:
        """The ranks of each model's clips among those of the same item. One with a verdict comes last in everything."""
        placed: dict[str, list[float]] = {clip.model: [] for clip in self.clips}
        for item in dict.fromkeys(clip.item for clip in self.clips):
            rivals = [clip for clip in self.clips if clip.item == item]
            if len({clip.model for clip in rivals}) < 2:
                continue
            for name in self.deciding:
                higher = metric_of(name).better == "higher"
                values = [math.nan if clip.verdict else clip.mean(name) for clip in rivals]
                for clip, rank in zip(rivals, ranks(values, higher_is_better=higher), strict=True):
                    placed[clip.model].append(rank)
        return placed


def value_at(measured: Measured | None, place: int) -> float | None:
    """The value of a frame."""
    return measured.per_frame[place] if measured is not None and measured.per_frame else None


def told(value: float | None, metric: Metric) -> str:
    """A number as people read it."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value)
    # Cosines of what is much alike differ in the fourth place only.
    text = f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 10 else f"{value:.4f}"
    return f"{text} {metric.unit}".strip()


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, the first few of many."""
    if len(names) > NAMED + 1:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} others"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def fails(report: Report, floors: Mapping[str, float]) -> list[str]:
    """What falls short of a wanted value, in sentences: each measure's mean over all clips is held against it.

    A clip with a verdict falls short whatever its numbers, and so does one without a value.
    """
    found = []
    verdicts = _together((clip.name, clip.verdict) for clip in report.clips if clip.verdict) if floors else {}
    for verdict, names in verdicts.items():
        short = "falls short, whatever its numbers: it" if len(names) == 1 else "fall short, whatever the numbers: each"
        found.append(f"{listed(names)} {short} {REASONS[verdict]}.")
    for name, wanted in floors.items():
        if name not in report.names:
            known = ", ".join(report.names)
            raise EvaluationError(
                f"{name!r} was not measured, so it cannot fall short of {wanted:g}. There are: {known}."
            )
        metric = metric_of(name)
        without = [clip.name for clip in report.clips if not clip.verdict and not math.isfinite(clip.mean(name))]
        if without:
            short = "falls" if len(without) == 1 else "fall"
            found.append(f"{listed(without)} {short} short: {metric.title} ({name}) has no value there.")
        mean = _mean(report.clips, name)
        if math.isfinite(mean) and (mean > wanted if metric.better == "lower" else mean < wanted):
            side = "above" if metric.better == "lower" else "below"
            found.append(f"{metric.title} ({name}) is {told(mean, metric)} on average, {side} the wanted {wanted:g}.")
    return found


def _together(told: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """By what is told of them, the names of those of which it is told."""
    found: dict[str, list[str]] = {}
    for name, what in told:
        found.setdefault(what, []).append(name)
    return found


def _mean(clips: Sequence[ClipReport], name: str) -> float:
    """Over those that have a value; NaN where none has."""
    values = [clip.mean(name) for clip in clips if math.isfinite(clip.mean(name))]
    return math.fsum(values) / len(values) if values else math.nan


def _rank(model: ModelReport) -> float:
    return math.inf if model.rank is None else model.rank


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
