import json

import pytest
import torch

from zoetrope.toyworld.clip import ClipOptions, seconds_of
from zoetrope.toyworld.footage import truth_record
from zoetrope.toyworld.scenes import SCENES, draw

every_scene = pytest.mark.parametrize("scene", SCENES)


def options_of(scene, seed=3):
    return SCENES[scene](seconds=seconds_of(3, 7.0), frames_per_second=7.0, width=48, height=32, seed=seed)


@every_scene
def test_every_scene_gives_pictures_words_masks_and_truth(scene):
    clip = draw(options_of(scene))

    assert clip.images.shape == (3, 32, 48, 3)
    assert clip.images.dtype == torch.float32
    assert 0 <= clip.images.min() <= clip.images.max() <= 1
    assert clip.caption
    assert clip.masks(2).shape[1:] == (32, 48)
    assert 0 < clip.masks(2).mean() < 1
    record = truth_record(clip)
    assert json.loads(json.dumps(record)) == record
    assert (record["frames"], record["width"], record["seed"]) == (3, 48, 3)


@every_scene
def test_a_clip_depends_on_its_options_and_on_nothing_else(scene):
    first = draw(options_of(scene)).images
    state = torch.random.get_rng_state()
    torch.manual_seed(1234)
    second = draw(options_of(scene)).images
    torch.random.set_rng_state(state)

    assert torch.equal(first, second)
    assert not torch.equal(first, draw(options_of(scene, seed=4)).images)


@every_scene
def test_a_cancel_ends_the_work(scene):
    def cancel(done, image):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(options_of(scene), cancel)


@pytest.mark.parametrize("rate", [7.0, 24.0, 23.976023976, 29.97])
@pytest.mark.parametrize("frames", [1, 14, 25, 1001])
def test_a_clip_can_be_asked_for_by_its_number_of_frames(frames, rate):
    assert ClipOptions(seconds=seconds_of(frames, rate), frames_per_second=rate).frames == frames


@pytest.mark.parametrize(("frames", "rate", "sentence"), [(0, 7.0, "frames is 0"), (3, 0.0, "frames_per_second is 0")])
def test_numbers_that_make_no_clip_are_refused(frames, rate, sentence):
    with pytest.raises(ValueError, match=sentence):
        seconds_of(frames, rate)


def test_options_of_no_scene_are_refused():
    with pytest.raises(TypeError, match="ClipOptions belongs to no scene"):
        draw(ClipOptions())
