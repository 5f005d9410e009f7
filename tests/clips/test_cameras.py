import json
from dataclasses import replace

import pytest
from PIL import Image

from zoetrope.clips.cameras import Camera, camera_of, with_camera
from zoetrope.clips.footage import Clip, Footage, FootageError, read_footage, without_frames, write_manifest

CLIP = Clip(name="mug", frames=("a.png", "b.png", "c.png"))
SEEN = with_camera(CLIP, [10, 20, -5.5], [0, 17.25, 400])


def test_a_camera_comes_back_from_the_manifest(tmp_path):
    (tmp_path / "mug").mkdir()
    for frame in CLIP.frames:
        Image.new("RGB", (8, 8)).save(tmp_path / "mug" / frame)
    write_manifest(Footage(tmp_path, (replace(SEEN, width=8, height=8),)))

    footage, _ = read_footage(tmp_path)

    assert camera_of(footage.clips[0]) == Camera((10, 20, -5.5), (0, 17.25, 400))


def test_a_frame_that_is_left_out_takes_its_angles_along():
    assert camera_of(without_frames(SEEN, {"b.png"})) == Camera((10, -5.5), (0, 400))


def test_what_else_is_in_the_manifest_stays():
    clip = with_camera(replace(CLIP, other=json.dumps({"by": "me"})), [0, 0, 0], [1, 2, 3])

    assert json.loads(clip.other)["by"] == "me"


def test_nothing_said_is_no_camera():
    assert camera_of(CLIP) is None
    assert camera_of(replace(CLIP, other=json.dumps({"by": "me"}))) is None


@pytest.mark.parametrize(
    "told",
    [
        "all around",
        {"a.png": [1, 2], "b.png": [1, 2]},
        {"a.png": [1, 2], "b.png": [1, 2], "c.png": [1]},
        {"a.png": [1, 2], "b.png": [1, 2], "c.png": [1, "2"]},
        {"a.png": [1, 2], "b.png": [1, 2], "c.png": [91, 2]},
        {"a.png": [1, 2], "b.png": [1, 2], "c.png": [1, True]},
        {"a.png": [1, 2], "b.png": [1, 2], "c.png": [float("nan"), 1]},
    ],
)
def test_what_is_said_by_halves_is_refused(told):
    with pytest.raises(FootageError, match="'mug'"):
        camera_of(replace(CLIP, other=json.dumps({"camera": told})))
