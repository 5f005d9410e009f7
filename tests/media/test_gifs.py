from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from zoetrope.media.errors import MediaError
from zoetrope.media.gifs import DITHERS, GifOptions, write_gif
from zoetrope.media.pictures import to_bytes


def decoded(path):
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def hundredths(path):
    with Image.open(path) as image:
        return [round(frame.info["duration"] / 10) for frame in ImageSequence.Iterator(image)]


def drawing(frames=12, height=40, width=56):
    """Few colours, a thing that moves, a thing that stands, and one frame like the one before."""
    for number in range(frames):
        picture = np.full((height, width, 3), (250, 240, 220), np.uint8)
        picture[5:12, 30:50] = (20, 90, 160)
        at = 3 * (number - (number == 5))
        picture[15:30, at : at + 9] = (200, 30, 40)
        yield picture


def painting(frames=10, height=96, width=128):
    """Smooth shades under a thing that moves: far more colours than a GIF has."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    for number in range(frames):
        shades = np.stack([x, y, 1 - x * y], axis=2) * 0.8 + 0.1 * np.sin(20 * x)[..., None]
        ball = (x - 0.2 - 0.05 * number) ** 2 + (y - 0.4) ** 2 < 0.02
        shades[ball] = (0.9, 0.5, 0.1) * (1 - y[ball][:, None])
        yield (shades.clip(0, 1) * 255).astype(np.uint8)


def psnr(frames, others):
    return 10 * np.log10(255**2 / np.mean([(a.astype(float) - b) ** 2 for a, b in zip(frames, others, strict=True)]))


def blurred(frame):
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    for axis in (0, 1):
        frame = np.apply_along_axis(lambda line: np.convolve(line, kernel, "valid"), axis, frame.astype(float))
    return frame


@pytest.mark.parametrize("dither", DITHERS)
def test_a_drawing_of_few_colors_comes_back_exactly(tmp_path, dither):
    frames = list(drawing())

    path = write_gif(tmp_path / "a.gif", frames, 10, GifOptions(dither=dither))

    assert all((shown == frame).all() for shown, frame in zip(decoded(path), frames, strict=True))


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(2, 256), st.integers(0, 9))
def test_any_clip_of_few_enough_colors_comes_back_exactly(tmp_path_factory, frames, height, width, colors, seed):
    generator = np.random.default_rng(seed)
    palette = generator.integers(0, 256, (min(colors, 255), 3), dtype=np.uint8)
    clip = palette[generator.integers(0, len(palette), (frames, height, width))]

    path = write_gif(tmp_path_factory.mktemp("gif") / "a.gif", clip, 10, GifOptions(colors=colors))

    assert all((shown == frame).all() for shown, frame in zip(decoded(path), clip, strict=True))


def test_a_still_may_have_all_256_colors(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)

    path = write_gif(tmp_path / "a.gif", [ramp], 10)

    assert (decoded(path)[0] == ramp).all()
    with Image.open(path) as image:
        assert "loop" not in image.info


@pytest.mark.parametrize("dither", DITHERS)
def test_what_is_decoded_is_what_was_mapped_frame_by_frame(tmp_path, dither):
    """Differences and transparency are only a way to keep it: pixel by pixel the result is near the source."""
    frames = list(painting())

    shown = decoded(write_gif(tmp_path / "a.gif", frames, 10, GifOptions(dither=dither)))

    errors = [np.abs(a.astype(int) - b).mean() for a, b in zip(shown, frames, strict=True)]
    assert max(errors) < 1.2 * min(errors) < 9  # no frame carries anything over from another


def test_the_palette_is_better_than_one_for_each_frame_and_dithering_better_than_none(tmp_path):
    frames = list(painting())
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(tmp_path / "pillow.gif", save_all=True, append_images=images[1:], duration=100)

    shown = {
        dither: decoded(write_gif(tmp_path / "a.gif", frames, 10, GifOptions(dither=dither))) for dither in DITHERS
    }

    assert psnr(frames, shown["none"]) > psnr(frames, decoded(tmp_path / "pillow.gif")) - 0.2
    from_afar = {
        dither: psnr([blurred(frame) for frame in frames], [blurred(frame) for frame in pictures])
        for dither, pictures in shown.items()
    }
    assert from_afar["floyd-steinberg"] > from_afar["ordered"] > from_afar["none"] + 0.5


@pytest.mark.parametrize("dither", DITHERS)
def test_what_stands_still_does_not_flicker(tmp_path, dither):
    frames = list(painting())

    shown = decoded(write_gif(tmp_path / "a.gif", frames, 10, GifOptions(dither=dither)))

    for (before, after), (was, now) in zip(pairwise(frames), pairwise(shown), strict=True):
        still = (before == after).all(axis=2)
        assert still.any() and (was[still] == now[still]).all()


def test_a_clip_that_stands_still_costs_next_to_nothing(tmp_path):
    (frame,) = painting(1)
    one = write_gif(tmp_path / "one.gif", [frame], 10).stat().st_size

    path = write_gif(tmp_path / "many.gif", [frame] * 50, 10)

    assert path.stat().st_size < one + 50 * 40
    assert len(decoded(path)) == 50


def test_only_what_changed_is_written(tmp_path):
    frames = list(drawing(60, 200, 260))

    whole = sum(len(write_gif(tmp_path / "one.gif", [frame], 10).read_bytes()) for frame in frames)

    assert write_gif(tmp_path / "a.gif", frames, 10).stat().st_size < whole / 3


@pytest.mark.parametrize("colors", [2, 3, 4, 15, 16, 17, 200, 255, 256])
def test_there_are_at_most_as_many_colors_as_asked_for(tmp_path, colors):
    shown = decoded(write_gif(tmp_path / "a.gif", painting(3), 10, GifOptions(colors=colors)))

    used = np.unique(np.concatenate([frame.reshape(-1, 3) for frame in shown]), axis=0)
    assert colors * 0.8 - 1 <= len(used) <= min(colors, 255)


@pytest.mark.parametrize(
    "rate, frames, expected",
    [(30, 6, [3, 4, 3, 3, 4, 3]), (25, 3, [4, 4, 4]), (12, 3, [8, 9, 8]), (50, 3, [2, 2, 2]), (0.5, 2, [200, 200])],
)
def test_delays_share_out_the_time(tmp_path, rate, frames, expected):
    assert hundredths(write_gif(tmp_path / "a.gif", drawing(frames), rate)) == expected


@given(st.integers(2, 60), st.fractions(1, 240, max_denominator=1001))
def test_the_clip_takes_its_time_at_every_rate_and_no_player_slows_it(tmp_path_factory, frames, rate):
    clip = np.random.default_rng(0).integers(0, 256, (frames, 2, 2, 3), dtype=np.uint8)

    shown = hundredths(write_gif(tmp_path_factory.mktemp("gif") / "a.gif", clip, rate))

    assert min(shown) >= 2
    assert abs(sum(shown) - Fraction(frames * 100) / rate) <= 1 + (rate > 50)
    assert len(shown) == frames or (rate > 50 and len(shown) < frames)


def test_above_fifty_frames_a_second_frames_are_left_out_evenly(tmp_path):
    clip = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1).repeat(3, axis=3)

    shown = decoded(write_gif(tmp_path / "a.gif", clip, 100))

    assert [int(frame[0, 0, 0]) for frame in shown] == list(range(1, 100, 2))


@pytest.mark.parametrize("loop, repeats", [(0, 0), (1, None), (2, 1), (10, 9)])
def test_the_clip_plays_as_often_as_asked(tmp_path, loop, repeats):
    with Image.open(write_gif(tmp_path / "a.gif", drawing(2), 10, GifOptions(loop=loop))) as image:
        assert image.info.get("loop") == repeats


def test_every_way_to_hand_over_a_clip_gives_the_same_file(tmp_path):
    frames = list(painting(3))
    images = torch.from_numpy(np.stack(frames)).float() / 255
    ways = [
        frames,
        np.stack(frames),
        iter(frames),
        lambda: iter(frames),
        images,
        lambda: to_bytes(images),
        [np.dstack([frame, frame[..., :1]]) for frame in frames],
    ]

    files = {write_gif(tmp_path / "a.gif", way, 10).read_bytes() for way in ways}

    assert len(files) == 1


def test_a_function_is_read_twice_and_no_frame_is_kept(tmp_path):
    readings, told = [], []

    def read():
        readings.append(0)
        for frame in painting(4):
            readings[-1] += 1
            yield frame

    write_gif(tmp_path / "a.gif", read, 10, on_frame=lambda done, frame: told.append((done, tuple(readings))))

    assert told == [(0, (1,)), (0, (2,)), (0, (3,)), (0, (4,)), (1, (4, 1)), (2, (4, 2)), (3, (4, 3)), (4, (4, 4))]


REFUSED = {
    "no frames": dict(frames=[]),
    "Frame 1 is 4x2": dict(frames=[np.zeros((2, 2, 3), np.uint8), np.zeros((2, 4, 3), np.uint8)]),
    "Frame 0 holds NaN": dict(frames=torch.full((1, 2, 2, 3), float("nan"))),
    "has at most 65535": dict(frames=[np.zeros((1, 65536, 3), np.uint8)]),
    "frames per second is -5": dict(rate=-5),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path, sentence):
    given = dict(frames=list(drawing(2)), rate=10) | REFUSED[sentence]

    with pytest.raises(MediaError, match=sentence):
        write_gif(tmp_path / "new" / "a.gif", given["frames"], given["rate"])

    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_ends_early_the_second_time_is_refused(tmp_path):
    lengths = iter([5, 3])

    with pytest.raises(MediaError, match="had 5 frames"):
        write_gif(tmp_path / "a.gif", lambda: drawing(next(lengths)), 10)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [dict(colors=1), dict(colors=257), dict(dither="bayer"), dict(loop=-1)])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(MediaError):
        GifOptions(**options)


@pytest.mark.parametrize("call", [1, 3, 4, 6])
def test_it_can_be_cancelled_at_any_time(tmp_path, call):
    calls = iter(range(1, 100))

    def cancel(done, frame):
        if next(calls) == call:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gif(tmp_path / "a.gif", drawing(3), 10, on_frame=cancel)

    assert list(tmp_path.iterdir()) == []
