"""What an evaluation found: every clip with its measures, models with their means and ranks, as JSON and as a table."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from io import StringIO
from itertools import combinations
from typing import Any

from .distributions import Distance
from .errors import EvaluationError
from .measuring import STANDS_STILL, Measured
from .metrics import METRICS, Metric, deciding, metric_of
from .shown import Shown
from .statistics import Comparison, Mean, compare, mean_with_interval, ranks

BESIDE = ("dynamic_degree", "progression")  # what is compared though it does not decide
MOST_PAIRS = 28  # of models that are held against each other: all of eight


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
        found = {name for clip in self.clips for name in clip.metrics}
        order = list(dict.fromkeys(name for clip in self.clips for name in clip.metrics))
        return [name for name in order if name in found]

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
        """The model of the best rank; "" where there are not two, where two share it, or where its clips fail."""
        ranked = [model for model in self.models if model.rank is not None]
        sound = [model for model in ranked if 2 * model.failing < model.clips]
        if len(ranked) < 2 or not sound:
            return ""
        best = sound[0]
        shared = any(model is not best and abs(_rank(model) - _rank(best)) < 1e-9 for model in sound)
        return "" if shared else best.name

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every two models, the better ranked one first."""
        by_model = {model.name: {clip.item: clip for clip in self._by_model()[model.name]} for model in self.models}
        found = []
        for one, other in list(combinations(by_model, 2))[:MOST_PAIRS]:
            items = [item for item in by_model[one] if item in by_model[other]]
            if items:
                names = [*self.deciding, *(name for name in BESIDE if name in self.names)]
                compared = {}
                for name in names:
                    ours, theirs = ([by_model[model][item].mean(name) for item in items] for model in (one, other))
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
            told.append("No model is ahead of the others.")
        for clip in self.clips:
            if clip.verdict:
                why = "little or nothing in it moves" if clip.verdict == STANDS_STILL else "neighbours are hardly alike"
                told.append(f"{clip.name} {_as_verb(clip.verdict)}: {why}, so it is ranked last.")
        told += [f"{name} could not be measured: {fault}" for name, fault in self.failed]
        return [*told, *self.notes]

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
        table.writerow(["name", "model", "item", "frame", "true_frame", *self.names])
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

    def _placed(self) -> dict[str, list[float]]:
        """The ranks of each model's clips among those of the same item. One with a verdict comes last in everything."""
        placed: dict[str, list[float]] = {clip.model: [] for clip in self.clips}
        for item in dict.fromkeys(clip.item for clip in self.clips):
            rivals = [clip for clip in self.clips if clip.item == item]
            if len(rivals) < 2:
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


def fails(report: Report, floors: Mapping[str, float]) -> list[str]:
    """What falls short of a wanted value, in sentences: each measure's mean over all clips is held against it."""
    found = []
    for name, wanted in floors.items():
        if name not in report.names:
            known = ", ".join(report.names)
            raise EvaluationError(
                f"{name!r} was not measured, so it cannot fall short of {wanted:g}. There are: {known}."
            )
        metric = metric_of(name)
        values = [clip.mean(name) for clip in report.clips if math.isfinite(clip.mean(name))]
        mean = math.fsum(values) / len(values) if values else math.nan
        short = not mean <= wanted if metric.better == "lower" else not mean >= wanted
        if short:
            side = "above" if metric.better == "lower" else "below"
            found.append(f"{metric.title} ({name}) is {told(mean, metric)} on average, {side} the wanted {wanted:g}.")
    return found


def _as_verb(verdict: str) -> str:
    return verdict if verdict == STANDS_STILL else f"is {verdict}"


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
