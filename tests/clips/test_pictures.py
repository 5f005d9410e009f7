import pytest
from PIL import Image

from zoetrope.clips.footage import FootageError
from zoetrope.clips.pictures import find_pictures


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_pictures_in_a_folder_and_below_it_come_in_the_order_in_which_people_count(tmp_path):
    make(tmp_path, "b 10.png", "b 2.jpg", "a/c.webp", "notes.txt", ".hidden.png", ".hidden/d.png")

    found = find_pictures(tmp_path)

    assert list(found) == ["a/c", "b 2", "b 10"]
    assert found["b 2"] == tmp_path / "b 2.jpg"


def test_names_that_differ_in_the_suffix_alone_keep_it(tmp_path):
    make(tmp_path, "a.png", "a.jpg", "b.png")

    assert list(find_pictures(tmp_path)) == ["a.jpg", "a.png", "b"]


def test_one_picture_is_a_folder_of_one(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")

    assert find_pictures(tmp_path / "a.png") == {"a": tmp_path / "a.png"}


def test_folders_that_are_linked_in_a_circle_are_read_once(tmp_path):
    make(tmp_path, "a/b.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)

    assert list(find_pictures(tmp_path)) == ["a/b"]


def test_a_folder_without_pictures_and_a_path_to_nothing_are_told(tmp_path):
    make(tmp_path, "notes.txt")

    with pytest.raises(FootageError, match=r"no picture in .* or in the folders below it"):
        find_pictures(tmp_path)
    with pytest.raises(FootageError, match="does not exist"):
        find_pictures(tmp_path / "away")
