"""What an extraction keeps: what people wrote, what other programs wrote meanwhile, and what a kill left half done."""

import json
from dataclasses import replace

import pytest

from zoetrope.clips.footage import (
    WORKING,
    Clip,
    Footage,
    FootageError,
    clip_line,
    read_footage,
    update_manifest,
    write_manifest,
)
from zoetrope.clips.ledger import MADE, Ledger, opened_ledger


def made(*frames, name="walk", how=1):
    return Clip(name=name, frames=frames, width=8, height=6, other=json.dumps({MADE: {"how": how}}))


def draft_of(ledger, clip, data=b"old"):
    draft = ledger.draft()
    draft.mkdir()
    for frame in clip.frames:
        (draft / frame).write_bytes(data)
    return draft


def put(ledger, clip, data=b"old"):
    ledger.commit(draft_of(ledger, clip, data), clip)


@pytest.fixture
def root(tmp_path):
    """One clip that was extracted."""
    with opened_ledger(tmp_path / "set") as ledger:
        put(ledger, made("1.png", "2.png"))
    return tmp_path / "set"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_lies_beside_the_frames_survives_when_they_are_made_again(root):
    (root / "walk" / "1.txt").write_bytes(b"a caption by hand")
    (root / "walk" / "masks").mkdir()
    (root / "walk" / "masks" / "1.png").write_bytes(b"a mask")
    (root / "walk" / "link").symlink_to("nowhere")

    with opened_ledger(root) as ledger:
        put(ledger, made("1.png", "5.png", how=2), b"new")

    assert contents(root / "walk") == {
        "1.png": b"new",
        "5.png": b"new",
        "1.txt": b"a caption by hand",
        "masks/1.png": b"a mask",
    }
    assert (root / "walk" / "link").is_symlink()
    assert not (root / WORKING).exists()


def test_a_clip_within_a_clips_folder_survives_when_that_is_made_again(root):
    with opened_ledger(root) as ledger:
        put(ledger, made("9.png", name="walk/inner"), b"inner")

    with opened_ledger(root) as ledger:
        put(ledger, made("1.png", how=2), b"new")

    assert contents(root / "walk") == {"1.png": b"new", "inner/9.png": b"inner"}
    assert [clip.name for clip in read_footage(root)[0].clips] == ["walk", "walk/inner"]


def test_what_is_split_and_captioned_meanwhile_is_kept(root):
    with opened_ledger(root) as ledger:
        put(ledger, made("1.png", how=2), b"new")
        put(ledger, made("1.png", name="run"))
        footage, _ = read_footage(root)
        update_manifest(
            footage.with_clips(replace(clip, split="test", caption="a man") for clip in footage.clips),
            "split",
            "caption",
        )

    walk = read_footage(root)[0].clip("walk")
    assert (walk.split, walk.caption, walk.frames) == ("test", "a man", ("1.png",))
    assert json.loads(walk.other) == {MADE: {"how": 2}}
    assert len(read_footage(root)[0].clips) == 2


def test_fields_of_other_programs_survive_when_a_clip_is_made_again(root):
    clip = read_footage(root)[0].clip("walk")
    write_manifest(Footage(root, (replace(clip, other=json.dumps({**json.loads(clip.other), "stars": 5})),)))

    with opened_ledger(root) as ledger:
        put(ledger, made("1.png", how=2), b"new")

    assert json.loads(read_footage(root)[0].clip("walk").other) == {MADE: {"how": 2}, "stars": 5}


class Killed(BaseException):
    pass


@pytest.fixture
def working(root):
    (root / WORKING).mkdir()
    return root / WORKING


@pytest.mark.parametrize("place_is_taken_away", [False, True])
def test_a_draft_that_the_journal_names_goes_to_its_place_after_a_kill(place_is_taken_away, root, working, monkeypatch):
    def killed(self, draft, clip):
        if place_is_taken_away:
            (root / "walk").rename(working / "old-0")
        raise Killed

    (root / "walk" / "1.txt").write_bytes(b"by hand")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Ledger, "_put", killed)
        put(Ledger(root, working), made("7.png", how=2), b"new")

    with opened_ledger(root) as ledger:
        assert ledger.clips["walk"].frames == ("7.png",)

    assert contents(root / "walk") == {"7.png": b"new", "1.txt": b"by hand"}
    assert read_footage(root)[0].clip("walk").frames == ("7.png",)
    assert not working.exists()


def test_a_draft_that_the_journal_does_not_name_goes_away(root, working):
    draft_of(Ledger(root, working), made("7.png", how=2), b"half")

    with opened_ledger(root) as ledger:
        assert ledger.clips["walk"].frames == ("1.png", "2.png")

    assert contents(root / "walk") == {"1.png": b"old", "2.png": b"old"}
    assert not working.exists()


def test_a_line_that_was_cut_off_spoils_none_after_it(root, working):
    (working / "journal.jsonl").write_text('clip-1\t{"name": "wa')
    put(Ledger(root, working), made("1.png", name="run"))

    with opened_ledger(root) as ledger:
        assert set(ledger.clips) == {"walk", "run"}


def test_a_draft_does_not_replace_what_somebody_put_in_its_place_after_the_kill(root, working, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Ledger, "_put", lambda *given: (_ for _ in ()).throw(Killed))
        put(Ledger(root, working), made("1.png", name="run"))
    (root / "run").mkdir()
    (root / "run" / "mine.png").write_bytes(b"mine")

    with opened_ledger(root) as ledger:
        assert "run" not in ledger.clips
        with pytest.raises(FootageError, match="was not extracted from a video"):
            ledger.check_place("run")

    assert contents(root / "run") == {"mine.png": b"mine"}


def test_a_journal_from_elsewhere_moves_no_folder_but_a_draft(root, working, tmp_path):
    (tmp_path / "private").mkdir()
    for draft in ("../../private", str(tmp_path / "private"), "."):
        (working / "journal.jsonl").write_text(f"{draft}\t{clip_line(made('1.png', name='run'))}\n")

        with opened_ledger(root) as ledger:
            assert "run" not in ledger.clips
        working.mkdir(exist_ok=True)

    assert (tmp_path / "private").is_dir() and not (root / "run").exists()
