import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.host import folders

HOSTILE = [
    "../../etc/passwd",
    "a/../../b",
    "..",
    "/etc/passwd",
    "//server/share/x",
    "C:\\Windows\\win.ini",
    "C:x",
    "\\x",
    "..\\..\\x",
    "a\\..\\..\\x",
    "nul\0byte",
]


@pytest.fixture(autouse=True)
def own_folders(tmp_path):
    before = folders.own_folders()
    places = {name: tmp_path / "here" / name for name in ("input", "output", "temp", "models")}
    folders.set_folders(**places)
    places["input"].mkdir(parents=True)
    yield places
    folders.set_folders(**before)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_as_a_file_and_as_a_prefix_and_nothing_is_made(name, tmp_path):
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(ValueError, match=r"leads out of|absolute path|NUL character|letter and a colon"):
        folders.resolve_input(name)
    with pytest.raises(ValueError, match=r"leads out of|absolute path|NUL character|letter and a colon"):
        folders.numbered(name)

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("name", "why"), [("a:b", "letter and a colon"), ("f\ud800", "half a character")])
def test_a_name_that_cannot_be_is_refused_for_what_is_wrong_with_it(name, why):
    with pytest.raises(ValueError, match=why):
        folders.resolve_input(name)
    with pytest.raises(ValueError, match=why):
        folders.numbered(name)


@given(st.text(alphabet="./\\:aC \0~", max_size=12))
def test_whatever_a_prefix_says_it_stays_inside_the_folder(prefix):
    try:
        place = folders.numbered(prefix)
    except ValueError:
        return

    root = os.path.realpath(folders.output_folder())
    assert os.path.realpath(place.folder / f"{place.stem}_00001_.png").startswith(root + os.sep)


