"""What `sv3d_p` and `sv3d_u` are taught, and that what ships has learned it."""

import torch

from zoetrope.models.new_svd import UNetSize, new_unet
from zoetrope.toyworld.held_out import FIRST_HELD_OUT
from zoetrope.toyworld.measuring import MeasuringOptions, measure
from zoetrope.toyworld.objects import ORBITS
from zoetrope.toyworld.recipes import recipe_of, sv3d
from zoetrope.toyworld.recipes.recipe import Workshop

NEARER = "views nearer to the truth than 30 degrees off"


def seeds_of(rendering):
    return range(rendering.clip.seed, rendering.clip.seed + rendering.clips)


def test_no_two_clips_have_one_seed_and_none_is_held_out():
    seeds = [seed for each in sv3d.footage_of_p() for seed in seeds_of(each)]

    assert len(seeds) == len(set(seeds))
    assert max(*seeds, *seeds_of(sv3d.footage_of_u())) < FIRST_HELD_OUT


def test_clips_are_as_long_and_as_large_as_the_models_views_and_every_path_is_among_them():
    for each in (*sv3d.footage_of_p(), sv3d.footage_of_u()):
        assert (each.clip.frames, each.clip.width, each.clip.height) == (sv3d.FRAMES, sv3d.SIDE, sv3d.SIDE)
    assert {each.clip.orbit for each in sv3d.footage_of_p()} == set(ORBITS)
    assert sv3d.footage_of_u().clip.orbit == "turn"


def test_sv3d_u_begins_with_all_that_sv3d_p_knows_but_the_camera():
    p, u = (
        new_unet(family, UNetSize(), latent_channels=4, token_width=32, seed=seed)
        for seed, family in enumerate(("sv3d_p", "sv3d_u"))
    )
    before = {name: weight.clone() for name, weight in u.state_dict().items()}

    sv3d.take_over(u, p)

    camera = "add_embedding.linear_1.weight"
    theirs = p.state_dict()
    for name, weight in u.state_dict().items():
        assert torch.equal(weight, before[name] if name == camera else theirs[name])
    assert theirs[camera].shape != before[camera].shape
    assert any(not torch.equal(theirs[name], before[name]) for name in before if name != camera)


def test_the_recipes_train_for_less_where_asked_to(tmp_path):
    workshop = Workshop(out=tmp_path, name="sv3d_u", share=0.1, seed=3)

    settings = sv3d.settings_of_u(workshop, tmp_path / "start.safetensors", tmp_path / "footage")

    assert (settings.steps, settings.seed) == (80, 3)
    assert recipe_of("sv3d_u").needs == ("sv3d_p",)


def test_views_are_from_the_angles_that_are_asked_for():
    found = measure("sv3d_p", MeasuringOptions(seeds=1, steps=4))

    assert found.number(NEARER) >= 0.7
    assert found.number("views that follow when the path is another") >= 0.7


def test_sv3d_u_goes_round():
    found = measure("sv3d_u", MeasuringOptions(seeds=1, steps=4))

    assert found.number(NEARER) >= 0.7
    assert found.number("median error of the angle") <= 20
