import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoetrope.media.palettes import Histogram, choose_palette, nearest_of

PICTURES = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)))


def histogram_of(*pictures, exact=256):
    histogram = Histogram(exact)
    for picture in pictures:
        histogram.add(picture)
    return histogram


def error(picture, palette):
    colors = picture.reshape(-1, 3).astype(np.float32)
    return ((colors - palette[nearest_of(colors, palette.astype(np.float32))]) ** 2).mean()


@given(PICTURES, PICTURES)
def test_few_colors_are_all_kept(first, second):
    both = np.unique(np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)]), axis=0)

    palette = choose_palette(histogram_of(first, second, exact=len(both)), len(both))

    assert (palette == both).all()


@given(PICTURES, st.integers(2, 20))
def test_there_are_never_more_colors_than_asked_for(picture, size):
    palette = choose_palette(histogram_of(picture, exact=size), size)

    assert 1 <= len(palette) <= size
    assert len(np.unique(palette, axis=0)) == len(palette)


@given(PICTURES)
def test_the_nearest_color_is_the_nearest(picture):
    colors = picture.reshape(-1, 3).astype(np.float32)
    palette = colors[::2]

    distances = ((colors[:, None] - palette[None]) ** 2).sum(axis=2)

    chosen = distances[np.arange(len(colors)), nearest_of(colors, palette)]
    assert (chosen <= distances.min(axis=1) + 0.5).all()


def test_clusters_are_found():
    generator = np.random.default_rng(0)
    centers = np.array([[20, 30, 40], [200, 30, 60], [90, 220, 70], [240, 240, 30], [10, 90, 250]])
    noisy = centers[generator.integers(0, 5, (100, 100))] + generator.normal(0, 4, (100, 100, 3))

    palette = choose_palette(histogram_of(noisy.clip(0, 255).astype(np.uint8)), 5)

    order = np.argsort(centers[:, 0] * 1000 + centers[:, 1])
    assert np.abs(palette - centers[order]).max() <= 2


def test_a_small_thing_of_its_own_color_keeps_it():
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[..., 1] = np.arange(256)
    picture[..., 2] = np.arange(256)[:, None]
    picture[100:106, 100:106] = (250, 0, 0)

    palette = choose_palette(histogram_of(picture), 64)

    assert np.abs(palette.astype(int) - (250, 0, 0)).sum(axis=1).min() <= 6


def test_more_colors_leave_less_error():
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    histogram = histogram_of(picture)

    errors = [error(picture, choose_palette(histogram, size)) for size in (8, 32, 128, 256)]

    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 5 * errors[3]


def test_a_color_counts_by_how_often_it_is_seen_over_the_whole_clip():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, -1, 1).repeat(3, axis=2)
    mostly_dark = [ramp, *[ramp // 4] * 50]

    palette = choose_palette(histogram_of(*mostly_dark, exact=16), 16)

    assert (palette[:, 0] < 64).sum() >= 8  # a quarter of the ramp gets half of the colours
