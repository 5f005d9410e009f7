"""A page that shows a run: its curves, its samples side by side, its settings. One file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ..media.files import written_beside
from .report_curves import Curve, averaged, drawn
from .run_folder import RunFolder

STEPS_SIDE_BY_SIDE = 8
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: #666; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .3rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }
td img { max-width: 16rem; display: block; } .note { color: #666; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } th, td { border-color: #444; } }
"""


def write_report(run: RunFolder) -> Path:
    """Write report.html, as the folder of the run now tells it."""
    path = run.path / "report.html"
    with written_beside(path) as draft:
        draft.write_text(report_of(run), encoding="utf-8", newline="\n")
    return path


def report_of(run: RunFolder) -> str:
    """The page as HTML."""
    description, entries = run.description(), list(run.entries())
    title = f"{run.path.resolve().name}: {description.get('method', 'a run')}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            _summary(entries, description),
            *_curves(entries),
            *_samples(run.samples()),
            _table("Settings", description.get("settings", {})),
            _table("Hashes", description.get("hashes", {})),
            _table("Versions", description.get("versions", {})),
            *_changes(description.get("changes", [])),
            "</body></html>\n",
        ]
    )


def _summary(entries: list[dict[str, Any]], description: Mapping[str, Any]) -> str:
    steps = [entry for entry in entries if "loss" in entry]
    if not steps:
        return '<p class="note">No step is done yet.</p>'
    wanted = description.get("settings", {}).get("steps", "?")
    hours = sum(entry["seconds"] for entry in steps) / 3600
    skipped = sum(entry["loss"] is None or entry["gradient_norm"] is None for entry in steps)
    words = f"{steps[-1]['step']} of {wanted} steps in {hours:.2f} hours, begun {description.get('began', '?')}."
    if skipped:
        words += f" In {skipped} of them the loss or its gradient was not a number; they were left out."
    return f"<p>{escape(words)}</p>"


def _curves(entries: list[dict[str, Any]]) -> Iterable[str]:
    losses = _curve("loss", ((entry["step"], entry["loss"]) for entry in entries if "loss" in entry))
    if losses.points:
        yield f"<h2>Loss</h2>\n{drawn([losses, averaged(losses)])}"
    validations = [entry for entry in entries if "validation" in entry]
    for name in dict.fromkeys(name for entry in validations for name in entry["validation"]):
        curve = _curve(name, ((entry["step"], entry["validation"].get(name)) for entry in validations))
        if curve.points:
            yield f"<h2>Validation: {escape(name)}</h2>\n{drawn([curve])}"
    rates = _curve("learning rate", ((entry["step"], entry["learning_rate"]) for entry in entries if "loss" in entry))
    if rates.points:
        yield f"<h2>Learning rate</h2>\n{drawn([rates])}"


def _curve(name: str, points: Iterable[tuple[int, float | None]]) -> Curve:
    return Curve(name, [(step, value) for step, value in points if value is not None])


def _samples(samples: Mapping[int, list[Path]]) -> Iterable[str]:
    if not samples:
        return
    steps = _spread(list(samples))
    names = dict.fromkeys(path.name for step in steps for path in samples[step])
    yield '<h2>Samples</h2><p class="note">The same noise at every step.</p><div class="scroll"><table>'
    yield "<tr><th></th>" + "".join(f"<th>step {step}</th>" for step in steps) + "</tr>"
    for name in names:
        cells = (_picture(path) for step in steps for path in [_named(name, samples[step])])
        yield f"<tr><th>{escape(Path(name).stem)}</th>{''.join(cells)}</tr>"
    yield "</table></div>"


def _spread(steps: list[int]) -> list[int]:
    """The first, the last, and some between: a page that embeds all of a long run would not open."""
    if len(steps) <= STEPS_SIDE_BY_SIDE:
        return steps
    last = STEPS_SIDE_BY_SIDE - 1
    return [steps[round(index * (len(steps) - 1) / last)] for index in range(STEPS_SIDE_BY_SIDE)]


def _named(name: str, paths: list[Path]) -> Path | None:
    return next((path for path in paths if path.name == name), None)


def _picture(path: Path | None) -> str:
    if path is None:
        return "<td></td>"
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<td><img alt="{escape(path.stem)}" src="data:image/webp;base64,{data}"></td>'


def _table(title: str, rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = (f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<h2>{escape(title)}</h2><table>{''.join(lines)}</table>"


def _changes(changes: list[Mapping[str, Any]]) -> Iterable[str]:
    if changes:
        yield "<h2>Changed on the way</h2><ul>"
        for change in changes:
            words = f"{change['at']}: {change['what']} from {change['before']} to {change['now']}"
            yield f"<li>{escape(words)}</li>"
        yield "</ul>"
