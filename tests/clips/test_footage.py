import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoetrope.clips.footage import (
    MANIFEST,
    Clip,
    Footage,
    FootageError,
    natural_order,
    picture_size,
    read_footage,
    read_manifest,
    update_manifest,
    write_manifest,
)
from zoetrope.media.pictures import read_picture


def put(path, size=(8, 6), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 128).save(path, **options)


@pytest.fixture
def root(tmp_path):
    for name in ("walk", "run"):
        for number in (1, 2, 10):
            put(tmp_path / name / f"{name}_frame_{number}.png")
    return tmp_path


def test_folders_are_clips_and_frame_2_comes_before_frame_10(root):
    footage, notes = read_footage(root)

    assert [clip.name for clip in footage.clips] == ["run", "walk"]
    assert footage.clip("walk").frames == ("walk_frame_1.png", "walk_frame_2.png", "walk_frame_10.png")
    assert (footage.clip("walk").width, footage.clip("walk").height) == (8, 6)
    assert footage.paths(footage.clip("run"))[2] == root / "run" / "run_frame_10.png"
    assert notes == []


def test_classes_above_clips_are_part_of_their_names(tmp_path):
    for name in ("b/v_10", "b/v_9", "a-b/v", "a/v"):
        put(tmp_path / name / "1.jpg")

    footage, _ = read_footage(tmp_path)

    assert [clip.name for clip in footage.clips] == ["a/v", "a-b/v", "b/v_9", "b/v_10"]


def test_stray_files_are_told_and_hidden_ones_and_captions_are_not(root):
    for name in ("notes.md", "walk/Thumbs.db", "walk/.DS_Store", ".git/x.png", "__MACOSX/walk/._1.png"):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_bytes(b"x")
    for caption in ("walk.txt", "walk/walk_frame_1.txt"):
        (root / caption).write_text("a man walks")

    footage, notes = read_footage(root)

    assert len(footage.clips) == 2
    assert notes == ["Left alone, because these are no pictures: notes.md, walk/Thumbs.db."]


def test_a_thousand_stray_files_are_one_sentence(root):
    for number in range(30):
        (root / f"{number}.log").write_text("")

    assert read_footage(root)[1] == ["Left alone, because these are no pictures: 0.log, 1.log, 2.log and 27 more."]


def test_grey_and_transparent_and_deep_pictures_are_read_as_rgb(tmp_path):
    put(tmp_path / "a" / "1.png", mode="L")
    put(tmp_path / "a" / "2.png", mode="RGBA")
    put(tmp_path / "a" / "3.png", mode="P")
    put(tmp_path / "a" / "4.png", mode="I;16")

    footage, notes = read_footage(tmp_path)

    assert [read_picture(path).shape for path in footage.paths(footage.clips[0])] == [(6, 8, 3)] * 4
    assert notes == []


def test_mixed_sizes_are_told(root):
    put(root / "walk" / "walk_frame_11.png", (10, 10))

    footage, (note,) = read_footage(root)

    assert "walk (8x6 and 10x10)" in note
    assert (footage.clip("walk").width, footage.clip("run").width) == (0, 8)


def test_a_broken_picture_is_told_and_left_out(root):
    (root / "walk" / "walk_frame_3.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")

    footage, (note,) = read_footage(root)

    assert "walk/walk_frame_3.png" in note
    assert len(footage.clip("walk").frames) == 3


def test_pictures_in_the_root_alone_are_one_clip(tmp_path):
    for number in (9, 10):
        put(tmp_path / f"{number}.png")

    footage, notes = read_footage(tmp_path)

    assert footage.clips[0].name == "."
    assert [path.name for path in footage.paths(footage.clips[0])] == ["9.png", "10.png"]
    assert notes == []


def test_pictures_beside_clips_are_told(root):
    put(root / "cover.jpg")

    footage, notes = read_footage(root)

    assert [clip.name for clip in footage.clips] == ["run", "walk"]
    assert notes == ["Left out, because these lie in no clip's folder: cover.jpg."]


