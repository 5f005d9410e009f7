"""`zoetrope sv3d`, with tiny models."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from zoetrope.headless.command import _parser, main
from zoetrope.headless.sv3d import object_options, options_of
from zoetrope.media.pictures import as_images, read_picture
from zoetrope.media.reading import probe
from zoetrope.models.svd import load_svd
from zoetrope.pipelines.objects import ObjectOptions, prepare_object
from zoetrope.pipelines.sv3d import SV3DOptions, orbit

SMALL = ["--num-frames", "3", "--num-steps", "1"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(here, tiny_checkpoint):
    def copied(kind):
        shutil.copy(tiny_checkpoint(kind), here / f"{kind}.safetensors")
        return f"{kind}.safetensors"

    return copied


@pytest.fixture
def shoe(here):
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[10:30, 15:50] = (200, 30, 30, 255)
    Image.fromarray(pixels).save(here / "shoe.png")
    return "shoe.png"


@pytest.fixture
def prepared(here, shoe):
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(here / "square.png")
    return "square.png"


@pytest.fixture
def written(monkeypatch):
    """The frames of each video that is written, as they are before they are encoded."""
    videos = []
    monkeypatch.setattr(
        "zoetrope.media.writing.write_video", lambda path, frames, rate: videos.append((np.stack(list(frames)), rate))
    )
    return videos


def sv3d(*arguments):
    return main(["sv3d", *map(str, arguments)])


def parsed(*arguments):
    line = ["sv3d", "a.png", "--model", "m", "--out", "o", *arguments]
    return _parser(line).parse_args(line)


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ([], SV3DOptions()),
        (["--elevations_deg", "20"], SV3DOptions(elevations_deg=20.0)),
        (["--elevations-deg=-5,0,5"], SV3DOptions(elevations_deg=[-5.0, 0.0, 5.0])),
        (["--azimuths_deg", "90", "180", "360"], SV3DOptions(azimuths_deg=[90.0, 180.0, 360.0])),
        (["--num_frames=5", "--cond_aug=0.1", "--seed=1"], SV3DOptions(frames=5, cond_aug=0.1, seed=1)),
        (["--guidance", "linear", "--max-guidance", "4"], SV3DOptions(guidance="linear", max_guidance=4.0)),
    ],
)
def test_flags_are_the_options_that_they_say(flags, options):
    assert options_of(parsed(*flags)) == options


@pytest.mark.parametrize(
    ("flags", "ratio"),
    [([], ObjectOptions().frame_ratio), (["--image_frame_ratio", "0.8"], 0.8), (["--image-frame-ratio", "0"], None)],
)
def test_the_ratio_of_the_object_is_taken(flags, ratio):
    assert object_options(parsed(*flags)).frame_ratio == ratio


def test_a_transparent_picture_is_prepared_and_orbited(here, model, prepared, monkeypatch, capsys):
    """At a small side, as the full one would take the tiny model long."""
    small = ObjectOptions(side=64)
    monkeypatch.setattr("zoetrope.headless.sv3d.object_options", lambda arguments: small)

    assert sv3d("shoe.png", "--model", model("sv3d_u"), "--out", "orbits", *SMALL) == 0

    assert capsys.readouterr().out.split() == ["orbits/000000.mp4", "orbits/000000.jpg"]
    facts = probe(here / "orbits" / "000000.mp4")
    assert (facts.frames, facts.width, float(facts.timeline.rate)) == (3, 64, 10.0)
    expected, _ = prepare_object(as_images(read_picture("shoe.png", keep_alpha=True))[0], small)
    beside = read_picture("orbits/000000.jpg") / 255
    assert np.abs(beside - expected.numpy()).mean() < 0.02


def test_a_path_of_the_camera_is_the_one_of_the_library(model, prepared, written):
    camera = ["--elevations-deg", "0", "20", "40", "--azimuths-deg", "90,180,360"]

    assert sv3d(prepared, "--model", model("sv3d_p"), "--out", "orbits", "--prepared", *SMALL, *camera) == 0

    ((frames, rate),) = written
    options = SV3DOptions(frames=3, steps=1, elevations_deg=[0, 20, 40], azimuths_deg=[90, 180, 360])
    same = load_svd("sv3d_p.safetensors", dtype=torch.float32, device="cpu")
    expected = orbit(same, torch.ones(64, 64, 3), options)
    assert np.abs(frames / 255 - expected.numpy()).max() <= 0.51 / 255
    assert rate == 10.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["square.png"], r"square\.png: The picture has no transparency .* --prepared"),
        (["square.png", "--rembg-model", "u2net.onnx"], r"There is no u2net\.onnx in .*\w. Download"),
        (["square.png", "--prepared", "--image-frame-ratio", "0.9"], "--prepared takes pictures as they are"),
        (["square.png", "--prepared", "--elevations-deg", "1,2"], "elevations_deg has 2 angles"),
        (["square.png", "--prepared", "--elevations-deg", "up"], "--elevations-deg holds 'up'"),
        (["shoe.png", "--image-frame-ratio", "2"], "frame_ratio is 2.0"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence_with_exit_code_2(here, model, prepared, arguments, said, capsys):
    assert sv3d(*arguments, "--model", model("sv3d_p"), "--out", "orbits", *SMALL) == 2

    told = capsys.readouterr().err
    assert re.search(said, told, re.DOTALL)
    assert "Traceback" not in told
    assert not (here / "orbits").exists()


def test_a_model_of_the_other_command_is_refused_with_the_name_of_that(model, prepared, capsys):
    assert sv3d(prepared, "--model", model("svd"), "--out", "views", "--prepared", *SMALL) == 2

    told = capsys.readouterr().err
    assert "svd.safetensors is an SVD model, which has no camera. Use it with `zoetrope svd`, or give --model" in told
    assert "SVD Image To Video" not in told


@pytest.mark.parametrize("angles", [["--elevations-deg", "30"], ["--azimuths-deg", "20", "40", "0"]])
def test_sv3d_u_refuses_a_camera_that_it_would_not_follow(angles, shoe, model, capsys):
    assert main(["sv3d", shoe, "--model", model("sv3d_u"), "--out", "out", *SMALL, *angles]) == 2

    assert f"takes no {angles[0]}" in capsys.readouterr().err


def test_a_path_to_no_checkpoint_is_told_as_it_was_given(shoe, capsys):
    assert main(["sv3d", shoe, "--model", "nowhere/sv3d_u.safetensors", "--out", "out"]) == 2

    assert "nowhere/sv3d_u.safetensors does not exist." in capsys.readouterr().err
