"""The health of footage: what its clips are like, and in sentences what is worth fixing before training."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..media.errors import MediaError
from .captions import caption_files
from .choosing import groups_on_two_sides, told_of_groups
from .footage import SPLITS, Clip, Footage, some_of
from .motion import Measured, measure_pictures, motion_buckets

ASSUMED_RATE = 8.0  # frames per second, where nobody tells: about that at which Stable Video Diffusion was trained
SVD_FRAMES, SVD_XT_FRAMES = 14, 25
MANY_DUPLICATES = 0.1  # of a clip's frames, from which on they are worth a sentence
RATES_APART = 1.5  # times; rates further apart than this are worth one
SMALLEST_SHARE = 0.05  # of the clips; a validation or test split of less says little
THREADS = 4
SECONDS_BETWEEN_STEPS = 0.2

OnClip = Callable[[int, int], None]
"""Told how many clips are done, of how many, a few times a second; to cancel, it raises."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A clip and what it is like."""

    clip: Clip
    measured: Measured
    bucket: int  # its motion bucket for Stable Video Diffusion, among these clips
    has_caption: bool

    @property
    def size(self) -> str:
        sizes = [f"{width}x{height}" for width, height in self.measured.sizes]
        return sizes[0] if len(sizes) == 1 else f"{sizes[0]}..."


@dataclass(frozen=True, kw_only=True)
class Report:
    footage: Footage
    clips: tuple[Examined, ...]
    failed: tuple[tuple[str, str], ...] = ()  # (name of a clip, what is wrong with it in a sentence)
    notes: tuple[str, ...] = ()  # what was said when the footage was read

    def advice(self) -> list[str]:
        """What is worth fixing, in sentences; none where nothing is."""
        unreadable = [f"{name} is left out of this report: {sentence}" for name, sentence in self.failed]
        return [*self.notes, *unreadable, *(sentence for rule in RULES for sentence in rule(self))]

    def with_motion(self) -> Footage:
        """The footage, each clip with the motion that was measured."""
        motions = {each.clip.name: round(each.measured.motion, 6) for each in self.clips}
        return self.footage.with_clips(
            replace(clip, motion=motions.get(clip.name, clip.motion)) for clip in self.footage.clips
        )


def examine(footage: Footage, notes: Sequence[str] = (), on_clip: OnClip = lambda done, total: None) -> Report:
    """Measure every clip, several at a time; one that cannot be read is told in the report and stops no other."""
    measured = _measured(footage, on_clip)
    good = [(clip, found) for clip, found in zip(footage.clips, measured, strict=True) if isinstance(found, Measured)]
    buckets = motion_buckets([found.motion for _, found in good])
    return Report(
        footage=footage,
        clips=tuple(
            Examined(
                clip=clip,
                measured=found,
                bucket=bucket,
                has_caption=bool(clip.caption or caption_files(footage, clip)),
            )
            for (clip, found), bucket in zip(good, buckets, strict=True)
        ),
        failed=tuple(
            (clip.name, found)
            for clip, found in zip(footage.clips, measured, strict=True)
            if not isinstance(found, Measured)
        ),
        notes=tuple(notes),
    )


class _Stopped(Exception):
    """The work has ended while a clip was measured."""


def _measured(footage: Footage, on_clip: OnClip) -> list[Measured | str]:
    """What each clip is like, or what is wrong with it."""
    stopped = threading.Event()

    def check(done: int, frame: Any) -> None:
        if stopped.is_set():
            raise _Stopped

    def measure_one(clip: Clip) -> Measured | str:
        try:
            return measure_pictures(footage.paths(clip), clip.frames_per_second or ASSUMED_RATE, check)
        except MediaError as error:
            return str(error)

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:
        running: list[Future[Measured | str]] = [threads.submit(measure_one, clip) for clip in footage.clips]
        try:
            left = set(running)
            while left:
                done, left = wait(left, SECONDS_BETWEEN_STEPS, FIRST_COMPLETED)
                for future in done:
                    future.result()  # a mistake of ours ends the work
                on_clip(len(running) - len(left), len(running))
        finally:
            stopped.set()
            threads.shutdown(cancel_futures=True)
    return [future.result() for future in running]


# Sentences


def _share(some: Sequence[Any], report: Report) -> str:
    """Such as "6 of 40 clips"; the verb that follows is for the first number."""
    return f"{len(some)} of {len(report.clips)} clips" if len(report.clips) > 1 else "The clip"


def _verb(some: Sequence[Any], report: Report, one: str, more: str) -> str:
    return one if len(some) == 1 or len(report.clips) == 1 else more


def _names(some: Sequence[Examined]) -> str:
    return some_of([each.clip.name for each in some])


