import math

import pytest
import torch

from zoetrope.toyworld.sound import LOUDEST, TICK_SECONDS, ticks


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_a_tick_starts_in_the_very_sample_in_which_a_second_begins(rate):
    sound = ticks(3.5, rate)

    waveform = sound["waveform"]
    assert sound["sample_rate"] == rate
    assert waveform.shape == (1, 1, round(3.5 * rate))
    loudest = (waveform[0, 0] == LOUDEST).nonzero().flatten()
    assert loudest.tolist() == [0, rate, 2 * rate, 3 * rate]


def test_between_the_ticks_is_silence():
    second = ticks(1.0, 44100)["waveform"][0, 0]

    assert (second[round(TICK_SECONDS * 44100) :] == 0).all()
    assert second.abs().max() == LOUDEST


def test_a_tick_that_the_end_cuts_is_cut():
    assert ticks(1.001, 1000)["waveform"][0, 0, 1000].item() == LOUDEST


def test_a_rate_of_fewer_samples_than_a_tick_takes_still_ticks():
    assert torch.equal(ticks(2.0, 1)["waveform"], torch.full((1, 1, 2), LOUDEST))


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_a_length_that_is_none_is_refused(seconds):
    with pytest.raises(ValueError, match=f"seconds is {seconds}"):
        ticks(seconds)


def test_a_rate_of_no_samples_is_refused():
    with pytest.raises(ValueError, match="sample_rate is 0"):
        ticks(1.0, 0)
