import hashlib
import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from zoetrope.toyworld.object_kinds import KINDS, PAINTS
from zoetrope.toyworld.objects import (
    HIGHEST_VIEW,
    LOWEST,
    ObjectsOptions,
    Thing,
    compose,
    make_up_thing,
    render,
    render_object,
    render_orbit,
)
from zoetrope.toyworld.solids import SIDES, Solid, box

SMALL = ObjectsOptions(seconds=2.0, frames_per_second=7.0, width=64, height=64)
QUICK = replace(SMALL, seconds=3 / 7)
every_kind = pytest.mark.parametrize("kind", KINDS)
COLORS = dict(zip(SIDES, PAINTS.values(), strict=True))
CUBE = Thing("cube", "a cube", Solid((box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5), (0, 0, 0), COLORS),)))


def side_in_the_middle(elevation, azimuth):
    """The side of the cube whose color, however lit, is in the middle of the picture."""
    pixel = render_object(CUBE, elevation, azimuth, 32)[16, 16].double()
    levels = torch.tensor(list(COLORS.values()), dtype=torch.float64)
    return list(COLORS)[int(torch.nn.functional.cosine_similarity(levels, pixel[None]).argmax())]


@pytest.mark.parametrize(
    ("elevation", "azimuth", "side"),
    [(0, 0, "front"), (0, 90, "right"), (0, 180, "back"), (0, 270, "left"), (90, 0, "top"), (-90, 0, "bottom")],
)
def test_the_camera_goes_to_its_right_with_azimuth_and_up_with_elevation(elevation, azimuth, side):
    assert side_in_the_middle(elevation, azimuth) == side


@every_kind
def test_once_round_is_where_one_began(kind):
    thing = make_up_thing(5, kind)

    assert_close(render_object(thing, 20, 30, 48), render_object(thing, 20, 390, 48), atol=1.01 / 255, rtol=0)


@every_kind
@pytest.mark.parametrize("seed", [0, 1])
def test_views_that_are_apart_differ(kind, seed):
    """Distinct sides: each view of a turn is nearest to itself, and far from the others."""
    thing = make_up_thing(seed, kind)
    angles = list(range(0, 360, 30))
    views = render_orbit(thing, [15] * 12, angles, 48)

    for index, view in enumerate(views):
        others = [(view - other).abs().mean().item() for place, other in enumerate(views) if place != index]
        assert min(others) > 0.005


@pytest.mark.parametrize("azimuth", [0, 20, 75, 140])
@pytest.mark.parametrize("kind", ["car", "bird"])
def test_a_thing_that_is_its_own_mirror_image_is_seen_mirrored_from_the_other_side(kind, azimuth):
    thing = replace(make_up_thing(1, kind), turn_degrees=0.0)

    seen = render_object(thing, 25, azimuth, 64)
    mirrored = render_object(thing, 25, -azimuth, 64).flip(1)

    assert (seen - mirrored).abs().max() <= 1.01 / 255


@every_kind
@pytest.mark.parametrize("elevation", [-90, -30, 0, 45, 90])
def test_a_thing_is_wholly_in_the_picture_on_white(kind, elevation):
    for seed in range(3):
        view = render_object(make_up_thing(seed, kind), elevation, 77, 48)
        border = torch.cat([view[0], view[-1], view[:, 0], view[:, -1]])

        assert (border == 1).all()
        assert 0.1 < (view < 1).any(dim=-1).float().mean() < 0.8
        assert not view.isnan().any()


def test_a_mask_is_where_the_picture_is_not_white():
    clip = render(compose(QUICK), QUICK)

    for frame in range(QUICK.frames):
        mask = clip.masks(frame)[0]
        assert (clip.images[frame][mask == 0] == 1).all()
        assert (clip.images[frame][mask == 1] < 1).any(dim=-1).all()


