from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoetrope.media.errors import MediaError
from zoetrope.media.sound import SoundOnDemand, read_sound

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


def test_a_sound_that_changes_from_mono_to_stereo_goes_on(tmp_path, write_clip):
    parts = []
    for layout in ("mono", "stereo"):
        path = tmp_path / f"{layout}.ts"
        with av.open(str(path), "w") as container:
            voice = container.add_stream("mp2", rate=RATE, layout=layout)
            samples = np.full((1 if layout == "mono" else 2, RATE), 0.25, np.float32)
            heard = av.AudioFrame.from_ndarray(samples, "fltp", layout)
            heard.sample_rate, heard.pts = RATE, 0 if layout == "mono" else RATE
            heard.time_base = Fraction(1, RATE)
            converted = av.AudioResampler(format="s16", layout=layout, rate=RATE).resample(heard)
            for piece in [*converted, None]:
                container.mux(voice.encode(piece))
        parts.append(path.read_bytes())
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(parts))

    sound = read_sound(both, Fraction(0), Fraction(1, 2))["waveform"]

    assert sound.shape[1] in (1, 2)
    whole = read_sound(both, Fraction(0), Fraction(2), Fraction(0))["waveform"]
    assert whole[..., RATE // 2 : RATE].abs().mean() > 0.1


def test_a_damaged_piece_is_silent_and_the_rest_is_heard(clip, tmp_path):
    damaged = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    pos, size = next((packet.pos, packet.size) for packet in packets if packet.pts * packet.time_base > 2)
    damaged[pos : pos + size] = bytes([0xFF]) * size
    (tmp_path / "damaged.mp4").write_bytes(damaged)

    sound = read_sound(tmp_path / "damaged.mp4", Fraction(0), Fraction(6))["waveform"][0, 0]

    truth = read_sound(clip, Fraction(0), Fraction(6))["waveform"][0, 0]
    assert sound.shape == truth.shape
    assert torch.equal(sound[:RATE], truth[:RATE])
    assert torch.equal(sound[4 * RATE :], truth[4 * RATE :])


def test_a_sound_on_demand_is_read_once_and_only_when_asked_for():
    read = []

    def decode():
        read.append(True)
        return {"waveform": torch.ones(1, 1, 8), "sample_rate": 8}

    sound = SoundOnDemand(decode)
    assert sound
    assert set(sound) == {"waveform", "sample_rate"}
    assert not read
    assert sound["sample_rate"] == 8
    assert sound["waveform"].shape == (1, 1, 8)
    assert len(read) == 1
    with pytest.raises(KeyError):
        sound["colour"]


def test_a_sound_that_no_memory_holds_is_refused(clip):
    with pytest.raises(MediaError, match=r"s of sound take [\d.]+ GiB of memory"):
        read_sound(clip, Fraction(0), Fraction(10_000_000))
