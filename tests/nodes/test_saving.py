import json
import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from zoetrope.host import folders, work
from zoetrope.media.pictures import read_picture
from zoetrope.nodes.saving import SaveFrames, SaveGif

GIF = {"frames_per_second": 10.0, "filename_prefix": "clips/waltz", "colors": 256, "dither": "none", "loop": 0}
FRAMES = {"folder": "run/frames", "name": "frame_{n:05}", "format": {"format": "png"}}
METADATA = {"prompt": {"1": {"class_type": "A"}}, "extra_pnginfo": {"workflow": {"nodes": []}}}


@pytest.fixture(autouse=True)
def output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the stand-in's folders lie in the current one
    return tmp_path / folders.output_folder()


def clip(frames=3, height=6, width=8, channels=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 2, (frames, height, width, channels), generator=generator).float()


def save_gif(images, **changed):
    return SaveGif.running(**METADATA).execute(images=images, **{**GIF, **changed})


def save_frames(images, **changed):
    return SaveFrames.running(**METADATA).execute(images=images, **{**FRAMES, **changed})


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_gif_is_saved_shown_and_named(output):
    images = clip()

    saved = save_gif(images)

    assert saved[0] == "clips/waltz_00001_.gif"
    with Image.open(output / saved[0]) as image:
        shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    assert (np.stack(shown) == (images * 255).byte().numpy()).all()
    assert saved.ui.as_dict() == {"images": [{"filename": "waltz_00001_.gif", "subfolder": "clips", "type": "output"}]}


def test_the_next_gif_gets_the_next_number(output):
    names = [save_gif(clip(), filename_prefix="%width%x%height%")[0] for _ in range(3)]

    assert names == ["8x6_00001_.gif", "8x6_00002_.gif", "8x6_00003_.gif"]
    assert files_in(output) == names


@pytest.mark.parametrize("save", [save_gif, save_frames])
def test_runs_at_the_same_time_take_nothing_from_each_other(output, save, monkeypatch):
    monkeypatch.setattr(folders, "_highest_number", lambda *_: 0)  # as each of them counts before the others save

    names = [save(clip())[0] for _ in range(3)]

    assert len(set(names)) == 3
    assert all((output / name).exists() for name in names)


@pytest.mark.parametrize("prefix", ["../out", "/etc/out", "a/../../out", "a\0b", "C:\\out"])
def test_no_name_leads_out_of_the_output_folder(output, prefix):
    with pytest.raises(ValueError, match="Choose"):
        save_gif(clip(), filename_prefix=prefix)
    with pytest.raises(ValueError, match="Choose"):
        save_frames(clip(), folder=prefix)

    assert files_in(output.parent) == []


def test_frames_are_saved_in_a_new_folder_with_the_workflow(output):
    images = clip()

    saved = save_frames(images)

    assert saved[0] == "run/frames_00001"
    names = [f"run/frames_00001/frame_{number:05}.png" for number in range(3)]
    assert files_in(output) == names
    assert (np.stack([read_picture(output / name) for name in names]) == (images * 255).byte().numpy()).all()
    with Image.open(output / names[2]) as image:
        assert json.loads(image.text["prompt"]) == METADATA["prompt"]
        assert json.loads(image.text["workflow"]) == METADATA["extra_pnginfo"]["workflow"]
    assert saved.ui["images"][1] == {
        "filename": "frame_00001.png",
        "subfolder": "run/frames_00001",
        "type": "output",
    }


def test_a_folder_that_is_there_is_left_alone(output):
    first, second = save_frames(clip()), save_frames(clip(1))

    assert (first[0], second[0]) == ("run/frames_00001", "run/frames_00002")
    assert len(files_in(output / first[0])) == 3


def test_frames_keep_the_numbers_of_their_source(output):
    saved = save_frames(clip(), indices="0, 10,20", format={"format": "jpeg", "quality": 60}, name="{n}")

    assert files_in(output / saved[0]) == ["0.jpg", "10.jpg", "20.jpg"]


def test_no_more_are_shown_than_a_browser_bears():
    saved = save_frames(clip(200))

    shown = [int(re.search(r"\d+", result["filename"])[0]) for result in saved.ui["images"]]
    assert len(shown) == 48 and shown == sorted(set(shown))
    assert len(saved.ui["files"]) == 200  # though all are named, for who fetches them


@pytest.mark.parametrize(
    "sentence, changed",
    [
        ("no frame's number", dict(indices="0, one, 2")),
        ("no frame's number", dict(indices="0 -1 2")),
        ("2 numbers, but more", dict(indices="0 1")),
        ("both have the number 4", dict(indices="4 4 5")),
        ("holds '/'", dict(name="../{n}")),
        ("holds no {n}", dict(name="still")),
        ("Choose png or jpeg", dict(format=None)),
        ("Choose png or jpeg", dict(format={})),
        ("holds no picture", dict(images=torch.zeros(0, 4, 4, 3))),
        ("holds NaN", dict(images=torch.full((2, 4, 4, 3), float("nan")))),
    ],
)
def test_what_cannot_be_saved_is_told_and_leaves_nothing(output, sentence, changed):
    with pytest.raises(ValueError, match=sentence):
        save_frames(**{"images": clip(), **changed})

    assert not output.exists()


@pytest.mark.parametrize("save", [save_gif, save_frames])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_progress_is_told_to_the_last_frame(save, channels):
    told = []

    with work.reporting_to(lambda done, total, picture: told.append((done, total, picture))):
        save(clip(5, channels=channels))

    assert [step[:2] for step in told if step[0]] == [(done, 5) for done in range(1, 6)]
    assert all(picture is None for _, _, picture in told)  # it would stay, in front of what was saved


@pytest.mark.parametrize("save", [save_gif, save_frames])
@pytest.mark.parametrize("when", [1, 2, 5])
def test_a_cancelled_save_leaves_nothing(output, save, when):
    calls = []

    def report(done, total, picture):
        calls.append(done)
        if len(calls) == when:
            raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(report):
        save(clip(5))

    assert not output.exists()