def test_the_picture_of_a_cube_has_the_area_of_the_cube():
    """Seen straight on, the near side of a cube is a square whose size perspective tells."""
    camera_distance, margin = 4.0, 1.06
    reach = math.sqrt(0.75)
    half_side = (
        0.5 / (camera_distance * reach - 0.5) * math.sqrt(camera_distance**2 - 1) / margin
    )  # of half the picture
    options = replace(QUICK, width=96, height=96)
    orbit = replace(compose(options), thing=CUBE, elevations=(0.0,) * 3, azimuths=(0.0,) * 3)

    assert render(orbit, options).masks(0).sum() == pytest.approx((half_side * 96) ** 2, rel=0.01)


@pytest.mark.parametrize("orbit", ["turn", "wander"])
def test_an_orbit_goes_once_round_from_the_input_view(orbit):
    for seed in range(10):
        scene = compose(replace(SMALL, orbit=orbit, seed=seed))

        assert scene.azimuths[-1] == pytest.approx(360)
        steps = [after - before for before, after in zip([0, *scene.azimuths[:-1]], scene.azimuths, strict=True)]
        assert all(step > 0 for step in steps)
        assert (len(set(scene.elevations)) > 1) == (orbit == "wander")
        assert all(-60 < elevation < 80 for elevation in scene.elevations)


def test_views_are_from_anywhere_that_a_camera_goes():
    scenes = [compose(replace(SMALL, orbit="views", seed=seed)) for seed in range(10)]

    azimuths = [azimuth for scene in scenes for azimuth in scene.azimuths]
    elevations = [elevation for scene in scenes for elevation in scene.elevations]
    assert min(azimuths) < 60 and max(azimuths) > 300
    assert LOWEST <= min(elevations) < 5 and 45 < max(elevations) <= HIGHEST_VIEW
    assert all(scene.azimuths[-1] == 360 for scene in scenes)  # the input view
    assert len(set(azimuths)) == len(azimuths) - len(scenes) + 1


def test_the_truth_gives_the_frames_and_any_other_view():
    clip = render(compose(QUICK), QUICK)

    record = clip.truth.record()
    for frame, angles in enumerate(zip(record["elevations_degrees"], record["azimuths_degrees"], strict=True)):
        assert torch.equal(clip.truth.view(*angles, 64), clip.images[frame])
    assert not torch.equal(clip.truth.view(10, 200, 64), clip.images[0])


@every_kind
def test_a_caption_names_the_thing_and_its_colors(kind):
    caption = compose(replace(QUICK, kind=kind, seed=2)).caption

    assert kind in caption
    assert kind == "cube" or any(color in caption for color in PAINTS)
    assert caption.endswith("seen from all around on a white ground")


def test_every_kind_comes_up():
    assert {make_up_thing(seed).kind for seed in range(60)} == set(KINDS)


def test_a_seed_means_the_same_thing_and_the_same_pixels_everywhere():
    options = replace(QUICK, kind="mug", seed=5)
    before = torch.random.get_rng_state()
    clips = [render(compose(options), options).images for _ in range(2)]

    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(clips[0], clips[1])
    levels = (clips[0] * 255).round().byte()
    assert (
        hashlib.sha256(levels.numpy().tobytes()).hexdigest()
        == "cf83af8d13274b7daa9919a316773491a008fe01025b2f56dfcd2f73fdf9b454"
    )
    assert not torch.equal(clips[0], render(compose(replace(options, seed=6)), replace(options, seed=6)).images)


def test_edges_are_smooth():
    """The share of each pixel that a tilted edge covers adds up to what a far larger picture shows."""
    small = render_object(CUBE, 20, 30, 32)
    large = render_object(CUBE, 20, 30, 256)

    shrunk = torch.nn.functional.avg_pool2d(large.movedim(-1, 0), 8).movedim(0, -1)
    assert (shrunk - small).abs().max() < 0.12
    assert (shrunk - small).abs().mean() < 0.005


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"kind": "spoon"}, "kind is 'spoon'. Choose any or one of cube"), ({"orbit": "fall"}, "orbit is 'fall'")],
)
def test_a_wrong_option_is_refused_with_its_value(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        ObjectsOptions(**wrong)
