import json
from dataclasses import replace

import pytest
import torch

from zoetrope.clips.footage import FootageError, read_footage, update_manifest
from zoetrope.media.pictures import read_picture
from zoetrope.toyworld.clip import LARGEST_SEED, seconds_of
from zoetrope.toyworld.footage import TRUTH, RenderingOptions, render_footage
from zoetrope.toyworld.moons import MoonsOptions
from zoetrope.toyworld.scenes import draw

CLIP = MoonsOptions(seconds=seconds_of(4, 7.0), frames_per_second=7.0, width=32, height=24, seed=9)
TWO = RenderingOptions(clips=2, clip=CLIP)


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_footage_is_read_back_with_pictures_captions_and_truth(tmp_path):
    rendered = render_footage(tmp_path / "moons", TWO)

    footage, notes = read_footage(tmp_path / "moons")
    assert not notes
    assert footage == rendered.footage
    assert [clip.name for clip in footage.clips] == ["moons_00009", "moons_00010"]
    toy = draw(CLIP)
    first = footage.clips[0]
    assert (first.caption, first.width, first.height, first.frames_per_second) == (toy.caption, 32, 24, 7.0)
    assert first.frames == tuple(f"moons_00009_frame_{number}.png" for number in range(1, 5))
    pictures = torch.stack([torch.from_numpy(read_picture(path)) for path in footage.paths(first)])
    assert torch.equal(pictures.float() / 255, toy.images)
    truth = json.loads((footage.folder(first) / TRUTH).read_text())
    assert truth["lit_fractions"] == pytest.approx([1, 0.75, 0.25, 0])
    assert truth["seed"] == 9


def test_what_is_there_is_not_drawn_again_and_what_is_missing_is(tmp_path):
    assert render_footage(tmp_path, TWO).made == 2
    before = contents(tmp_path)
    assert render_footage(tmp_path, TWO).made == 0
    assert contents(tmp_path) == before

    (tmp_path / "moons_00010" / TRUTH).unlink()
    assert render_footage(tmp_path, TWO).made == 1
    assert contents(tmp_path) == before

    assert render_footage(tmp_path, RenderingOptions(clips=1, clip=replace(CLIP, phases="wax"))).made == 1
    assert contents(tmp_path) != before


def test_what_people_wrote_of_a_clip_stays_and_only_another_clip_gets_another_caption(tmp_path):
    footage = render_footage(tmp_path, TWO).footage
    theirs = footage.with_clips(replace(clip, split="test", caption="mine") for clip in footage.clips)
    update_manifest(theirs, "split", "caption")

    render_footage(tmp_path, TWO)
    assert {(clip.split, clip.caption) for clip in read_footage(tmp_path)[0].clips} == {("test", "mine")}

    render_footage(tmp_path, RenderingOptions(clips=1, clip=replace(CLIP, phases="wax")))
    changed, same = read_footage(tmp_path)[0].clips
    assert (changed.split, same.split) == ("test", "test")
    assert "waxes from new to full" in changed.caption
    assert same.caption == "mine"


def test_a_cancel_keeps_what_is_finished_whole_and_the_next_run_goes_on(tmp_path):
    def cancel(done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_footage(tmp_path / "moons", TWO, cancel)

    footage, _ = read_footage(tmp_path / "moons")
    assert [clip.name for clip in footage.clips] == ["moons_00009"]
    assert {path.name for path in (tmp_path / "moons").iterdir()} == {"footage.jsonl", "moons_00009"}
    told = []
    assert render_footage(tmp_path / "moons", TWO, lambda *step: told.append(step)).made == 1
    assert told == [(1, 2), (2, 2)]


def test_somebodys_folder_is_not_touched(tmp_path):
    (tmp_path / "moons_00009").mkdir()
    (tmp_path / "moons_00009" / "mine.txt").write_text("mine")

    with pytest.raises(FootageError, match="moons_00009 exists already"):
        render_footage(tmp_path, TWO)

    assert contents(tmp_path) == {"moons_00009/mine.txt": b"mine"}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"clips": 0}, "clips is 0"),
        ({"clips": 2, "clip": MoonsOptions(seed=LARGEST_SEED)}, "The last clip's seed is above"),
    ],
)
def test_a_wrong_option_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        RenderingOptions(**wrong)
