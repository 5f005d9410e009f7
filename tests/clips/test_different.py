from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.clips import different
from zoetrope.clips.different import MostDifferent, OnePerScene, brightness, most_different_frames, scene_frames
from zoetrope.media import reading
from zoetrope.media.errors import MediaError
from zoetrope.media.reading import decoded_frames, probe, upright
from zoetrope.media.writing import VideoOptions, write_video


@pytest.fixture
def decoded(monkeypatch):
    """How many frames have come out of the decoder."""
    frames, was_misled = [], reading._Cursor._was_misled
    monkeypatch.setattr(
        reading._Cursor, "_was_misled", lambda cursor, come: frames.extend(come) or was_misled(cursor, come)
    )
    return frames


@pytest.fixture
def kept_bytes(monkeypatch):
    """How many bytes of frames were kept after each frame that was looked at."""
    most, offer = [], different._Kept.offer

    def watched(kept, difference, number, frame):
        offer(kept, difference, number, frame)
        most.append(sum(map(different.bytes_of, kept.frames.values())))

    monkeypatch.setattr(different._Kept, "offer", watched)
    return most


@pytest.mark.parametrize("distance", [1, 4])
def test_a_window_costs_one_decode_and_5_mb_for_each_frame_that_is_chosen(distance, put_clip, decoded, kept_bytes):
    path = put_clip(frames=110)
    facts = probe(path)
    decoded.clear()
    rule = MostDifferent(count=12, window_seconds=3, minimum_distance=distance)

    numbers = [number for number, _ in most_different_frames(path, facts, range(facts.frames), rule)]

    assert len(numbers) == 12
    assert len({frame.pts for frame in decoded}) == len(decoded) == 75  # 3 s of 25 frames, each once
    assert max(kept_bytes) <= 12 * 5 * 10**6
    if distance == 1:
        assert max(kept_bytes) <= 12 * max(different.bytes_of(frame) for frame in decoded)


@pytest.mark.parametrize("distance", [1, 3])
@pytest.mark.parametrize("room", [1, 3, 100])
def test_frames_too_large_to_keep_are_decoded_again_and_exact(distance, room, put_clip, kept_bytes, monkeypatch):
    path = put_clip(frames=60)
    facts = probe(path)
    whole = {number: upright(frame) for number, frame in decoded_frames(path, range(60), facts)}
    rule = MostDifferent(count=8, window_seconds=0, minimum_distance=distance)
    expected = [number for number, _ in most_different_frames(path, facts, range(60), rule)]
    size = different.bytes_of(next(decoded_frames(path, [0], facts))[1])
    monkeypatch.setattr(different, "KEPT_BYTES_A_FRAME", size * room // rule.count + 1)
    kept_bytes.clear()

    found = {number: upright(frame) for number, frame in most_different_frames(path, facts, range(60), rule)}

    assert list(found) == expected
    assert all(np.array_equal(found[number], whole[number]) for number in found)
    assert max(kept_bytes) <= (room + 1) * size


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 12), st.integers(1, 9), st.integers(0, 10**6)
)
def test_no_two_chosen_are_closer_than_the_minimum_distance(differences, count, distance, start):
    rule = MostDifferent(count=count, minimum_distance=distance)
    scored = [(float(value), start + place) for place, value in enumerate(differences)]

    chosen = different._apart(scored, rule)

    assert all(later - earlier >= distance for earlier, later in pairwise(chosen))
    assert 1 <= len(chosen) <= count
    best = max(scored, key=lambda pair: (pair[0], -pair[1]))
    assert best[1] in chosen


@pytest.mark.parametrize(
    "settings",
    [
        dict(name="a.mkv", codec="ffv1", pixel_format="yuv444p"),
        dict(name="a.mkv", codec="ffv1", pixel_format="yuv420p10le"),
        dict(name="a.mkv", codec="ffv1", pixel_format="gray"),
        dict(name="a.mkv", codec="ffv1", pixel_format="bgr0"),
        dict(name="a.gif", codec="gif", pixel_format="rgb8"),
    ],
    ids=lambda settings: f"{settings['codec']} {settings['pixel_format']}",
)
def test_brightness_is_that_of_the_picture_in_every_format(settings, put_clip):
    path = put_clip(frames=5, options={}, **settings)

    for _, frame in decoded_frames(path, [1, 4]):
        plane = brightness(frame).astype(float)
        seen = upright(frame).astype(float) @ (0.299, 0.587, 0.114)
        assert plane.shape == seen.shape
        assert np.corrcoef(plane.ravel(), seen.ravel())[0, 1] > 0.98


