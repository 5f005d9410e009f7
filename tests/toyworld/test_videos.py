import pytest
import torch

from zoetrope.media.reading import load_frames, probe
from zoetrope.toyworld.scenes import SCENES, draw
from zoetrope.toyworld.shapes import ShapesOptions, compose, render
from zoetrope.toyworld.videos import VideosOptions, write_videos

CLIP = ShapesOptions(seconds=0.5, frames_per_second=12, width=64, height=48, seed=7)


def test_each_video_shows_the_scene_of_its_seed(tmp_path):
    paths = write_videos(tmp_path / "videos", VideosOptions(count=2, still=0, clip=CLIP))

    for number, path in enumerate(paths):
        clip = ShapesOptions(seconds=0.5, frames_per_second=12, width=64, height=48, seed=7 + number)
        facts = probe(path)
        assert (facts.width, facts.height, facts.frames, facts.frames_per_second) == (64, 48, 6, 12)
        difference = (load_frames(path, range(6)) - render(compose(clip), clip).images).abs()
        assert difference.mean() < 0.02
    assert [path.name for path in paths] == ["shapes_01.mp4", "shapes_02.mp4"]


@pytest.mark.parametrize("scene", ["moons", "objects"])
def test_other_scenes_are_drawn_too(scene, tmp_path):
    clip = SCENES[scene](seconds=0.5, frames_per_second=6, width=64, height=64, seed=2)

    (path,) = write_videos(tmp_path / "videos", VideosOptions(count=1, still=0, clip=clip))

    assert path.name == f"{scene}_01.mp4"
    assert (load_frames(path, range(3)) - draw(clip).images).abs().mean() < 0.02


def test_the_last_ones_stand_still(tmp_path):
    moving, still = write_videos(tmp_path / "videos", VideosOptions(count=2, still=1, clip=CLIP))

    first, *_, last = load_frames(still, range(6))
    assert torch.allclose(first, last, atol=0.05)
    first, *_, last = load_frames(moving, range(6))
    assert not torch.allclose(first, last, atol=0.05)


def test_progress_counts_all_frames_and_a_cancel_leaves_nothing(tmp_path):
    told = []
    write_videos(tmp_path / "a", VideosOptions(count=2, still=1, clip=CLIP), lambda *step: told.append(step[:2]))

    def cancel(done, total, frame):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_videos(tmp_path / "b", VideosOptions(count=2, still=1, clip=CLIP), cancel)

    assert told == [(done, 12) for done in range(1, 13)]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_other_options_have_another_digest():
    digests = [VideosOptions(clip=CLIP).digest, VideosOptions(clip=CLIP, still=0).digest, VideosOptions().digest]

    assert len(set(digests)) == 3
    assert VideosOptions(clip=CLIP).digest == digests[0]


@pytest.mark.parametrize("options", [{"count": 0}, {"still": -1}, {"count": 2, "still": 3}])
def test_numbers_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="(count|still) is"):
        VideosOptions(**options)
