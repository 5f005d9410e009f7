"""A report as one page that needs nothing else: tables, curves that tell their values, frames, clips side by side."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .colours import colour_of
from .metrics import Metric, metric_of
from .report_curves import Curve, drawn

if TYPE_CHECKING:
    from .report import ClipReport, Report

SIDE_BY_SIDE = 8  # clips that play together; the frames of more would make the page too heavy to open
CURVES_TOGETHER = 8
EXTREMES = 3
STYLE = """
:root { color-scheme: light dark; --ink: #1d2125; --faint: #5c6470; --line: #d9dce0; --paper: #fff; --bar: #0072b233; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e9; --faint: #a2a9b3; --line: #3b4047; --paper: #17191c;
  --bar: #56b4e944; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper); }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; } .faint, small { color: var(--faint); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
thead th { vertical-align: bottom; } .best { font-weight: 700; background: var(--bar); }
.verdict { color: #d55e00; font-weight: 600; } .dot { display: inline-block; width: .7em; height: .7em;
  border-radius: 50%; margin-right: .4em; }
svg { width: 100%; height: auto; display: block; } svg text { font-size: 13px; fill: var(--faint); }
svg .axis { stroke: var(--faint); fill: none; } svg .grid { stroke: var(--line); }
.curves { position: relative; } .tip { position: absolute; pointer-events: none; background: var(--paper);
  border: 1px solid var(--line); border-radius: .3rem; padding: .3rem .6rem; font-size: 14px; display: none;
  box-shadow: 0 2px 8px #0003; z-index: 1; white-space: nowrap; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: 14px; }
.frames { display: flex; flex-wrap: wrap; gap: .8rem; } figure { margin: 0; } figcaption { font-size: 13px; }
.frames img { display: block; max-width: 224px; } .pair { display: flex; gap: 2px; }
.player { display: flex; flex-wrap: wrap; gap: 1rem; } .player img { width: 224px; display: block; background: #8883; }
.controls { display: flex; gap: .8rem; align-items: center; margin: .6rem 0; } input[type=range] { flex: 1; }
"""
SCRIPT = """
for (const box of document.querySelectorAll('.curves')) {
  const data = JSON.parse(box.querySelector('script').textContent), svg = box.querySelector('svg');
  const tip = box.querySelector('.tip'), line = box.querySelector('.cursor');
  const hide = () => { tip.style.display = 'none'; line.setAttribute('visibility', 'hidden'); };
  svg.addEventListener('pointerleave', hide);
  svg.addEventListener('pointermove', event => {
    const area = svg.getBoundingClientRect(), scale = data.width / area.width;
    const x = (event.clientX - area.left) * scale;
    let at = null;
    for (const curve of data.curves) for (const point of curve.points)
      if (at === null || Math.abs(point[1] - x) < Math.abs(at[1] - x)) at = point;
    if (at === null) return hide();
    tip.replaceChildren(Object.assign(document.createElement('b'), { textContent: 'frame ' + at[0] }));
    const rows = data.curves.map(curve => [curve, curve.points.find(point => point[0] === at[0])]);
    for (const [curve, point] of rows) if (point) {
      const row = document.createElement('div'), dot = document.createElement('span');
      dot.className = 'dot'; dot.style.background = curve.colour;
      row.append(dot, curve.name + ': ' + point[2]); tip.append(row);
    }
    line.setAttribute('x1', at[1]); line.setAttribute('x2', at[1]); line.setAttribute('visibility', 'visible');
    tip.style.display = 'block';
    const left = at[1] / scale + 14, room = area.width - tip.offsetWidth - 4;
    tip.style.left = Math.max(0, left > room ? at[1] / scale - tip.offsetWidth - 14 : left) + 'px';
    tip.style.top = Math.max(0, Math.min(event.clientY - area.top, area.height - tip.offsetHeight)) + 'px';
  });
}
for (const box of document.querySelectorAll('.playing')) {
  const clips = JSON.parse(box.querySelector('script').textContent), slider = box.querySelector('input');
  const images = [...box.querySelectorAll('img')], told = box.querySelector('.told');
  const button = box.querySelector('button');
  const most = Math.max(...clips.map(clip => clip.length));
  let timer = null;
  const show = share => clips.forEach((frames, number) => {
    const at = Math.round(share * (frames.length - 1));
    images[number].src = 'data:image/jpeg;base64,' + frames[at][1];
    if (number === 0) told.textContent = 'frame ' + frames[at][0];
  });
  slider.max = most - 1; slider.addEventListener('input', () => show(slider.value / Math.max(1, most - 1)));
  const stop = () => { clearInterval(timer); timer = null; button.textContent = 'Play'; };
  button.addEventListener('click', () => {
    if (timer) return stop();
    button.textContent = 'Stop';
    timer = setInterval(() => {
      slider.value = (+slider.value + 1) % most; show(slider.value / Math.max(1, most - 1));
    }, 125);
  });
  show(0);
}
"""


def page(report: Report) -> str:
    """The page as HTML."""
    title = "Evaluation" + (f" of {report.clips[0].name}" if len(report.clips) == 1 else "")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *(f"<p>{escape(sentence)}</p>" for sentence in report.summary()),
            *_settings(report),
            *_models(report),
            *_sets(report),
            *_clips(report),
            *_pairs(report),
            *_curves(report),
            *_side_by_side(report),
            *_extremes(report),
            *_meanings(report),
            f"<script>{SCRIPT}</script></body></html>\n",
        ]
    )


def _settings(report: Report) -> Iterator[str]:
    told = []
    if report.settings.get("clip_model"):
        told.append(f"CLIP is {report.settings['clip_model']}; numbers of another CLIP are not comparable.")
    if report.settings.get("prompt"):
        told.append(f"The prompt is: {report.settings['prompt']}")
    if report.settings.get("lpips"):
        told.append(f"{report.settings['lpips']}.")
    if told:
        yield f'<p class="faint">{escape(" ".join(told))}</p>'


def _models(report: Report) -> Iterator[str]:
    if len(report.models) < 2:
        return
    yield '<h2>Models</h2><p class="faint">Means over clips, with the interval in which 95 of 100 such sets of clips '
    yield "have theirs where there are three clips or more. The best of each column is marked.</p>"
    best = {
        name: _best([model.metrics[name].value for model in report.models if not model.failing], metric_of(name))
        for name in report.names
    }
    header = ["", "mean rank", *(_title(metric) for metric in report.metrics)]
    rows = []
    for model in report.models:
        rank = "-" if model.rank is None else f"{model.rank:.2f}"
        cells = [_cell(f"{_dot(_place(report, model.name))}{escape(model.name)}"), _cell(rank)]
        for name in report.names:
            mean = model.metrics[name]
            text = escape(_told(mean.value, metric_of(name)))
            if mean.low is not None and mean.high is not None:
                low, high = (_told(edge, metric_of(name)) for edge in (mean.low, mean.high))
                text += f"<br><small>{escape(low)} to {escape(high)}</small>"
            cells.append(_cell(text, "best" if mean.value == best[name] and not model.failing else ""))
        rows.append(cells)
    yield _table(header, rows)


def _sets(report: Report) -> Iterator[str]:
    rows = []
    for model in report.models:
        for name, distance in model.sets.items():
            baseline = "-" if distance.baseline is None else f"{distance.baseline:.4f}"
            cells = [model.name, name, f"{distance.value:.4f}", f"{distance.low:.4f} to {distance.high:.4f}", baseline]
            rows.append([_cell(escape(cell)) for cell in [*cells, str(distance.samples[0])]])
    if rows:
        yield "<h2>As sets</h2>"
        yield _table(["", "distance", "value", "95 % interval", "between halves of the truth", "clips"], rows)


def _clips(report: Report) -> Iterator[str]:
    yield "<h2>Clips</h2>"
    best = {
        name: _best([clip.mean(name) for clip in report.clips if not clip.verdict], metric_of(name))
        for name in report.names
    }
    rows = []
    for clip in report.clips:
        verdict = f' <span class="verdict">{escape(clip.verdict)}</span>' if clip.verdict else ""
        cells = [_cell(f"{escape(clip.name)}{verdict}")]
        for name in report.names:
            is_best = clip.mean(name) == best[name] and not clip.verdict and len(report.clips) > 1
            cells.append(_cell(escape(_told(clip.mean(name), metric_of(name))), "best" if is_best else ""))
        rows.append(cells)
    rows += _reference_rows(report)
    yield _table(["", *(_title(metric) for metric in report.metrics)], rows)


def _reference_rows(report: Report) -> list[list[str]]:
    """The true clips themselves, and what a copy of the first true frame would have."""
    rows = []
    for truth in dict.fromkeys(clip.truth for clip in report.clips if clip.truth):
        clip = next(clip for clip in report.clips if clip.truth == truth)
        for what, values in ((f"truth: {truth}", clip.truth_metrics), ("only its first frame", clip.floor)):
            means = [values[name].mean if name in values else None for name in report.names]
            told = [_told(mean, metric_of(name)) for mean, name in zip(means, report.names, strict=True)]
            rows.append([_cell(f'<span class="faint">{escape(text)}</span>') for text in [what, *told]])
    return rows


def _pairs(report: Report) -> Iterator[str]:
    pairs = [pair for pair in report.pairs if any(found.low is not None for found in pair.metrics.values())]
    if not pairs:
        return
    yield '<h2>Model against model</h2><p class="faint">By how much the first is above the second on the same clips, '
    yield "with the interval of the difference and how often chance alone makes one as large.</p>"
    names = list(dict.fromkeys(name for pair in pairs for name in pair.metrics))
    rows = []
    for pair in pairs:
        cells = [_cell(escape(f"{pair.one} against {pair.other}"))]
        for name in names:
            found = pair.metrics[name]
            text = f"{found.difference:+.4g}"
            if found.low is not None and found.high is not None and found.chance is not None:
                text += f"<br><small>{found.low:+.3g} to {found.high:+.3g}, p {found.chance:.2g}</small>"
            cells.append(_cell(text, "best" if found.is_certain else ""))
        rows.append(cells)
    yield _table(["", *(_title(metric_of(name)) for name in names)], rows)


def _curves(report: Report) -> Iterator[str]:
    yield "<h2>Over the frames</h2>"
    shown = report.clips[:CURVES_TOGETHER]
    if len(report.clips) > len(shown):
        yield f'<p class="faint">The first {len(shown)} of {len(report.clips)} clips.</p>'
    for metric in _main_first(report):
        curves = [
            _curve(clip.name, clip, clip.metrics[metric.name].per_frame, colour_of(number))
            for number, clip in enumerate(shown)
            if metric.name in clip.metrics and clip.metrics[metric.name].per_frame
        ]
        if not curves:
            continue
        for clip in shown[:1]:
            for name, values in (("truth", clip.truth_metrics), ("only the first frame", clip.floor)):
                if metric.name in values and values[metric.name].per_frame:
                    curves.append(_curve(name, clip, values[metric.name].per_frame, "#8a8f98", dashed=True))
        yield f'<h3>{_title(metric)}</h3><p class="faint">{escape(metric.meaning)}</p>{drawn(curves, metric)}'


def _main_first(report: Report) -> list[Metric]:
    return sorted(report.metrics, key=lambda metric: metric.name != report.main)


def _curve(name: str, clip: ClipReport, values: Sequence[float | None], colour: str, *, dashed: bool = False) -> Curve:
    return Curve(name, [(clip.frames[place], value) for place, value in enumerate(values)], colour, dashed)


def _side_by_side(report: Report) -> Iterator[str]:
    shown = report.clips[:SIDE_BY_SIDE]
    frames, figures = [], []
    first = shown[0]
    if first.true_shown is not None:
        frames.append(_embedded(first.true_shown.jpegs, first.true_frames))
        figures.append(f"truth: {first.truth}")
    for clip in shown:
        frames.append(_embedded(clip.shown.jpegs, clip.frames))
        figures.append(clip.name)
    yield '<h2>Side by side</h2><div class="playing"><div class="controls"><button>Play</button>'
    yield '<input type="range" min="0" value="0" aria-label="frame"><span class="told"></span></div>'
    yield '<div class="player">' + "".join(
        f'<figure><img alt=""><figcaption>{escape(name)}</figcaption></figure>' for name in figures
    )
    yield f'</div><script type="application/json">{_script(frames)}</script></div>'
    if len(report.clips) > len(shown):
        yield f'<p class="faint">The first {len(shown)} of {len(report.clips)} clips.</p>'


def _embedded(jpegs: dict[int, bytes], frames: Sequence[int]) -> list[tuple[int, str]]:
    return [(frames[place], base64.b64encode(jpeg).decode()) for place, jpeg in sorted(jpegs.items())]


def _extremes(report: Report) -> Iterator[str]:
    metric = metric_of(report.main)
    yield f'<h2>Best and worst frames</h2><p class="faint">By {escape(metric.title)}'
    yield ", the true frame beside each.</p>" if report.has_truth else ".</p>"
    for clip in report.clips[:SIDE_BY_SIDE]:
        values = clip.metrics[metric.name].per_frame if metric.name in clip.metrics else ()
        known = sorted(
            ((value, place) for place, value in enumerate(values) if value is not None and place in clip.shown.jpegs),
            reverse=metric.better != "lower",
        )
        places = dict.fromkeys(place for _, place in [*known[:EXTREMES], *known[-EXTREMES:]])
        if places:
            yield f'<h3>{escape(clip.name)}</h3><div class="frames">'
            yield from (_figure(clip, place, metric) for place in places)
            yield "</div>"


def _figure(clip: ClipReport, place: int, metric: Metric) -> str:
    images = [clip.shown.jpegs[place]]
    if clip.true_shown is not None and place in clip.true_shown.jpegs:
        images.append(clip.true_shown.jpegs[place])
    tags = "".join(f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(each).decode()}">' for each in images)
    words = f"frame {clip.frames[place]}: {_told(clip.metrics[metric.name].per_frame[place], metric)}"
    return f'<figure><div class="pair">{tags}</div><figcaption>{escape(words)}</figcaption></figure>'


def _meanings(report: Report) -> Iterator[str]:
    yield "<h2>What the numbers mean</h2><dl>"
    ways = {"higher": "Higher is better.", "lower": "Lower is better.", "neither": "Neither high nor low is good."}
    for metric in report.metrics:
        yield f'<dt><b>{escape(metric.title)}</b> <span class="faint">{escape(metric.name)}</span></dt>'
        yield f"<dd>{escape(metric.meaning)} {ways[metric.better]}</dd>"
    yield "</dl>"


def _best(values: Iterable[float], metric: Metric) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    if not finite or metric.better == "neither":
        return None
    return max(finite) if metric.better == "higher" else min(finite)


def _place(report: Report, model: str) -> int:
    """The place of a model's first clip, whose colour it has."""
    return next(number for number, clip in enumerate(report.clips) if clip.model == model)


def _dot(place: int) -> str:
    return f'<span class="dot" style="background:{colour_of(place)}"></span>' if place < CURVES_TOGETHER else ""


def _title(metric: Metric) -> str:
    return escape(f"{metric.title} {metric.arrow}".strip())


def _told(value: float | None, metric: Metric) -> str:
    from .report import told

    return told(value, metric)


def _cell(html: str, kind: str = "") -> str:
    return f'<td class="{kind}">{html}</td>' if kind else f"<td>{html}</td>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _script(data: Any) -> str:
    """JSON that cannot end the element that it stands in."""
    return json.dumps(data).replace("<", "\\u003c")
