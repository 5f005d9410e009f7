import numpy as np
import pytest
import torch
from PIL import Image

from zoetrope.host import folders
from zoetrope.nodes.pictures import LoadPictures

ALL = {"first": 0, "count": 0, "prefix": ""}


@pytest.fixture(autouse=True)
def stills(tmp_path, monkeypatch):
    """Three pictures of different sizes in the input folder, the last half transparent."""
    monkeypatch.chdir(tmp_path)  # the stand-in's folders lie in the current one
    folder = tmp_path / folders.input_folder() / "stills"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 6), (255, 0, 0)).save(folder / "1.png")
    Image.new("RGB", (4, 2), (0, 255, 0)).save(folder / "2.png")
    pixels = np.full((2, 4, 4), 255, np.uint8)
    pixels[:, 2:, 3] = 0
    Image.fromarray(pixels).save(folder / "10.png")
    return folder


def test_pictures_are_given_one_by_one_in_their_own_size():
    images, masks, names = LoadPictures.execute(folder="stills", **ALL)

    assert [image.shape for image in images] == [(1, 6, 8, 3), (1, 2, 4, 3), (1, 2, 4, 3)]
    assert images[0][0, 0, 0].tolist() == [1, 0, 0]
    assert images[1][0, 0, 0].tolist() == [0, 1, 0]
    assert [mask.shape for mask in masks] == [(1, 6, 8), (1, 2, 4), (1, 2, 4)]
    assert not masks[0].any()
    assert torch.equal(masks[2][0, 0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert names == ["1", "2", "10"]


def test_they_are_shown_as_they_are():
    shown = LoadPictures.execute(folder="stills", **ALL).ui.as_dict()["images"]

    assert shown[0] == {"filename": "1.png", "subfolder": "stills", "type": "input"}
    assert len(shown) == 3


@pytest.mark.parametrize(("first", "count", "chosen"), [(1, 0, ["2", "10"]), (0, 2, ["1", "2"]), (2, 9, ["10"])])
def test_a_part_of_them_can_be_taken(first, count, chosen):
    _, _, names = LoadPictures.execute(folder="stills", first=first, count=count, prefix="")

    assert names == chosen


def test_a_part_beyond_the_last_is_refused_with_their_number():
    with pytest.raises(ValueError, match="first is 3, but there are 3 pictures"):
        LoadPictures.execute(folder="stills", first=3, count=0, prefix="")


def test_names_can_be_put_into_a_folder():
    _, _, names = LoadPictures.execute(folder="stills/1.png", first=0, count=0, prefix="clips/")

    assert names == ["clips/1"]


def test_a_folder_that_is_not_there_and_one_outside_are_refused_before_a_run():
    assert "not in the input folder" in LoadPictures.validate_inputs(folder="away")
    assert "leads out" in LoadPictures.validate_inputs(folder="../..")
    assert LoadPictures.validate_inputs(folder="stills") is True
    assert LoadPictures.validate_inputs(folder=None) is True  # it comes from another node


def test_the_fingerprint_follows_the_pictures(stills):
    before = LoadPictures.fingerprint_inputs(folder="stills", first=0)
    assert LoadPictures.fingerprint_inputs(folder="stills", first=0) == before

    Image.new("RGB", (9, 9)).save(stills / "3.png")

    assert LoadPictures.fingerprint_inputs(folder="stills", first=0) != before
