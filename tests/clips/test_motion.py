"""Motion measured on clips whose motion is known because it was made."""

import math
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.clips.motion import STILL, measure, measure_pictures, measure_video, motion_buckets
from zoetrope.media.errors import MediaError
from zoetrope.media.pictures import encode_png
from zoetrope.media.writing import write_video
from zoetrope.toyworld.shapes import ShapesOptions, compose, masks, positions, render


def texture(seed, height, width, grain):
    """A smooth grey picture of random bumps, `grain` pixels wide."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // grain + 2, width // grain + 2)).astype(np.uint8)
    return cv2.GaussianBlur(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), grain / 4)


def sliding(width, height, dx, dy, frames=4, seed=0, scale=1.0):
    """A window that sees a large texture move by (dx, dy) pixels a frame, everything drawn `scale` times as large."""
    wide = texture(seed, height + 200, width + 200, max(8, height // 20))
    for number in range(frames):
        place = np.float32([[scale, 0, scale * (number * dx - 100)], [0, scale, scale * (number * dy - 100)]])
        size = round(width * scale), round(height * scale)
        yield np.dstack([cv2.warpAffine(wide, place, size, flags=cv2.INTER_LINEAR)] * 3)


@pytest.mark.parametrize("rate", [6, 25, 59.94])
@pytest.mark.parametrize("size", [(96, 64), (256, 256), (320, 512), (512, 320), (1024, 576)])
@pytest.mark.parametrize("step", [(0.01, 0), (0, -0.02), (0.006, 0.004), (-0.03, 0.04)], ids=str)
def test_what_moves_as_a_whole_has_the_motion_that_it_has(size, rate, step):
    diagonal = math.hypot(*size)
    dx, dy = (part * diagonal for part in step)

    measured = measure(sliding(*size, dx, dy), rate)

    assert measured.motion == pytest.approx(math.hypot(*step) * rate, rel=0.05)


def test_half_a_picture_moving_twice_as_far_is_the_same_motion():
    whole = list(sliding(512, 256, 4, 0))
    half = [np.hstack([moving[:, :256], whole[0][:, 256:]]) for moving in sliding(512, 256, 8, 0)]

    assert measure(half, 24).motion == pytest.approx(measure(whole, 24).motion, rel=0.1)


def test_a_still_clip_has_no_motion():
    picture = next(sliding(160, 96, 0, 0))

    measured = measure([picture] * 6, 25)

    assert measured.motion == 0
    assert measured.is_still
    assert measured.duplicates == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("size", [(256, 256), (576, 320), (1024, 576)])
@pytest.mark.parametrize("is_flat", [True, False])
def test_noise_is_no_motion(size, is_flat):
    generator = np.random.default_rng(1)
    picture = np.full((*size[::-1], 3), 120.0) if is_flat else next(sliding(*size, 0, 0)).astype(float)
    clip = [np.uint8(np.clip(picture + generator.normal(0, 2, picture.shape), 0, 255)) for _ in range(4)]

    assert measure(clip, 25).motion < STILL


def test_a_shape_on_an_empty_ground_moves_and_the_ground_does_not():
    clip = [np.full((256, 256, 3), 60, np.uint8) for _ in range(4)]
    for number, frame in enumerate(clip):
        cv2.circle(frame, (100 + 4 * number, 120 + 3 * number), 40, (200, 200, 200), -1, cv2.LINE_AA)

    share = math.pi * 40**2 / 256**2
    assert measure(clip, 10).motion == pytest.approx(share * 5 / math.hypot(256, 256) * 10, rel=0.3)


@pytest.mark.parametrize("seed", range(2))
def test_the_motion_of_a_toy_clip_is_about_that_of_its_shapes(seed):
    options = ShapesOptions(seed=seed, seconds=2.0)
    scene = compose(options)
    clip = (render(scene, options).images * 255).round().byte().numpy()

    measured = measure(clip, options.frames_per_second)

    assert measured.motion == pytest.approx(motion_of_shapes(scene, options), rel=0.4)


def motion_of_shapes(scene, options):
    """The mean way of the shapes' pixels, by how the shapes were told to move and turn."""
    places = positions(scene, options).numpy()
    y, x = np.mgrid[: options.height, : options.width] + 0.5
    ways = []
    for frame in range(options.frames - 1):
        covered = masks(scene, options, frame).numpy()
        for index, shape in enumerate(scene.shapes):
            turn = 2 * math.pi * shape.spins / options.frames
            (cx, cy), (dx, dy) = places[frame, index], places[frame + 1, index] - places[frame, index]
            ways.append((np.hypot(dx - turn * (y - cy), dy + turn * (x - cx)) * covered[index]).mean())
    mean = sum(ways) / (options.frames - 1)
    return mean / math.hypot(options.width, options.height) * options.frames_per_second


@pytest.mark.parametrize("scale", [2, 3])
def test_size_makes_no_difference(scale):
    small = measure(sliding(320, 192, 3, 2), 24)
    large = measure(sliding(320, 192, 3, 2, scale=scale), 24)

    assert large.motion == pytest.approx(small.motion, rel=0.03)


def test_rate_makes_no_difference():
    slow = measure(sliding(320, 192, 4, 3, frames=5), 12)
    fast = measure(sliding(320, 192, 2, 1.5, frames=9), 24)

    assert fast.motion == pytest.approx(slow.motion, rel=0.03)