def test_a_still_clip_gives_its_first_changes_and_one_scene(put_clip):
    path = put_clip(frames=30, still=True)
    facts = probe(path)

    chosen = [number for number, _ in most_different_frames(path, facts, range(30), MostDifferent(count=5))]

    assert len(chosen) == 5
    assert scene_frames(path, facts, range(30), OnePerScene()) == [14]


def test_fewer_frames_than_asked_for_are_all_taken_the_first_too(put_clip):
    path = put_clip(frames=9)

    found = most_different_frames(path, probe(path), range(9), MostDifferent(count=30))

    assert [number for number, _ in found] == list(range(9))


def test_a_short_scene_does_not_end_the_one_before(put_clip):
    path = put_clip(frames=40, seed=1, codec="ffv1", name="a.mkv", pixel_format="yuv444p", options={})
    facts = probe(path)

    often = scene_frames(path, facts, range(40), OnePerScene(shortest_seconds=0, take="first"))
    seldom = scene_frames(path, facts, range(40), OnePerScene(shortest_seconds=0.7, take="first"))

    assert often == [0, 10, 20, 30]  # seed 1 changes its picture every 10 frames
    assert seldom == [0, 20]


def test_looking_can_be_cancelled(put_clip):
    path = put_clip(frames=30)
    facts = probe(path)

    def cancel(number):
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(most_different_frames(path, facts, range(30), MostDifferent(), cancel))
    with pytest.raises(KeyboardInterrupt):
        scene_frames(path, facts, range(30), OnePerScene(), cancel)


@pytest.mark.parametrize(
    ("rule", "settings", "sentence"),
    [
        (MostDifferent, dict(count=0), "number of frames to take is 0"),
        (MostDifferent, dict(window_seconds=-1), "window is -1 s"),
        (MostDifferent, dict(window_seconds=float("nan")), "window is nan s"),
        (MostDifferent, dict(minimum_distance=0), "minimum distance is 0"),
        (OnePerScene, dict(threshold=0), "threshold for scenes is 0"),
        (OnePerScene, dict(shortest_seconds=-0.5), "shortest scene is -0.5 s"),
        (OnePerScene, dict(take="last"), "'last' is no place"),
    ],
)
def test_settings_without_a_meaning_are_refused(rule, settings, sentence):
    with pytest.raises(MediaError, match=sentence):
        rule(**settings)


def ground(seed, width=160):
    """A picture (96 width 3) of soft blobs, as places are: neighbours alike, far parts not."""
    few = np.random.default_rng(seed).integers(0, 256, (3, width // 40, 3), np.uint8)
    return cv2.resize(few, (width, 96), interpolation=cv2.INTER_CUBIC)


def cut_to_another_place():
    return [ground(1)] * 20 + [ground(2)] * 20


def a_fast_pan_then_a_cut():
    wide = ground(3, 400)
    return [wide[:, 8 * n : 8 * n + 160] for n in range(30)] + [ground(4)] * 20


def a_flash():
    return [ground(5)] * 15 + [np.full((96, 160, 3), 255, np.uint8)] + [ground(5)] * 15


def a_dissolve():
    parts = np.linspace(0, 1, 20)
    return [ground(6)] * 15 + [cv2.addWeighted(ground(6), 1 - p, ground(7), p, 0) for p in parts] + [ground(7)] * 15


def noise_of_a_dark_camera():
    random = np.random.default_rng(8)
    return [random.integers(0, 40, (96, 160, 3), np.uint8) for _ in range(40)]


@pytest.mark.parametrize(
    ("pictures", "every", "starts"),
    [
        (cut_to_another_place, 1, [0, 20]),
        (cut_to_another_place, 5, [0, 4]),
        (a_fast_pan_then_a_cut, 1, [0, 30]),
        (a_flash, 1, [0]),
        (a_flash, 5, [0]),
        (a_dissolve, 1, [0]),
        (noise_of_a_dark_camera, 1, [0]),
        (noise_of_a_dark_camera, 5, [0]),
    ],
)
def test_a_scene_ends_at_a_cut_and_not_at_a_pan_a_flash_a_dissolve_or_noise(pictures, every, starts, tmp_path):
    path, frames = tmp_path / "clip.mp4", pictures()[::every]
    write_video(path, frames, 25, VideoOptions(crf=10))

    found = scene_frames(path, probe(path), range(len(frames)), OnePerScene(shortest_seconds=0, take="first"))

    assert found == starts
