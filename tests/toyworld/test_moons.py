import hashlib
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from zoetrope.toyworld.moons import (
    CHANGES,
    PHASES,
    SKIES,
    TINTS,
    WAYS,
    Moon,
    MoonsOptions,
    compose,
    lit_fraction,
    measure_lit_fractions,
    phase_name,
    render,
    truth_of,
)

SMALL = MoonsOptions(seconds=2.0, frames_per_second=7.0, width=64, height=64)
QUICK = replace(SMALL, seconds=5 / 7)
WHITE = Moon(tint="white", sky="black", radius=0.35)


def masks_of(clip):
    return torch.cat([clip.masks(frame) for frame in range(clip.options.frames)])


def nearest_name(color, names):
    levels = torch.tensor(list(names.values())) / 255
    return list(names)[int((levels - color).norm(dim=-1).argmin())]


@pytest.mark.parametrize(("half_turns", "lit"), [(0, 1), (0.5, 0.5), (1, 0), (1.5, 0.5), (2, 1), (1 / 3, 0.75)])
def test_the_lit_fraction_follows_the_phase_angle(half_turns, lit):
    assert lit_fraction(half_turns) == pytest.approx(lit, abs=1e-12)


@pytest.mark.parametrize(
    ("phases", "lit"),
    [("wane", [1, 0.5, 0]), ("wax", [0, 0.5, 1]), ("month", [0, 1, 0])],
)
def test_a_moon_goes_through_its_phases_from_the_first_frame_to_the_last(phases, lit):
    truth = truth_of(replace(WHITE, phases=phases), replace(SMALL, seconds=3 / 7))

    assert_close(truth.lit_fractions, torch.tensor(lit, dtype=torch.float64))
    assert_close(truth.lit_fractions, (1 + torch.cos(torch.deg2rad(truth.phase_angles))) / 2)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**64 - 1),
    phases=st.sampled_from([phases for phases in PHASES if phases != "steady"]),
    tilt=st.floats(0, 180),
    speed=st.sampled_from([0, 0.3]),
)
def test_the_lit_fraction_measured_in_the_pixels_is_the_true_one(seed, phases, tilt, speed):
    options = replace(SMALL, seed=seed, phases=phases, tilt_degrees=tilt, speed=speed)
    clip = render(compose(options), options)

    measured = measure_lit_fractions(clip.images, masks_of(clip))

    assert (measured - clip.truth.lit_fractions).abs().max() <= 0.03


def test_a_moon_that_stays_full_measures_full_whatever_its_maria():
    options = replace(QUICK, phases="steady", seed=3)
    clip = render(replace(compose(options), phase=0.0), options)

    assert (measure_lit_fractions(clip.images, masks_of(clip)) > 0.97).all()


def test_measuring_needs_a_disc():
    with pytest.raises(ValueError, match="No pixel lies wholly on the moon's disc"):
        measure_lit_fractions(torch.zeros(1, 8, 8, 3), torch.zeros(1, 8, 8))


@pytest.mark.parametrize("tilt_degrees", [0, 90, 180, 45])
def test_a_waning_moon_is_lit_from_the_left_turned_by_its_tilt(tilt_degrees):
    tilt = math.radians(tilt_degrees)
    moon = replace(WHITE, phases="steady", phase=0.5, tilt=tilt)
    image = render(moon, replace(QUICK, phases="steady")).images[0].double().mean(dim=-1)

    across = torch.arange(64, dtype=torch.float64) + 0.5 - 32
    middle = torch.stack([(image * across).sum(), (image * across[:, None]).sum()]) / image.sum()

    expected = torch.tensor([-math.cos(tilt), -math.sin(tilt)], dtype=torch.float64)
    assert torch.nn.functional.cosine_similarity(middle, expected, dim=0) > 0.97


@pytest.mark.parametrize("speed", [0.0, 0.2])
def test_a_steady_moon_never_changes_its_phase(speed):
    options = replace(SMALL, phases="steady", speed=speed, seed=4)
    clip = render(compose(options), options)

    assert clip.truth.lit_fractions.unique().numel() == 1
    if not speed:
        assert (clip.images == clip.images[0]).all()


@pytest.mark.parametrize("way", WAYS)
def test_a_moon_drifts_its_way_at_its_speed(way):
    moon = replace(WHITE, radius=0.2, way=way, speed=0.1)
    clip = render(moon, SMALL)

    steps = clip.truth.centers.diff(dim=0)
    assert_close(steps, torch.tensor(WAYS[way], dtype=torch.float64).expand_as(steps) * 0.1 * 64 / 7)
    assert clip.truth.pixels_per_frame == pytest.approx(0.1 * 64 / 7)


