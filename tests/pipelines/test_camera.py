"""Camera paths are the reference's where it has them, and what was asked for elsewhere."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.pipelines.camera import (
    CameraPath,
    Keyframe,
    dynamic_orbit,
    keyframes,
    listed,
    parse_keyframes,
    static_orbit,
)

GOLDEN = Path(__file__).parents[1] / "golden"
REFERENCE_PATHS = json.loads((GOLDEN / "svd" / "preprocess" / "config.json").read_text())["camera_paths"]
DYNAMIC = json.loads((GOLDEN / "dynamic_orbits.json").read_text())["orbits"]


@pytest.mark.parametrize("reference", REFERENCE_PATHS)
def test_paths_are_those_of_the_reference(reference):
    elevation, azimuths = reference["elevations_deg"], reference.get("azimuths_deg")
    path = CameraPath(tuple(elevation), tuple(azimuths)) if azimuths else static_orbit(21, elevation)

    turns = [math.radians(turn) for turn in path.turns_deg]

    np.testing.assert_allclose(turns, reference["azimuths_rad"], atol=1e-12)
    np.testing.assert_allclose(
        [math.radians(90 - elevation) for elevation in path.elevations_deg], reference["polars_rad"], atol=1e-12
    )


@pytest.mark.parametrize("reference", DYNAMIC)
def test_a_dynamic_orbit_is_that_of_the_demo_with_the_same_seed(reference):
    path = dynamic_orbit(21, reference["elevation_deg"], seed=reference["seed"])

    np.testing.assert_allclose(np.radians(path.azimuths_deg), reference["azimuths_rad"], atol=1e-9)
    np.testing.assert_allclose(np.radians(path.elevations_deg), reference["elevations_rad"], atol=1e-9)


def test_a_dynamic_orbit_leaves_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002

    dynamic_orbit(seed=5)

    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@given(st.integers(1, 60), st.floats(-40, 40), st.floats(0, 0.5), st.integers(0, 2**32 - 1))
def test_a_dynamic_orbit_ends_at_the_input_view_and_goes_around_in_order(frames, elevation, sway, seed):
    path = dynamic_orbit(frames, elevation, sway=sway, seed=seed)

    assert len(path) == frames
    assert path.azimuths_deg[-1] == 0
    assert list(path.azimuths_deg[:-1]) == sorted(path.azimuths_deg[:-1])
    assert max(path.azimuths_deg) < 360
    assert max(map(abs, path.elevations_deg)) < 90


def test_sway_scales_how_far_the_camera_rises():
    whole, half = (np.array(dynamic_orbit(21, 10, sway=sway, seed=2).elevations_deg) - 10 for sway in (0.3, 0.15))
    still = dynamic_orbit(21, 10, sway=0, seed=2)

    np.testing.assert_allclose(half, whole / 2, atol=1e-9)
    np.testing.assert_allclose(still.elevations_deg, 10)


@pytest.mark.parametrize(
    "elevations, azimuths, frames, expected",
    [
        ("10", "", 4, ((10,) * 4, (90, 180, 270, 0))),
        ("0, 10, 20", "10 20\n30", 3, ((0, 10, 20), (10, 20, 30))),
        ("5", "0, 90, ... 270", 4, ((5,) * 4, (0, 90, 180, 270))),
        ("5", "0, 90, ..., 270, 300", 5, ((5,) * 5, (0, 90, 180, 270, 300))),
        ("5", "0 15 ...", 5, ((5,) * 5, (0, 15, 30, 45, 60))),
        ("5", "0 -1.5\u2026", 4, ((5,) * 4, (0, -1.5, -3, -4.5))),
        ("5; 7", "3", 2, ((5, 7), (3, 3))),
        ("-90", "1e1", 1, ((-90,), (10,))),
        ("5", "0, 10, ..., 20", 3, ((5,) * 3, (0, 10, 20))),
    ],
)
def test_lists_are_read(elevations, azimuths, frames, expected):
    path = listed(elevations, azimuths, frames)

    assert (path.elevations_deg, path.azimuths_deg) == expected


@pytest.mark.parametrize(
    "elevations, azimuths, complaint",
    [
        ("", "", "list of elevations has 0 numbers, but there are 3 frames"),
        ("1, 2", "", "list of elevations has 2 numbers, but there are 3 frames"),
        ("1", "1, 2, 3, 4", "list of azimuths has 4 numbers"),
        ("1", "1, zwei, 3", "'zwei' among the azimuths is no number"),
        ("1", "1, nan, 3", "'nan' among the azimuths is no number"),
        ("1", "1, 1e999, 3", "is no number"),
        ("1", "1 ... 3", "need two numbers before them"),
        ("1", "0, 10, ... 25", "steps of 10 do not lead from 10 to 25"),
        ("1", "0, 10, ... 0", "steps of 10 do not lead from 10 to 0"),
        ("1", "0, 0, ... 0", "steps of 0 do not lead"),
        ("1", "0, 1e-9, ... 360", "has .* numbers"),
        ("91", "", "elevation of frame 1 is 91 degrees"),
    ],
)
def test_lists_that_cannot_be_read_are_explained(elevations, azimuths, complaint):
    with pytest.raises(ValueError, match=complaint):
        listed(elevations, azimuths, 3)


KEYS = [Keyframe(3, 10, 0), Keyframe(9, 50, 180), Keyframe(12, -20, 270), Keyframe(18, -20, 400)]


@pytest.mark.parametrize("easing", ["linear", "smooth", "ease"])
def test_a_path_passes_its_keys_and_stays_between_them(easing):
    path = keyframes(KEYS, 21, easing)

    for key in KEYS:
        assert path.elevations_deg[key.frame - 1] == pytest.approx(key.elevation_deg)
        assert path.azimuths_deg[key.frame - 1] == pytest.approx(key.azimuth_deg)
    assert path.azimuths_deg[0] == 0 and path.azimuths_deg[-1] == 400
    assert (np.diff(path.azimuths_deg) >= -1e-9).all()
    assert min(path.elevations_deg) >= -20 - 1e-9 and max(path.elevations_deg) <= 50 + 1e-9


def test_easings_differ_in_the_speed_at_a_key():
    keys = [Keyframe(1, 0, 0), Keyframe(51, 0, 100), Keyframe(101, 0, 300)]
    speeds = {
        easing: np.diff(keyframes(keys, 101, easing).azimuths_deg)[[49, 50]] for easing in ("linear", "smooth", "ease")
    }

    np.testing.assert_allclose(speeds["linear"], [2, 4])
    assert abs(speeds["smooth"][1] - speeds["smooth"][0]) < 0.1 and speeds["smooth"].min() > 2
    assert speeds["ease"].max() < 0.3


@pytest.mark.parametrize("easing", ["linear", "smooth", "ease"])
def test_one_key_is_a_camera_that_stands_still(easing):
    assert keyframes([Keyframe(2, 5, 30)], 3, easing) == CameraPath((5.0,) * 3, (30.0,) * 3)


def test_a_straight_smooth_path_is_straight():
    path = keyframes([Keyframe(1, 0, 0), Keyframe(6, 10, 50), Keyframe(11, 20, 100)], 11, "smooth")

    np.testing.assert_allclose(path.azimuths_deg, np.linspace(0, 100, 11), atol=1e-9)


def test_keyframes_are_read_from_text():
    expected = [Keyframe(1, 10, 0), Keyframe(11, 30.5, 180), Keyframe(21, 10, 360)]

    assert parse_keyframes("1: 10, 0; 11: 30.5 180\n\n 21:10,360\n") == expected


@pytest.mark.parametrize("text", ["1", "1: 10", "1: 1, 2, 3", "x: 1, 2", "-1: 1, 2", "1.5: 1, 2", ": 1, 2"])
def test_keyframes_that_cannot_be_read_are_explained(text):
    with pytest.raises(ValueError, match="cannot be read. Write frame: elevation, azimuth"):
        parse_keyframes(text)


@pytest.mark.parametrize(
    "make, complaint",
    [
        (lambda: CameraPath((1.0,), (1.0, 2.0)), "1 elevations and 2 azimuths"),
        (lambda: CameraPath((), ()), "0 elevations and 0 azimuths"),
        (lambda: CameraPath((math.nan,), (0.0,)), "elevation of frame 1 is nan"),
        (lambda: CameraPath((0.0,), (math.inf,)), "azimuth of frame 1 is inf"),
        (lambda: static_orbit(0), "has 0 frames"),
        (lambda: dynamic_orbit(21, 89), "stays away from the poles"),
        (lambda: dynamic_orbit(sway=2), "sway is 2"),
        (lambda: dynamic_orbit(seed=-1), "seed of the camera path is -1"),
        (lambda: keyframes([]), "no keyframe"),
        (lambda: keyframes([Keyframe(22, 0, 0)]), "at frame 22, but the frames are numbered from 1 to 21"),
        (lambda: keyframes([Keyframe(2, 0, 0), Keyframe(2, 5, 0)]), "each frame once"),
        (lambda: keyframes([Keyframe(2, 95, 0)]), "elevation of frame 2 is 95"),
        (lambda: keyframes([Keyframe(2, 9, 0)], easing="bouncy"), "easing is 'bouncy'"),
        (lambda: parse_keyframes("1: a, 2"), "'a' among the keyframes is no number"),
    ],
)
def test_what_is_no_path_is_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()
