"""The report of footage whose faults were put there, and its picture."""

import json
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from zoetrope.clips import report as report_module
from zoetrope.clips import report_picture
from zoetrope.clips.footage import Clip, Footage, read_footage, write_manifest
from zoetrope.clips.motion import Measured
from zoetrope.clips.report import COLUMNS, Examined, Report, as_json, as_text, examine, summary, table
from zoetrope.clips.report_picture import bucket_color, draw_report
from zoetrope.media.pictures import encode_png

SIZE = 64, 48
GOOD = dict(split="train", frames_per_second=8.0, caption="a ball")


def pictures(frames, seed=0, step=2, size=SIZE):
    """A soft pattern that slides by `step` pixels a frame."""
    width, height = size
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 6 + 2, (width + 200) // 6, 3)).astype(np.uint8)
    wide = np.asarray(Image.fromarray(coarse).resize((width + 200, height), Image.Resampling.BICUBIC))
    return [wide[:, number * step :][:, :width] for number in range(frames)]


def save_clip(root, name, frames, **facts):
    folder = root / name
    folder.mkdir(parents=True)
    names = [f"{name.rpartition('/')[2]}_frame_{number}.png" for number in range(1, len(frames) + 1)]
    for file, pixels in zip(names, frames, strict=True):
        (folder / file).write_bytes(encode_png(np.ascontiguousarray(pixels)))
    return Clip(name=name, frames=tuple(names), **{**GOOD, **facts})


def made_up(name="clip", motion=0.1, frames=30, cuts=(), duplicates=(), black=(), sizes=(SIZE,), **facts):
    """A clip as it is after it was measured."""
    clip = Clip(name=name, frames=tuple(f"{number}.png" for number in range(frames)), **{**GOOD, **facts})
    measured = Measured(frames=frames, sizes=sizes, motion=motion, cuts=cuts, duplicates=duplicates, black=black)
    return Examined(clip=clip, measured=measured, bucket=128, has_caption=bool(clip.caption))


def report_of(*clips, **others):
    return Report(footage=Footage("root", tuple(each.clip for each in clips)), clips=clips, **others)


def healthy(count):
    """Clips with which nothing is wrong."""
    return [made_up(f"good_{number}", split="train" if number % 5 else "validation") for number in range(count)]


def test_what_is_in_the_clips_is_measured(tmp_path):
    moving = pictures(16)
    moving[3] = np.zeros_like(moving[3])
    clips = [
        save_clip(tmp_path, "a/moving", moving, split="validation"),
        save_clip(tmp_path, "a/still", pictures(1) * 15),
        save_clip(tmp_path, "b/cut", [*pictures(8), *pictures(8, seed=4)], caption=""),
    ]
    write_manifest(Footage(tmp_path, tuple(clips)))

    report = examine(*read_footage(tmp_path))

    moving_one, still_one, cut_one = report.clips
    assert moving_one.measured.black == (3,)
    assert moving_one.measured.motion == pytest.approx(2 / 80 * 8, rel=0.2)
    assert still_one.measured.is_still and still_one.bucket == 1
    assert cut_one.measured.cuts == (8,)
    assert [each.has_caption for each in report.clips] == [True, True, False]
    assert summary(report) == "3 clips, 47 frames; train 2, validation 1."
    assert [row[0] for row in table(report)] == ["clip", "a/moving", "a/still", "b/cut"]


def test_a_caption_in_a_file_counts(tmp_path):
    clip = save_clip(tmp_path, "walk", pictures(3), caption="")
    (tmp_path / "walk.txt").write_text("someone walks", encoding="utf-8")

    assert examine(Footage(tmp_path, (clip,))).clips[0].has_caption


def test_a_clip_that_cannot_be_read_is_told_and_stops_no_other(tmp_path):
    clips = (save_clip(tmp_path, "good", pictures(3)), save_clip(tmp_path, "bad", pictures(3)))
    (tmp_path / "bad/bad_frame_2.png").write_bytes(b"no picture")

    report = examine(Footage(tmp_path, clips))

    assert [each.clip.name for each in report.clips] == ["good"]
    assert [name for name, _ in report.failed] == ["bad"]
    assert any(line.startswith("bad is left out of this report: ") for line in report.advice())


