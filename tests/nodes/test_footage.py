"""The footage nodes, from toy videos to a report, in folders of their own."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest
import torch

from zoetrope.clips.archives import zip_footage
from zoetrope.clips.footage import MANIFEST, Footage, read_footage
from zoetrope.clips.report import examine
from zoetrope.host import folders, work
from zoetrope.media.pictures import encode_png
from zoetrope.media.writing import write_video
from zoetrope.nodes.footage import FootageFromVideos, LoadFootage, SplitFootage
from zoetrope.nodes.footage_views import FootageReport, FootageToFrames, FramePairs
from zoetrope.nodes.toyworld import ToyWorldVideos

FROM_VIDEOS = {
    "choose": {"choose": "every nth", "every": 2},
    "range": {"range": "whole clip"},
    "width": 0,
    "height": 0,
    "fit": {"fit": "stretch"},
    "format": {"format": "png"},
    "folder": "set",
    "count_from": 1,
}
SPLIT = {"train": 0.5, "validation": 0.5, "test": 0.0, "by": "group", "across_classes": False, "seed": 0, "save": True}
PAIRS = {"step": 1, "stride": 1, "context": 1, "spacing": 1, "find_cuts": False, "shown": 4}
TOY = {
    "count": 3,
    "still": 1,
    "seconds": 0.5,
    "frames_per_second": 12.0,
    "width": 48,
    "height": 32,
    "seed": 4,
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the stand-in's folders lie in the current one
    for folder in ("input", "output", "temp"):
        (tmp_path / folder).mkdir()
    return tmp_path


def frames(count, seed=0, size=(48, 32)):
    generator = np.random.default_rng(seed)
    wide = generator.integers(0, 256, (size[1], size[0] + 2 * count, 3)).astype(np.uint8)
    return [np.ascontiguousarray(wide[:, 2 * number :][:, : size[0]]) for number in range(count)]


def save_clips(root, *names, count=4):
    for seed, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number, pixels in enumerate(frames(count, seed), 1):
            (root / name / f"frame_{number}.png").write_bytes(encode_png(pixels))
    return root


def extract(videos="", **changed):
    return FootageFromVideos.execute(videos=videos, **{**FROM_VIDEOS, **changed})


def split(footage, **changed):
    return SplitFootage.execute(footage=footage, **{**SPLIT, **changed})


# Toy World Videos and Footage From Videos


def test_toy_videos_become_footage(here):
    folder = ToyWorldVideos.execute(**TOY)[0]
    footage, root, summary = extract(folder).args

    assert folder.startswith("zoetrope/toy_videos_") and folder.endswith(" [temp]")
    assert [clip.name for clip in footage.clips] == ["shapes_01", "shapes_02", "shapes_03"]
    assert footage.clips[0].indices == (1, 3, 5)
    assert root == "set [output]"
    assert summary == "3 clips, 9 frames."
    assert read_footage(here / "output/set")[0].clips == footage.clips


def test_the_same_toy_videos_are_drawn_once(here, monkeypatch):
    folder = ToyWorldVideos.execute(**TOY)[0]
    files = {path: path.stat().st_mtime_ns for path in (here / "temp").rglob("*.mp4")}

    assert ToyWorldVideos.execute(**TOY)[0] == folder
    assert {path: path.stat().st_mtime_ns for path in (here / "temp").rglob("*.mp4")} == files
    assert ToyWorldVideos.execute(**{**TOY, "seed": 5})[0] != folder


def test_as_many_toy_videos_as_asked_for_do_not_move():
    footage = extract(ToyWorldVideos.execute(**TOY)[0], choose={"choose": "all"})[0]

    assert [each.measured.is_still for each in examine(footage).clips] == [False, False, True]


def test_what_is_done_is_not_done_again(here):
    write_video(here / "input/one.mp4", frames(6), 12)
    extract()
    write_video(here / "input/two.mp4", frames(6, seed=1), 12)

    assert extract()[2] == "2 clips, 6 frames; 1 were there already."


def test_settings_reach_the_extraction(here):
    write_video(here / "input/one.mp4", frames(6), 12)

    footage = extract(
        "one.mp4",
        choose={"choose": "count", "count": 2},
        range={"range": "frames", "first": 1, "last": -1},
        width=16,
        height=16,
        fit={"fit": "cover", "anchor": "left"},
        format={"format": "jpeg", "quality": 60},
        count_from=0,
    )[0]

    [clip] = footage.clips
    assert clip.frames == ("one_frame_1.jpg", "one_frame_5.jpg")
    assert (clip.width, clip.height) == (16, 16)


@pytest.mark.parametrize(
    "choose, count",
    [
        ({"choose": "every nth", "every": 3}, 2),
        ({"choose": "rate", "frames_per_second": 4.0}, 2),
        ({"choose": "most different", "count": 2, "window_seconds": 0.0, "minimum_distance": 2}, 2),
        ({"choose": "scenes", "threshold": 27.0, "shortest_seconds": 0.0, "take": "first"}, 1),
        ({"choose": "all"}, 6),
    ],
    ids=lambda value: value.get("choose") if isinstance(value, dict) else "",
)
def test_every_rule_can_be_chosen(here, choose, count):
    smooth = [np.full((32, 48, 3), 100 + number, np.uint8) for number in range(6)]
    write_video(here / "input/one.mp4", smooth, 12)

    assert len(extract(choose=choose)[0].clips[0].frames) == count


def test_a_broken_video_is_told_and_stops_no_other(here):
    write_video(here / "input/good.mp4", frames(6), 12)
    (here / "input/bad.mp4").write_bytes(b"no video")

    _, _, summary = extract().args

    assert summary.startswith("1 clip, 3 frames.\nbad.mp4: ")
    (here / "input/good.mp4").unlink()
    with pytest.raises(ValueError, match="None of the videos could be read. The first, bad.mp4: "):
        extract(folder="other")


def test_a_frame_of_each_clip_is_shown(here):
    write_video(here / "input/one.mp4", frames(6), 12)

    assert extract().ui.as_dict()["images"] == [
        {"filename": "one_frame_4.png", "subfolder": "set/one", "type": "output"}
    ]


def test_cancelling_leaves_no_half_clip(here, monkeypatch):
    def cancel(self, done, preview=None):
        raise work.Cancelled

    write_video(here / "input/one.mp4", frames(6), 12)
    monkeypatch.setattr(work.Progress, "update", cancel)

    with pytest.raises(work.Cancelled):
        extract()
    assert not list((here / "output").rglob("*.png")) or (here / "output/set" / MANIFEST).is_file()


# Names in a workflow are a stranger's


@pytest.mark.parametrize("name", ["../out", "/etc", "a/../../out", "C:\\x", "a\0b", "../out [output]"])
def test_no_name_leads_out_of_the_folders(here, name):
    write_video(here / "input/one.mp4", frames(3), 12)
    (here / "out").mkdir()

    with pytest.raises(ValueError):
        extract(name)
    with pytest.raises(ValueError):
        LoadFootage.execute(path=name)
    if "[" not in name:
        with pytest.raises(ValueError):
            extract(folder=name)
    assert isinstance(FootageFromVideos.validate_inputs(videos=name), str)
    assert isinstance(LoadFootage.validate_inputs(path=name), str)
    assert not any((here / "out").iterdir())


@pytest.mark.parametrize("folder", ["", " ", ".", "./", "a/.."])
def test_footage_gets_a_folder_of_its_own(folder):
    assert "No name is given" in FootageFromVideos.validate_inputs(folder=folder)


def test_names_that_come_over_a_line_are_not_judged_beforehand():
    assert FootageFromVideos.validate_inputs(videos=None, folder="set") is True
    assert LoadFootage.validate_inputs(path=None) is True


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_that_leads_out_is_refused(here, tmp_path_factory):
    outside = save_clips(tmp_path_factory.mktemp("outside"), "clip")
    (here / "input/link").symlink_to(outside)

    with pytest.raises(ValueError, match="leads out of the input folder"):
        LoadFootage.execute(path="link")


# Load Footage


def test_a_folder_a_manifest_and_a_zip_are_read_alike(here):
    save_clips(here / "input/set", "one", "two")
    footage, _ = read_footage(here / "input/set")
    SplitFootage.execute(footage=footage, **SPLIT)
    zip_footage(read_footage(here / "input/set")[0], here / "input/set.zip")

    loaded = [LoadFootage.execute(path=path)[0] for path in ("set", f"set/{MANIFEST}", "set.zip")]

    assert loaded[0] == loaded[1]
    assert loaded[2].clips == loaded[0].clips
    assert loaded[2].root.is_relative_to(folders.temp_folder())
    assert LoadFootage.execute(path="set.zip")[0] == loaded[2]


def test_what_is_odd_is_told(here):
    save_clips(here / "input/set", "one")
    (here / "input/set/one/notes.pdf").write_bytes(b"x")

    assert "notes.pdf" in LoadFootage.execute(path="set")[1]


def test_what_is_no_footage_is_told(here):
    (here / "input/film.mp4").write_bytes(b"x")
    (here / "input/empty").mkdir()
    with zipfile.ZipFile(here / "input/bad.zip", "w") as archive:
        archive.writestr("../out.png", b"x")

    for path, sentence in {
        "film.mp4": "film.mp4 is no footage",
        "empty": "There is no picture",
        "bad.zip": "out.png",
        "nothing": "'nothing' is not in the input folder",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            LoadFootage.execute(path=path)


@pytest.mark.parametrize("change", ["a new picture", "a new clip", "a lost picture", "a caption", "a manifest"])
def test_a_folder_that_changed_is_read_again(here, change):
    root = save_clips(here / "input/set", "one")
    before = LoadFootage.fingerprint_inputs(path="set")
    assert LoadFootage.fingerprint_inputs(path="set") == before

    for path in [root, *root.iterdir()]:
        os.utime(path, (1, 1))
    before = LoadFootage.fingerprint_inputs(path="set")
    if change == "a new picture":
        (root / "one/frame_9.png").write_bytes(encode_png(frames(1)[0]))
    elif change == "a new clip":
        save_clips(root, "two")
    elif change == "a lost picture":
        (root / "one/frame_1.png").unlink()
    elif change == "a caption":
        (root / "one.txt").write_text("a ball", encoding="utf-8")
    else:
        (root / MANIFEST).write_text("", encoding="utf-8")

    assert LoadFootage.fingerprint_inputs(path="set") != before


def test_videos_that_changed_and_footage_that_is_gone_run_again(here):
    write_video(here / "input/one.mp4", frames(3), 12)
    told = {"videos": "", "folder": "set"}
    first = FootageFromVideos.fingerprint_inputs(**told)
    extract()
    assert FootageFromVideos.fingerprint_inputs(**told) == first, "what it has just made is no reason to run again"

    os.utime(here / "input/one.mp4", (1, 1))
    second = FootageFromVideos.fingerprint_inputs(**told)
    shutil.rmtree(here / "output/set")
    third = FootageFromVideos.fingerprint_inputs(**told)
    extract()

    assert len({first, second, third}) == 3
    assert FootageFromVideos.fingerprint_inputs(**told) == third
    assert FootageFromVideos.fingerprint_inputs(videos=None, folder="set")


# Split Footage


def test_each_clip_gets_a_split_that_is_kept(here):
    footage, _ = read_footage(save_clips(here / "input/set", "one", "two", "three", "four"))

    divided, train, validation, test, counts = split(footage).args

    assert [len(part.clips) for part in (divided, train, validation, test)] == [4, 2, 2, 0]
    assert read_footage(footage.root)[0].clips == divided.clips
    assert "validation" in counts


def test_a_split_may_be_passed_on_alone(here):
    footage, _ = read_footage(save_clips(here / "input/set", "one", "two"))

    split(footage, save=False)

    assert not (footage.root / MANIFEST).exists()


def test_a_split_that_is_there_already_is_not_written_again(here):
    footage, _ = read_footage(save_clips(here / "input/set", "one", "two"))
    split(footage)
    os.utime(footage.root / MANIFEST, (1, 1))

    split(footage)

    assert (footage.root / MANIFEST).stat().st_mtime == 1


def test_clips_that_were_not_split_stay_in_the_manifest(here):
    footage, _ = read_footage(save_clips(here / "input/set", "one", "two", "three"))
    split(footage)
    some = Footage(footage.root, read_footage(footage.root)[0].clips[:1])

    split(some, train=0.0, validation=1.0)

    kept = {clip.name: clip.split for clip in read_footage(footage.root)[0].clips}
    assert set(kept) == {"one", "two", "three"} and kept[some.clips[0].name] == "validation"


# Views


def test_the_report_is_shown_and_passed_on(here):
    footage, _ = read_footage(save_clips(here / "input/set", "one", "two"))

    picture, report, measured = FootageReport.execute(footage=footage, save=True).args

    assert picture.shape[0] == 1 and picture.shape[3] == 3 and picture.dtype == torch.float32
    assert report.startswith("2 clips, 8 frames.")
    assert all(clip.motion is not None for clip in measured.clips)
    assert read_footage(footage.root)[0].clips == measured.clips
    manifest = (footage.root / MANIFEST).read_text(encoding="utf-8").splitlines()
    assert json.loads(manifest[0])["motion"] == measured.clips[0].motion


def test_the_report_shows_its_picture(here):
    footage, _ = read_footage(save_clips(here / "input/set", "one"))

    [shown] = FootageReport.execute(footage=footage, save=False).ui.as_dict()["images"]

    assert (here / shown["type"] / shown["subfolder"] / shown["filename"]).is_file()


@pytest.mark.parametrize("options, count", [({}, 6), ({"step": 2}, 4), ({"context": 2}, 4), ({"stride": 2}, 4)])
def test_pairs_are_counted_and_shown(here, options, count):
    footage, _ = read_footage(save_clips(here / "input/set", "one", "two"))

    picture, found = FramePairs.execute(footage=footage, **{**PAIRS, **options}).args

    assert found == count
    assert picture.shape[0] == 1


def test_no_pair_reaches_across_a_cut(here):
    root = here / "input/set"
    (root / "one").mkdir(parents=True)
    levels = [40] * 4 + [220] * 4
    for number, level in enumerate(levels):
        (root / f"one/{number}.png").write_bytes(encode_png(np.full((32, 48, 3), level, np.uint8)))
    footage, _ = read_footage(root)

    assert FramePairs.execute(footage=footage, **PAIRS)[1] == 7
    assert FramePairs.execute(footage=footage, **{**PAIRS, "find_cuts": True})[1] == 6


def test_footage_without_pairs_is_told(here):
    footage, _ = read_footage(save_clips(here / "input/set", "one"))

    with pytest.raises(ValueError, match="There is no pair"):
        FramePairs.execute(footage=footage, **{**PAIRS, "step": 9})


def test_a_clip_is_loaded_by_number_and_by_name(here):
    footage, _ = read_footage(save_clips(here / "input/set", "one", "two"))

    last = FootageToFrames.execute(footage=footage, clip={"clip": "number", "number": -1})
    named = FootageToFrames.execute(footage=footage, clip={"clip": "name", "name": "two"})

    images, rate, caption, name = named.args
    assert torch.equal(images, last[0])
    assert torch.equal((images * 255).round().byte(), torch.from_numpy(np.stack(frames(4, seed=1))))
    assert (rate, caption, name) == (8.0, "", "two")


@pytest.mark.parametrize(
    "clip, sentence",
    [
        ({"clip": "number", "number": 2}, "Clip 2 is not there: the footage has 2"),
        ({"clip": "name", "name": "three"}, "There is no clip 'three'"),
        (None, "clip is not set to one of its options"),
    ],
)
def test_a_clip_that_is_not_there_is_told(here, clip, sentence):
    footage, _ = read_footage(save_clips(here / "input/set", "one", "two"))

    with pytest.raises(ValueError, match=sentence):
        FootageToFrames.execute(footage=footage, clip=clip)


def test_a_clip_of_several_sizes_is_no_batch_of_images(here):
    root = save_clips(here / "input/set", "one")
    (root / "one/frame_9.png").write_bytes(encode_png(frames(1, size=(20, 20))[0]))

    with pytest.raises(ValueError, match="frame_9.png of one is 20x20, and its first frame is 48x32"):
        FootageToFrames.execute(footage=read_footage(root)[0], clip={"clip": "number", "number": 0})


# Captions in text files


def test_captions_beside_clips_come_with_the_footage(here):
    write_video(here / "input/one.mp4", frames(6), 12)
    extract()
    (here / "output/set/one.txt").write_text("a ball\nrolls", encoding="utf-8")

    assert extract()[0].clips[0].caption == "a ball rolls"
    loaded, notes = LoadFootage.execute(path="set [output]").args
    assert (loaded.clips[0].caption, notes) == ("a ball rolls", "")
    assert FootageToFrames.execute(footage=loaded, clip={"clip": "number", "number": 0})[2] == "a ball rolls"


def test_a_caption_that_cannot_be_read_is_a_note(here):
    write_video(here / "input/one.mp4", frames(6), 12)
    extract()
    (here / "output/set/one.txt").write_bytes(b"caf\xe9")

    assert "The captions of these clips cannot be read: one." in extract()[2]
    assert "The captions of these clips cannot be read: one." in LoadFootage.execute(path="set [output]")[1]
