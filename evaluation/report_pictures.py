"""A report as pictures: curves over frames, models with intervals, a map of clips by measures, frames with scores.

Drawn by matplotlib without its global state, so that nobody else's figures change, and readable at half their size.

Axes: h height, w width, c channels (red, green, blue).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..media.lettering import FAINT, INK, PAPER, fitting, write
from ..media.pictures import Pixels
from .colours import colour_of, dash_of
from .errors import EvaluationError
from .metrics import METRICS, Metric, metric_of
from .report import ClipReport, ModelReport, Report, told, value_at
from .scenes import first_scenes
from .shown import Shown, spread

WIDTH, DOTS = 1024, 100  # pixels, and pixels an inch
LETTERS, SMALL_LETTERS = 17, 14  # points, at DOTS 1.4 pixels each: half of it can still be read in a node
GREY, LIGHT = "#5c6470", "#d9dce0"
MOST_CURVES, MOST_MODELS, MOST_ROWS, MOST_COLUMNS = 8, 24, 40, 7
HEAT_LEFT, HEAT_RIGHT, HEAT_TOP, HEAT_BOTTOM, ROW_HEIGHT = 270, 150, 180, 60, 48  # pixels around the map's cells
STRIP_FRAMES = 6
MARKERS = "osD^vPX*"
HOW_TO_INSTALL = 'pip install "matplotlib>=3.8"'
LONGEST_NAME, LONGEST_LABEL = 28, 24  # letters; of curves and models, and of the map's rows


def curves_picture(report: Report, metric: str = "", clip: str = "") -> Pixels:
    """A measure over the frames, "" being the main one: of one clip, or of those that show the first scene.

    Where one model alone has clips, it is of those of its first eight scenes.
    """
    name = _known(report, metric)
    chosen, note = ([_clip(report, clip)], "") if clip else _drawn_together(report)
    figure, axes = _figure(WIDTH, 560)
    for each, number in zip(chosen, _colour_numbers(report, chosen), strict=True):
        if name in each.metrics and each.metrics[name].per_frame:
            values = each.metrics[name].per_frame
            _line(axes, each.frames, values, each.name, number)
    first = next((each for each in chosen if each.truth), chosen[0])
    if len({(each.item, each.truth) for each in chosen if each.truth}) == 1:  # else each has another true clip
        for what, dash, references in (
            ("truth", (0, (1, 2)), first.truth_metrics),
            ("only the first frame", (0, (4, 3)), first.floor),
        ):
            if name in references and references[name].per_frame:
                known = [math.nan if value is None else value for value in references[name].per_frame]
                axes.plot(first.frames, known, color=GREY, linewidth=2, linestyle=dash, label=_safe(what))
    if not axes.lines:
        raise EvaluationError(f"{metric_of(name).title} has no values by frame. Choose another measure.")
    _label(axes, metric_of(name), f"frame ({note})" if note else "frame")
    _legend(axes)
    return _drawn(figure)


def _drawn_together(report: Report) -> tuple[list[ClipReport], str]:
    """The clips of the first scene that several models show; else all, as far as there is room. And what is missing."""
    scenes = first_scenes(report.clips, MOST_CURVES)
    chosen = next((scene for scene in scenes if len(scene) > 1), [clip for scene in scenes for clip in scene])
    if len(chosen) == len(report.clips):
        return chosen, ""
    of_scenes = len(first_scenes(report.clips, len(report.clips)))
    if len(chosen) > 1 and len({clip.item for clip in chosen}) == 1 and of_scenes > 1:
        return chosen, f"of {_short(chosen[0].item)}, one of {of_scenes} scenes"
    return chosen, f"the first {len(chosen)} of {len(report.clips)} clips"


def _colour_numbers(report: Report, clips: Sequence[ClipReport]) -> list[int]:
    """Each clip's number among the colours: its model's, which it has in every picture, where that tells them apart."""
    models = [clip.model for clip in clips]
    if len(set(models)) < len(models):
        return list(range(len(models)))
    order = _model_order(report)
    return [order.index(model) for model in models]


def _model_order(report: Report) -> list[str]:
    return list(dict.fromkeys(clip.model for clip in report.clips))


def _series(report: Report) -> list[str]:
    """The user's own measures."""
    return [name for name in report.names if name not in METRICS]