def test_motion_goes_into_the_manifest_and_nothing_else_changes(tmp_path):
    clips = (
        save_clip(tmp_path, "one", pictures(4), other='{"shot_by": "Ada"}'),
        save_clip(tmp_path, "two", pictures(3)),
    )
    report = examine(Footage(tmp_path, clips))

    write_manifest(report.with_motion())
    again, _ = read_footage(tmp_path)

    assert [clip.motion for clip in again.clips] == [round(each.measured.motion, 6) for each in report.clips]
    assert [clip.caption for clip in again.clips] == ["a ball", "a ball"]
    assert json.loads(again.clips[0].other) == {"shot_by": "Ada"}


def test_progress_is_told_and_who_raises_stops_the_work(tmp_path):
    footage = Footage(tmp_path, tuple(save_clip(tmp_path, f"clip_{number}", pictures(2)) for number in range(5)))
    told = []

    examine(footage, on_clip=lambda done, total: told.append((done, total)))

    assert told[-1] == (5, 5) and told == sorted(told)

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        examine(footage, on_clip=cancel)


def test_a_mistake_of_ours_is_not_taken_for_a_broken_clip(tmp_path, monkeypatch):
    def broken(*arguments):
        raise TypeError("ours")

    monkeypatch.setattr(report_module, "measure_pictures", broken)
    with pytest.raises(TypeError, match="ours"):
        examine(Footage(tmp_path, (save_clip(tmp_path, "clip", pictures(2)),)))


def test_healthy_footage_needs_no_fixing():
    report = report_of(*healthy(10))

    assert report.advice() == []
    assert "Nothing is worth fixing." in as_text(report)


@pytest.mark.parametrize(
    "clip, sentence",
    [
        (made_up("x", motion=0.001), "1 of 10 clips does not move: x. "),
        (made_up("x", frames=20), "1 of 10 clips has fewer than the 25 frames that SVD XT is trained with: x. "),
        (made_up("x", frames=9), "SVD XT is trained with, and 1 of them fewer than the 14 of SVD: x. "),
        (made_up("x", sizes=(SIZE, (80, 48))), "1 of 10 clips holds frames of several sizes: x. "),
        (made_up("x", sizes=((80, 48),)), "The clips have 2 sizes: 64x48 (9), 80x48 (1). "),
        (made_up("x", frames_per_second=0.0), "The frame rate of 1 of 10 clips is not known: x. 8 frames per second "),
        (made_up("x", frames_per_second=30.0), "The clips have from 8 to 30 frames per second. "),
        (made_up("x", cuts=(7, 20)), "1 of 10 clips shows more than one scene: x (at 7.png). "),
        (made_up("x", duplicates=(1, 5, 9)), "1 of 10 clips repeats 10 % of its frames or more"),
        (made_up("x", black=(1, 5)), "2 frames are black: in x (2). "),
        (made_up("x", caption=""), "1 of 10 clips has no caption: x."),
        (made_up("x", split=""), "1 of 10 clips is in no split: x."),
    ],
)
def test_what_is_worth_fixing_is_said(clip, sentence):
    [advice] = report_of(*healthy(9), clip).advice()

    assert sentence in advice


def test_several_are_counted_and_a_few_are_named():
    still = [made_up(f"still_{number}", motion=0) for number in range(6)]

    [advice] = report_of(*healthy(34), *still).advice()

    assert advice.startswith("6 of 40 clips do not move: still_0, still_1, still_2 and 3 more. ")


@pytest.mark.parametrize(
    "splits, sentence",
    [
        ({"": 4}, "The clips are in no split. "),
        ({"train": 4}, "No clip is in the split validation. "),
        ({"validation": 4}, "No clip is in the split train. "),
        ({"train": 30, "validation": 1}, "The split validation has 1 of 31 clips, which is too few to judge by. "),
        ({"train": 2, "validation": 5}, "Only 2 of 7 clips are in the split train. "),
    ],
)
def test_splits_that_help_little_are_told(splits, sentence):
    clips = [made_up(f"{split}_{at}", split=split) for split, count in splits.items() for at in range(count)]

    [advice] = report_of(*clips).advice()

    assert advice.startswith(sentence)


