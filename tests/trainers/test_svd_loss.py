"""The formulas of SVD's training, against those of SVD_Xtend and of generative-models written out."""

import math

import pytest
import torch
from torch.testing import assert_close

from zoetrope.trainers.randomness import Chance
from zoetrope.trainers.svd_loss import (
    Kept,
    noise_level,
    noised,
    picture_noise_level,
    spread_level,
    velocity,
    velocity_loss,
    what_is_kept,
)

SHAPE = (3, 2, 4, 5, 6)


def drawn(seed):
    generator = torch.Generator().manual_seed(seed)
    clips, noise, predicted = (torch.randn(SHAPE, generator=generator) for _ in range(3))
    return clips, noise, predicted


@pytest.mark.parametrize("level", [0.05, 0.5, 2.0, 30.0, 700.0])
def test_the_loss_is_the_weighted_loss_of_the_denoised_clip(level):
    clips, noise, predicted = (each.double() for each in drawn(0))
    sigma = torch.full((3, 1, 1, 1, 1), level, dtype=torch.float64)
    # As train_svd_lora.py has it, in its own order.
    noisy = clips + noise * sigma
    denoised = predicted * (-sigma / (sigma**2 + 1) ** 0.5) + noisy / (sigma**2 + 1)
    weight = (1 + sigma**2) * sigma**-2.0
    expected = (weight * (denoised - clips) ** 2).reshape(3, -1).mean(1)

    ours = velocity_loss(predicted.float(), clips.float(), noise.float(), sigma.flatten())

    assert_close(ours, expected.float(), atol=1e-6, rtol=1e-6)


def test_noise_is_added_to_the_clip_and_scaled_by_each_ones_own_level():
    clips, noise, _ = drawn(1)
    levels = torch.tensor([0.1, 1.0, 50.0])

    noisy = noised(clips, noise, levels)

    for index, level in enumerate(levels):
        assert_close(noisy[index], clips[index] + level * noise[index])


def test_a_network_that_says_the_velocity_has_no_loss():
    clips, noise, _ = drawn(2)
    levels = torch.tensor([0.01, 1.0, 600.0])

    assert velocity_loss(velocity(clips, noise, levels), clips, noise, levels).max() == 0


def test_the_loss_is_float32_where_the_network_is_not():
    clips, noise, predicted = drawn(3)

    loss = velocity_loss(predicted.half(), clips, noise, torch.tensor([0.002, 1.0, 700.0]))

    assert loss.dtype == torch.float32
    assert loss.isfinite().all()


def test_parity_draws_noise_levels_from_the_original_distribution():
    logs = torch.tensor([math.log(noise_level(Chance(0, number), parity=True)) for number in range(4000)])

    assert abs(logs.mean() - 0.7) < 0.1
    assert abs(logs.std() - 1.6) < 0.06


def test_a_short_run_meets_the_whole_distribution_and_its_tail():
    levels = torch.tensor([noise_level(Chance(3, number), parity=False) for number in range(50)])

    assert levels.max() <= 700
    # 12 % come from the tail, a fourth of those lie above 240, and each strip of the rest is met by its share.
    assert 1 <= (levels > 240).sum() <= 3
    below = levels.log().sort().values
    assert 0.3 < below.median() < 1.3


def test_levels_rise_with_their_share_but_for_the_tail_that_comes_first():
    tail = [spread_level(share / 1000) for share in range(120)]
    rest = [spread_level(share / 1000) for share in range(120, 1001)]

    assert tail == sorted(tail)
    assert rest == sorted(rest)
    assert tail[0] == pytest.approx(10)
    assert tail[-1] == pytest.approx(700, rel=0.05)
    assert rest[0] == 0.002


def test_noise_on_the_picture_follows_the_original_distribution():
    logs = torch.tensor([math.log(picture_noise_level(Chance(1, number))) for number in range(4000)])

    assert abs(logs.mean() + 3.0) < 0.03
    assert abs(logs.std() - 0.5) < 0.02


def test_the_picture_is_left_out_as_a_whole_in_the_share_of_samples_that_was_asked_for():
    kept = [what_is_kept(Chance(2, number), 0.1, parity=False) for number in range(3000)]

    assert set(kept) == {Kept(True, True), Kept(False, False)}
    assert abs(kept.count(Kept(False, False)) / 3000 - 0.1) < 0.02


def test_parity_leaves_out_the_token_or_both_or_the_latent():
    kept = [what_is_kept(Chance(2, number), 0.1, parity=True) for number in range(3000)]

    for case in (Kept(False, True), Kept(False, False), Kept(True, False)):
        assert abs(kept.count(case) / 3000 - 0.1) < 0.02


@pytest.mark.parametrize("parity", [False, True])
def test_without_dropout_nothing_is_left_out(parity):
    assert {what_is_kept(Chance(2, number), 0.0, parity=parity) for number in range(300)} == {Kept(True, True)}
