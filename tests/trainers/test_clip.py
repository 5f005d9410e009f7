"""Training a tiny CLIP to tell colours apart."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from zoetrope.models.new_clip import ClipSize
from zoetrope.trainers.clip import Captioned, ClipMethod, ClipTraining, train_clip
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.method import Sample
from zoetrope.trainers.randomness import Chance

COLOURS = {"red": (220, 40, 30), "green": (40, 200, 60), "blue": (30, 60, 220), "white": (240, 240, 240)}


def plain_pictures(count):
    """Pictures of one colour each, some darker than others."""
    names = [list(COLOURS)[number % len(COLOURS)] for number in range(count)]
    shades = [torch.tensor(COLOURS[name]) * (1 - 0.02 * (number % 7)) for number, name in enumerate(names)]
    images = torch.stack([shade.byte()[:, None, None].expand(3, 16, 16) for shade in shades])
    return Captioned(images, tuple(f"a {name} picture" for name in names))


@pytest.fixture
def settings(tmp_path):
    return ClipTraining(
        run=tmp_path / "run",
        size=ClipSize(side=16, patch=8, layers=1, text_layers=1, text_length=8),
        steps=25,
        batch=4,
        learning_rate=2e-3,
        warm_up_steps=2,
        validate_at=(),
    )


def test_it_learns_which_colour_goes_with_which_word(settings):
    *_, last = train_clip(settings, plain_pictures(16), plain_pictures(4))

    assert last.validation.numbers == {
        "captions of pictures found first": 1.0,
        "pictures of captions found first": 1.0,
    }
    assert {path.name for path in last.exported.iterdir()} >= {"config.json", "model.safetensors", "vocab.json"}


def test_a_run_goes_on_as_if_nobody_had_stopped_it(settings, tmp_path):
    short = replace(settings, steps=4)
    whole = [step.loss for step in train_clip(short, plain_pictures(16), plain_pictures(4))]
    parted = replace(short, run=tmp_path / "parted", session_steps=2)
    losses = [step.loss for _ in range(2) for step in train_clip(parted, plain_pictures(16), plain_pictures(4))]

    assert losses == whole


def test_a_caption_that_says_the_same_is_no_wrong_answer(settings):
    method = ClipMethod(settings, plain_pictures(8), plain_pictures(4), torch.device("cpu"))
    all_red = method.batch([Sample(item, Chance(0, item)) for item in (0, 4)])  # both red

    assert_close(method.loss(all_red).item(), 0.0)
    red_and_blue = method.batch([Sample(item, Chance(0, item)) for item in (0, 2)])
    assert method.loss(red_and_blue).item() > 0.01


def test_a_batch_of_one_and_captions_that_are_missing_are_refused(settings):
    with pytest.raises(TrainingError, match="batch is 1. A picture is told from others"):
        replace(settings, batch=1)
    with pytest.raises(TrainingError, match="There are 3 pictures and 2 captions"):
        Captioned(torch.zeros(3, 3, 16, 16), ("one", "two"))