def models_picture(report: Report) -> Pixels:
    """All models together: each deciding measure and each series with the models' means and intervals."""
    models = report.models[:MOST_MODELS]
    names = [
        name
        for name in [*report.deciding, *_series(report)]
        if any(math.isfinite(model.metrics[name].value) for model in models)
    ]
    names = names or [report.main]
    columns = min(2, len(names))
    rows = math.ceil(len(names) / columns)
    figure, _ = _figure(WIDTH, 130 + rows * (90 + 34 * len(models)), axes=False)
    order = _model_order(report)
    colours = [order.index(model.name) for model in models]
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, place + 1)
        _intervals(axes, models, name, colours, with_names=place % columns == 0)
    key = []
    if any(model.metrics[name].low is not None for model in models for name in names):
        key.append("line: 95 % interval")
    if any(model.failing for model in models):
        key.append("hollow: some of its clips fail")
    if len(models) < len(report.models):
        key.append(f"the first {len(models)} of {len(report.models)} models")
    figure.supxlabel("; ".join(key), fontsize=SMALL_LETTERS, color=GREY)
    return _drawn(figure)


def _intervals(
    axes: Any, models: Sequence[ModelReport], name: str, colours: Sequence[int], *, with_names: bool
) -> None:
    metric = metric_of(name)
    for row, model in enumerate(models):
        mean = model.metrics[name]
        if not math.isfinite(mean.value):
            continue
        colour = colour_of(colours[row])
        if mean.low is not None and mean.high is not None:
            axes.plot([mean.low, mean.high], [row, row], color=colour, linewidth=4, alpha=0.55, solid_capstyle="butt")
        filled = colour if not model.failing else "white"  # hollow: some of its clips fail
        axes.plot(
            *([mean.value], [row]),
            MARKERS[colours[row] % len(MARKERS)],
            color=colour,
            markerfacecolor=filled,
            markersize=11,
        )
    axes.set_yticks(range(len(models)))
    axes.set_yticklabels([_short(model.name) for model in models] if with_names else [""] * len(models))
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.set_ylim(len(models) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=4)
    axes.set_title(_titled(metric), fontsize=LETTERS, color="black", loc="left")
    _quiet(axes)
    axes.grid(axis="y", visible=False)


def heat_picture(report: Report) -> Pixels:
    """Clips by measures: the better a number is among those of its column, the bluer its cell; the worst are orange.

    A clip that fails is hatched, since many a measure is best of one that stands still.
    """
    clips = list(report.clips)
    if len(clips) > MOST_ROWS:
        clips = [clip for scene in first_scenes(clips, MOST_ROWS) for clip in scene]
    names = list(dict.fromkeys([*report.deciding, *_series(report), "dynamic_degree", *report.names]))
    names = [name for name in names if name in report.names]
    bands = math.ceil(len(names) / MOST_COLUMNS)  # below each other: wider, nobody could read it in a node
    columns = math.ceil(len(names) / bands)
    band_height = HEAT_TOP + ROW_HEIGHT * len(clips)
    height = bands * band_height + HEAT_BOTTOM
    figure, _ = _figure(WIDTH, height, axes=False, tight=False)
    column_width = (WIDTH - HEAT_LEFT - HEAT_RIGHT) / columns
    for band in range(bands):
        part = names[band * columns : (band + 1) * columns]
        from_below = height - (band + 1) * band_height
        size = column_width * len(part) / WIDTH, ROW_HEIGHT * len(clips) / height
        axes = figure.add_axes((HEAT_LEFT / WIDTH, from_below / height, *size))
        _heat_band(axes, clips, part)
    figure.text(0.01, 16 / height, _heat_key(report, clips), fontsize=SMALL_LETTERS, color=GREY)
    return _drawn(figure)


def _heat_band(axes: Any, clips: Sequence[ClipReport], names: Sequence[str]) -> None:
    axes.imshow(_cells(clips, names), aspect="auto", interpolation="nearest")
    for row, clip in enumerate(clips):
        if clip.verdict:
            axes.axhspan(row - 0.5, row + 0.5, facecolor="white", edgecolor=LIGHT, hatch="//", linewidth=0)
        beside = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if clip.verdict else None
        for column, name in enumerate(names):
            text = told(clip.mean(name), metric_of(name)).split(" ")[0]
            colour = GREY if clip.verdict else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=SMALL_LETTERS, color=colour, bbox=beside)
    axes.set_xticks(range(len(names)))
    axes.set_xticklabels([_titled(metric_of(name)) for name in names], rotation=45, ha="left", fontsize=SMALL_LETTERS)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(clips)))
    axes.set_yticklabels([_row_label(clip) for clip in clips], fontsize=SMALL_LETTERS)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _row_label(clip: ClipReport) -> str:
    verdict = f" ({clip.verdict})" if clip.verdict else ""
    return _shortened(_safe(clip.name), LONGEST_LABEL - len(verdict)) + verdict


