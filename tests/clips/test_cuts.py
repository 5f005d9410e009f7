"""Cuts in clips that are made so that it is known where they are."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.clips.cuts import CutFinder, CutOptions, find_cuts

HEIGHT, WIDTH = 72, 96


def scene(seed, frames, speed=1.0):
    """A view that slides over a large smooth picture of random colours, `speed` pixels a frame."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 30, 3)).astype(np.uint8)
    wide = cv2.resize(coarse, (720, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return [wide[:, int(number * speed) :][:, :WIDTH] for number in range(frames)]


def joined(*scenes):
    return [frame for frames in scenes for frame in frames]


@pytest.mark.parametrize("lengths", [(10, 10), (5, 20, 7), (8, 1, 8), (3, 3, 3, 3), (2, 9), (9, 1), (1, 9)])
def test_a_cut_is_found_at_the_frame_that_begins_a_scene(lengths):
    clip = joined(*(scene(seed, length) for seed, length in enumerate(lengths)))

    assert list(find_cuts(clip)) == list(np.cumsum(lengths)[:-1])


@pytest.mark.parametrize("speed", [0, 0.3, 2, 6, 12, 20])
def test_movement_alone_is_no_cut(speed):
    assert list(find_cuts(scene(1, 30, speed))) == []


@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_pictures_shown_several_times_each_are_no_cuts(repeats):
    clip = joined(*([frame] * repeats for frame in scene(2, 8, speed=3)))

    assert list(find_cuts(clip)) == []


def test_a_flash_is_no_cut():
    clip = scene(3, 20)
    clip[9] = np.full_like(clip[9], 255)

    assert list(find_cuts(clip)) == []


def test_a_fade_is_no_cut():
    clip = [np.uint8(frame * (1 - number / 19)) for number, frame in enumerate(scene(4, 20))]

    assert list(find_cuts(clip)) == []


@pytest.mark.parametrize("frames", range(4))
def test_a_clip_of_a_few_frames_is_judged_by_its_changes_alone(frames):
    assert list(find_cuts(scene(5, frames))) == []
    assert list(find_cuts([*scene(5, frames), *scene(6, 1)])) == ([frames] if frames else [])


@pytest.mark.parametrize("size", [(16, 20), (31, 33), (72, 96), (270, 480), (1080, 1920)])
def test_size_makes_no_difference(size):
    clip = [cv2.resize(frame, size[::-1]) for frame in joined(scene(7, 6), scene(8, 6))]

    assert list(find_cuts(clip)) == [6]


def test_transparency_is_left_out():
    opaque = joined(scene(9, 6), scene(10, 6))
    clip = [np.dstack([frame, np.full(frame.shape[:2], number * 20, np.uint8)]) for number, frame in enumerate(opaque)]

    assert list(find_cuts(clip)) == [6]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_what_is_found_while_frames_pass_is_found_once_and_in_order(lengths):
    finder, found = CutFinder(), []
    for frame in joined(*(scene(seed, length) for seed, length in enumerate(lengths))):
        found += finder.add(frame)
    found += finder.finish()

    assert finder.finish() == []
    assert found == sorted(set(found))
    assert all(0 < number < sum(lengths) for number in found)


def test_a_long_clip_takes_the_memory_of_a_few_small_pictures():
    finder = CutFinder()
    for frame in scene(11, 300):
        finder.add(frame)

    assert len(finder._changes) <= 7 and len(finder._small) <= 3


def test_a_ratio_below_any_is_refused():
    with pytest.raises(ValueError, match="ratio is 0.5"):
        CutOptions(ratio=0.5)
    with pytest.raises(ValueError, match="least_change is 0"):
        CutOptions(least_change=0)


def test_a_stricter_ratio_finds_fewer_cuts():
    moving = joined(scene(12, 10, speed=6), scene(13, 10, speed=6))

    assert list(find_cuts(moving, CutOptions())) == [10]
    assert list(find_cuts(moving, CutOptions(ratio=50))) == []
