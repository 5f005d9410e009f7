"""The picture of a path shows each frame where the camera stands."""

import numpy as np
import pytest

from zoetrope.pipelines.camera import CameraPath, dynamic_orbit, static_orbit
from zoetrope.pipelines.camera_picture import BOTTOM, CENTER, LAST_COLOR, RADIUS, RIGHT, TOP, picture_of


def orange_middle(picture: np.ndarray, rows: slice) -> tuple[float, float]:
    """Where the dot of the last frame lies, as (x, y)."""
    y, x = np.nonzero((np.abs(picture[rows].astype(int) - LAST_COLOR) < 8).all(-1))
    return (x.min() + x.max()) / 2, (y.min() + y.max()) / 2 + rows.start


@pytest.mark.parametrize("path", [static_orbit(), static_orbit(1), static_orbit(400, -90), dynamic_orbit(seed=3)])
def test_any_path_makes_a_picture_of_the_size_of_a_node(path):
    picture = picture_of(path)

    assert picture.shape == (640, 512, 3) and picture.dtype == np.uint8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_the_last_frame_lies_at_the_bottom_whatever_its_azimuth():
    for azimuth in (0.0, 123.0, -40.0):
        picture = picture_of(CameraPath((0.0, 0.0), (azimuth, azimuth)))

        x, y = orange_middle(picture, slice(CENTER[1], CENTER[1] + RADIUS + 13))

        assert x == pytest.approx(CENTER[0], abs=2) and y == pytest.approx(CENTER[1] + RADIUS, abs=3)


def test_a_higher_camera_stands_nearer_to_the_middle():
    picture = picture_of(CameraPath((60.0, 60.0), (0.0, 0.0)))

    _, y = orange_middle(picture, slice(CENTER[1], CENTER[1] + RADIUS + 13))

    assert y == pytest.approx(CENTER[1] + RADIUS / 2, abs=3)


def test_the_curve_rises_with_the_elevation():
    low, high = (picture_of(CameraPath((60.0, -60.0, last), (0.0, 90.0, 0.0))) for last in (-50.0, 50.0))
    end = slice(TOP - 12, BOTTOM + 20), slice(RIGHT - 4, RIGHT + 12)

    heights = [orange_middle(picture[end], slice(0, 200))[1] for picture in (low, high)]

    assert heights[0] - heights[1] == pytest.approx(100 / 120 * (BOTTOM - TOP), abs=3)


def test_another_path_is_another_picture():
    assert not np.array_equal(picture_of(dynamic_orbit(seed=1)), picture_of(dynamic_orbit(seed=2)))
