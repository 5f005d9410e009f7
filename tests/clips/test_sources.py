import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.clips.footage import FootageError, check_name
from zoetrope.clips.sources import clip_names, find_videos
from zoetrope.media.frame_folders import frame_name


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"video")


def test_videos_come_in_natural_order_from_all_folders(tmp_path):
    put(tmp_path, "b/10.mp4", "b/9.MP4", "a.webm", "b/c/d.avi", "notes.txt", "b/1.png", ".git/x.mp4", "b/.x.mp4")

    videos = find_videos(tmp_path, tmp_path / "out")

    assert [(video.below, video.clip) for video in videos] == [
        ("a.webm", "a"),
        ("b/9.MP4", "9"),
        ("b/10.mp4", "10"),
        ("b/c/d.avi", "d"),
    ]
    assert [video.clip for video in find_videos(tmp_path, "out", keep_folders=True)] == ["a", "b/9", "b/10", "b/c/d"]


def test_a_file_is_a_video_whatever_its_suffix(tmp_path):
    put(tmp_path, "clip.dat")

    (video,) = find_videos(tmp_path / "clip.dat", tmp_path)

    assert (video.path, video.below, video.clip) == (tmp_path / "clip.dat", "clip.dat", "clip")


def test_the_output_is_not_read_again(tmp_path):
    put(tmp_path, "a.mp4", "out/b.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "out")

    assert [video.below for video in find_videos(tmp_path, tmp_path / "out")] == ["a.mp4"]
    assert [video.below for video in find_videos(tmp_path, tmp_path)] == ["a.mp4", "out/b.mp4"]


def test_linked_folders_are_read_once_and_circles_end(tmp_path):
    put(tmp_path, "disk/a.mp4", "videos/b.mp4")
    (tmp_path / "videos" / "more").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "videos")

    assert [video.below for video in find_videos(tmp_path / "videos", "out")] == ["b.mp4", "more/a.mp4"]


@pytest.mark.parametrize(("name", "sentence"), [("none", "does not exist"), ("empty", "There is no video in")])
def test_what_holds_no_video_is_refused(name, sentence, tmp_path):
    put(tmp_path, "empty/notes.txt")

    with pytest.raises(FootageError, match=sentence):
        find_videos(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize(
    ("videos", "names"),
    [
        (["a/x.mp4", "b/x.mp4", "y.mp4"], ["a_x", "b_x", "y"]),
        (["x.mp4", "x.avi", "y.avi"], ["x_mp4", "x_avi", "y"]),
        (["a/x.mp4", "a/x.avi", "b/X.mp4"], ["a_x_mp4", "a_x_avi", "b_X"]),
        (["a/x.mp4", "b/x.mp4", "a_x.mp4"], ["a_x_mp4", "b_x", "a_x"]),
        (["footage.jsonl.mp4"], ["footage_jsonl_mp4"]),
        (["what?.mp4", "con.mp4", "....mp4"], ["what_", "_con", "_"]),
        (["a?.mp4", "a*.mp4"], ["a__mp4_ad07f1ab", "a__mp4_d777012b"]),
    ],
)
def test_videos_of_one_name_take_more_of_their_path(videos, names):
    assert clip_names(videos) == dict(zip(videos, names, strict=True))


def test_with_folders_kept_a_clip_is_never_inside_another():
    names = clip_names(["a.mp4", "a/b.mp4", "a/c.mp4"], keep_folders=True)

    assert names["a/b.mp4"] == "a/b"
    assert names["a.mp4"] == "a_mp4"


paths = st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6), min_size=1, max_size=3)


@given(st.sets(paths.map("/".join).map(lambda path: f"{path}.mp4"), max_size=8), st.booleans(), st.randoms())
def test_names_are_safe_and_different_and_the_order_does_not_matter(videos, keep_folders, dice):
    names = clip_names(sorted(videos), keep_folders)
    shuffled = sorted(videos)
    dice.shuffle(shuffled)

    assert clip_names(shuffled, keep_folders) == names
    assert len({name.casefold() for name in names.values()}) == len(videos)
    for name in names.values():
        check_name(name, "A clip")
        for part in name.split("/"):
            assert frame_name(part.replace("{", "").replace("}", "") or "x", 0)
            assert len(part.encode()) <= 200


def test_names_that_macos_takes_for_one_are_told_apart():
    names = clip_names(["caf\u00e9.mp4", "cafe\u0301.avi"])

    assert list(names.values()) == ["caf\u00e9_mp4", "cafe\u0301_avi"]


def test_a_folder_that_may_not_be_opened_is_told_and_not_passed_over(tmp_path, monkeypatch):
    """The tests may run as a user to whom nothing is closed."""
    put(tmp_path, "open/1.mp4", "closed/2.mp4", "lost+found/3.mp4")
    scandir = os.scandir

    def closed(path):
        if str(path).endswith(("closed", "lost+found")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)

    with pytest.raises(FootageError, match="closed cannot be opened: Permission denied"):
        find_videos(tmp_path, tmp_path / "out")
    assert [video.below for video in find_videos(tmp_path / "open", tmp_path / "out")] == ["1.mp4"]
    monkeypatch.setattr(os, "scandir", scandir)
    (tmp_path / "closed" / "2.mp4").unlink()
    assert [video.below for video in find_videos(tmp_path, tmp_path / "out")] == ["open/1.mp4"]