def test_links_out_of_the_folder_are_left_out_and_told(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    put(other / "secret.png")
    (root / "walk" / "walk_frame_4.png").symlink_to(other / "secret.png")
    (root / "all").symlink_to(other)
    (root / "walk" / "walk_frame_5.png").symlink_to("walk_frame_1.png")

    footage, (note,) = read_footage(root)

    assert footage.clip("walk").frames[2:4] == ("walk_frame_5.png", "walk_frame_10.png")
    assert "all" in note and "walk_frame_4" in note


def test_an_extraction_that_was_killed_is_told(root):
    (root / ".zoetrope-extracting" / "clip-1").mkdir(parents=True)

    footage, (note,) = read_footage(root)

    assert len(footage.clips) == 2
    assert "Run it again" in note


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_the_size_is_that_of_the_upright_picture(suffix, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    put(tmp_path / f"a.{suffix}", exif=exif)

    assert picture_size(tmp_path / f"a.{suffix}") == (6, 8)
    assert read_picture(tmp_path / f"a.{suffix}").shape == (8, 6, 3)


@pytest.mark.parametrize(
    ("path", "sentence"), [("none", "does not exist"), ("file", "is a file"), ("empty", "There is no picture")]
)
def test_what_holds_no_footage_is_refused(path, sentence, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()

    with pytest.raises(FootageError, match=sentence):
        read_footage(tmp_path / path)


CLIP = Clip(
    name="walk",
    frames=("walk_frame_1.png", "walk_frame_2.png", "walk_frame_10.png"),
    indices=(0, 1, 9),
    source="walk.mp4",
    sha256="ab" * 32,
    width=8,
    height=6,
    frames_per_second=7.5,
    split="train",
    caption='a "man" walks \u2603',
    motion=0.25,
)


def test_a_manifest_gives_back_what_was_written(root):
    footage = Footage(root, (CLIP, Clip(name="run", frames=("run_frame_1.png",))))

    path = write_manifest(footage)

    assert path == root / MANIFEST
    assert read_footage(root) == (footage, [])
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["walk", "run"]


def test_fields_of_other_programs_are_kept(root):
    (root / MANIFEST).write_text('{"name": "run", "frames": ["run_frame_1.png"], "rating": {"stars": [5, null]}}\n\n')

    footage, _ = read_footage(root)
    write_manifest(footage)

    assert json.loads((root / MANIFEST).read_text())["rating"] == {"stars": [5, None]}
    assert read_footage(root)[0] == footage


def test_what_the_manifest_names_and_is_not_there_is_told(root):
    gone = Clip(name="gone", frames=("1.png",))
    (root / "walk" / "walk_frame_2.png").unlink()
    write_manifest(Footage(root, (CLIP, gone)))

    footage, notes = read_footage(root)

    assert [(clip.name, clip.frames, clip.indices) for clip in footage.clips] == [
        ("walk", ("walk_frame_1.png", "walk_frame_10.png"), (0, 9))
    ]
    assert len(notes) == 3
    assert "1 of walk" in notes[0]
    assert "gone" in notes[1]
    assert "does not name these folders of pictures: run" in notes[2]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"name": "walk", "frames": [', "is no JSON"),
        ("[" * 100000, "is no JSON"),
        ("[]", "is no JSON object"),
        ('{"frames": []}', "name is 'None'"),
        ('{"name": "walk"}', "frames is 'None'"),
        ('{"name": "walk", "frames": "x"}', "a list of file names"),
        ('{"name": "walk", "frames": ["a.png"], "indices": [1, 2]}', "1 frames and 2 indices"),
        ('{"name": "walk", "frames": ["a.png"], "indices": [-1]}', "whole numbers"),
        ('{"name": "walk", "frames": [], "width": true}', "a whole number"),
        ('{"name": "walk", "frames": [], "frames_per_second": NaN}', "a number from 0"),
        ('{"name": "walk", "frames": [], "split": "eval"}', "one of train, validation, test"),
        ('{"name": "walk", "frames": []}\n{"name": "walk", "frames": []}', "Line 2 .* a second time"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_with_its_line(line, sentence, root):
    (root / MANIFEST).write_text(line + "\n")

    with pytest.raises(FootageError, match=sentence):
        read_footage(root)


HOSTILE = [
    "../x",
    "a/../../x",
    "/etc",
    "C:/x",
    "C:x",
    "a\\..\\x",
    "",
    "a//b",
    "./a",
    "a/.",
    "..",
    "...",
    "a\0b",
    "\\\\h\\s",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_lead_out_of_the_folder_are_refused(name, root):
    for record in ({"name": name, "frames": []}, {"name": "walk", "frames": [name]}):
        (root / MANIFEST).write_text(json.dumps(record))
        with pytest.raises(FootageError, match="no name inside the footage's folder"):
            read_footage(root)


def test_a_frame_is_a_file_in_its_clips_own_folder(root):
    (root / MANIFEST).write_text(json.dumps({"name": "walk", "frames": ["run/run_frame_1.png"]}))

    with pytest.raises(FootageError, match="no name inside"):
        read_footage(root)


def test_a_clip_that_is_a_link_out_of_the_folder_is_refused(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    put(other / "a.png")
    (root / "link").symlink_to(other)
    (root / MANIFEST).write_text('{"name": "link", "frames": ["a.png"]}')

    with pytest.raises(FootageError, match="leads out of"):
        read_footage(root)


def test_a_manifest_in_another_encoding_is_told(root):
    (root / MANIFEST).write_bytes(b'{"name": "w\xe4lk", "frames": []}')

    with pytest.raises(FootageError, match="UTF-8"):
        read_footage(root)


def test_splits_are_selected(root):
    footage = Footage(root, (CLIP, Clip(name="run", frames=("run_frame_1.png",))))

    assert footage.select("train").clips == (CLIP,)
    assert [clip.name for clip in footage.select("").clips] == ["run"]
    assert footage.select("test").clips == ()


@given(st.lists(st.integers(0, 10**30), unique=True), st.sampled_from(["frame_{}.png", "{}", "a{}b1"]))
def test_names_sort_as_their_numbers(numbers, pattern):
    names = [pattern.format(number) for number in numbers]

    assert sorted(names, key=natural_order) == [pattern.format(number) for number in sorted(numbers)]


@given(st.lists(st.text(max_size=8), unique=True))
def test_any_names_have_one_order(names):
    shuffled = list(np.random.default_rng(0).permutation(np.array(names, object)))

    assert sorted(shuffled, key=natural_order) == sorted(names, key=natural_order)


def test_captions_beside_clips_and_pictures_and_in_clips_are_not_stray(root):
    for name in ("walk.txt", "run.caption", "walk/walk_frame_2.txt", "run/caption.txt"):
        (root / name).write_text("a caption")

    assert read_footage(root)[1] == []


LINKS = {"circle.png": "circle.png", "nothing.png": "nowhere.png"}


@pytest.mark.parametrize("with_manifest", [False, True])
@pytest.mark.parametrize("link", LINKS)
def test_links_to_nothing_and_in_a_circle_stop_nobody(link, with_manifest, root):
    if with_manifest:
        write_manifest(Footage(root, (CLIP,)))
    (root / "walk" / link).symlink_to(LINKS[link])
    (root / "folder").symlink_to("folder")

    footage, notes = read_footage(root)

    assert footage.clip("walk").frames == CLIP.frames
    assert with_manifest or f"folder, walk/{link}" in notes[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
@pytest.mark.parametrize("with_manifest", [False, True])
def test_a_pipe_is_not_waited_for(with_manifest, root):
    os.mkfifo(root / "walk" / "walk_frame_3.png")
    if with_manifest:
        write_manifest(Footage(root, (replace(CLIP, frames=("walk_frame_1.png", "walk_frame_3.png"), indices=()),)))

    footage, notes = read_footage(root)

    assert "walk_frame_3.png" not in footage.clip("walk").frames
    assert "neither files nor folders: walk/walk_frame_3.png" in notes[0] or "missing" in notes[0]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_no_manifest_may_hold_are_left_out_so_that_what_is_written_can_be_read(root):
    for name in (b"walk/\xff.png", b"walk/a\nb.png", b"walk/a\\b.png", b"bad\\dir/1.png"):
        path = root / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        shutil.copy(root / "walk" / "walk_frame_1.png", path)

    footage, (note,) = read_footage(root)
    write_manifest(footage)

    assert footage.clip("walk").frames == CLIP.frames
    assert "walk/a?b.png" in note and "bad\\dir" in note and note.isprintable()
    assert read_footage(root)[0] == footage


def test_a_clip_without_frames_is_told_and_left_out(root):
    (root / MANIFEST).write_text('{"name": "walk", "frames": []}\n{"name": "run", "frames": ["run_frame_1.png"]}\n')

    footage, notes = read_footage(root)

    assert [clip.name for clip in footage.clips] == ["run"]
    assert notes == ["Left out, because the manifest names no frames of these clips: walk."]


def test_an_update_keeps_clips_frames_and_fields_that_are_not_in_the_footage(root):
    other = '{"name": "gone", "frames": ["1.png"], "split": "test", "stars": 5}'
    write_manifest(Footage(root, (CLIP,)))
    with (root / MANIFEST).open("a") as manifest:
        manifest.write(f"{other}\n")
    (root / "walk" / "walk_frame_2.png").unlink()

    footage, _ = read_footage(root)
    update_manifest(footage.with_clips(replace(clip, split="validation") for clip in footage.clips), "split")

    walk, gone = read_manifest(root)
    assert walk == replace(CLIP, split="validation")
    assert (gone.frames, gone.split, json.loads(gone.other)) == (("1.png",), "test", {"stars": 5})


def test_an_update_that_changes_nothing_leaves_the_file_alone(root):
    path = write_manifest(Footage(root, (CLIP,)))
    os.utime(path, (0, 0))

    update_manifest(Footage(root, (CLIP,)), "split", "motion")

    assert path.stat().st_mtime == 0


def test_a_folders_first_manifest_names_all_its_clips(root):
    footage, _ = read_footage(root)

    update_manifest(footage.with_clips([replace(footage.clip("walk"), split="train")]), "split")

    assert [(clip.name, clip.split) for clip in read_footage(root)[0].clips] == [("run", ""), ("walk", "train")]


@pytest.mark.parametrize("with_manifest", [False, True])
def test_a_folder_that_may_not_be_opened_is_told(with_manifest, root, monkeypatch):
    """The tests may run as a user to whom nothing is closed."""
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("run"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    if with_manifest:
        write_manifest(read_footage(root)[0])
    monkeypatch.setattr(os, "scandir", closed)

    footage, notes = read_footage(root)

    assert [clip.name for clip in footage.clips] == ["walk"]
    assert notes[0] == "Left out, because this user may not open these folders, or they are gone: run."


def test_an_update_writes_its_own_facts_alone(root):
    """As when a report and a split of the same footage are saved, one after the other."""
    write_manifest(Footage(root, (replace(CLIP, split="", motion=None, caption="old"),)))
    footage, _ = read_footage(root)

    update_manifest(footage.with_clips(replace(clip, split="test", caption="new") for clip in footage.clips), "split")
    update_manifest(footage.with_clips(replace(clip, motion=0.5) for clip in footage.clips), "motion")

    (clip,) = read_manifest(root)
    assert (clip.split, clip.motion, clip.caption) == ("test", 0.5, "old")
