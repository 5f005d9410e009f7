"""What `svd` and its LoRA are taught, and that what ships has learned it."""

from zoetrope.toyworld.held_out import FIRST_HELD_OUT
from zoetrope.toyworld.measuring import MeasuringOptions, measure
from zoetrope.toyworld.moons import MoonsOptions
from zoetrope.toyworld.recipes import svd, svd_moon_lora


def seeds_of(rendering):
    return range(rendering.clip.seed, rendering.clip.seed + rendering.clips)


def test_the_base_model_is_never_shown_a_phase_that_changes():
    shown = [each.clip for each in svd.footage()]
    moons = [clip for clip in shown if isinstance(clip, MoonsOptions)]

    assert moons
    assert {moon.phases for moon in moons} == {"steady"}
    assert {moon.phases for moon in [svd_moon_lora.footage().clip]} == {"wane"}


def test_no_two_clips_have_one_seed_and_none_is_held_out():
    seeds = [seed for each in (*svd.footage(), svd_moon_lora.footage()) for seed in seeds_of(each)]

    assert len(seeds) == len(set(seeds))
    assert max(seeds) < FIRST_HELD_OUT


def test_all_clips_are_as_long_and_as_large_as_the_models_own():
    for each in (*svd.footage(), svd_moon_lora.footage()):
        assert (each.clip.frames, each.clip.width, each.clip.height) == (svd.FRAMES, svd.SIDE, svd.SIDE)


def test_the_same_scenes_are_shown_at_many_speeds_and_at_none_for_motion_buckets_to_mean_something():
    speeds = {}
    for each in svd.footage():
        if each.clip.frames_per_second == svd.RATE:
            speeds.setdefault(type(each.clip), set()).add(each.clip.speed)

    assert all(len(found) >= 5 and min(found) == 0 for found in speeds.values())


def test_the_moon_wanes_with_the_lora_and_shows_no_phase_without_it():
    found = measure("svd-moon-lora", MeasuringOptions(seeds=3, steps=4))

    assert found.number("median error of the lit fraction") <= 0.1
    assert found.number("its correlation with the truth") >= 0.9
    assert found.number("PSNR above that of a still picture") >= 5
    assert found.number("median error without the LoRA") >= 0.25


def test_more_moves_in_a_higher_motion_bucket():
    found = measure("svd", MeasuringOptions(seeds=1, steps=3))

    assert found.rows[-1][-1] >= 0.6
