import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from zoetrope.host import folders
from zoetrope.media.reading import load_frames, probe
from zoetrope.nodes.previews import animated, playing, spread


@pytest.fixture(autouse=True)
def temp(tmp_path):
    before = folders.own_folders()
    folders.set_folders(temp=tmp_path)
    yield tmp_path
    folders.set_folders(**before)


def shown_by(preview, temp):
    (result,) = preview.as_dict()["images"]
    assert result["type"] == "temp"
    with Image.open(temp / result["subfolder"] / result["filename"]) as image:
        frames = [(frame.convert("RGB"), frame.info.get("duration", 0)) for frame in ImageSequence.Iterator(image)]
    return [np.asarray(picture) for picture, _ in frames], sum(duration for _, duration in frames) / 1000


def growing_lighter(frames):
    """Noise that grows lighter; frames without noise would be so alike that WebP makes one of two."""
    return torch.linspace(0, 0.5, frames).reshape(-1, 1, 1, 1) + torch.rand(frames, 32, 32, 3) * 0.5


@pytest.mark.parametrize("frames, rate", [(24, 24), (10, 12.5), (1000, 24), (100, 100), (60, 60), (2, 1.0)])
def test_a_preview_takes_the_time_of_the_clip(temp, frames, rate):
    pictures, seconds = shown_by(animated(growing_lighter(frames), rate), temp)

    assert seconds == pytest.approx(frames / rate, rel=0.02)
    assert len(pictures) == min(frames, 48, 50 * frames // rate)
    lightness = np.array([picture.mean() for picture in pictures])
    assert (np.diff(lightness) > -4).all() and lightness[-1] > lightness[0] + 60


@pytest.mark.parametrize("frames, rate", [(24, 24), (1000, 24), (1, 24), (100, 2.4)])
def test_a_preview_with_a_player_is_a_video_of_the_same_length(temp, frames, rate):
    shown = playing(growing_lighter(frames), rate).as_dict()

    (result,) = shown["images"]
    path = temp / result["subfolder"] / result["filename"]
    facts = probe(path)
    assert shown["animated"] == (True,) and path.suffix == ".mp4" and result["type"] == "temp"
    assert facts.frames == min(frames, 48)
    assert float(facts.seconds) == pytest.approx(frames / rate, rel=0.02)
    lightness = [float(frame.mean()) for frame in load_frames(path, range(facts.frames), facts)]
    assert frames == 1 or lightness[-1] > lightness[0] + 0.2


def test_a_preview_is_small_and_keeps_the_aspect(temp):
    pictures, _ = shown_by(animated(torch.rand(3, 500, 1000, 3), 8), temp)

    assert pictures[0].shape == (160, 320, 3)


def test_a_small_clip_is_not_enlarged(temp):
    assert shown_by(animated(torch.rand(2, 5, 1, 4), 8), temp)[0][0].shape == (5, 1, 3)


def test_one_frame_is_a_still(temp):
    assert "animated" not in animated(torch.rand(1, 8, 8, 3), 8).as_dict()
    assert animated(torch.rand(2, 8, 8, 3), 8).as_dict()["animated"] == (True,)


@pytest.mark.parametrize("rate", [0.0001, 1000.0])
def test_no_rate_is_too_strange_to_be_shown(temp, rate):
    assert shown_by(animated(torch.rand(5, 8, 8, 3), rate), temp)[0]


def test_no_two_previews_share_a_name(temp):
    names = {animated(torch.rand(1, 8, 8, 3), 8).as_dict()["images"][0]["filename"] for _ in range(5)}

    assert len(names) == 5


def test_a_long_clip_of_large_pictures_is_shown_quickly(temp):
    clip = torch.rand(1, 1, 1, 3).expand(600, 1080, 1920, 3)  # a copy of it would be 15 GB

    begin = time.monotonic()
    animated(clip, 24)

    assert time.monotonic() - begin < 30


@given(st.integers(1, 10_000), st.integers(1, 48))
def test_frames_are_spread_evenly(frames, count):
    count = min(frames, count)

    numbers = spread(frames, count)

    gaps = np.diff(numbers)
    assert len(set(numbers)) == count and numbers[0] >= 0 and numbers[-1] < frames
    assert count == 1 or gaps.max() - gaps.min() <= 1
