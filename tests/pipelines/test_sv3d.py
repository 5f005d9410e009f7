import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from zoetrope.pipelines.sv3d import SV3DOptions, camera_angles, orbit

from ..random_checkpoints import golden_io
from .conftest import config, sampled_with

KINDS = ["sv3d_u", "sv3d_p"]


def options_of(kind: str, **changes) -> SV3DOptions:
    numbers = config(f"e2e_{kind}")["numbers"]
    camera = {name: numbers[name] for name in ("elevations_deg", "azimuths_deg") if name in numbers}
    return SV3DOptions(**{**sampled_with(f"e2e_{kind}"), **camera, **changes})


def picture_of(kind: str) -> torch.Tensor:
    return golden_io(f"e2e_{kind}")["image_u8"] / 255


@pytest.mark.parametrize("lean", [False, True], ids=["plain", "lean"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_and_a_seed_give_the_reference_s_views(tiny, kind, lean):
    views = orbit(tiny(kind), picture_of(kind), options_of(kind, lean=lean))

    assert_close(views, golden_io(f"e2e_{kind}")["frames"].movedim(1, -1), rtol=0, atol=2e-5)


def test_the_last_view_is_the_picture_or_what_the_model_makes_of_it(tiny):
    golden, picture = golden_io("e2e_sv3d_u"), picture_of("sv3d_u")

    replaced = orbit(tiny("sv3d_u"), picture, options_of("sv3d_u"))
    made = orbit(tiny("sv3d_u"), picture, options_of("sv3d_u", replace_last=False))

    assert_close(replaced[-1], picture, rtol=0, atol=1e-6)
    assert_close(made, ((golden["decoded_chunked"] + 1) / 2).clamp(0, 1).movedim(1, -1), rtol=0, atol=2e-5)


def test_the_defaults_are_the_reference_s(tiny):
    options = SV3DOptions()

    assert (options.frames, options.steps, options.cond_aug, options.seed) == (21, 50, 1e-5, 23)
    assert (options.min_guidance, options.max_guidance, options.guidance) == (1.0, 2.5, "triangle")
    assert (options.elevations_deg, options.azimuths_deg) == (10.0, None)
    assert (options.decoding_t, options.replace_last) == (14, True)
    own = SV3DOptions(frames=0, steps=0, min_guidance=None, max_guidance=None)
    assert own.completed(tiny("sv3d_u")) == options


def test_angles_are_told_as_by_the_reference():
    numbers = config("sv3d_p")["numbers"]

    polars, azimuths = camera_angles(options_of("sv3d_p"))

    assert polars == numbers["polars_rad"]
    assert azimuths == numbers["azimuths_rad"]


@pytest.mark.parametrize("path", config("preprocess")["camera_paths"])
def test_the_angles_of_the_reference_s_script_are_told_exactly(path):
    options = SV3DOptions(elevations_deg=path["elevations_deg"], azimuths_deg=path.get("azimuths_deg"))

    assert camera_angles(options) == (path["polars_rad"], path["azimuths_rad"])


def test_without_azimuths_the_camera_goes_once_around_and_ends_on_the_picture():
    polars, azimuths = camera_angles(SV3DOptions())

    assert polars == [math.radians(80)] * 21
    assert azimuths == pytest.approx([*(2 * math.pi * step / 21 for step in range(1, 21)), 0.0])


@pytest.mark.parametrize("shift", [0.0, 90.0, -720.0])
def test_azimuths_count_from_the_last_frame_s(shift):
    _, azimuths = camera_angles(SV3DOptions(frames=3, azimuths_deg=[120 + shift, 240 + shift, 360 + shift]))

    assert azimuths == pytest.approx([math.radians(120), math.radians(240), 0])


@pytest.mark.parametrize("angles", [[10.0, 20.0], (10, 20), torch.tensor([10.0, 20.0])], ids=str)
def test_angles_come_in_any_list(angles):
    polars, azimuths = camera_angles(SV3DOptions(frames=2, elevations_deg=angles, azimuths_deg=angles))

    assert polars == pytest.approx([math.radians(80), math.radians(70)])
    assert azimuths == pytest.approx([math.radians(350), 0])


@pytest.mark.parametrize("elevation", [30, np.float32(30), np.int64(30), torch.tensor(30.0)], ids=repr)
def test_one_elevation_of_any_kind_is_that_of_all_frames(elevation):
    polars, _ = camera_angles(SV3DOptions(frames=3, elevations_deg=elevation))

    assert polars == [math.radians(60)] * 3


def test_one_view_works(tiny):
    options = SV3DOptions(frames=1, steps=2, replace_last=False)

    assert orbit(tiny("sv3d_p"), picture_of("sv3d_p"), options).shape == (1, 64, 64, 3)


def test_the_camera_is_seen_in_the_views_of_sv3d_p(tiny):
    usual = options_of("sv3d_p", replace_last=False)
    higher = replace(usual, elevations_deg=[angle + 30 for angle in usual.elevations_deg])

    moved = orbit(tiny("sv3d_p"), picture_of("sv3d_p"), higher) - orbit(tiny("sv3d_p"), picture_of("sv3d_p"), usual)

    assert moved.abs().max() > 1e-3


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"elevations_deg": [10.0] * 5}, "elevations_deg has 5 angles, but the clip has 6 frames"),
        ({"azimuths_deg": [10.0]}, "azimuths_deg has 1 angle, but the clip has 6 frames"),
        ({"elevations_deg": None}, "elevations_deg is None. Give degrees"),
        ({"elevations_deg": ["up"] * 6}, "elevations_deg is .* Give degrees"),
        ({"elevations_deg": math.nan}, "elevations_deg holds nan, which is no angle"),
        ({"azimuths_deg": [math.inf] * 6}, "azimuths_deg holds inf, which is no angle"),
    ],
)
def test_a_camera_that_goes_nowhere_is_refused_in_a_sentence(tiny, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        orbit(tiny("sv3d_p"), picture_of("sv3d_p"), options_of("sv3d_p", **changes))


@pytest.mark.parametrize("changes", [{"azimuths_deg": [0.0] * 5}, {"elevations_deg": [0.0] * 5}])
def test_sv3d_u_takes_no_camera_path(tiny, changes):
    with pytest.raises(ValueError, match="is an sv3d_u model.*takes no camera path.*choose sv3d_p.safetensors"):
        orbit(tiny("sv3d_u"), picture_of("sv3d_u"), options_of("sv3d_u", **changes))


def test_a_model_of_another_kind_is_refused_with_the_way_out(tiny):
    with pytest.raises(ValueError, match="svd is an SVD model, which has no camera. Use it with SVD Image To Video"):
        orbit(tiny("svd"), picture_of("sv3d_u"))


@pytest.mark.parametrize("size", [(64, 128), (72, 72)])
def test_a_picture_that_is_not_prepared_is_refused_with_the_way_out(tiny, size):
    with pytest.raises(
        ValueError, match=f"The picture is {size[1]}x{size[0]}, but SV3D needs a square one.*Prepare the object first"
    ):
        orbit(tiny("sv3d_u"), torch.zeros(*size, 3), options_of("sv3d_u"))