def _heat_key(report: Report, clips: Sequence[ClipReport]) -> str:
    key = ["blue: best of its column", "orange: worst", "grey: none is better"]
    if any(clip.verdict for clip in clips):
        key.append("hatched: the clip fails")
    if len(clips) < len(report.clips):
        key.append(f"{len(clips)} of {len(report.clips)} clips")
    return "; ".join(key)


GOOD, MIDDLE, BAD = (0.62, 0.79, 0.92), (0.97, 0.97, 0.96), (0.97, 0.76, 0.55)
PLAIN = (0.93, 0.94, 0.95)


def _cells(clips: Sequence[ClipReport], names: Sequence[str]) -> Any:
    """(h w c) of a pixel a cell."""
    cells = np.empty((len(clips), len(names), 3))
    for column, name in enumerate(names):
        better = metric_of(name).better
        # What a clip that fails has is no measure of the others.
        values = np.array([math.nan if clip.verdict else clip.mean(name) for clip in clips])
        finite = values[np.isfinite(values)]
        span = np.ptp(finite) if finite.size else 0.0
        for row, value in enumerate(values):
            if better == "neither" or not math.isfinite(value) or not span:
                cells[row, column] = PLAIN
                continue
            share = (value - finite.min()) / span
            good = share if better == "higher" else 1 - share
            ends = (MIDDLE, GOOD) if good >= 0.5 else (MIDDLE, BAD)
            cells[row, column] = np.array(ends[0]) + (np.array(ends[1]) - ends[0]) * abs(2 * good - 1)
    return cells


def strip_picture(report: Report, clip: str = "", metric: str = "") -> Pixels:
    """Frames of a clip with their scores, above the true ones; the best framed blue and the worst orange.

    Where neither is better, the highest and the lowest are framed, both in grey. "" is the first clip that has any.
    """
    name = _known(report, metric)
    about = metric_of(name)
    clips = [_clip(report, clip)] if clip else report.clips
    chosen = next((each for each in clips if _scored(each, name)), clips[0])
    known = _scored(chosen, name)
    if chosen.shown is None:
        kept = ", ".join(each.name for each in report.clips if each.shown is not None)
        raise EvaluationError(f"No frames of {chosen.name} are kept. Of so many clips there are those of {kept}.")
    if not known:
        raise EvaluationError(f"{about.title} has no values by frame of {chosen.name}. Choose another measure.")
    values = chosen.metrics[name].per_frame
    marks = _marks(values, known, about)
    places = [known[number] for number in spread(len(known), STRIP_FRAMES)]
    for wanted in marks:
        if wanted not in places:  # it takes the place of the nearest that is neither
            others = [place for place in places if place not in marks]
            places.remove(min(others or places, key=lambda place: abs(place - wanted)))
            places.append(wanted)
    places.sort()
    rows: list[Shown] = [chosen.shown] + ([chosen.true_shown] if chosen.true_shown is not None else [])
    tile_width = (WIDTH - 10) // min(len(places), STRIP_FRAMES) - 10
    first = chosen.shown.picture(places[0])
    tile_height = max(1, round(tile_width * first.height / first.width))
    per_line = (WIDTH - 10) // (tile_width + 10)
    lines = math.ceil(len(places) / per_line)
    line_height = len(rows) * (tile_height + 4) + 64
    picture = Image.new("RGB", (WIDTH, 50 + lines * line_height), PAPER)
    draw = ImageDraw.Draw(picture)
    verdict = f" ({chosen.verdict})" if chosen.verdict else ""
    title = f"{chosen.name}{verdict}: {about.title}" + (", the true frames below" if len(rows) > 1 else "")
    write(draw, (10, 10), fitting(draw, title, 24, WIDTH - 20), 24, INK)
    for number, place in enumerate(places):
        x, y = 10 + number % per_line * (tile_width + 10), 50 + number // per_line * line_height
        what, behind = marks.get(place, ("", PAPER))
        draw.rectangle([x - 5, y - 5, x + tile_width + 4, y + line_height - 14], behind)
        for row, shown in enumerate(rows):
            tile = shown.picture(shown.nearest(place)).resize((tile_width, tile_height), Image.Resampling.LANCZOS)
            picture.paste(tile, (x, y + row * (tile_height + 4)))
        below = y + len(rows) * (tile_height + 4)
        write(draw, (x + 2, below), told(values[place], about), 22, PAPER if what else INK)
        number_and_mark = f"{chosen.frames[place]} {what}".strip()
        write(draw, (x + 2, below + 25), number_and_mark, 18, PAPER if what else FAINT)
    return np.asarray(picture)


