import pytest
import torch

from zoetrope.models.svd import load_svd
from zoetrope.toyworld.measuring import MeasuringOptions, measure
from zoetrope.toyworld.measuring_views import Made, _follows, _other_way, found_azimuths, turns_of
from zoetrope.toyworld.objects import ObjectsOptions, Orbit, compose, render_orbit

SIDE = 32


def scene_of(seed=1_000_003, orbit="turn", frames=7):
    return compose(
        ObjectsOptions(seconds=frames / 7, frames_per_second=7.0, width=SIDE, height=SIDE, seed=seed, orbit=orbit)
    )


def views_of(scene, degrees=0.0):
    azimuths = [azimuth + degrees for azimuth in scene.azimuths]
    return render_orbit(scene.thing, scene.elevations, azimuths, SIDE)


def made(scene, views):
    truth = views_of(scene)
    return Made(scene, views[:-1], truth[:-1], truth[-1])


@pytest.mark.parametrize("orbit", ["turn", "wander", "views"])
def test_true_views_are_nearest_and_views_from_beside_are_not(orbit):
    scene = scene_of(orbit=orbit)

    assert made(scene, views_of(scene)).nearer == 1
    assert made(scene, views_of(scene, 10)).nearer > 0.7
    assert made(scene, views_of(scene, 30)).nearer == 0
    assert made(scene, views_of(scene, -20)).nearer < 0.3


def test_a_model_that_repeats_the_picture_is_found_out():
    scene = scene_of(orbit="views")
    still = views_of(scene)[-1:].expand(7, -1, -1, -1)

    one = made(scene, still)

    assert one.nearer < 0.6
    assert one.psnr == pytest.approx(one.picture_psnr)
    assert made(scene, views_of(scene)).psnr == 100  # as good as it gets


def test_views_that_follow_another_path_are_nearer_to_its_truth():
    scene = scene_of()
    other = _other_way(scene)
    one = made(scene, views_of(scene))

    assert _follows(made(other, views_of(other)), one) == 1
    assert _follows(made(other, views_of(scene)), one) == 0


def test_the_other_way_round_is_the_path_in_a_mirror():
    scene = scene_of(orbit="wander")
    other = _other_way(scene)

    assert other.elevations == scene.elevations
    assert other.azimuths[-1] == scene.azimuths[-1]
    for azimuth, mirrored in zip(scene.azimuths, other.azimuths, strict=True):
        assert (azimuth - scene.azimuths[-1]) % 360 == pytest.approx((scene.azimuths[-1] - mirrored) % 360)


def test_the_angle_of_a_view_is_found():
    scene = scene_of(frames=9)  # 40 degrees apart

    assert found_azimuths(made(scene, views_of(scene))) == pytest.approx(scene.azimuths[:-1])


@pytest.mark.parametrize(
    "azimuths, turns",
    [
        ([90, 180, 270, 0], 1),
        ([270, 180, 90, 0], -1),
        ([0, 0, 0, 0], 0),
        ([30, 60, 30, 0], 0),
        ([120, 200, 300, 10], 1),
    ],
)
def test_turns_are_counted(azimuths, turns):
    assert turns_of(azimuths) == turns


@pytest.mark.parametrize("kind", ["sv3d_p", "sv3d_u"])
def test_a_model_that_knows_nothing_is_measured_and_found_wanting(kind, tiny_checkpoint):
    options = MeasuringOptions(model=tiny_checkpoint(kind), seeds=1, steps=1)

    measurement = measure(kind, options)

    assert not measurement.holds
    assert len(measurement.rows) == 1
    assert len(measurement.rows[0]) == len(measurement.columns)
    frames = load_svd(options.model, dtype=torch.float32, device="cpu").frames
    nearer = measurement.number("views nearer to the truth than 30 degrees off") * (frames - 1)
    assert nearer == pytest.approx(round(nearer))


def test_a_path_of_one_place_has_no_views_to_follow_with():
    scene = scene_of()
    still = Orbit(thing=scene.thing, elevations=scene.elevations, azimuths=(0.0,) * 7)

    one = made(still, views_of(still))

    assert torch.tensor(_follows(made(_other_way(still), views_of(still)), one)).isnan()
