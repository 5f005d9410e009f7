"""Clips whose phases are known, told right."""

import math

import pytest
import torch

from zoetrope.toyworld.moons import MoonsOptions, compose, render
from zoetrope.toyworld.phases import correlation, phases_in, psnr


@pytest.fixture(scope="module")
def moon():
    options = MoonsOptions(seconds=1.0, frames_per_second=7.0, width=64, height=64, seed=1_000_131)
    return render(compose(options), options)


def test_the_moon_itself_follows_the_truth(moon):
    phases = phases_in(moon.images, moon)

    assert phases.error < 0.02
    assert phases.correlation > 0.999
    assert phases.psnr == math.inf


def test_a_full_moon_that_stays_is_off_by_what_the_true_one_has_lost(moon):
    still = moon.images[:1].expand_as(moon.images)

    phases = phases_in(still, moon)

    assert phases.shown.min() > 0.97
    assert phases.error == pytest.approx((1 - moon.truth.lit_fractions).median().item(), abs=0.02)
    assert phases.psnr == phases.still_psnr < 20


def test_a_moon_that_wanes_the_wrong_way_round_is_told_by_its_correlation(moon):
    assert phases_in(moon.images.flip(0), moon).correlation == pytest.approx(-1, abs=0.001)


def test_psnr_is_that_of_the_mean_square():
    black = torch.zeros(2, 4, 4, 3)

    assert psnr(black + 0.1, black) == pytest.approx(20, abs=1e-4)


def test_the_correlation_with_what_does_not_change_is_no_number():
    assert math.isnan(correlation(torch.ones(3), torch.arange(3)))
