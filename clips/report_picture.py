"""The report as a picture: how motion is spread over the clips, and a contact sheet that shows them, stillest first.

Colours go from dark blue over grey to yellow, which differ in brightness too, so that nobody needs to tell red from
green; what matters is also written.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from ..media.errors import MediaError
from ..media.lettering import FAINT, INK, LINE, PAPER, fitting, write
from ..media.pictures import Pixels, read_picture
from .motion import FEWEST_BUCKET, MOST_BUCKET, STILL
from .report import Examined, Report, summary

WIDTH, MARGIN = 1200, 40
TITLE_HEIGHT, CHART_HEIGHT, SCALE_HEIGHT, CAPTION_HEIGHT = 84, 220, 22, 44
COLUMNS, GAP = 6, 16
THUMBNAIL = (173, 116)  # six of them and their gaps fill the width
MOST_CLIPS = 48  # on the sheet; of more, as many are shown, from the stillest to the most moving
MOST_BARS = 40

STILLEST, MIDDLE, MOST_MOVING = (0, 38, 92), (124, 123, 122), (247, 214, 56)  # of the scale of buckets
TICKS = (1, 64, 128, 192, 255)


def draw_report(report: Report) -> Pixels:
    """The report as an (h w c) picture, to be seen at its own size."""
    ordered = sorted(report.clips, key=lambda each: (each.measured.motion, each.clip.name))
    shown = [ordered[place] for place in _spread(len(ordered), MOST_CLIPS)]
    rows = math.ceil(len(shown) / COLUMNS)
    top = TITLE_HEIGHT + CHART_HEIGHT + 110
    height = top + rows * (THUMBNAIL[1] + CAPTION_HEIGHT + GAP) + MARGIN
    picture = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(picture)
    write(draw, (MARGIN, 26), "Footage", 26, INK)
    write(draw, (MARGIN + 118, 36), summary(report), 16, FAINT)
    if ordered:
        _draw_chart(draw, ordered, TITLE_HEIGHT)
        left_out = f"; {len(shown)} of {len(ordered)} are shown" if len(shown) < len(ordered) else ""
        write(draw, (MARGIN, top - 30), f"Clips, the stillest first{left_out}", 16, INK)
    for place, each in enumerate(shown):
        row, column = divmod(place, COLUMNS)
        x = MARGIN + column * (THUMBNAIL[0] + GAP)
        _draw_clip(picture, draw, (x, top + row * (THUMBNAIL[1] + CAPTION_HEIGHT + GAP)), report, each)
    return np.asarray(picture)


def _spread(there: int, most: int) -> list[int]:
    """The places of at most so many, the first and the last among them."""
    if there <= most:
        return list(range(there))
    return [round(place * (there - 1) / (most - 1)) for place in range(most)]


def bucket_color(bucket: float) -> tuple[int, int, int]:
    """The colour of a motion bucket."""
    share = (bucket - FEWEST_BUCKET) / (MOST_BUCKET - FEWEST_BUCKET) * 2
    low, high = (STILLEST, MIDDLE) if share < 1 else (MIDDLE, MOST_MOVING)
    part = share - math.floor(share) if share < 2 else 1.0
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(low, high, strict=True))
    return red, green, blue


# The histogram


def _draw_chart(draw: ImageDraw.ImageDraw, ordered: Sequence[Examined], top: int) -> None:
    motions = [each.measured.motion for each in ordered]
    step = _bar_width(motions)
    bars = max(1, math.ceil(max(motions) / step + 1e-9))
    counts = [0] * bars
    for motion in motions:
        counts[min(bars - 1, int(motion / step))] += 1
    left, right, bottom = MARGIN + 36, WIDTH - MARGIN, top + CHART_HEIGHT - 30
    highest = max(counts)
    tall = bottom - top - 26
    write(draw, (MARGIN, top - 8), "Clips by motion, in shares of the picture's diagonal per second", 14, FAINT)
    for level in sorted({highest, highest // 2} - {0}):
        y = bottom - tall * level / highest
        draw.line([(left, y), (right, y)], LINE)
        write(draw, (left - 10, y), str(level), 13, FAINT, anchor="rm")
    wide = (right - left) / bars
    for place, count in enumerate(counts):
        x = left + place * wide
        if count:
            middle = motions[max(0, bisect_right(motions, (place + 0.5) * step) - 1)]
            box = [x + 1, bottom - tall * count / highest, max(x + 2, x + wide - 1), bottom]
            draw.rectangle(box, bucket_color(_bucket_at(ordered, middle)), outline=INK)
    draw.line([(left, bottom), (right, bottom)], INK)
    for place in range(0, bars + 1, max(1, math.ceil(bars / 10))):
        write(draw, (left + place * wide, bottom + 6), f"{place * step:.4g}", 13, FAINT, anchor="ma")
    _draw_buckets(draw, ordered, (left, bottom + 30), (right, bars * step))


def _bar_width(motions: Sequence[float]) -> float:
    """A round width that makes about as many bars as the clips can fill."""
    wanted = max(8, min(MOST_BARS, 2 * round(math.sqrt(len(motions)))))
    rough = max(max(motions), STILL) / wanted
    unit = 10 ** math.floor(math.log10(rough))
    return next(unit * times for times in (1, 2, 5, 10) if unit * times >= rough)


def _bucket_at(ordered: Sequence[Examined], motion: float) -> int:
    """The bucket of the clip whose motion is nearest."""
    return min(ordered, key=lambda each: abs(each.measured.motion - motion)).bucket


def _draw_buckets(
    draw: ImageDraw.ImageDraw, ordered: Sequence[Examined], start: tuple[int, int], end: tuple[int, float]
) -> None:
    """Below the histogram a band that gives each motion the bucket that it has in this set."""
    (left, top), (right, highest) = start, end
    known = sorted({(each.measured.motion, each.bucket) for each in ordered})
    at, buckets = [motion for motion, _ in known], [bucket for _, bucket in known]
    places = np.arange(left, right)
    values = np.interp((places - left) / (right - left) * highest, at, buckets)
    for place, value in zip(places, values, strict=True):
        draw.line([(int(place), top), (int(place), top + SCALE_HEIGHT)], bucket_color(float(value)))
    draw.rectangle([left, top, right, top + SCALE_HEIGHT], outline=INK)
    write(draw, (left - 10, top + SCALE_HEIGHT / 2), "bucket", 13, FAINT, anchor="rm")
    last = -math.inf
    for tick in TICKS:
        if not buckets[0] <= tick <= buckets[-1]:
            continue
        x = left + float(np.interp(tick, buckets, at)) / highest * (right - left)
        if x - last >= 40:
            draw.line([(x, top + SCALE_HEIGHT), (x, top + SCALE_HEIGHT + 5)], INK)
            write(draw, (x, top + SCALE_HEIGHT + 7), str(tick), 13, FAINT, anchor="ma")
            last = x


# The contact sheet


def _draw_clip(
    picture: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], report: Report, each: Examined
) -> None:
    x, y = place
    width, height = THUMBNAIL
    thumbnail = _thumbnail(report, each)
    draw.rectangle([x, y, x + width - 1, y + height - 1], (228, 229, 230))
    picture.paste(thumbnail, (x + (width - thumbnail.width) // 2, y + (height - thumbnail.height) // 2))
    draw.rectangle([x, y + height, x + width - 1, y + height + 5], bucket_color(each.bucket))
    write(draw, (x, y + height + 9), fitting(draw, each.clip.name, 14, width), 14, INK)
    told = "does not move" if each.measured.is_still else f"{each.measured.motion:.3f}"
    write(draw, (x, y + height + 26), f"{told}, bucket {each.bucket}{_troubles(each)}", 13, FAINT)


def _troubles(each: Examined) -> str:
    cuts, black = len(each.measured.cuts), len(each.measured.black)
    return (f", {cuts} cut{'s' * (cuts > 1)}" if cuts else "") + (f", {black} black" if black else "")


def _thumbnail(report: Report, each: Examined) -> Image.Image:
    """The clip's frame in the middle."""
    paths = report.footage.paths(each.clip)
    try:
        image = Image.fromarray(read_picture(paths[len(paths) // 2]))
    except (MediaError, IndexError):  # it was there when it was measured
        return Image.new("RGB", (1, 1), PAPER)
    return ImageOps.contain(image, THUMBNAIL, Image.Resampling.LANCZOS)
