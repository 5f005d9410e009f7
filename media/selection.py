"""Which frames of a clip to take: pure arithmetic on frame numbers and times, so that it needs no video to be tested.

A clip is a Timeline; an extent says which part of it counts, a rule says which frames of that part to take.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, isfinite, lcm

from .errors import MediaError
from .rates import SLOWEST, exact_rate

# A time that a float, or a container's clock, put a hair beside a frame's start still means that frame.
GRACE_SECONDS = Fraction(1, 2000)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """When each frame of a clip appears: at `ticks[n] * tick_seconds`, the first at 0; the last one goes at `end`."""

    ticks: Sequence[int]
    tick_seconds: Fraction
    end: int
    rate: Fraction | None  # frames per second where they are equally far apart, else None

    @classmethod
    def steady(cls, frames: int, rate: Fraction) -> "Timeline":
        """The timeline of `frames` frames at a constant rate."""
        return cls(ticks=range(frames), tick_seconds=1 / rate, end=frames, rate=rate)

    @property
    def frames(self) -> int:
        return len(self.ticks)

    @property
    def seconds(self) -> Fraction:
        return self.end * self.tick_seconds

    @property
    def average_rate(self) -> Fraction:
        return self.rate or self.frames / self.seconds

    def part(self, numbers: range) -> "Timeline":
        """The timeline of these frames alone: the first of them is frame 0, at time 0."""
        ticks, end = self.ticks[numbers.start : numbers.stop], self.start_of(numbers.stop) / self.tick_seconds
        start = ticks[0] if ticks else 0
        return replace(self, ticks=[tick - start for tick in ticks], end=int(end) - start)

    def start_of(self, number: int) -> Fraction:
        """The second at which a frame appears; the clip's end for the number after the last."""
        return (self.ticks[number] if number < self.frames else self.end) * self.tick_seconds

    def shown_every(self, step: Fraction, start: Fraction, count: int) -> list[int]:
        """The numbers of the frames on screen at `count` times, `step` seconds apart from `start` on."""
        first, between = (start + GRACE_SECONDS) / self.tick_seconds, step / self.tick_seconds
        # In whole numbers over one denominator: with fractions it takes nine times as long.
        parts = lcm(first.denominator, between.denominator)
        begin, stride = int(first * parts), int(between * parts)
        return [max(0, bisect_right(self.ticks, (begin + n * stride) // parts) - 1) for n in range(count)]

    def first_from(self, seconds: Fraction) -> int:
        """The number of the first frame that appears at a time or after it."""
        return bisect_left(self.ticks, ceil((seconds - GRACE_SECONDS) / self.tick_seconds))


@dataclass(frozen=True)
class WholeClip:
    """Every frame counts."""

    def numbers(self, timeline: Timeline) -> range:
        return range(timeline.frames)


WHOLE_CLIP = WholeClip()


@dataclass(frozen=True, kw_only=True)
class FrameRange:
    """From one frame to another, both included; negative numbers count from the end, so -1 is the last frame."""

    first: int = 0
    last: int = -1

    def numbers(self, timeline: Timeline) -> range:
        first, last = (number + timeline.frames if number < 0 else number for number in (self.first, self.last))
        if not 0 <= first < timeline.frames:
            raise MediaError(
                f"The range starts at frame {self.first}, but the clip has {timeline.frames} frames, "
                f"numbered 0 to {timeline.frames - 1}. Choose a first frame within them."
            )
        if last < first:
            raise MediaError(
                f"The range from frame {self.first} to frame {self.last} holds no frame of a clip that has "
                f"{timeline.frames}. Choose a last frame that comes after the first; -1 means the clip's last."
            )
        return range(first, min(last + 1, timeline.frames))


@dataclass(frozen=True, kw_only=True)
class SecondsRange:
    """The frames that appear at `start` or after it and before `end`, in seconds; an end of 0 is the clip's end."""

    start: float = 0.0
    end: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.start) and isfinite(self.end)) or self.start < 0 or self.end < 0:
            raise MediaError(
                f"The range from {self.start} s to {self.end} s is none that a clip can have. "
                "Give both as seconds from the clip's start, 0 or more; an end of 0 means the clip's end."
            )

    def numbers(self, timeline: Timeline) -> range:
        first = timeline.first_from(Fraction(self.start))
        stop = timeline.first_from(Fraction(self.end)) if self.end else timeline.frames
        if stop <= first:
            raise MediaError(
                f"No frame appears between {self.start:g} s and {self.end or float(timeline.seconds):g} s: the clip is "
                f"{float(timeline.seconds):.3f} s long. Choose a range that holds at least one frame."
            )
        return range(first, stop)


@dataclass(frozen=True, kw_only=True)
class EveryNth:
    """The first frame of the range and every n-th after it."""

    every: int = 10

    def __post_init__(self) -> None:
        if self.every < 1:
            raise MediaError(f"Every nth frame needs an n of 1 or more, and it is {self.every}. 1 takes every frame.")

    def choose(self, timeline: Timeline, within: range) -> list[int]:
        return list(within[:: self.every])

    def rate(self, timeline: Timeline, numbers: list[int]) -> Fraction | None:
        return None


@dataclass(frozen=True, kw_only=True)
class AtRate:
    """The frames on screen at a steady rate; a rate above the clip's own repeats frames."""

    frames_per_second: float = 8.0

    def __post_init__(self) -> None:
        exact_rate(self.frames_per_second)  # refuses what is no rate

    def choose(self, timeline: Timeline, within: range) -> list[int]:
        start, end = timeline.start_of(within.start), timeline.start_of(within.stop)
        step = 1 / exact_rate(self.frames_per_second)
        count = max(1, -((start - end) // step))  # the number of steps that start before the end: a ceiling
        # The n-th time is start + n * step rather than a running sum, so nothing drifts over a long clip.
        shown = timeline.shown_every(step, start, count)
        return [min(max(number, within.start), within.stop - 1) for number in shown]

    def rate(self, timeline: Timeline, numbers: list[int]) -> Fraction | None:
        return exact_rate(self.frames_per_second)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A number of frames spread evenly from the first frame of the range to its last; one alone is the middle one.

    Where the clip's rate varies, they are spread evenly over its time, so that they keep it, and may repeat.
    """

    count: int = 16

    def __post_init__(self) -> None:
        if self.count < 1:
            raise MediaError(f"The number of frames to take is {self.count}. Ask for 1 or more.")

    def choose(self, timeline: Timeline, within: range) -> list[int]:
        if self.count > len(within):
            raise MediaError(
                f"{self.count} frames cannot be spread over a range that has {len(within)}. "
                f"Ask for {len(within)} or fewer, or choose by rate, which repeats frames."
            )
        if self.count == 1:
            return [within[(len(within) - 1) // 2]]
        last, steps = len(within) - 1, self.count - 1
        if timeline.rate is None:
            start, end = timeline.start_of(within[0]), timeline.start_of(within[last])
            return timeline.shown_every((end - start) / steps, start, self.count)
        return [within[(2 * n * last + steps) // (2 * steps)] for n in range(self.count)]  # n * last / steps, rounded

    def rate(self, timeline: Timeline, numbers: list[int]) -> Fraction | None:
        return None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Frames by number, in the order written: "0, 5, 10-20, -1, 100-200:10" (from 100 to 200, every 10th).

    Numbers count from the start of the range; negative ones from its end.
    """

    indices: str = "0, 10, 20"

    def choose(self, timeline: Timeline, within: range) -> list[int]:
        numbers = [within[n] for part in self._parts() for n in self._expanded(part, len(within))]
        if not numbers:
            raise MediaError('The list of frames is empty. Write numbers such as "0, 5, 10-20, -1".')
        return numbers

    def rate(self, timeline: Timeline, numbers: list[int]) -> Fraction | None:
        # Frames that go back and forth have no rate that keeps time, so they play at the clip's own.
        rising = all(earlier < later for earlier, later in pairwise(numbers))
        return None if rising else timeline.average_rate

    def _parts(self) -> list[str]:
        return [part for part in re.split(r"[,;\s]+", self.indices.strip()) if part]

    def _expanded(self, part: str, length: int) -> range:
        match = re.fullmatch(r"(-?\d{1,15})(?:-(-?\d{1,15})(?::(\d{1,15}))?)?", part)
        if not match or (match[3] is not None and int(match[3]) == 0):
            raise MediaError(
                f'"{part}" in the list of frames is not understood. Write numbers and ranges separated by commas, '
                'such as "0, 5, 10-20, -1, 100-200:10".'
            )
        first = self._number(match[1], length)
        if match[2] is None:
            return range(first, first + 1)
        last = self._number(match[2], length)
        step = int(match[3] or 1)
        return range(first, last + 1, step) if first <= last else range(first, last - 1, -step)

    @staticmethod
    def _number(text: str, length: int) -> int:
        number = int(text) + (length if text.startswith("-") else 0)
        if not 0 <= number < length:
            raise MediaError(
                f"Frame {text} is not there: the range has {length} frames, numbered 0 to {length - 1}. "
                "Negative numbers count from the end, so -1 is the last."
            )
        return number


Extent = WholeClip | FrameRange | SecondsRange
Rule = EveryNth | AtRate | Spread | Listed


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The chosen frames, the rate at which they keep the clip's time, and the span of seconds that they stand for."""

    numbers: list[int]
    frames_per_second: Fraction
    start_seconds: Fraction
    end_seconds: Fraction


def select(timeline: Timeline, rule: Rule, extent: Extent = WHOLE_CLIP) -> Selection:
    """Choose frames by a rule within a part of a clip."""
    if not timeline.frames:
        raise MediaError("The clip has no frames, so there is nothing to choose from. Check how it was made.")
    within = extent.numbers(timeline)
    numbers = rule.choose(timeline, within)
    rate = rule.rate(timeline, numbers) or _time_keeping_rate(timeline, numbers, within)
    start, end = timeline.start_of(min(numbers)), timeline.start_of(max(numbers) + 1)
    if len(numbers) == 1:  # it stands for the whole range
        start, end = timeline.start_of(within.start), timeline.start_of(within.stop)
    # As long as the frames play at this rate, though no longer than the clip: its sound fits under it then.
    end = min(max(start + len(numbers) / rate, end), timeline.seconds)
    return Selection(numbers=numbers, frames_per_second=rate, start_seconds=start, end_seconds=end)


def _time_keeping_rate(timeline: Timeline, numbers: list[int], within: range) -> Fraction:
    """The rate at which the chosen frames pass in the time that they took in the clip."""
    steps = len(numbers) - 1
    if not steps:
        return max(SLOWEST, 1 / (timeline.start_of(within.stop) - timeline.start_of(within.start)))
    if timeline.rate:  # exact even where a container rounded its frames' times
        return timeline.rate * steps / (numbers[-1] - numbers[0])
    return steps / (timeline.start_of(numbers[-1]) - timeline.start_of(numbers[0]))
