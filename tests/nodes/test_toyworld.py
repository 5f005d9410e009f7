from fractions import Fraction

import pytest
import torch

from zoetrope.host import folders, video, work
from zoetrope.nodes.toyworld import SCENES, ToyWorldClip, ToyWorldVideos
from zoetrope.toyworld.shapes import ShapesOptions, compose, render
from zoetrope.toyworld.sound import ticks

SMALL = {"scene": "shapes", "seconds": 1.5, "frames_per_second": 8.0, "width": 48, "height": 32, "seed": 5}


@pytest.fixture(autouse=True)
def temp_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the stand-in's folders lie in the current one
    return folders.temp_folder()


def components(**changed):
    return video.components_of(ToyWorldClip.execute(**{**SMALL, **changed})[0])


def test_the_video_is_the_scene_of_the_seed_with_its_ticks():
    clip = components()

    options = ShapesOptions(seconds=1.5, frames_per_second=8.0, width=48, height=32, seed=5)
    assert torch.equal(clip.images, render(compose(options), options).images)
    assert clip.frame_rate == 8
    assert torch.equal(clip.audio["waveform"], ticks(1.5)["waveform"])


def test_a_broadcast_rate_stays_exact():
    assert components(frames_per_second=23.976023976).frame_rate == Fraction(24000, 1001)


def test_the_sound_is_as_long_as_the_pictures():
    clip = components(seconds=1.06)  # 8 frames, which last a second

    assert clip.audio["waveform"].shape[-1] / clip.audio["sample_rate"] == len(clip.images) / 8


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_is_drawn(scene):
    assert components(scene=scene).images.shape == (12, 32, 48, 3)


def test_the_node_shows_what_it_drew(temp_folder):
    ToyWorldClip.execute(**SMALL)

    assert len(list(temp_folder.rglob("*.webp"))) == 1


def test_progress_reaches_the_end_without_a_picture_that_would_hide_the_clip():
    seen = []

    with work.reporting_to(lambda done, total, preview: seen.append((done, total, preview is not None))):
        ToyWorldClip.execute(**SMALL)

    assert [done for done, _, _ in seen] == list(range(1, 13))
    assert {total for _, total, _ in seen} == {12}
    assert not any(has_picture for _, _, has_picture in seen)


def test_a_cancel_ends_the_work_and_leaves_no_file(temp_folder):
    def cancel(done, total, preview):
        if done == 3:
            raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(cancel):
        ToyWorldClip.execute(**SMALL)

    assert not list(temp_folder.rglob("*"))


def test_less_than_a_frame_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match="less than one frame"):
        ToyWorldClip.execute(**{**SMALL, "seconds": 0.05})


@pytest.mark.parametrize(("given", "names"), [({}, "shapes"), ({"scene": "moons"}, "moons")])
def test_videos_are_drawn_of_the_scene_that_is_chosen(given, names, temp_folder):
    settings = {name: value for name, value in SMALL.items() if name != "scene"} | {"width": 64, "height": 64}

    ToyWorldVideos.execute(count=2, still=0, **settings, **given)

    assert sorted(path.name for path in temp_folder.rglob("*.mp4")) == [f"{names}_01.mp4", f"{names}_02.mp4"]