def test_a_mask_covers_the_disc():
    clip = render(WHITE, QUICK)

    for mask in masks_of(clip):
        assert mask.sum() == pytest.approx(math.pi * (0.35 * 64) ** 2, rel=0.01)
    sky = torch.tensor(SKIES["black"]) / 255
    assert_close(clip.images[0][clip.masks(0)[0] == 0], sky.expand(int((clip.masks(0) == 0).sum()), 3))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**64 - 1), speed=st.floats(0, 3), width=st.integers(16, 80), height=st.integers(16, 80))
def test_the_moon_is_always_wholly_in_the_picture(seed, speed, width, height):
    options = replace(QUICK, seed=seed, speed=speed, width=width, height=height)
    truth = truth_of(compose(options), options)

    for x, y in truth.centers.tolist():
        assert truth.radius + 0.5 <= x <= width - truth.radius - 0.5
        assert truth.radius + 0.5 <= y <= height - truth.radius - 0.5


@pytest.mark.parametrize("tint", TINTS)
def test_a_moon_has_the_tint_that_it_is_called(tint):
    clip = render(replace(WHITE, tint=tint), QUICK)

    bright = clip.images[0][clip.masks(0)[0] == 1]
    color = bright[bright.mean(dim=-1) >= bright.mean(dim=-1).quantile(0.6)].mean(dim=0)
    assert nearest_name(color, TINTS) == tint


def test_drifting_keeps_the_face():
    """A moon that has drifted by whole pixels shows the very same picture elsewhere."""
    options = replace(SMALL, frames_per_second=64.0, seconds=3 / 64, phases="steady")
    clip = render(replace(WHITE, radius=0.2, way="right", speed=1.0, phases="steady"), options)

    assert_close(clip.images[1], clip.images[0].roll(1, dims=1), atol=1.01 / 255, rtol=0)


def test_captions_say_what_is_true():
    for phases in PHASES:
        for speed in (0.0, 0.2):
            for seed in range(20):
                options = replace(QUICK, phases=phases, speed=speed, seed=seed)
                moon = compose(options)
                words = moon.caption.split()

                assert moon.tint in words
                assert moon.caption.endswith(f"in a {moon.sky} sky")
                assert (CHANGES.get(phases, "no change") in moon.caption) == (phases != "steady")
                assert (f"drifts {moon.way}" in moon.caption) == (speed > 0)
                if phases == "steady":
                    assert phase_name(truth_of(moon, options).lit_fractions[0].item()) in words
                    assert ("stands still" in moon.caption) == (not speed)


def test_a_caption_reads_like_english():
    assert replace(WHITE, tint="orange").caption == "an orange moon wanes from full to new in a black sky"
    assert replace(WHITE, phases="steady", phase=0.5, way="up").caption == "a half white moon drifts up in a black sky"


@pytest.mark.parametrize(("lit", "name"), [(0, "new"), (0.2, "crescent"), (0.5, "half"), (0.7, "gibbous"), (1, "full")])
def test_phases_have_names(lit, name):
    assert phase_name(lit) == name


def test_a_seed_means_the_same_moon_and_the_same_pixels_everywhere():
    options = replace(SMALL, seed=11, speed=0.1)
    before = torch.random.get_rng_state()
    clips = [render(compose(options), options).images for _ in range(2)]
    torch.manual_seed(99)

    assert torch.equal(clips[0], clips[1])
    assert torch.equal(clips[0], render(compose(options), options).images)
    torch.random.set_rng_state(before)
    levels = (clips[0] * 255).round().byte()
    assert (
        hashlib.sha256(levels.numpy().tobytes()).hexdigest()
        == "567d330e35eee81e660c43460f526b3cedade0a86f9e2993487341518f48b951"
    )


def test_the_generators_of_others_are_left_alone():
    before = torch.random.get_rng_state()

    render(compose(QUICK), QUICK)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_another_seed_means_another_moon():
    assert len({compose(replace(SMALL, seed=seed)) for seed in range(50)}) == 50


def test_a_small_picture_shows_the_same_moon_as_a_large_one():
    small = render(WHITE, QUICK).images
    large = render(WHITE, replace(QUICK, width=256, height=256)).images

    shrunk = torch.nn.functional.avg_pool2d(large.movedim(-1, 1), 4).movedim(1, -1)
    assert (shrunk - small).abs().mean() < 0.01


def test_each_frame_is_shown_as_it_is_made():
    seen = []

    clip = render(WHITE, QUICK, lambda done, image: seen.append((done, image.clone())))

    assert [done for done, _ in seen] == [1, 2, 3, 4, 5]
    assert torch.equal(torch.stack([image for _, image in seen]), clip.images)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"phases": "eclipse"}, "phases is 'eclipse'. Choose one of wane, wax, month, steady"),
        ({"tilt_degrees": 200.0}, "tilt_degrees is 200.0"),
        ({"speed": -1.0}, "speed is -1.0"),
        ({"speed": math.nan}, "speed is nan"),
    ],
)
def test_a_wrong_option_is_refused_with_its_value(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        MoonsOptions(**wrong)
