"""Learning rates against their closed forms."""

import math

import pytest

from zoetrope.trainers.learning_rates import share_of_learning_rate


def shares(steps, schedule, warm_up_steps=0, floor=0.0):
    return [
        share_of_learning_rate(step, steps=steps, schedule=schedule, warm_up_steps=warm_up_steps, floor=floor)
        for step in range(steps)
    ]


def test_constant_is_one_throughout():
    assert shares(5, "constant") == [1.0] * 5


def test_linear_falls_in_a_line_to_its_floor():
    assert shares(5, "linear", floor=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_falls_as_half_a_cosine():
    assert shares(9, "cosine") == pytest.approx([(1 + math.cos(math.pi * step / 8)) / 2 for step in range(9)])


@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_floor_is_reached_with_the_last_step(schedule, floor):
    assert shares(50, schedule, 10, floor)[-1] == pytest.approx(floor)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_warm_up_rises_in_a_line_to_one(schedule):
    assert shares(20, schedule, 4)[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_a_run_of_one_step_learns(schedule):
    assert shares(1, schedule) == [1.0]


def test_a_run_that_goes_on_beyond_its_steps_stays_at_the_floor():
    assert share_of_learning_rate(99, steps=10, schedule="cosine", warm_up_steps=0, floor=0.1) == pytest.approx(0.1)
