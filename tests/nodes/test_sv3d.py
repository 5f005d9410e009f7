import os

import pytest
import torch

from zoetrope.models.svd import load_svd
from zoetrope.nodes.sv3d import MakeCameraPath, SV3DOrbit
from zoetrope.nodes.svd import LoadSVD
from zoetrope.pipelines.camera import Keyframe, dynamic_orbit, keyframes, listed, static_orbit
from zoetrope.pipelines.sv3d import SV3DOptions, orbit

pytestmark = pytest.mark.usefixtures("models")
SMALL = {"frames": 3, "steps": 2, "cond_aug": 1e-5, "seed": 23, "decoding_t": 14, "replace_last": True,
         "guidance": {"guidance": "the model's own"}}  # fmt: skip


@pytest.fixture
def load(models, tiny_checkpoint):
    def loaded(kind):
        name = f"{kind}.safetensors"
        os.link(tiny_checkpoint(kind), models / "checkpoints" / name)
        return LoadSVD.execute(checkpoint=name, dtype="fp32")[0]

    return loaded


def picture(count=1):
    return torch.rand(count, 64, 64, 3, generator=torch.Generator().manual_seed(0))


def path_of(frames, kind, **settings):
    return MakeCameraPath.execute(frames=frames, path={"path": kind, **settings})[0]


def default_of(name, kind):
    (options,) = (
        option["inputs"]["required"]
        for option in MakeCameraPath.GET_NODE_INFO_V1()["input"]["required"]["path"][1]["options"]
        if option["key"] == kind
    )
    return options[name][1]["default"]


def test_an_orbit_is_the_one_of_the_library(load, tiny_checkpoint):
    images, frames, clips = SV3DOrbit.execute(model=load("sv3d_u"), image=picture(), **SMALL)

    same = load_svd(tiny_checkpoint("sv3d_u"), dtype=torch.float32, device="cpu")
    assert torch.equal(images, orbit(same, picture()[0], SV3DOptions(frames=3, steps=2)))
    assert (frames, clips) == (3, 1)
    assert torch.allclose(images[-1], picture()[0], atol=1e-6)


def test_a_camera_path_says_where_the_camera_is(load, tiny_checkpoint):
    path = path_of(3, "lists", elevations="0, 20, 40", azimuths="90, 180, 360")

    images, *_ = SV3DOrbit.execute(model=load("sv3d_p"), image=picture(), camera_path=path, **SMALL)

    same = load_svd(tiny_checkpoint("sv3d_p"), dtype=torch.float32, device="cpu")
    options = SV3DOptions(frames=3, steps=2, elevations_deg=[0, 20, 40], azimuths_deg=[90, 180, 360])
    assert torch.equal(images, orbit(same, picture()[0], options))


def test_with_no_number_of_frames_the_path_has_it(load):
    path = path_of(4, "static orbit", elevation_deg=10.0)

    images, frames, _ = SV3DOrbit.execute(
        model=load("sv3d_p"), image=picture(), camera_path=path, **SMALL | {"frames": 0}
    )

    assert len(images) == frames == 4


def test_a_path_of_another_length_is_refused(load):
    with pytest.raises(ValueError, match="has 4 angles, but the clip has 3 frames"):
        SV3DOrbit.execute(
            model=load("sv3d_p"), image=picture(), camera_path=path_of(4, "static orbit", elevation_deg=0.0), **SMALL
        )


def test_a_batch_of_objects_is_a_batch_of_orbits(load):
    images, frames, clips = SV3DOrbit.execute(model=load("sv3d_u"), image=picture(count=2), **SMALL)

    assert (len(images), frames, clips) == (6, 3, 2)


@pytest.mark.parametrize(
    ("kind", "settings", "path"),
    [
        ("static orbit", {"elevation_deg": 20.0}, static_orbit(5, 20.0)),
        ("dynamic orbit", {"elevation_deg": 5.0, "sway": 0.5, "seed": 3}, dynamic_orbit(5, 5.0, sway=0.5, seed=3)),
        ("lists", {"elevations": "10", "azimuths": "0, 10, ... 40"}, listed("10", "0, 10, ... 40", 5)),
        (
            "keyframes",
            {"keys": "1: 0, 0\n5: 10, 90", "easing": "linear"},
            keyframes([Keyframe(1, 0, 0), Keyframe(5, 10, 90)], 5, "linear"),
        ),
    ],
)
def test_every_kind_of_path_is_the_one_of_the_library(kind, settings, path):
    assert path_of(5, kind, **settings) == path


@pytest.mark.parametrize(("kind", "path"), [("static orbit", static_orbit()), ("dynamic orbit", dynamic_orbit())])
def test_the_widgets_of_an_orbit_start_with_the_path_of_the_library(kind, path):
    names = ("elevation_deg", "sway", "seed") if kind == "dynamic orbit" else ("elevation_deg",)

    assert path_of(21, kind, **{name: default_of(name, kind) for name in names}) == path


@pytest.mark.parametrize("kind", ["lists", "keyframes"])
def test_what_is_written_in_the_widgets_is_a_path(kind):
    names = ("elevations", "azimuths") if kind == "lists" else ("keys", "easing")

    assert len(path_of(21, kind, **{name: default_of(name, kind) for name in names})) == 21


def test_a_path_is_drawn_and_shown():
    made = MakeCameraPath.execute(frames=5, path={"path": "static orbit", "elevation_deg": 10.0})

    image = made[1]
    assert image.dim() == 4 and image.shape[-1] == 3 and image.std() > 0.05
    (shown,) = made.ui.as_dict()["images"]
    assert shown["type"] == "temp" and shown["filename"].endswith(".png")


def test_a_kind_that_is_none_is_told():
    with pytest.raises(ValueError, match="path is not set to one of its options"):
        MakeCameraPath.execute(frames=5, path=None)
