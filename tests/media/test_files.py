import errno
import os
from pathlib import Path

import pytest

from zoetrope.media.errors import MediaError
from zoetrope.media.files import NumberedName, folder_written_beside, remove_drafts, written_beside


class Cancelled(BaseException):
    """As ComfyUI's: not an Exception."""


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "clip.mp4"

    with written_beside(target) as draft:
        draft.write_bytes(b"moving")
        assert draft.parent == tmp_path and draft.suffix == ".mp4"
        assert not target.exists()

    assert target.read_bytes() == b"moving"
    assert everything_in(tmp_path) == ["clip.mp4"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Cancelled])
def test_an_error_leaves_nothing_and_keeps_the_file_that_was_there(tmp_path, error):
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"old")

    with pytest.raises(error), written_beside(target) as draft:
        draft.write_bytes(b"half of the new")
        raise error

    assert target.read_bytes() == b"old"
    assert everything_in(tmp_path) == ["clip.mp4"]


def test_folders_made_for_a_file_that_failed_are_removed_again(tmp_path):
    (tmp_path / "kept").mkdir()

    with pytest.raises(KeyboardInterrupt), written_beside(tmp_path / "kept" / "new" / "newer" / "clip.mp4"):
        raise KeyboardInterrupt

    assert everything_in(tmp_path) == ["kept"]


def test_a_new_file_has_the_permissions_of_any_other_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")

    with written_beside(tmp_path / "ours") as draft:
        draft.write_bytes(b"")

    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("writer", [written_beside, folder_written_beside])
def test_a_path_through_a_file_is_refused_in_a_sentence(tmp_path, writer):
    (tmp_path / "notes.txt").write_text("x")

    target = tmp_path / "notes.txt" / "a.gif"

    with pytest.raises(MediaError, match=r"cannot be written\. .*choose another folder"), writer(target):
        pass

    assert everything_in(tmp_path) == ["notes.txt"]


def test_a_folder_in_the_way_of_a_file_is_refused(tmp_path):
    with pytest.raises(MediaError, match="is a folder"), written_beside(tmp_path):
        pass


def test_a_forbidden_folder_is_refused_in_a_sentence(tmp_path, monkeypatch):
    def forbidden(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)

    with pytest.raises(MediaError, match="permissions"), written_beside(tmp_path / "a.gif"):
        pass


def test_a_name_too_long_for_the_disk_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(MediaError, match="shorter"), written_beside(tmp_path / ("a" * 300 + ".gif")) as draft:
        draft.write_bytes(b"x")

    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("writer", [written_beside, folder_written_beside])
def test_a_nul_in_the_name_is_refused(tmp_path, writer):
    with pytest.raises(MediaError, match="NUL"), writer(tmp_path / "a\0b.gif"):
        pass


def test_a_full_disk_is_told_in_a_sentence(tmp_path):
    with pytest.raises(MediaError, match="disk is full"), written_beside(tmp_path / "a.gif"):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert everything_in(tmp_path) == []


def test_an_error_of_the_source_is_not_taken_for_an_error_of_the_target(tmp_path):
    with pytest.raises(FileNotFoundError), written_beside(tmp_path / "a.gif"):
        Path(tmp_path / "source.mp4").read_bytes()


def test_a_folder_appears_whole(tmp_path):
    target = tmp_path / "run" / "frames"

    with folder_written_beside(target) as draft:
        (draft / "1.png").write_bytes(b"1")
        assert not target.exists()

    assert everything_in(tmp_path) == ["run", "run/frames", "run/frames/1.png"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Cancelled])
def test_an_error_leaves_no_folder(tmp_path, error):
    with pytest.raises(error), folder_written_beside(tmp_path / "run" / "frames") as draft:
        (draft / "1.png").write_bytes(b"1")
        raise error

    assert everything_in(tmp_path) == []


def test_an_empty_folder_may_be_filled_and_a_full_one_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")

    with folder_written_beside(tmp_path / "empty") as draft:
        (draft / "1.png").write_bytes(b"1")
    with pytest.raises(MediaError, match="exists already"), folder_written_beside(tmp_path / "full"):
        pass

    assert everything_in(tmp_path) == ["empty", "empty/1.png", "full", "full/mine.txt"]


def test_a_folder_that_came_meanwhile_is_not_touched(tmp_path):
    target = tmp_path / "frames"

    with pytest.raises(MediaError, match="exists already"), folder_written_beside(target):
        target.mkdir()
        (target / "theirs.txt").write_text("x")

    assert everything_in(tmp_path) == ["frames", "frames/theirs.txt"]


@pytest.fixture(params=["links", "no links"])
def disk(request, monkeypatch):
    """A disk with hard links, and one without."""
    if request.param == "no links":

        def refuse(source, target):
            raise PermissionError("this disk has no links")

        monkeypatch.setattr(os, "link", refuse)


def test_files_written_at_the_same_time_get_a_number_each(disk, tmp_path):
    first, second = (NumberedName(lambda number: tmp_path / f"clip_{number}.gif", 1) for _ in range(2))

    with written_beside(first) as draft:
        draft.write_bytes(b"first")
        with written_beside(second) as other:
            other.write_bytes(b"second")

    assert everything_in(tmp_path) == ["clip_1.gif", "clip_2.gif"]
    assert (second.path.read_bytes(), first.path.read_bytes()) == (b"second", b"first")


def test_folders_written_at_the_same_time_get_a_number_each(tmp_path):
    first, second = (NumberedName(lambda number: tmp_path / f"frames_{number}", 1) for _ in range(2))

    with folder_written_beside(first) as draft:
        (draft / "a.png").write_bytes(b"first")
        with folder_written_beside(second) as other:
            (other / "a.png").write_bytes(b"second")

    assert everything_in(tmp_path) == ["frames_1", "frames_1/a.png", "frames_2", "frames_2/a.png"]
    assert ((second.path / "a.png").read_bytes(), (first.path / "a.png").read_bytes()) == (b"second", b"first")


def test_a_folder_that_comes_between_the_look_and_the_rename_is_stepped_over(tmp_path, monkeypatch):
    name = NumberedName(lambda number: tmp_path / f"frames_{number}", 1)
    (tmp_path / "frames_1").mkdir()
    (tmp_path / "frames_1" / "mine.png").write_bytes(b"mine")
    real, looks = os.path.lexists, []

    def blind_at_first(path):
        looks.append(path)
        return len(looks) > 1 and real(path)

    monkeypatch.setattr(os.path, "lexists", blind_at_first)

    with folder_written_beside(name) as draft:
        (draft / "a.png").write_bytes(b"new")

    assert name.path == tmp_path / "frames_2"
    assert everything_in(tmp_path) == ["frames_1", "frames_1/mine.png", "frames_2", "frames_2/a.png"]


def test_what_a_killed_process_was_writing_is_cleared_away_and_nothing_else(tmp_path):
    (tmp_path / ".zoetrope-0123456789abcdef.png").write_bytes(b"half")
    (tmp_path / ".zoetrope-0123456789abcdef").mkdir()
    (tmp_path / ".zoetrope-extracting").mkdir()
    (tmp_path / "frame.png").write_bytes(b"whole")

    remove_drafts(tmp_path)

    assert everything_in(tmp_path) == [".zoetrope-extracting", "frame.png"]