def _scored(clip: ClipReport, name: str) -> list[int]:
    """The places of those frames of which there are both a picture and a value."""
    places = sorted(clip.shown.jpegs) if clip.shown is not None else []
    return [place for place in places if value_at(clip.metrics.get(name), place) is not None]


BEST_COLOUR, WORST_COLOUR, NEUTRAL_COLOUR = (0, 114, 178), (190, 80, 0), (92, 100, 112)


def _marks(
    values: Sequence[float | None], known: Sequence[int], metric: Metric
) -> dict[int, tuple[str, tuple[int, int, int]]]:
    """The words and colours of the frames at both ends; none where all have one value."""
    lowest, highest = (end(known, key=lambda place: values[place] or 0.0) for end in (min, max))
    if values[lowest] == values[highest]:
        return {}
    if metric.better == "neither":
        return {highest: ("highest", NEUTRAL_COLOUR), lowest: ("lowest", NEUTRAL_COLOUR)}
    best, worst = (highest, lowest) if metric.better == "higher" else (lowest, highest)
    return {best: ("best", BEST_COLOUR), worst: ("worst", WORST_COLOUR)}


def _known(report: Report, metric: str) -> str:
    if metric and metric not in report.names:
        raise EvaluationError(f"{metric!r} was not measured. There are {', '.join(report.names)}.")
    return metric or report.main


def _clip(report: Report, name: str) -> ClipReport:
    for clip in report.clips:
        if clip.name == name:
            return clip
    raise EvaluationError(f"There is no clip {name!r} in the report. There are {len(report.clips)}; check the name.")


# --- matplotlib -----------------------------------------------------------------------------------------------------


def _figure(width: int, height: int, *, axes: bool = True, tight: bool = True) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise EvaluationError(
            f"Pictures of a report are drawn by matplotlib, and {error.name} is not installed. Run: {HOW_TO_INSTALL}"
        ) from error

    figure = Figure((width / DOTS, height / DOTS), dpi=DOTS, facecolor="white", layout="constrained" if tight else None)
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot() if axes else None


def _drawn(figure: Any) -> Pixels:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def _line(axes: Any, frames: Sequence[int], values: Sequence[float | None], name: str, number: int) -> None:
    dashes = [float(length) for length in dash_of(number).split()]
    axes.plot(
        *(frames, [math.nan if value is None else value for value in values]),
        color=colour_of(number),
        linewidth=2.5,
        linestyle=(0, [length / 2.5 for length in dashes]) if dashes else "-",
        marker=MARKERS[number % len(MARKERS)] if len(frames) <= 40 else None,
        markersize=6,
        label=_short(name),
    )


def _label(axes: Any, metric: Metric, across: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(_titled(metric), fontsize=LETTERS, loc="left")
    axes.set_xlabel(across, fontsize=LETTERS, color=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    _quiet(axes)


def _quiet(axes: Any) -> None:
    """Lines that are not data step back."""
    axes.grid(color=LIGHT, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL_LETTERS, labelcolor="#30353b", length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GREY)


def _legend(axes: Any) -> None:
    if len(axes.lines) < 2:
        return
    legend = axes.figure.legend(
        handles=axes.lines, loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL_LETTERS, handlelength=2.6
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _titled(metric: Metric) -> str:
    """The arrow says which way is better."""
    return f"{_short(metric.title)} {metric.arrow}".strip().replace("$", r"\$")


def _short(name: str) -> str:
    return _shortened(_safe(name), LONGEST_NAME)


def _shortened(text: str, most: int) -> str:
    """A name's end tells more of it than its beginning."""
    return text if len(text) <= most else f"...{text[3 - most :]}"


def _safe(text: str) -> str:
    """Letters that the font does not have, and those that are none, become question marks."""
    letters = "".join(letter if letter.isprintable() and ord(letter) in _letters() else "?" for letter in text)
    # A label that begins with an underscore is none to matplotlib's legends.
    return f" {letters}" if letters.startswith("_") else letters


@lru_cache
def _letters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())
