"""A report as one page that needs nothing else: tables, curves that tell their values, frames, clips side by side."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from . import report_intervals
from .colours import colour_of
from .metrics import METRICS, Metric, metric_of
from .report_curves import Curve, drawn, values_of
from .scenes import first_scenes
from .shown import MOST_CLIPS, Shown

if TYPE_CHECKING:
    from .measuring import Measured
    from .report import ClipReport, Report

EXTREMES = 3
SEVERAL_WIDTH = 560  # pixels of a graph that stands beside another one
REFERENCES = (("truth", "4 5"), ("only the first frame", "1 6"))  # what clips are held against, and its dashes
REFERENCE_COLOUR = "#8a8f98"
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
.legend span { white-space: nowrap; }
svg.sample { display: inline-block; width: 44px; height: 10px; margin-right: .4em; }
.several { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(32rem, 100%), 1fr)); gap: .5rem 1.5rem; }
h4 { margin: .8rem 0 .2rem; } summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
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
  const images = [...box.querySelectorAll('img')], told = [...box.querySelectorAll('.told')];
  const button = box.querySelector('button');
  const most = Math.max(...clips.map(clip => clip.length));
  let timer = null;
  const show = moment => clips.forEach((frames, number) => {
    const far = frame => Math.abs(frame[1] - moment);
    const shown = frames.reduce((nearest, frame) => far(frame) < far(nearest) ? frame : nearest);
    images[number].src = 'data:image/jpeg;base64,' + shown[2];
    told[number].textContent = shown[0];
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
            *_intervals(report),
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
    if report.settings.get("i3d"):
        told.append(f"I3D is {report.settings['i3d']}; it saw the frames' middle at 224x224, resized without a filter.")
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
    colours = _colours(report)
    rows = []
    for model in report.models:
        rank = "-" if model.rank is None else f"{model.rank:.2f}"
        cells = [_cell(f"{_dot(colours[model.name])}{escape(model.name)}"), _cell(rank)]
        for name in report.names:
            mean = model.metrics[name]
            text = escape(_told(mean.value, metric_of(name)))
            if mean.low is not None and mean.high is not None:
                low, high = (_told(edge, metric_of(name)) for edge in (mean.low, mean.high))
                text += f"<br><small>{escape(low)} to {escape(high)}</small>"
            cells.append(_cell(text, "best" if mean.value == best[name] and not model.failing else ""))
        rows.append(cells)
    yield _table(header, rows)


def _intervals(report: Report) -> Iterator[str]:
    """The same as a picture."""
    if len(report.models) < 2:
        return
    yield '<p class="faint">A dot is a mean and the line its interval; a hollow dot is of a model some of whose clips '
    yield 'fail.</p><div class="several">'
    colours = _colours(report)
    for name in [*report.deciding, *(name for name in report.names if name not in METRICS)]:
        rows = [
            report_intervals.Row(model.name, model.metrics[name], colours[model.name], bool(model.failing))
            for model in report.models
        ]
        yield f"<div><h4>{_title(metric_of(name))}</h4>{report_intervals.drawn(rows, metric_of(name))}</div>"
    yield "</div>"


def _sets(report: Report) -> Iterator[str]:
    rows = []
    for model in report.models:
        for name, distance in model.sets.items():
            # Between features of length 1 it is some thousandths or less.
            baseline = "-" if distance.baseline is None else f"{distance.baseline:.3g}"
            clips = " and ".join(map(str, distance.samples))
            interval = f"{distance.low:.3g} to {distance.high:.3g}"
            cells = [model.name, name, distance.network, f"{distance.value:.3g}", interval, baseline, clips]
            rows.append([_cell(escape(cell)) for cell in cells])
    if rows:
        yield "<h2>As sets</h2>"
        yield _table(["", "distance", "by", "value", "95 % interval", "between halves of the truth", "clips"], rows)


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
    scenes = first_scenes(report.clips, MOST_CLIPS)
    yield from _left_out(report, scenes)
    colours = _colours(report)
    for metric in _main_first(report):
        graphs = [(_scene_name(scene), _scene_curves(scene, metric, colours)) for scene in scenes]
        graphs = [(name, curves) for name, curves in graphs if values_of(curves)]
        if not graphs:
            continue
        meaning = f'<p class="faint">{escape(metric.meaning)}</p>'
        if len(scenes) == 1:
            yield f"<h3>{_title(metric)}</h3>{meaning}{drawn(graphs[0][1], metric)}"
            continue
        beside = [curves for _, curves in graphs]
        opened = " open" if metric.name == report.main else ""
        yield f'<details{opened}><summary>{_title(metric)}</summary>{meaning}<div class="several">'
        for name, curves in graphs:
            graph = drawn(curves, metric, width=SEVERAL_WIDTH, beside=beside)
            yield f"<div><h4>{escape(name)}</h4>{graph}</div>"
        yield "</div></details>"


def _main_first(report: Report) -> list[Metric]:
    return sorted(report.metrics, key=lambda metric: metric.name != report.main)


def _scene_curves(scene: Sequence[ClipReport], metric: Metric, colours: Mapping[str, str]) -> list[Curve]:
    """Of the clips of a scene, and of what all of them are held against."""
    curves = [
        _curve(clip.name, clip, clip.metrics[metric.name], colours[clip.model])
        for clip in scene
        if metric.name in clip.metrics
    ]
    first = next((clip for clip in scene if clip.truth), scene[0])
    for (name, dashes), values in zip(REFERENCES, (first.truth_metrics, first.floor), strict=True):
        if metric.name in values and values[metric.name].per_frame:
            curves.append(_curve(name, first, values[metric.name], REFERENCE_COLOUR, dashes))
    return curves


def _curve(name: str, clip: ClipReport, values: Measured, colour: str, dashes: str = "") -> Curve:
    return Curve(name, [(clip.frames[place], value) for place, value in enumerate(values.per_frame)], colour, dashes)


def _scene_name(scene: Sequence[ClipReport]) -> str:
    return scene[0].item or (scene[0].name if len(scene) == 1 else "")


def _left_out(report: Report, scenes: Sequence[Sequence[ClipReport]]) -> Iterator[str]:
    count = sum(map(len, scenes))
    if count == len(report.clips):
        return
    of_scenes = len(first_scenes(report.clips, len(report.clips)))
    if of_scenes == 1:
        yield f'<p class="faint">The first {count} of {len(report.clips)} clips.</p>'
    else:
        which = "first scene" if len(scenes) == 1 else f"first {len(scenes)} scenes"
        yield f'<p class="faint">The {which} of {of_scenes}, {count} of {len(report.clips)} clips.</p>'


def _side_by_side(report: Report) -> Iterator[str]:
    scenes = _pictured(report)
    frames = []
    yield "<h2>Side by side</h2>"
    yield from _left_out(report, scenes)
    yield '<div class="playing"><div class="controls"><button>Play</button>'
    yield '<input type="range" min="0" value="0" aria-label="moment"></div>'
    for scene in scenes:
        if len(scenes) > 1:
            yield f"<h4>{escape(_scene_name(scene))}</h4>"
        figures = []
        longest = max(scene, key=lambda clip: (clip.true_frames[-1], len(clip.true_frames)) if clip.truth else (-1, 0))
        if longest.true_shown is not None:
            figures.append(f"truth: {longest.truth}")
            frames.append(_played(longest.true_shown, longest.true_frames, _moments(longest, scene)))
        for clip, shown in ((clip, clip.shown) for clip in scene):
            if shown is not None:
                figures.append(clip.name)
                frames.append(_played(shown, clip.frames, _moments(clip, scene)))
        yield '<div class="player">' + "".join(
            f'<figure><img alt=""><figcaption>{escape(name)}, frame <span class="told"></span></figcaption></figure>'
            for name in figures
        )
        yield "</div>"
    yield f'<script type="application/json">{_script(frames)}</script></div>'


def _pictured(report: Report) -> list[list[ClipReport]]:
    """The clips of which there are pictures, by scene."""
    scenes = [[clip for clip in scene if clip.shown is not None] for scene in first_scenes(report.clips, MOST_CLIPS)]
    return [scene for scene in scenes if scene]


def _moments(clip: ClipReport, scene: Sequence[ClipReport]) -> list[float]:
    """When each frame is shown, from 0 to 1: with the true one that it is held against, where there is one."""
    places = clip.true_frames if clip.truth else range(len(clip.frames))
    last = max(other.true_frames[-1] for other in scene if other.truth) if clip.truth else places[-1]
    return [place / max(1, last) for place in places]


def _played(shown: Shown, frames: Sequence[int], moments: Sequence[float]) -> list[tuple[int, float, str]]:
    """Those frames alone that are evenly spread: with the extremes between them a clip would run unevenly."""
    return [
        (frames[place], round(moments[place], 5), base64.b64encode(shown.jpegs[place]).decode())
        for place in shown.played
    ]


def _extremes(report: Report) -> Iterator[str]:
    metric = metric_of(report.main)
    ends = "Highest and lowest" if metric.better == "neither" else "Best and worst"
    beside = ", the true frame beside each" if report.has_truth else ""
    yield f'<h2>{ends} frames</h2><p class="faint">By {escape(metric.title)}{beside}.</p>'
    scenes = _pictured(report)
    yield from _left_out(report, scenes)
    for clip in (clip for scene in scenes for clip in scene):
        values = clip.metrics[metric.name].per_frame if metric.name in clip.metrics else ()
        jpegs = clip.shown.jpegs if clip.shown is not None else {}
        known = sorted(
            ((value, place) for place, value in enumerate(values) if value is not None and place in jpegs),
            reverse=metric.better != "lower",
        )
        places = dict.fromkeys(place for _, place in [*known[:EXTREMES], *known[-EXTREMES:]])
        if places:
            yield f'<h3>{escape(clip.name)}</h3><div class="frames">'
            yield from (_figure(clip, place, metric, jpegs[place]) for place in places)
            yield "</div>"


def _figure(clip: ClipReport, place: int, metric: Metric, jpeg: bytes) -> str:
    images = [jpeg]
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


def _colours(report: Report) -> dict[str, str]:
    """By model."""
    models = dict.fromkeys(clip.model for clip in report.clips)
    return {model: colour_of(number) for number, model in enumerate(models)}


def _dot(colour: str) -> str:
    return f'<span class="dot" style="background:{colour}"></span>'


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
