"""A report as text, for where there is no room for pictures."""

from __future__ import annotations

from collections.abc import Iterator

from .metrics import METRICS, metric_of
from .report import Report, told

LONGEST_NAME = 32


def as_text(report: Report) -> str:
    """A line for each clip, then a table of the models, then what is worth a sentence."""
    beside = [name for name in report.names if name == "dynamic_degree" or name not in METRICS]
    names = [*report.deciding, *beside]
    lines = []
    for clip in report.clips:
        numbers = ", ".join(f"{name} {told(clip.mean(name), metric_of(name))}" for name in names)
        lines.append(f"{clip.name}: {numbers}" + (f" ({clip.verdict})" if clip.verdict else ""))
    rows = [["", "rank", *names]]
    for model in report.models:
        rank = "-" if model.rank is None else f"{model.rank:.2f}"
        means = [told(model.metrics[name].value, metric_of(name)) for name in names]
        rows.append([model.name[-LONGEST_NAME:], rank, *means])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines.append("")
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join([*lines, "", *_sets(report), *report.summary()]).rstrip() + "\n"


def _sets(report: Report) -> Iterator[str]:
    """A line for each distance between a model's clips and the true ones, with the network that it is by."""
    for model in report.models:
        for name, distance in model.sets.items():
            own, true = distance.samples
            numbers = f"{distance.value:.4g} ({distance.low:.4g} to {distance.high:.4g})"
            yield f"{model.name}: {name} {numbers}, {own} clips to {true} true ones, by {distance.network}"
