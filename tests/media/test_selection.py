from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.media.errors import MediaError
from zoetrope.media.rates import SLOWEST
from zoetrope.media.selection import (
    AtRate,
    EveryNth,
    FrameRange,
    Listed,
    SecondsRange,
    Spread,
    Timeline,
    WholeClip,
    select,
)

CLIP = Timeline.steady(96, Fraction(24))
lengths = st.integers(1, 2000)
rates = st.sampled_from([Fraction(24), Fraction(30000, 1001), Fraction(25), Fraction(12), Fraction(60)])


def varying(milliseconds: list[int], end: int) -> Timeline:
    return Timeline(ticks=milliseconds, tick_seconds=Fraction(1, 1000), end=end, rate=None)


@given(frames=lengths, rate=rates, every=st.integers(1, 300))
def test_every_nth_starts_at_the_first_frame_and_keeps_time(frames, rate, every):
    selection = select(Timeline.steady(frames, rate), EveryNth(every=every))

    assert selection.numbers == list(range(0, frames, every))
    if len(selection.numbers) > 1:
        assert selection.frames_per_second == rate / every


@given(frames=lengths, rate=rates, count=st.integers(1, 200))
def test_spread_frames_reach_from_end_to_end_in_even_steps(frames, rate, count):
    timeline = Timeline.steady(frames, rate)
    if count > frames:
        with pytest.raises(MediaError, match=f"{count} frames cannot be spread over a range that has {frames}"):
            select(timeline, Spread(count=count))
        return
    numbers = select(timeline, Spread(count=count)).numbers

    assert len(numbers) == len(set(numbers)) == count
    if count > 1:
        assert (numbers[0], numbers[-1]) == (0, frames - 1)
        steps = {later - earlier for earlier, later in pairwise(numbers)}
        assert max(steps) - min(steps) <= 1
    else:
        assert numbers == [(frames - 1) // 2]


@given(frames=lengths, rate=rates, wanted=st.floats(0.5, 120))
def test_a_rate_takes_the_frame_on_screen_at_each_of_its_times(frames, rate, wanted):
    timeline = Timeline.steady(frames, rate)
    selection = select(timeline, AtRate(frames_per_second=wanted))

    assert abs(len(selection.numbers) - float(timeline.seconds) * wanted) <= 1.001
    for place, number in enumerate(selection.numbers):
        at = place / selection.frames_per_second
        assert timeline.start_of(number) - at <= Fraction(1, 2) / rate
        assert number == frames - 1 or timeline.start_of(number + 1) > at


@given(rate=rates, frames=lengths)
def test_the_clips_own_rate_takes_every_frame_once(rate, frames):
    assert select(Timeline.steady(frames, rate), AtRate(frames_per_second=float(rate))).numbers == list(range(frames))


def test_a_rate_above_the_clips_repeats_frames():
    assert select(Timeline.steady(4, Fraction(10)), AtRate(frames_per_second=20)).numbers == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_rate_over_a_variable_clip_follows_its_clock():
    timeline = varying([0, 40, 80, 1000, 1040], 1080)

    assert select(timeline, AtRate(frames_per_second=10)).numbers == [0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]


def test_the_rate_of_a_variable_clip_is_that_at_which_its_frames_keep_time():
    selection = select(varying([0, 40, 80, 1000, 1040], 1080), EveryNth(every=2))

    assert selection.numbers == [0, 2, 4]
    assert selection.frames_per_second == Fraction(2, Fraction(1040, 1000))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0, 5, 10-13, -1", [0, 5, 10, 11, 12, 13, 95]),
        ("0-90:30", [0, 30, 60, 90]),
        ("5-2", [5, 4, 3, 2]),
        ("-3--1", [93, 94, 95]),
        ("7 7;8", [7, 7, 8]),
        ("0--1:40", [0, 40, 80]),
    ],
)
def test_a_list_is_read_as_written(text, numbers):
    assert select(CLIP, Listed(indices=text)).numbers == numbers


@given(numbers=st.lists(st.integers(0, 95), min_size=2, max_size=30))
def test_a_list_of_numbers_means_those_numbers(numbers):
    selection = select(CLIP, Listed(indices=", ".join(map(str, numbers))))

    assert selection.numbers == numbers
    assert selection.start_seconds == Fraction(min(numbers), 24)
    assert Fraction(max(numbers) + 1, 24) <= selection.end_seconds <= CLIP.seconds or len(set(numbers)) < len(numbers)


def test_a_rate_as_people_write_it_is_the_rate_they_mean():
    assert select(CLIP, AtRate(frames_per_second=23.976)).frames_per_second == Fraction(24000, 1001)
    assert select(CLIP, AtRate(frames_per_second=29.97)).frames_per_second == Fraction(30000, 1001)


def test_frames_spread_over_a_variable_clip_keep_its_time():
    slow_then_fast = varying([*range(0, 3000, 100), *range(3000, 6000, 20)], 6000)
    selection = select(slow_then_fast, Spread(count=60))

    for place, number in enumerate(selection.numbers):
        assert abs(slow_then_fast.start_of(number) - place / selection.frames_per_second) <= Fraction(1, 10)