def _still(report: Report) -> Iterator[str]:
    still = [each for each in report.clips if each.measured.is_still and each.measured.frames > 1]
    if still:
        yield (
            f"{_share(still, report)} {_verb(still, report, 'does', 'do')} not move: {_names(still)}. A model that "
            "is shown them learns to hold still, so leave them out unless that is wanted."
        )


def _short(report: Report) -> Iterator[str]:
    short = [each for each in report.clips if each.measured.frames < SVD_XT_FRAMES]
    shorter = [each for each in short if each.measured.frames < SVD_FRAMES]
    if short:
        also = f", and {len(shorter)} of them fewer than the {SVD_FRAMES} of SVD" if shorter else ""
        yield (
            f"{_share(short, report)} {_verb(short, report, 'has', 'have')} fewer than the {SVD_XT_FRAMES} frames that "
            f"SVD XT is trained with{also}: {_names(shorter or short)}. Take more frames of these videos."
        )


def _sizes(report: Report) -> Iterator[str]:
    mixed = [each for each in report.clips if len(each.measured.sizes) > 1]
    if mixed:
        yield (
            f"{_share(mixed, report)} {_verb(mixed, report, 'holds', 'hold')} frames of several sizes: "
            f"{_names(mixed)}. Extract {_verb(mixed, report, 'it', 'them')} again with one size."
        )
    sizes = Counter(each.size for each in report.clips if len(each.measured.sizes) == 1)
    if len(sizes) > 1:
        told = [f"{size} ({count})" for size, count in sizes.most_common()]
        yield (
            f"The clips have {len(sizes)} sizes: {some_of(told)}. Most trainers want one: extract them with a size "
            "and a fit."
        )


def _rates(report: Report) -> Iterator[str]:
    unknown = [each for each in report.clips if not each.clip.frames_per_second]
    if unknown:
        yield (
            f"The frame rate of {_share(unknown, report).lower()} is not known: {_names(unknown)}. {ASSUMED_RATE:g} "
            "frames per second were assumed, and their motion depends on it."
        )
    rates = [each.clip.frames_per_second for each in report.clips if each.clip.frames_per_second]
    if rates and max(rates) > RATES_APART * min(rates):
        yield (
            f"The clips have from {min(rates):.4g} to {max(rates):.4g} frames per second. One model learns one speed "
            "best: extract them at a rate rather than every n-th frame."
        )


def _duplicates(report: Report) -> Iterator[str]:
    repeating = [
        each
        for each in report.clips
        if not each.measured.is_still and len(each.measured.duplicates) >= MANY_DUPLICATES * each.measured.frames
    ]
    if repeating:
        yield (
            f"{_share(repeating, report)} {_verb(repeating, report, 'repeats', 'repeat')} "
            f"{MANY_DUPLICATES * 100:.0f} % of {_verb(repeating, report, 'its', 'their')} frames or more, so that "
            f"motion stutters: {_names(repeating)}. Extract fewer frames per second."
        )


def _same_video(report: Report) -> Iterator[str]:
    twins: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for each in report.clips:
        if each.clip.sha256:
            twins.setdefault((each.clip.sha256, each.clip.indices), []).append(each.clip.name)
    told = [" = ".join(names) for names in twins.values() if len(names) > 1]
    if told:
        yield (
            f"The same frames of the same video are there more than once: {some_of(told)}. They count twice in "
            "training; leave one of them out."
        )


def _black(report: Report) -> Iterator[str]:
    black = [each for each in report.clips if each.measured.black]
    if black:
        count = sum(len(each.measured.black) for each in black)
        told = [f"{each.clip.name} ({len(each.measured.black)})" for each in black]
        yield f"{count} {'frame is' if count == 1 else 'frames are'} black: in {some_of(told)}. Leave them out."


def _cuts(report: Report) -> Iterator[str]:
    cut = [each for each in report.clips if each.measured.cuts]
    if cut:
        told = [f"{each.clip.name} (at {each.clip.frames[each.measured.cuts[0]]})" for each in cut]
        yield (
            f"{_share(cut, report)} {_verb(cut, report, 'shows', 'show')} more than one scene: {some_of(told)}. A "
            "model that is shown cuts learns to make them; take a range of each video, or split it at its cuts."
        )


def _captions(report: Report) -> Iterator[str]:
    without = [each for each in report.clips if not each.has_caption]
    if not without:
        return
    if len(without) == len(report.clips):
        yield "No clip has a caption. Models that are led by text need them; Stable Video Diffusion does not."
    else:
        yield f"{_share(without, report)} {_verb(without, report, 'has', 'have')} no caption: {_names(without)}."


