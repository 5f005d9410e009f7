from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from zoetrope.media.errors import MediaError
from zoetrope.media.extraction import extract_from_clip, extract_from_file
from zoetrope.media.reading import probe
from zoetrope.media.selection import AtRate, EveryNth, FrameRange, Listed, SecondsRange, Spread

RATE = 8000


@pytest.fixture(scope="module")
def film(tmp_path_factory, write_clip):
    """Four seconds of pictures, and a sound whose value is the time."""
    ramp = np.linspace(0, 1, 4 * RATE, dtype=np.float32)
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    options = {"g": "24", "bf": "0"}  # frames lie in the order they are shown, so packets can be moved in time
    return write_clip(path, frames=96, rate=Fraction(24), sound=ramp, sample_rate=RATE, options=options)


def test_frames_come_with_the_rate_and_the_sound_of_their_span(film, played):
    taken = extract_from_file(film, EveryNth(every=12), SecondsRange(start=1, end=3))

    assert taken.numbers == [24, 36, 48, 60]
    assert torch.equal(taken.images, torch.from_numpy(np.stack([played(film)[n] for n in taken.numbers])) / 255)
    assert taken.frames_per_second == 2
    assert taken.sound["waveform"].shape == (1, 1, 2 * RATE)
    assert taken.sound["waveform"][0, 0, RATE].item() == pytest.approx(0.5, abs=0.03)  # the ramp's middle, at 2 s


def test_a_trimmed_file_is_a_clip_of_its_own(film, played):
    taken = extract_from_file(film, Listed(indices="0, -1"), start_seconds=1.0, duration_seconds=2.0)

    truth = played(film)
    assert taken.numbers == [0, 47]
    assert torch.equal(taken.images, torch.from_numpy(np.stack([truth[24], truth[71]])) / 255)
    assert taken.sound["waveform"][0, 0, 0].item() == pytest.approx(0.25, abs=0.03)


def remuxed_later(film, path, seconds):
    """The same packets, on a clock that shows `seconds` more, as in a recording that was cut out of a longer one."""
    with av.open(str(film)) as source, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.size:
                shift = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_a_file_whose_clock_does_not_start_at_0_gives_the_same_frames_and_sound(film, played, suffix, tmp_path):
    later = remuxed_later(film, tmp_path / f"later.{suffix}", 5)
    shift = probe(later).start_seconds
    assert shift >= 5, "or this test would hold without looking at the clock"

    whole = extract_from_file(later, EveryNth(every=12), SecondsRange(start=1, end=3))
    trimmed = extract_from_file(later, Listed(indices="0, -1"), start_seconds=float(shift) + 1, duration_seconds=2.0)

    truth = played(film)
    assert whole.numbers == [24, 36, 48, 60]
    assert torch.equal(whole.images, torch.from_numpy(np.stack([truth[n] for n in whole.numbers])) / 255)
    assert whole.sound["waveform"][0, 0, RATE].item() == pytest.approx(0.5, abs=0.03)
    assert torch.equal(trimmed.images, torch.from_numpy(np.stack([truth[24], truth[71]])) / 255)
    assert trimmed.sound["waveform"][0, 0, RATE].item() == pytest.approx(0.5, abs=0.03)


def test_a_trim_that_holds_nothing_is_said(film):
    with pytest.raises(MediaError, match=r"no frame in the 1 s from 9 s on: it is 4.000 s long"):
        extract_from_file(film, EveryNth(), start_seconds=9, duration_seconds=1)


def test_a_clip_in_memory_gives_what_its_file_gives(film, played):
    images = torch.from_numpy(np.stack(played(film))) / 255
    sound = {"waveform": torch.linspace(0, 1, 4 * RATE).reshape(1, 1, -1), "sample_rate": RATE}
    for rule in (EveryNth(every=7), Spread(count=5), AtRate(frames_per_second=10), Listed(indices="9 3")):
        for extent in (FrameRange(first=10, last=80), SecondsRange(start=0.5, end=3.5)):
            held = extract_from_clip(images, Fraction(24), sound, rule, extent)
            read = extract_from_file(film, rule, extent)
            assert held.numbers == read.numbers
            assert torch.equal(held.images, read.images)
            assert held.frames_per_second == read.frames_per_second
            assert held.sound["waveform"].shape == read.sound["waveform"].shape
            assert (held.sound["waveform"] - read.sound["waveform"]).abs().mean() < 0.02


def test_a_sound_shorter_than_its_pictures_ends_in_silence():
    sound = {"waveform": torch.ones(1, 2, RATE), "sample_rate": RATE}

    taken = extract_from_clip(torch.zeros(48, 4, 4, 3), Fraction(24), sound, EveryNth(every=1))

    assert taken.sound["waveform"].shape == (1, 2, 2 * RATE)
    assert taken.sound["waveform"][..., RATE:].abs().max() == 0


def test_a_silent_film_stays_silent(make_clip):
    assert extract_from_file(make_clip(), Spread(count=2)).sound is None


def test_every_frame_is_told_of_and_a_cancel_stops_the_work(film):
    class Cancelled(BaseException):
        pass

    told = []

    def on_frame(done, total, pixels):
        told.append((done, total, pixels.shape))
        if done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        extract_from_file(film, EveryNth(every=10), on_frame=on_frame)

    assert told == [(n, 10, (64, 96, 3)) for n in (1, 2, 3)]