def test_one_frame_stands_for_its_whole_range():
    selection = select(CLIP, Spread(count=1), SecondsRange(start=1, end=3))

    assert selection.numbers == [47]
    assert (selection.start_seconds, selection.end_seconds) == (1, 3)
    assert selection.frames_per_second == Fraction(1, 2)


def test_one_frame_of_a_long_film_has_a_rate_that_can_be_saved():
    assert select(Timeline.steady(24 * 7200, Fraction(24)), Spread(count=1)).frames_per_second == SLOWEST


def test_many_times_are_found_quickly_and_a_hair_before_a_frame_means_that_frame():
    timeline = varying([33 * n + (n % 3 == 2) for n in range(20_000)], 33 * 20_000)

    assert timeline.shown_every(Fraction(1), Fraction(33 * 100, 1000) - Fraction(1, 10_000), count=1) == [100]
    assert len(select(timeline, AtRate(frames_per_second=60)).numbers) > 39_000


def test_frames_that_go_back_and_forth_play_at_the_clips_own_rate():
    assert select(CLIP, Listed(indices="0-10 10-0")).frames_per_second == 24


@given(first=st.integers(0, 95), length=st.integers(1, 96), every=st.integers(1, 20))
def test_a_range_counts_from_its_first_frame(first, length, every):
    last = min(first + length - 1, 95)
    extent = FrameRange(first=first, last=first + length - 1)

    assert select(CLIP, EveryNth(every=every), extent).numbers == list(range(first, last + 1, every))


def test_negative_frames_count_from_the_end():
    assert select(CLIP, EveryNth(every=1), FrameRange(first=-3)).numbers == [93, 94, 95]
    assert select(CLIP, EveryNth(every=1), FrameRange(first=0, last=-94)).numbers == [0, 1, 2]


@pytest.mark.parametrize(
    ("start", "end", "numbers"),
    [(0, 0, range(96)), (1, 2, range(24, 48)), (1.01, 1.05, range(25, 26)), (3.5, 99, range(84, 96))],
)
def test_seconds_take_the_frames_that_appear_in_them(start, end, numbers):
    assert select(CLIP, EveryNth(every=1), SecondsRange(start=start, end=end)).numbers == list(numbers)


def test_seconds_on_a_frames_very_start_hold_it_whatever_the_rounding():
    timeline = Timeline.steady(300, Fraction(30000, 1001))
    for number in range(0, 300, 7):
        at = float(timeline.start_of(number))
        assert select(timeline, EveryNth(), SecondsRange(start=at)).numbers[0] == number


def test_the_sound_of_a_selection_lasts_as_long_as_its_frames_play():
    selection = select(CLIP, EveryNth(every=10), FrameRange(first=24, last=63))

    assert selection.numbers == [24, 34, 44, 54]
    assert selection.start_seconds == 1
    assert selection.end_seconds - selection.start_seconds == len(selection.numbers) / selection.frames_per_second


@pytest.mark.parametrize(
    ("rule", "extent", "sentence"),
    [
        (lambda: EveryNth(every=0), WholeClip, "n of 1 or more, and it is 0"),
        (lambda: AtRate(frames_per_second=0), WholeClip, "frames per second is 0. It must be a number from 0.01"),
        (lambda: AtRate(frames_per_second=float("nan")), WholeClip, "frames per second is nan"),
        (lambda: Spread(count=0), WholeClip, "number of frames to take is 0"),
        (lambda: Listed(indices=""), WholeClip, "list of frames is empty"),
        (lambda: Listed(indices="1, two"), WholeClip, '"two" in the list of frames is not understood'),
        (lambda: Listed(indices="1-9:0"), WholeClip, '"1-9:0" in the list'),
        (lambda: Listed(indices="96"), WholeClip, "Frame 96 is not there: the range has 96 frames"),
        (lambda: Listed(indices="-97"), WholeClip, "Frame -97 is not there"),
        (lambda: Listed(indices="9" * 40), WholeClip, "is not understood"),
        (EveryNth, lambda: FrameRange(first=96), "starts at frame 96, but the clip has 96 frames"),
        (EveryNth, lambda: FrameRange(first=50, last=40), "from frame 50 to frame 40 holds no frame"),
        (EveryNth, lambda: SecondsRange(start=5), "No frame appears between 5 s and 4 s"),
        (EveryNth, lambda: SecondsRange(start=2, end=1), "No frame appears between 2 s and 1 s"),
        (EveryNth, lambda: SecondsRange(start=float("inf")), "from inf s to 0.0 s is none that a clip can have"),
        (EveryNth, lambda: SecondsRange(start=-1), "from -1 s"),
    ],
)
def test_what_cannot_be_chosen_is_said(rule, extent, sentence):
    with pytest.raises(MediaError, match=sentence):
        select(CLIP, rule(), extent())


def test_a_clip_without_frames_is_said():
    with pytest.raises(MediaError, match="The clip has no frames"):
        select(Timeline.steady(0, Fraction(24)), EveryNth())
