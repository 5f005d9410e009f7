"""Which frame of a clip is held against which of the true one, and at which size.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..media.resizing import ResizeOptions, resize
from .errors import EvaluationError

Rule = Literal["auto", "index", "time"]
RULES = ("auto", "index", "time")
SAME_ASPECT = 0.01  # relative; more is told of
# Of the truth's frames; with fewer, a clip of unknown rate is not believed to last as long as the truth.
FEWEST_TO_LAST = 0.25


@dataclass(frozen=True, kw_only=True)
class AlignmentOptions:
    # index: frame 0 with frame 0, as far as both go. time: by seconds where both rates are known, else each clip is
    # taken to last as long as the other. auto: index for clips of one length, else time.
    rule: Rule = "auto"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise EvaluationError(f"rule is {self.rule!r}. Clips are aligned by {', '.join(RULES)}.")


@dataclass(frozen=True)
class Aligned:
    """Two clips of as many frames and one size."""

    clip: Tensor  # (f h w c)
    truth: Tensor  # (f h w c)
    frames: list[int]  # of the clip, by their numbers in it
    true_frames: list[int]
    notes: tuple[str, ...]  # what was done, in sentences
    covered: float  # of the truth's time, the share beside which the clip has frames


def align(
    clip: Tensor,
    truth: Tensor,
    options: AlignmentOptions = AlignmentOptions(),
    *,
    rate: float | None = None,
    true_rate: float | None = None,
) -> Aligned:
    """Pair the frames of two (f h w c) clips, and give the clip the size of the true one.

    Rates are in frames per second.
    """
    frames, true_frames, note, covered = _pairs(len(clip), len(truth), options.rule, rate, true_rate)
    chosen, true_chosen = clip[frames], truth[true_frames]
    notes = [note] if note else []
    if chosen.shape[1:3] != true_chosen.shape[1:3]:
        (height, width), (true_height, true_width) = chosen.shape[1:3], true_chosen.shape[1:3]
        chosen, _ = resize(chosen, ResizeOptions(width=true_width, height=true_height))
        stretched = abs(math.log(width * true_height / (height * true_width))) > SAME_ASPECT
        shapes = ", which has another shape, so it is stretched" if stretched else ""
        notes.append(f"Resized from {width}x{height} to the truth's {true_width}x{true_height}{shapes}.")
    return Aligned(chosen, true_chosen, frames, true_frames, tuple(notes), covered)


_Pairs = tuple[list[int], list[int], str, float]
"""Frames, true frames, a note on how they were found, and the share of the truth's time that is covered."""


def _pairs(count: int, true_count: int, rule: Rule, rate: float | None, true_rate: float | None) -> _Pairs:
    rates_differ = rate is not None and true_rate is not None and rate != true_rate
    if rule == "index" or (rule == "auto" and count == true_count and not rates_differ):
        return _by_index(count, true_count)
    for which, value in (("The clip's", rate), ("The truth's", true_rate)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise EvaluationError(f"{which} rate is {value} frames per second. Give one above 0, or none.")
    if rate is not None and true_rate is not None:
        return _by_seconds(count, true_count, rate, true_rate)
    return _by_share(count, true_count)


def _by_index(count: int, true_count: int) -> _Pairs:
    both = list(range(min(count, true_count)))
    if count == true_count:
        return both, both, "", 1.0
    longer, less = ("clip", true_count) if count > true_count else ("truth", count)
    note = (
        f"Aligned by index: the clip has {count} frames and the truth {true_count}, so frames {less} to "
        f"{max(count, true_count) - 1} of the {longer} are held against nothing."
    )
    return both, both, note, len(both) / true_count


def _by_seconds(count: int, true_count: int, rate: float, true_rate: float) -> _Pairs:
    """The frame of the slower clip with the one of the other that is on screen then."""
    shared = min(count / rate, true_count / true_rate)
    slower = min(rate, true_rate)
    times = [number / slower for number in range(math.floor(shared * slower + 1e-6))]
    if not times:
        ends, other = ("clip", "truth") if count / rate < true_count / true_rate else ("truth", "clip")
        raise EvaluationError(
            f"No frame of the clip stands beside one of the truth: the {ends} ends after {shared:.3g} s, before the "
            f"{other} has shown a frame, which takes {1 / slower:.3g} s. Check the rates, or align by index."
        )
    frames = [min(count - 1, math.floor(time * rate + 1e-6)) for time in times]
    true_frames = [min(true_count - 1, math.floor(time * true_rate + 1e-6)) for time in times]
    seconds = f"{count / rate:.3g} s of the clip at {rate:.4g} and {true_count / true_rate:.3g} s of the truth at "
    note = f"Aligned by time: {seconds}{true_rate:.4g} frames per second, {len(times)} frames in {shared:.3g} s."
    return frames, true_frames, note, shared * true_rate / true_count


def _by_share(count: int, true_count: int) -> _Pairs:
    """As if both lasted as long: the frames of the shorter one with those nearest in time."""
    if count == true_count:
        both = list(range(count))
        return both, both, "", 1.0
    fewer, more = min(count, true_count), max(count, true_count)
    every = list(range(fewer))
    chosen = [round(number * (more - 1) / max(1, fewer - 1)) for number in every]
    frames, true_frames = (every, chosen) if count <= true_count else (chosen, every)
    longer = "truth" if count < true_count else "clip"
    note = (
        f"Aligned by time: the clip has {count} frames and the truth {true_count}, taken to last as long, so "
        f"{fewer} of the {longer}'s frames are held against the other's."
    )
    share = count / true_count
    return frames, true_frames, note, share if share < FEWEST_TO_LAST else 1.0
