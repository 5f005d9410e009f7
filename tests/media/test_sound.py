from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoetrope.media.sound import read_sound

RATE = 44100


def tone_with_ticks(seconds: int) -> np.ndarray:
    """A quiet tone with a burst at the start of each second."""
    t = np.arange(seconds * RATE)
    burst = np.exp(-(t % RATE) / 300) * np.sin(t * 2 * np.pi * 1000 / RATE) * 0.9
    return (burst + 0.02 * np.sin(t * 2 * np.pi * 220 / RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, write_clip):
    path = tmp_path_factory.mktemp("sound") / "clip.mp4"
    return write_clip(path, frames=180, rate=Fraction(30), sound=tone_with_ticks(6), options={"g": "30"})


def test_the_sound_of_the_whole_clip_is_its_sound(clip):
    sound = read_sound(clip, Fraction(0), Fraction(6))

    assert sound["sample_rate"] == RATE
    assert sound["waveform"].shape == (1, 1, 6 * RATE)
    assert np.abs(sound["waveform"][0, 0].numpy() - tone_with_ticks(6)).mean() < 0.01  # AAC is not exact


@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, 5 * RATE), length=st.integers(1, RATE))
def test_a_span_is_that_part_of_the_whole_to_the_sample(start, length, clip):
    whole = read_sound(clip, Fraction(0), Fraction(6))["waveform"]

    span = read_sound(clip, Fraction(start, RATE), Fraction(start + length, RATE))["waveform"]

    assert torch.equal(span, whole[..., start : start + length])


def test_times_count_from_the_moment_given_as_zero(clip):
    whole = read_sound(clip, Fraction(0), Fraction(6))["waveform"]

    later = read_sound(clip, Fraction(1), Fraction(2), zero_seconds=Fraction(3))["waveform"]

    assert torch.equal(later, whole[..., 4 * RATE : 5 * RATE])


def test_there_is_silence_after_the_sound_ends(clip):
    sound = read_sound(clip, Fraction(5), Fraction(9))["waveform"]

    assert sound.shape[-1] == 4 * RATE
    assert sound[..., : RATE // 2].abs().max() > 0.5
    assert sound[..., int(1.2 * RATE) :].abs().max() == 0
    assert read_sound(clip, Fraction(20), Fraction(21))["waveform"].abs().max() == 0


def test_a_silent_film_has_no_sound(make_clip):
    assert read_sound(make_clip(), Fraction(0), Fraction(1)) is None
