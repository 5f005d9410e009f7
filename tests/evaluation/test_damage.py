"""Every damage lowers the measure that is for it, the more the stronger it is, and no frozen or shuffled clip wins."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch

from zoetrope.evaluation.alignment import AlignmentOptions
from zoetrope.evaluation.clip_encoders import ClipEncoder
from zoetrope.evaluation.evaluate import Candidate, TrueClip, evaluate
from zoetrope.evaluation.measuring import MeasuringOptions
from zoetrope.evaluation.metrics import metric_of
from zoetrope.models.clip import BUILTIN, load_clip

from .damage import DAMAGES, clean
from .measured import panned

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
# What CLIP sees of it. The order of a few frames that are much alike is nothing that CLIP sees.
SEEN = {
    **{damage: ["clip"] for damage in ("freeze", "reverse", "drop", "blur", "colour_drift", "cut", "zoom")},
    **{damage: ["clip", "clip_next"] for damage in ("flicker", "noise")},
    "shuffle": ["clip_next"],
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


@pytest.fixture(scope="module")
def seen(clips):
    if not BUILTIN.is_dir():
        pytest.skip("the CLIP of the pack is not here")
    truth = TrueClip(name="truth", load=lambda: clips["clean"])
    encoder = ClipEncoder(load_clip("builtin", dtype=torch.float32, device="cpu"))
    candidates = [candidate(name, clip, truth) for name, clip in clips.items()]
    return evaluate(candidates, encoder=encoder, options=MeasuringOptions(groups=("clip",)))


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


@pytest.mark.parametrize("damage, metric", [(each, metric) for each, found in SEEN.items() for metric in found])
def test_a_damage_is_seen_by_clip_in_the_order_of_its_strength(seen, damage, metric):
    values = series(seen, damage, metric)

    assert all(later < earlier for earlier, later in pairwise(values)), values


def test_every_damage_has_its_measure():
    assert WITH_TRUTH.keys() == SEEN.keys() == DAMAGES.keys()


def test_the_undamaged_clip_wins_beside_the_truth(with_truth):
    assert with_truth.winner == "clean"
    assert of(with_truth, "clean").verdict == ""


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_frozen_clip_is_seen_for_what_it_is(with_truth, alone, strength):
    for report in (with_truth, alone):
        assert of(report, f"freeze {strength}").verdict == "stands still"


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_shuffled_clip_is_seen_for_what_it_is(with_truth, alone, strength):
    for report in (with_truth, alone):
        assert of(report, f"shuffle {strength}").verdict == "out of order"


@pytest.mark.parametrize("cheat", ["freeze 0", "freeze 1", "freeze 2", "shuffle 0", "shuffle 1", "shuffle 2"])
@pytest.mark.parametrize("which", ["with truth", "alone"])
def test_a_frozen_or_shuffled_clip_never_wins(with_truth, alone, cheat, which):
    """Among all, and in a duel with the clip itself and any that is damaged in another way."""
    report = with_truth if which == "with truth" else alone
    assert report.winner not in (cheat, "")
    for rival in [clip.name for clip in report.clips if clip.name != cheat]:
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


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in ("freeze", "shuffle")])
def test_no_other_damage_is_taken_for_a_frozen_or_a_shuffled_clip(with_truth, alone, damage):
    for report in (with_truth, alone):
        assert [of(report, f"{damage} {strength}").verdict for strength in STRENGTHS] == [""] * 3


def test_a_clip_that_is_played_to_and_fro_is_in_order(clips):
    there_and_back = torch.cat([clips["clean"], clips["clean"].flip(0)])

    assert evaluate([candidate("boomerang", there_and_back)]).clips[0].verdict == ""


class TestFastMotion:
    """Pans of so many pixels a frame that neighbours are hardly nearer than any two frames."""

    @pytest.mark.parametrize("side, step", [(96, 8), (96, 16), (192, 12)])
    def test_it_is_not_taken_for_a_shuffled_clip(self, side, step):
        (clip,) = evaluate([candidate("pan", panned(16, step, side))]).clips

        assert clip.mean("progression") < 0.25 and clip.verdict == ""

    def test_where_it_can_be_followed_it_may_win(self):
        pan = panned(16, 8)

        report = evaluate([candidate("pan", pan), candidate("noisy", DAMAGES["noise"](pan, 2))])

        assert report.winner == "pan" and report.clips[0].notes == ()

    def test_where_it_cannot_it_is_told_and_a_shuffled_one_wins_nothing(self):
        pan = panned(16, 8)
        shuffled = pan[torch.randperm(16, generator=torch.Generator().manual_seed(1))]

        report = evaluate([candidate("shuffled", shuffled), candidate("noisy", DAMAGES["noise"](shuffled, 2))])

        assert report.winner == "" and "cannot be told whether its frames are in order" in report.summary()[0]
        assert any(note.startswith("It cannot be told whether") for note in report.clips[0].notes)
        duelled = evaluate([candidate("shuffled", shuffled), candidate("pan", pan)])
        assert duelled.winner != "shuffled"

    def test_beside_a_fast_truth_the_clip_itself_is_in_order(self):
        pan = panned(16, 16)

        (clip,) = evaluate([candidate("pan", pan, TrueClip(name="truth", load=lambda: pan))]).clips

        assert clip.verdict == ""


def test_without_truth_a_nearly_frozen_clip_is_not_named_a_winner():
    slow, fast = panned(24, 1)[:6].repeat_interleave(4, 0), panned(24, 3)
    crawling = torch.stack([torch.lerp(*slow[[4 * (n // 4), min(23, 4 * (n // 4) + 4)]], n % 4 / 4) for n in range(20)])

    report = evaluate([candidate("slow", crawling), candidate("fast", fast[:20])])

    assert report.winner == "" and report.models[0].name == "slow"
    assert "fast moves over 3 times as much" in report.summary()[0]


@pytest.mark.parametrize("options", [{"rule": "index"}, {"rule": "time", "rates": True}, {"rule": "auto"}])
def test_a_clip_that_ends_early_does_not_win_by_its_first_frames(clips, options):
    truth = TrueClip(name="truth", load=lambda: clips["clean"], rate=8.0 if options.get("rates") else None)
    measuring = MeasuringOptions(alignment=AlignmentOptions(rule=options["rule"]))

    def of_length(frames):
        return replace(candidate(f"{frames}", clips["clean"][:frames], truth), rate=truth.rate)

    rival = candidate("drifting", DAMAGES["colour_drift"](clips["clean"], 1), truth)
    report = evaluate([of_length(2), of_length(5), replace(rival, rate=truth.rate)], options=measuring)

    assert [clip.verdict for clip in report.clips] == ["too short", "too short", ""]
    assert report.winner == "drifting" and "2 and 5 are ranked last: each is too short" in " ".join(report.summary())


def test_a_clip_of_most_of_the_truth_is_long_enough(clips):
    truth = TrueClip(name="truth", load=lambda: clips["clean"], rate=8.0)
    slower = clips["clean"][::2]  # all of it, at half the rate

    short, half = evaluate(
        [
            Candidate(name="short", load=lambda: clips["clean"][:19], truth=truth, rate=8.0),
            Candidate(name="half the rate", load=lambda: slower, truth=truth, rate=4.0),
        ]
    ).clips

    assert short.verdict == half.verdict == ""
