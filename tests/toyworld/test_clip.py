import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.toyworld.clip import LARGEST_SEED, ClipOptions, empty_clip


@given(seconds=st.floats(0.1, 100), rate=st.floats(10, 240))
def test_a_clip_has_as_many_frames_as_its_seconds_hold_rounded(seconds, rate):
    assert ClipOptions(seconds=seconds, frames_per_second=rate).frames == round(seconds * rate)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"seconds": 0.0}, "seconds is 0.0. It must be a number above 0"),
        ({"seconds": math.nan}, "seconds is nan"),
        ({"seconds": math.inf}, "seconds is inf"),
        ({"frames_per_second": -24.0}, "frames_per_second is -24.0"),
        ({"width": 15}, "width is 15. A scene needs at least 16 pixels"),
        ({"height": 0}, "height is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": LARGEST_SEED + 1}, "seed is 18446744073709551616"),
        ({"seconds": 0.01}, "0.01 seconds at 24.0 frames per second are less than one frame"),
    ],
)
def test_a_wrong_option_is_refused_with_its_value(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        ClipOptions(**wrong)


def test_a_clip_that_no_memory_holds_is_refused_before_any_is_taken():
    options = ClipOptions(seconds=3600, width=16384, height=16384)

    with pytest.raises(ValueError, match=r"86400 frames of 16384x16384 take 259200\.0 GiB of memory, and .* are free"):
        empty_clip(options)


def test_a_clip_has_room_for_each_frame():
    assert empty_clip(ClipOptions(seconds=0.5, width=32, height=16)).shape == (12, 16, 32, 3)