def _splits(report: Report) -> Iterator[str]:
    counts = Counter(each.clip.split for each in report.clips)
    if set(counts) <= {""}:
        if report.clips:
            yield "The clips are in no split. Put some aside for validation, which tells when to stop training."
        return
    if counts[""]:
        loose = [each for each in report.clips if not each.clip.split]
        yield f"{_share(loose, report)} {_verb(loose, report, 'is', 'are')} in no split: {_names(loose)}."
    yield from told_of_groups(groups_on_two_sides(report.footage))
    for split in ("train", "validation"):
        if not counts[split]:
            yield f"No clip is in the split {split}. Split them again with a share for it."
    for split in SPLITS[1:]:
        if 0 < counts[split] < SMALLEST_SHARE * len(report.clips):
            yield (
                f"The split {split} has {counts[split]} of {len(report.clips)} clips, which is too few to judge by. "
                f"Give it {SMALLEST_SHARE * 100:.0f} % or more."
            )
    if 0 < counts["train"] < len(report.clips) / 2:
        yield f"Only {counts['train']} of {len(report.clips)} clips are in the split train. Give it more than half."


RULES: tuple[Callable[[Report], Iterator[str]], ...] = (
    _still,
    _short,
    _sizes,
    _rates,
    _cuts,
    _duplicates,
    _same_video,
    _black,
    _captions,
    _splits,
)


# Text and JSON

COLUMNS = ("clip", "frames", "size", "rate", "motion", "bucket", "cuts", "repeats", "black", "split", "caption")
WIDEST_NAME = 40


def table(report: Report) -> list[tuple[str, ...]]:
    """The report's rows, the first one being the columns' names."""
    return [COLUMNS, *(_row(each) for each in report.clips)]


def _row(each: Examined) -> tuple[str, ...]:
    measured, rate = each.measured, each.clip.frames_per_second
    return (
        each.clip.name,
        str(measured.frames),
        each.size,
        f"{rate:.4g}" if rate else "?",
        f"{measured.motion:.3f}",
        str(each.bucket),
        str(len(measured.cuts)),
        str(len(measured.duplicates)),
        str(len(measured.black)),
        each.clip.split or "-",
        "yes" if each.has_caption else "no",
    )


def as_text(report: Report, most_rows: int | None = None) -> str:
    """The report to be read: what there is, what is worth fixing, and the clips, the first `most_rows` of them."""
    return "\n".join([summary(report), "", *_advice_lines(report), "", *_table_lines(report, most_rows)]) + "\n"


def summary(report: Report) -> str:
    """What there is, in a line."""
    frames = sum(each.measured.frames for each in report.clips)
    clips = len(report.clips)
    splits = Counter(each.clip.split for each in report.clips if each.clip.split)
    told = ", ".join(f"{split} {splits[split]}" for split in SPLITS if splits[split])
    return f"{clips} {'clip' if clips == 1 else 'clips'}, {frames} frames{f'; {told}' if told else ''}."


def _advice_lines(report: Report) -> list[str]:
    return [f"- {sentence}" for sentence in report.advice()] or ["Nothing is worth fixing."]


def _table_lines(report: Report, most_rows: int | None) -> list[str]:
    rows = table(report)
    shown = rows[: None if most_rows is None else most_rows + 1]
    shown = [(_shortened(row[0]), *row[1:]) for row in shown]
    widths = [max(len(row[column]) for row in shown) for column in range(len(COLUMNS))]
    lines = []
    for row in shown:
        name, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([name, *(other.strip().rjust(len(other)) for other in others)]))
    if len(rows) > len(shown):
        lines.append(f"... and {len(rows) - len(shown)} more")
    return [
        *lines,
        "",
        "motion: the mean way of what is seen, as a share of the picture's diagonal per second.",
        "bucket: the motion bucket for Stable Video Diffusion, by the clip's place among these clips.",
    ]


def _shortened(name: str) -> str:
    """A name on one line, of a width that a table bears; its end tells more than its beginning."""
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    return name if len(name) <= WIDEST_NAME else f"...{name[3 - WIDEST_NAME :]}"


def as_json(report: Report) -> str:
    """The report for programs."""
    return json.dumps(
        {
            "clips": [
                {
                    "name": each.clip.name,
                    "split": each.clip.split,
                    "frames_per_second": each.clip.frames_per_second or None,
                    "has_caption": each.has_caption,
                    "motion_bucket": each.bucket,
                    "is_still": each.measured.is_still,
                    **asdict(each.measured),
                }
                for each in report.clips
            ],
            "failed": [{"name": name, "error": sentence} for name, sentence in report.failed],
            "advice": report.advice(),
        },
        indent=1,
    )
