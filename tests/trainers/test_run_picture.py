"""Pictures of a run."""

import numpy as np
import pytest
import torch

from zoetrope.trainers.run_folder import RunFolder
from zoetrope.trainers.run_picture import History, below_each_other, draw_curves, samples_of, spread

ENTRIES = [
    {"step": 0, "validation": {"loss": 0.5, "motion of samples": 0.1}},
    {"step": 1, "loss": 0.9},
    {"step": 2, "loss": None},
    {"step": 3, "loss": 0.4},
    {"step": 3, "validation": {"loss": 0.3}},
]


def test_a_history_has_the_losses_that_are_numbers():
    history = History.of(ENTRIES)
    history.add(4, float("nan"), None)
    history.add(5, 0.2, {"loss": 0.1})

    assert history.losses == [(1, 0.9), (3, 0.4), (5, 0.2)]
    assert history.held_out == [(0, 0.5), (3, 0.3), (5, 0.1)]
    assert history.step == 5


def below(picture):
    """The chart of the clips that are held out."""
    return picture[len(picture) // 2 :]


def test_a_curve_that_falls_is_drawn_as_one_that_falls():
    falling = below(draw_curves("moon", History(held_out=[(step, 1 - step / 10) for step in range(10)])))

    strong = np.argwhere((falling[..., 0] > 150) & (falling[..., 2] < 80))  # rows and columns of the line

    left, right = strong[strong[:, 1] < 200], strong[strong[:, 1] > 850]
    assert left[:, 0].mean() + 100 < right[:, 0].mean()  # rows count downwards


@pytest.mark.parametrize("losses", [[], [(1, 0.5)], [(1, 0.5), (2, 0.5)], [(step, 0.5) for step in range(3000)]])
def test_a_run_that_has_hardly_begun_is_drawn_too(losses):
    assert draw_curves("moon", History(losses=losses)).std() > 1


def test_one_wild_step_does_not_flatten_all_others():
    quiet = [(step, 0.5 + 0.1 * (step % 2)) for step in range(1000)]
    wild = [*quiet[:500], (500, 1000.0), *quiet[501:]]

    one, other = (draw_curves("moon", History(losses=losses))[:330] for losses in (quiet, wild))

    assert (np.abs(one.astype(int) - other) > 40).mean() < 0.1


def test_samples_stand_side_by_side_by_step_and_below_each_other_by_clip(tmp_path):
    run = RunFolder(tmp_path)
    for step, level in ((0, 0.1), (10, 0.5), (20, 0.9)):
        for name in ("a", "b"):
            frames = torch.full((4, 16, 32, 3), level)
            frames[:, :, :4] = torch.tensor([0.2, 0.3, 0.2, 0.3]).view(4, 1, 1, 1)  # something moves
            run.write_sample(step, name, frames, 8.0)

    clip, rate = samples_of(run, 2)

    assert rate == pytest.approx(8, rel=0.01)
    assert clip.shape[0] == 4
    height, width = clip.shape[1:3]
    levels = {round(level, 1) for level in clip[0, :: height // 8, :: width // 8].flatten().tolist()}
    assert {0.1, 0.9} <= levels
    assert 0.5 not in levels  # the step between, for which there was no room


def test_a_run_without_samples_has_none_to_show(tmp_path):
    assert samples_of(RunFolder(tmp_path)) is None


def test_a_picture_stands_above_every_frame_of_a_clip():
    clip = torch.rand(3, 10, 20, 3, generator=torch.Generator().manual_seed(0))

    joined = below_each_other(np.full((30, 40, 3), 255, np.uint8), clip)

    assert joined.shape == (3, 50, 40, 3)
    assert bool((joined[:, :30] == 1).all())
    assert (joined[0, 30:] - joined[1, 30:]).abs().max() > 0.1


def test_steps_are_spread_from_the_first_to_the_last():
    assert spread(range(0, 100, 10), 4) == [0, 30, 60, 90]
    assert spread([5, 6], 4) == [5, 6]
    assert spread([5, 6, 7], 1) == [5]
