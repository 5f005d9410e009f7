"""Pairs drawn so that each one's pixels can be found again."""

import numpy as np
import pytest

from zoetrope.clips.footage import Clip, Footage
from zoetrope.clips.pairs import FramePairs, PairOptions
from zoetrope.clips.pairs_picture import MOST_CONTEXT, WIDTH, draw_pairs
from zoetrope.media.pictures import encode_png


def color_of(number):
    return (10 + 20 * number, 200 - 15 * number, 90)


@pytest.fixture
def footage(tmp_path):
    """One clip whose every frame is of another colour."""
    names = tuple(f"{number}.png" for number in range(10))
    (tmp_path / "clip").mkdir()
    for number, name in enumerate(names):
        (tmp_path / "clip" / name).write_bytes(encode_png(np.full((24, 40, 3), color_of(number), np.uint8)))
    return Footage(tmp_path, (Clip(name="clip", frames=names),))


def colors_in(picture):
    return {tuple(color) for color in np.unique(picture.reshape(-1, 3), axis=0).tolist()}


def test_input_and_target_are_side_by_side(footage):
    picture = draw_pairs(FramePairs(footage, PairOptions(step=4, stride=100)), 8)

    row = picture[picture.shape[0] // 2]
    left, right = ([x for x in range(WIDTH) if tuple(row[x]) == color_of(number)] for number in (0, 4))
    assert picture.shape[1] == WIDTH
    assert max(left) < min(right)


@pytest.mark.parametrize("options", [PairOptions(), PairOptions(context=3, spacing=2), PairOptions(stride=4)])
def test_every_frame_of_few_pairs_is_seen(footage, options):
    pairs = FramePairs(footage, options)

    seen = colors_in(draw_pairs(pairs, len(pairs) + 5))

    assert {color_of(place) for pair in pairs for place in (*pair.places, pair.target)} <= seen


def test_of_many_pairs_some_are_spread_over_all(footage):
    seen = colors_in(draw_pairs(FramePairs(footage), 3))

    assert [number for number in range(10) if color_of(number) in seen] == [1, 2, 4, 5, 7, 8]


def test_of_a_long_context_the_last_frames_are_shown(footage):
    seen = colors_in(draw_pairs(FramePairs(footage, PairOptions(context=9)), 1))

    assert [number for number in range(10) if color_of(number) in seen] == list(range(9 - MOST_CONTEXT, 10))


def test_no_pair_at_all_is_told(footage):
    with pytest.raises(ValueError, match="no scene has the 31 frames"):
        draw_pairs(FramePairs(footage, PairOptions(step=30)), 1)
