from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.media.errors import MediaError
from zoetrope.media.rates import delays, exact_rate


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25), Fraction(1, 7)])
def test_an_exact_rate_stays_and_its_float_becomes_it(rate):
    assert exact_rate(rate) == rate
    assert exact_rate(float(rate)) == rate


@pytest.mark.parametrize("rate", [0, -1, 0.001, 1001, float("nan"), float("inf"), -float("inf"), Fraction(-24)])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(MediaError, match="frames per second is"):
        exact_rate(rate)


def test_thirty_frames_a_second_are_shared_out_over_hundredths():
    assert delays(6, Fraction(30), 100) == [3, 4, 3, 3, 4, 3]


@given(st.integers(1, 500), st.fractions(Fraction(1, 10), 50, max_denominator=1001), st.sampled_from([100, 1000]))
def test_no_frame_starts_more_than_half_a_unit_early_or_late(frames, rate, units):
    shown = delays(frames, rate, units)

    assert len(shown) == frames
    for index in range(frames + 1):
        assert abs(sum(shown[:index]) - index * units / rate) <= Fraction(1, 2)