def test_a_cut_is_found_and_is_no_motion():
    clip = [*sliding(192, 128, 1, 0, frames=6), *sliding(192, 128, 1, 0, frames=7, seed=5)]

    measured = measure(clip, 25)

    assert measured.cuts == (6,)
    assert measured.motion == pytest.approx(25 / math.hypot(192, 128), rel=0.05)


def test_repeated_frames_are_counted_exactly():
    distinct = list(sliding(192, 128, 3, 0, frames=5))
    repeats = [1, 3, 1, 2, 4]
    clip = [frame for frame, times in zip(distinct, repeats, strict=True) for _ in range(times)]

    assert measure(clip, 25).duplicates == (2, 3, 6, 8, 9, 10)


def test_a_frame_with_a_little_noise_repeats_the_one_before_and_one_with_a_small_change_does_not():
    picture = next(sliding(192, 128, 0, 0))
    noise = np.random.default_rng(2).integers(0, 3, picture.shape).astype(np.uint8)
    changed = picture.copy()
    changed[40:50, 60:70] = 255 - changed[40:50, 60:70] // 2

    assert measure([picture, np.clip(picture, 0, 250) + noise], 25).duplicates == (1,)
    assert measure([picture, changed], 25).duplicates == ()


def test_slow_movement_adds_up():
    clip = list(sliding(320, 192, 0.1, 0, frames=40))

    duplicates = measure(clip, 25).duplicates

    assert 10 < len(duplicates) < 39


def test_black_frames_are_counted_exactly():
    clip = list(sliding(96, 64, 2, 0, frames=8))
    clip[0] = clip[1] = np.zeros_like(clip[0])
    clip[5] = np.full_like(clip[0], 20)
    clip[6] = np.zeros_like(clip[0])
    clip[6][:10, :10] = 255  # under two hundredths of the picture, as a timestamp may be
    clip[7] = np.zeros_like(clip[0])
    clip[7][:20, :20] = 255

    assert measure(clip, 25).black == (0, 1, 5, 6)


def test_every_size_that_occurs_is_told():
    clip = [*sliding(96, 64, 0, 0, frames=2), *sliding(64, 64, 0, 0, frames=1), *sliding(96, 64, 0, 0, frames=1)]

    measured = measure(clip, 25)

    assert measured.sizes == ((96, 64), (64, 64))
    assert measured.frames == 4


@pytest.mark.parametrize("frames, motion", [(0, 0), (1, 0)])
def test_less_than_two_frames_do_not_move(frames, motion):
    measured = measure(sliding(64, 64, 1, 1, frames=frames), 25)

    assert (measured.frames, measured.motion, measured.cuts) == (frames, motion, ())


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3, 900), (2000, 2)])
def test_no_size_is_too_odd(size):
    clip = np.random.default_rng(3).integers(0, 256, (3, *size, 3)).astype(np.uint8)

    assert math.isfinite(measure(clip, 25).motion)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(MediaError, match="frames per second. Give one above 0"):
        measure([], rate)


def test_pictures_and_video_are_measured_alike(tmp_path):
    clip = list(sliding(192, 128, 2, 1, frames=6))
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path, frame in zip(paths, clip, strict=True):
        path.write_bytes(encode_png(frame))
    video = write_video(tmp_path / "clip.mp4", clip, 12)

    told = []
    pictures = measure_pictures(paths, 12, lambda done, frame: told.append(done))

    assert pictures == measure(clip, 12)
    assert told == [1, 2, 3, 4, 5, 6]
    assert measure_video(video).motion == pytest.approx(pictures.motion, rel=0.05)


def test_a_long_clip_takes_the_memory_of_a_few_frames():
    def frames(count):
        for number in range(count):
            yield np.full((512, 512, 3), number % 200, np.uint8)

    tracemalloc.start()
    measure(frames(60), 25)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 12 * 2**20  # a frame is 0.75 MB, all of them are 45


def test_who_raises_while_it_works_stops_it():
    seen = []

    def on_frame(done, frame):
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(sliding(64, 64, 1, 0, frames=9), 25, on_frame)
    assert seen == [1, 2]


def test_buckets_share_out_the_set():
    motions = [0.5, 0.01, 0.2, 0.1, 0.03]

    assert motion_buckets(motions) == [255, 1, 192, 128, 65]


def test_what_stands_still_gets_the_first_bucket_and_equals_get_the_same():
    assert motion_buckets([0, 0, 0, 0.2, 0.2, 0.4]) == [1, 1, 1, 179, 179, 255]
    assert motion_buckets([0.1, 0.1, 0.1]) == [128, 128, 128]
    assert motion_buckets([0, 0]) == [1, 1]
    assert motion_buckets([0.3]) == [128]
    assert motion_buckets([]) == []


@given(st.lists(st.floats(STILL, 10), min_size=1, max_size=40))
def test_buckets_keep_the_order_of_motion(motions):
    buckets = motion_buckets(motions)

    assert all(1 <= bucket <= 255 for bucket in buckets)
    ranked = sorted(zip(motions, buckets, strict=True))
    assert [bucket for _, bucket in ranked] == sorted(buckets)
