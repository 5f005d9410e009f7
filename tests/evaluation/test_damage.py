"""Every damage lowers the measure that is for it, the more the stronger it is, and no frozen or shuffled clip wins."""

from dataclasses import replace
from itertools import pairwise, product

import pytest

from zoetrope.evaluation.evaluate import Candidate, TrueClip, evaluate
from zoetrope.evaluation.metrics import metric_of

from .damage import DAMAGES, clean

# What each damage lowers (or raises, where less is better), with the true clip and without it.
WITH_TRUTH = {
    "freeze": ["ssim", "warp_error"],
    "shuffle": ["warp_error"],
    "reverse": ["psnr", "ssim"],
    "flicker": ["psnr", "colour_error", "warp_error"],
    "drop": ["ssim", "warp_error"],
    "blur": ["psnr", "ssim"],
    "noise": ["psnr", "ssim", "warp_error"],
    "colour_drift": ["psnr", "ssim", "colour_error"],
    "cut": ["psnr", "ssim"],
    "zoom": ["psnr", "ssim", "warp_error"],
}
ALONE = {
    "freeze": [("dynamic_degree", "falls"), ("still_steps", "rises")],
    "shuffle": [("progression", "falls"), ("jitter", "rises")],
    "flicker": [("brightness_flicker", "rises"), ("colour_drift", "rises"), ("warp_error_own", "rises")],
    "drop": [("still_steps", "rises")],
    "blur": [("sharpness", "falls")],
    "noise": [("warp_error_own", "rises"), ("jitter", "rises")],
    "colour_drift": [("colour_drift", "rises")],
}
STRENGTHS = range(3)


@pytest.fixture(scope="module")
def clips():
    whole = clean(frames=24, side=64)
    return {"clean": whole} | {
        f"{name} {strength}": DAMAGES[name](whole, strength) for name, strength in product(DAMAGES, STRENGTHS)
    }


@pytest.fixture(scope="module")
def with_truth(clips):
    truth = TrueClip(name="truth", load=lambda: clips["clean"])
    return evaluate([candidate(name, clip, truth) for name, clip in clips.items()])


@pytest.fixture(scope="module")
def alone(clips):
    return evaluate([candidate(name, clip) for name, clip in clips.items()])


def candidate(name, clip, truth=None):
    return Candidate(name=name, load=lambda: clip, truth=truth, item="scene")


def of(report, name):
    return next(clip for clip in report.clips if clip.name == name)


def series(report, damage, metric):
    """The measure's mean of the undamaged clip, then by strength."""
    return [of(report, name).mean(metric) for name in ["clean", *(f"{damage} {strength}" for strength in STRENGTHS)]]


@pytest.mark.parametrize("damage, metric", [(each, metric) for each, found in WITH_TRUTH.items() for metric in found])
def test_a_damage_is_seen_beside_the_true_clip_in_the_order_of_its_strength(with_truth, damage, metric):
    values = series(with_truth, damage, metric)

    better = metric_of(metric).better == "higher"
    assert all(later < earlier if better else later > earlier for earlier, later in pairwise(values)), values


@pytest.mark.parametrize("damage, metric, way", [(each, *found) for each, some in ALONE.items() for found in some])
def test_a_damage_is_seen_in_the_clip_alone_in_the_order_of_its_strength(alone, damage, metric, way):
    values = series(alone, damage, metric)

    assert all(later < earlier if way == "falls" else later > earlier for earlier, later in pairwise(values)), values


def test_every_damage_has_its_measure():
    assert WITH_TRUTH.keys() == DAMAGES.keys()


def test_the_undamaged_clip_wins_beside_the_truth(with_truth):
    assert with_truth.winner == "clean"
    assert of(with_truth, "clean").verdict == ""


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_frozen_clip_is_seen_for_what_it_is(with_truth, alone, strength):
    for report in (with_truth, alone):
        assert of(report, f"freeze {strength}").verdict == "stands still"


@pytest.mark.parametrize("strength", [1, 2])
def test_a_shuffled_clip_is_seen_for_what_it_is(with_truth, alone, strength):
    for report in (with_truth, alone):
        assert of(report, f"shuffle {strength}").verdict == "out of order"


@pytest.mark.parametrize("cheat", ["freeze 0", "freeze 1", "freeze 2", "shuffle 0", "shuffle 1", "shuffle 2"])
@pytest.mark.parametrize("which", ["with truth", "alone"])
def test_a_frozen_or_shuffled_clip_never_wins(with_truth, alone, cheat, which):
    """Among all, and in a duel with the clip itself and any that is damaged in another way."""
    report = with_truth if which == "with truth" else alone
    assert report.winner not in (cheat, "")
    rivals = [clip.name for clip in report.clips if clip.name != cheat]
    if cheat == "shuffle 0":  # within three frames hardly more than a stutter: it only must not beat the clip itself
        rivals = ["clean"]
    for rival in rivals:
        assert duel(report, cheat, rival).winner != cheat, rival


def duel(report, *names):
    return replace(report, clips=tuple(of(report, name) for name in names))


@pytest.mark.parametrize("frozen", ["freeze 2"])
def test_what_a_frozen_clip_wins_by_is_told_beside_its_stillness(with_truth, frozen):
    """It has the best of all numbers for flicker; so the dynamic degree is in every report, whatever is asked for."""
    still, own = of(with_truth, frozen), of(with_truth, "clean")

    assert still.mean("steadiness") == 1 > own.mean("steadiness")
    assert still.mean("jitter") == 0 < own.mean("jitter")
    assert still.metrics["warp_error_own"].mean is None
    assert still.mean("dynamic_degree") == 0 and still.mean("still_steps") == 1
    assert still.mean("warp_error") > own.mean("warp_error")
