"""The moving average against its closed form."""

import math

import pytest
import torch
from torch.testing import assert_close

from zoetrope.trainers.averaging import Average, decay_at


def test_the_average_is_the_sum_of_all_weights_each_forgotten_a_little_more():
    weight = torch.zeros(1, dtype=torch.float64)
    average = Average({"weight": weight}, decay=0.9)
    values = [float(step**2) for step in range(200)]

    for update, value in enumerate(values):
        weight.fill_(value)
        average.update(update)

    decays = [min(0.9, (1 + update) / (10 + update)) for update in range(len(values))]
    expected = sum(
        (1 - decays[update]) * math.prod(decays[update + 1 :]) * value for update, value in enumerate(values)
    )
    assert_close(average.weights["weight"].item(), expected)


def test_decay_grows_to_what_was_asked_for():
    assert decay_at(0, 0.999) == pytest.approx(0.1)
    assert decay_at(10**6, 0.999) == 0.999


def test_in_place_the_model_has_the_average_and_afterwards_its_own_weights_to_the_bit():
    weight = torch.rand(5)
    average = Average({"weight": weight}, decay=0.5)
    own = weight.add_(1).clone()
    kept = average.weights["weight"].clone()

    with average.in_place():
        assert torch.equal(weight, kept)

    assert torch.equal(weight, own)
    assert torch.equal(average.weights["weight"], kept)


def test_an_error_gives_the_weights_back_too():
    weight = torch.rand(5)
    average = Average({"weight": weight}, decay=0.5)
    own = weight.add_(1).clone()

    with pytest.raises(KeyboardInterrupt), average.in_place():
        raise KeyboardInterrupt

    assert torch.equal(weight, own)
    assert average.is_whole