def test_a_link_that_leaves_the_folder_is_refused(own_folders, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (own_folders["input"] / "link.txt").symlink_to(tmp_path / "secret.txt")
    own_folders["output"].mkdir()
    (own_folders["output"] / "way_out").symlink_to(tmp_path)

    with pytest.raises(ValueError, match="leads out of the input folder"):
        folders.resolve_input("link.txt")
    with pytest.raises(ValueError, match="leads out of the output folder"):
        folders.numbered("way_out/x")


def test_a_folder_that_is_a_link_itself_is_no_way_out(own_folders, tmp_path):
    (own_folders["input"] / "a.png").touch()
    (tmp_path / "short").symlink_to(own_folders["input"])
    folders.set_folders(input=tmp_path / "short")

    assert folders.resolve_input("a.png") == tmp_path / "short" / "a.png"


@pytest.mark.parametrize("name", ["clip.mp4", "clip with spaces.mp4", "Zoë und ☕.mp4", "sub/clip.mp4", "a..b.mp4"])
def test_a_file_is_found_by_its_name(own_folders, name):
    path = own_folders["input"] / name
    path.parent.mkdir(exist_ok=True)
    path.touch()

    assert folders.resolve_input(name) == path


@pytest.mark.parametrize("kind", ["input", "output", "temp"])
def test_an_annotation_says_which_folder_a_file_is_in(own_folders, kind):
    own_folders[kind].mkdir(exist_ok=True)
    (own_folders[kind] / "a.mp4").touch()

    assert folders.resolve_input(f"a.mp4 [{kind}]") == own_folders[kind] / "a.mp4"


def test_a_missing_file_is_named_with_the_one_that_was_meant(own_folders):
    (own_folders["input"] / "clip.mp4").touch()

    with pytest.raises(ValueError, match=r"'clop.mp4' is not a file in the input folder, .* Did you mean 'clip.mp4'\?"):
        folders.resolve_input("clop.mp4")


def test_files_are_listed_by_kind_and_in_order(own_folders):
    for name in ("b.mp4", "a.webm", "c.png", "d.webp", "e.wav", "f.txt", "g"):
        (own_folders["input"] / name).touch()
    (own_folders["input"] / "folder.mp4").mkdir()

    assert folders.list_input("video") == ["a.webm", "b.mp4"]
    assert folders.list_input("image") == ["c.png", "d.webp"]
    assert folders.list_input("audio") == ["e.wav"]


def test_no_input_folder_means_no_files(own_folders):
    own_folders["input"].rmdir()

    assert folders.list_input("video") == []


def test_numbers_go_on_from_the_highest_that_is_there(own_folders):
    place = own_folders["output"] / "clips"
    place.mkdir(parents=True)
    for name in ("waltz_00003_.png", "waltz_00011.flac", "waltz_x_.png", "waltzer_00099_.png", "other_00500_.png"):
        (place / name).touch()

    assert folders.numbered("clips/waltz") == folders.Numbered(place, "waltz", 12, "clips", "output")


def test_the_first_number_is_one_and_no_folder_is_made_for_it(own_folders):
    place = folders.numbered("new/folder/name", "temp")

    assert (place.folder, place.stem, place.counter) == (own_folders["temp"] / "new/folder", "name", 1)
    assert (place.subfolder, place.kind) == (str(Path("new") / "folder"), "temp")
    assert not own_folders["temp"].exists()


def test_size_and_date_are_filled_in(monkeypatch):
    moment = time.struct_time((2026, 3, 4, 5, 6, 7, 2, 63, 0))
    monkeypatch.setattr(folders.time, "localtime", lambda: moment)

    place = folders.numbered(
        "%year%-%month%/%day%_%hour%%minute%%second%_%width%x%height%_%other%", width=64, height=48
    )

    assert (place.subfolder, place.stem) == ("2026-03", "04_050607_64x48_%other%")
    assert folders.numbered("%date:yyyy-MM-dd hh.mm.ss%").stem == "2026-03-04 05.06.07"
    assert folders.numbered("%date:yy_M_d%").stem == "26_3_4"


def test_models_of_a_kind_have_their_own_folder(own_folders):
    assert folders.models_folders("clip_vision") == [own_folders["models"] / "clip_vision"]


def test_models_that_were_saved_in_the_output_folder_are_found_there_as_in_comfyui(own_folders):
    saved = own_folders["output"] / "loras" / "mine.safetensors"
    saved.parent.mkdir(parents=True)
    saved.touch()

    assert folders.list_models("loras") == ["mine.safetensors"]
    assert folders.resolve_model("loras", "mine.safetensors") == saved


def test_folders_that_are_not_named_stay(own_folders):
    folders.set_folders(output=Path("elsewhere"))

    assert folders.output_folder() == Path("elsewhere")
    assert folders.input_folder() == own_folders["input"]


def test_a_place_is_a_file_or_a_folder_of_any_folder(own_folders):
    for folder in own_folders.values():
        (folder / "set/clip").mkdir(parents=True)
        (folder / "set.zip").touch()

    for kind in ("input", "output", "temp"):
        assert folders.resolve_place(f"set/clip [{kind}]") == own_folders[kind] / "set/clip"
        assert folders.resolve_place(f"set.zip [{kind}]") == own_folders[kind] / "set.zip"
    assert folders.resolve_place("") == own_folders["input"]


def test_a_place_that_is_not_there_is_told_with_what_may_be_meant(own_folders):
    (own_folders["input"] / "archery").mkdir()

    with pytest.raises(ValueError, match="'archrey' is not in the input folder, .* Did you mean 'archery'?"):
        folders.resolve_place("archrey")


def test_a_path_in_one_of_the_folders_has_a_name_that_leads_back(own_folders):
    for kind in ("input", "output", "temp"):
        (own_folders[kind] / "a b").mkdir(parents=True)
        name = folders.annotated(own_folders[kind] / "a b")
        assert folders.resolve_place(name) == own_folders[kind] / "a b"

    with pytest.raises(ValueError, match="lies in none of the folders"):
        folders.annotated(own_folders["input"].parent)


@pytest.mark.parametrize("name", ["", "  ", ".", "a/..", "../a", "/a", "a/../..", "C:a", "a\0b"])
def test_what_is_written_lies_below_the_output_folder(own_folders, name):
    with pytest.raises(ValueError, match="Choose"):
        folders.output_place(name)


def test_an_output_place_need_not_be_there(own_folders):
    assert folders.output_place("sets/new") == own_folders["output"] / "sets/new"
    assert folders.output_place("sets\\new") == own_folders["output"] / "sets/new"


def test_an_output_place_below_a_folder_stays_below_it(own_folders):
    assert folders.output_place("moon/a", below="runs") == own_folders["output"] / "runs/moon/a"
    for name in ("../a", ".", "a/../../b", "/a"):
        with pytest.raises(ValueError, match="the output folder's runs"):
            folders.output_place(name, below="runs")


def make_models(own_folders, *names):
    for name in names:
        path = own_folders["models"] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return own_folders["models"]


def test_models_are_listed_by_kind_below_their_folder_and_in_order(own_folders):
    make_models(own_folders, "checkpoints/b.safetensors", "checkpoints/old/a.SAFETENSORS", "checkpoints/c.ckpt",
                "rembg/u2net.onnx", "rembg/notes.txt")  # fmt: skip

    assert folders.list_models("checkpoints") == ["b.safetensors", str(Path("old", "a.SAFETENSORS"))]
    assert folders.list_models("rembg", (".onnx",)) == ["u2net.onnx"]
    assert folders.list_models("vae") == []


def test_a_folder_with_a_marker_in_it_is_a_model(own_folders):
    make_models(own_folders, "diffusers/svd/model_index.json", "diffusers/svd/unet/config.json",
                "diffusers/more/xt/model_index.json", "diffusers/model_index.json")  # fmt: skip

    assert folders.list_model_folders("diffusers", "model_index.json") == [str(Path("more", "xt")), "svd"]


def test_a_list_of_models_follows_what_comes_and_goes(own_folders):
    assert folders.list_models("checkpoints") == []
    models = make_models(own_folders, "checkpoints/sub/a.safetensors")
    assert folders.list_models("checkpoints") == [str(Path("sub", "a.safetensors"))]
    os.utime(models / "checkpoints" / "sub", ns=(1, 1))  # a clock may be coarse
    folders.list_models("checkpoints")

    (models / "checkpoints" / "sub" / "b.safetensors").touch()
    (models / "checkpoints" / "sub" / "a.safetensors").unlink()

    assert folders.list_models("checkpoints") == [str(Path("sub", "b.safetensors"))]


def test_folders_that_have_not_changed_are_not_walked_again(own_folders, monkeypatch):
    make_models(own_folders, "checkpoints/a.safetensors")
    folders.list_models("checkpoints")
    monkeypatch.setattr(os, "walk", None)

    assert folders.list_models("checkpoints") == ["a.safetensors"]


def test_folders_that_are_linked_in_a_circle_are_walked_once(own_folders):
    models = make_models(own_folders, "checkpoints/sub/a.safetensors")
    (models / "checkpoints" / "sub" / "again").symlink_to(models / "checkpoints")

    assert folders.list_models("checkpoints") == [str(Path("sub", "a.safetensors"))]


@pytest.mark.parametrize("name", ["sub/a.safetensors", "sub\\a.safetensors", "sub"])
def test_a_model_is_found_by_the_name_that_any_system_gave_it(own_folders, name):
    models = make_models(own_folders, "checkpoints/sub/a.safetensors")

    assert folders.resolve_model("checkpoints", name) == models / "checkpoints" / name.replace("\\", "/")


def test_a_model_may_be_a_link_to_another_disk(own_folders, tmp_path):
    models = make_models(own_folders, "checkpoints/b.safetensors")
    (tmp_path / "other_disk").mkdir()
    (tmp_path / "other_disk" / "a.safetensors").touch()
    (models / "checkpoints" / "a.safetensors").symlink_to(tmp_path / "other_disk" / "a.safetensors")

    assert folders.resolve_model("checkpoints", "a.safetensors").is_file()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_as_a_model(own_folders, name):
    make_models(own_folders, "checkpoints/b.safetensors")

    with pytest.raises(ValueError, match=r"leads out of|absolute path|NUL character|letter and a colon"):
        folders.resolve_model("checkpoints", name)


def test_a_linked_folder_is_no_way_to_what_lies_beside_its_target(own_folders, tmp_path):
    models = make_models(own_folders, "checkpoints/b.safetensors")
    (tmp_path / "disk" / "models").mkdir(parents=True)
    (tmp_path / "disk" / "secret.safetensors").touch()
    (models / "checkpoints" / "link").symlink_to(tmp_path / "disk" / "models")

    with pytest.raises(folders.MissingModel):
        folders.resolve_model("checkpoints", "link/../secret.safetensors")


@pytest.mark.parametrize("name", ["", ".", "sub/.."])
def test_no_name_is_no_model(own_folders, name):
    make_models(own_folders, "checkpoints/sub/a.safetensors")

    with pytest.raises(ValueError, match="No name is given"):
        folders.resolve_model("checkpoints", name)


def test_a_missing_model_is_named_with_its_folder_and_the_one_that_was_meant(own_folders):
    models = make_models(own_folders, "checkpoints/svd_xt.safetensors")

    with pytest.raises(folders.MissingModel) as raised:
        folders.resolve_model("checkpoints", "svd_xl.safetensors")

    assert str(models / "checkpoints") in str(raised.value)
    assert "Did you mean 'svd_xt.safetensors'?" in str(raised.value)