def test_a_single_clip_is_spoken_of_as_one():
    advice = report_of(made_up(motion=0.0, frames=20, frames_per_second=0.0, caption="", split="")).advice()

    assert advice[0].startswith("The clip does not move: clip. ")
    assert advice[1].startswith("The clip has fewer than the 25 frames")
    assert advice[2].startswith("The frame rate of the clip is not known")


def test_notes_of_reading_come_first():
    assert report_of(*healthy(10), notes=("Left alone: x.",)).advice() == ["Left alone: x."]


def test_the_table_is_aligned_whatever_the_names():
    report = report_of(made_up("a"), made_up("b\n\x1b[31m" + "c" * 90), made_up("d", sizes=(SIZE, (80, 48))))

    lines = as_text(report).split("\n")

    start = next(number for number, line in enumerate(lines) if line.startswith(COLUMNS[0]))
    assert len({len(line) for line in lines[start : start + 4]}) == 1
    assert "\x1b" not in as_text(report)


def test_a_long_table_is_cut_where_asked():
    text = as_text(report_of(*healthy(9)), most_rows=4)

    assert "good_3" in text and "good_4" not in text
    assert "... and 5 more" in text


def test_json_holds_what_the_table_holds():
    told = json.loads(as_json(report_of(made_up("x", cuts=(3,), motion=0.25), failed=(("y", "Broken."),))))

    [clip] = told["clips"]
    assert (clip["name"], clip["motion"], clip["cuts"], clip["motion_bucket"]) == ("x", 0.25, [3], 128)
    assert told["failed"] == [{"name": "y", "error": "Broken."}]


# The picture


@pytest.mark.parametrize("count", [1, 7])
def test_every_clip_is_on_the_picture(tmp_path, count):
    colors = [(30 * number, 200 - 20 * number, 90) for number in range(count)]
    frames = [[np.full((48, 64, 3), color, np.uint8)] * 2 for color in colors]
    clips = tuple(save_clip(tmp_path, f"clip_{number}", frames[number]) for number in range(count))

    picture = draw_report(examine(Footage(tmp_path, clips)))

    seen = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
    assert picture.shape[1] == report_picture.WIDTH and picture.dtype == np.uint8
    assert set(colors) <= seen


def test_of_many_clips_the_stillest_and_the_most_moving_are_shown(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        report_picture, "_draw_clip", lambda picture, draw, place, report, each: drawn.append(each.clip.name)
    )
    clips = [made_up(f"{number:03}", motion=number / 100) for number in range(200)]

    draw_report(report_of(*clips))

    assert len(drawn) == report_picture.MOST_CLIPS
    assert drawn == sorted(drawn) and drawn[0] == "000" and drawn[-1] == "199"


@pytest.mark.parametrize("motions", [[], [0.0], [0.0, 0.0], [0.5], [1e-9, 5.0], [0.1] * 30])
def test_any_spread_of_motion_can_be_drawn(motions, tmp_path):
    clips = [made_up(f"{number}", motion=motion) for number, motion in enumerate(motions)]

    picture = draw_report(Report(footage=Footage(tmp_path, ()), clips=tuple(clips)))

    assert picture.ndim == 3


def test_buckets_differ_in_brightness_too():
    levels = [np.dot(bucket_color(bucket), (0.2126, 0.7152, 0.0722)) for bucket in range(1, 256)]

    assert all(later > earlier - 0.5 for earlier, later in pairwise(levels))  # whole numbers of colours round a little
    assert levels[-1] - levels[0] > 150


def test_groups_on_two_sides_are_told():
    one, other = (made_up(f"v_Run_g01_c0{number}", split=split) for number, split in ((1, "train"), (2, "test")))

    assert any("more than one split" in sentence for sentence in report_of(*healthy(20), one, other).advice())
    assert not any("more than one split" in sentence for sentence in report_of(*healthy(20), one).advice())


def test_one_video_under_two_names_is_told():
    twins = [made_up(name, sha256="ab", indices=(0, 9)) for name in ("walk", "walk_mp4")]
    other = made_up("walk_later", sha256="ab", indices=(90, 99))

    (sentence,) = report_of(*healthy(20), *twins, other).advice()

    assert "more than once: walk = walk_mp4." in sentence
    assert report_of(*healthy(20), twins[0], other).advice() == []
