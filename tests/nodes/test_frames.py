import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from zoetrope.host import folders, video
from zoetrope.nodes.frames import ExtractFrames

RATE = 8000


@pytest.fixture
def places(tmp_path):
    before = folders.own_folders()
    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
    folders.set_folders(input=tmp_path / "input", output=tmp_path / "output", temp=tmp_path / "temp")
    yield tmp_path
    folders.set_folders(**before)


@pytest.fixture
def clip(places) -> Path:
    """Two seconds at 24000/1001 frames per second whose grey tells the frame, with a sound."""
    path = places / "input" / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(24000, 1001), options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        voice = container.add_stream("aac", rate=RATE, layout="mono")
        for number in range(48):
            pixels = np.full((32, 32, 3), 10 + number * 5, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
        heard = av.AudioFrame.from_ndarray(np.full((1, 2 * RATE), 0.25, np.float32), "fltp", "mono")
        heard.sample_rate, heard.pts = RATE, 0
        container.mux([*voice.encode(heard), *voice.encode(None)])
    return path


EVERY_12TH, WHOLE = {"choose": "every nth", "every": 12}, {"range": "whole clip"}


def grey_of(images: torch.Tensor) -> list[int]:
    return [round((frame.mean().item() * 255 - 10) / 5) for frame in images]


@pytest.mark.parametrize("given", ["file", "video"])
def test_frames_come_with_their_rate_sound_and_numbers(given, clip):
    source = {"file": "clip.mp4"} if given == "file" else {"video": video.VideoFromFile(clip)}

    images, rate, audio, indices = ExtractFrames.execute(choose=EVERY_12TH, range=WHOLE, **source).args

    assert grey_of(images) == [0, 12, 24, 36]
    assert rate == pytest.approx(2000 / 1001)
    assert audio["sample_rate"] == RATE
    assert audio["waveform"].shape[-1] == pytest.approx(2 * RATE, abs=RATE / 100)
    assert indices == "0, 12, 24, 36"


def test_a_clip_in_memory_is_taken_from_as_well():
    images = torch.linspace(0, 1, 10).reshape(10, 1, 1, 1).expand(10, 4, 4, 3).contiguous()
    held = video.VideoFromComponents(images, Fraction(10))

    chosen, rate, audio, indices = ExtractFrames.execute(
        choose={"choose": "list", "indices": "9, 0"}, range=WHOLE, video=held
    ).args

    assert torch.equal(chosen, images[[9, 0]])
    assert (rate, audio, indices) == (10, None, "9, 0")


@pytest.mark.parametrize(
    ("choose", "extent", "numbers"),
    [
        (
            {"choose": "rate", "frames_per_second": 4.0},
            {"range": "seconds", "start": 1.0, "end": 1.9},
            "24, 30, 36, 41",
        ),
        ({"choose": "count", "count": 3}, {"range": "frames", "first": 10, "last": -1}, "10, 29, 47"),
        ({"choose": "list", "indices": "0, -1"}, {"range": "frames", "first": 4, "last": 8}, "4, 8"),
    ],
)
def test_every_choice_reaches_the_frames(choose, extent, numbers, clip):
    images, _, _, indices = ExtractFrames.execute(choose=choose, range=extent, file="clip.mp4").args

    assert indices == numbers
    assert ", ".join(map(str, grey_of(images))) == numbers


def test_the_video_wins_over_the_file(clip):
    held = video.VideoFromComponents(torch.zeros(3, 4, 4, 3), Fraction(10))

    assert len(ExtractFrames.execute(choose=EVERY_12TH, range=WHOLE, video=held, file="clip.mp4").args[0]) == 1


def test_a_file_that_changes_is_read_again(clip):
    before = ExtractFrames.fingerprint_inputs(file="clip.mp4", choose="every nth", range="whole clip")
    os.utime(clip, (1, 1))

    assert ExtractFrames.fingerprint_inputs(file="clip.mp4", choose="every nth", range="whole clip") != before
    assert ExtractFrames.fingerprint_inputs(file="none") is None


def test_a_name_that_leaves_the_folder_is_refused_before_anything_runs(places):
    assert ExtractFrames.validate_inputs(file="none") is True
    assert "leads out of the input folder" in ExtractFrames.validate_inputs(file="../clip.mp4")


@pytest.mark.parametrize("value", [None, {}, {"choose": "sometimes"}])
def test_a_choice_that_is_none_gets_a_sentence(value, clip):
    with pytest.raises(ValueError, match="choose is not set to one of its options. Choose one of: every nth, rate"):
        ExtractFrames.execute(choose=value, range=WHOLE, file="clip.mp4")


@pytest.mark.parametrize("file", ["none", None])
def test_no_video_at_all_gets_a_sentence(file):
    with pytest.raises(ValueError, match="There is no video to take frames from"):
        ExtractFrames.execute(choose=EVERY_12TH, range=WHOLE, file=file)
