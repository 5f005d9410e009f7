"""What recipes share: their workshop and their cards. The recipes of each model have tests of their own."""

from dataclasses import replace
from pathlib import Path

import pytest

from zoetrope.toyworld.footage import RenderingOptions
from zoetrope.toyworld.moons import MoonsOptions
from zoetrope.toyworld.recipes import (
    RECIPES,
    Made,
    Paused,
    Recipe,
    Workshop,
    follow,
    recipe_of,
    refuse_work_on_other_parts,
)
from zoetrope.toyworld.recipes import recipe as workshops
from zoetrope.toyworld.shapes import ShapesOptions
from zoetrope.trainers.loop import TrainingStep
from zoetrope.trainers.run_folder import RunFolder, opened_run

TINY = {"seconds": 1.0, "frames_per_second": 2.0, "width": 16, "height": 16}


def step(number, ending=None):
    return TrainingStep(
        step=number, steps=9, loss=0.5, gradient_norm=1, learning_rate=1, seconds=1, skipped=False, ending=ending
    )


@pytest.fixture
def workshop(tmp_path):
    return Workshop(out=tmp_path / "out", name="clip")


def test_footage_of_several_kinds_lies_in_one_folder_with_every_twentieth_clip_set_aside(workshop):
    kinds = [
        RenderingOptions(clips=15, clip=MoonsOptions(**TINY)),
        RenderingOptions(clips=25, clip=ShapesOptions(**TINY)),
    ]

    footage = workshop.render(workshop.folder("both"), *kinds)

    assert len(footage.clips) == 40
    assert [clip.split for clip in footage.clips].count("validation") == 2
    assert {clip.split for clip in footage.clips} == {"train", "validation"}
    assert workshop.render(workshop.folder("both"), *kinds) == footage


def test_a_part_is_the_folders_own_or_else_what_ships(workshop, tmp_path, monkeypatch):
    monkeypatch.setattr(workshops, "BUILTIN", tmp_path / "shipped")
    with pytest.raises(ValueError, match="clip needs vae_image, which is not in .*zoetrope toyworld train vae --out"):
        workshop.part("vae_image")
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "sv3d_p.safetensors").touch()
    assert workshop.part("vae_image") == tmp_path / "shipped" / "sv3d_p.safetensors"
    workshop.out.mkdir()
    (workshop.out / "vae_image.safetensors").touch()
    assert workshop.part("vae_image") == tmp_path / "shipped" / "sv3d_p.safetensors"  # it may be anybody's
    (workshop.out / "vae.md").touch()
    assert workshop.part("vae_image") == workshop.out / "vae_image.safetensors"


@pytest.mark.parametrize("name", sorted({need for recipe in RECIPES for need in recipe_of(recipe).needs}))
def test_every_part_that_a_recipe_needs_is_known(name, workshop, tmp_path, monkeypatch):
    monkeypatch.setattr(workshops, "BUILTIN", tmp_path / "nothing")
    with pytest.raises(ValueError, match=f"needs {name}, which is not in"):
        workshop.part(name)


def test_what_a_recipe_did_not_make_is_not_written_over(workshop):
    workshop.out.mkdir()
    (workshop.out / recipe_of("svd").file).write_bytes(b"somebody's")

    with pytest.raises(ValueError, match="is there already, and this recipe did not make it. Choose another folder"):
        follow(recipe_of("svd"), replace(workshop, name="svd"))
    assert (workshop.out / recipe_of("svd").file).read_bytes() == b"somebody's"


def test_all_are_not_made_where_one_was_begun_with_what_ships(tmp_path):
    recipes = [recipe_of(name) for name in RECIPES]
    refuse_work_on_other_parts(recipes, tmp_path)  # nothing is there
    (tmp_path / "work" / "svd-moon-lora" / "run").mkdir(parents=True)

    with pytest.raises(ValueError, match="svd-moon-lora, which was begun with the svd that ships.*--out"):
        refuse_work_on_other_parts(recipes, tmp_path)

    refuse_work_on_other_parts([recipe_of("svd-moon-lora")], tmp_path)  # alone it goes on
    for name in ("vae", "clip", "svd"):
        (tmp_path / f"{name}.md").touch()
    refuse_work_on_other_parts(recipes, tmp_path)  # it was begun with the folder's own


def test_a_run_of_another_seed_is_not_gone_on_with(workshop):
    run = workshop.out / "work" / "clip" / "clip"
    with opened_run(run) as folder:
        folder.describe("clip", {"seed": 7}, {})

    with pytest.raises(ValueError, match="was begun with seed 7, and this is seed 0. Go on with --seed 7"):
        follow(recipe_of("clip"), replace(workshop, name="clip"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_needs_only_what_comes_before_it(name):
    before = list(RECIPES)[: list(RECIPES).index(name)]

    assert set(recipe_of(name).needs) <= set(before)


def test_training_that_pauses_is_told_with_its_step(workshop):
    workshop.train("Training", iter([step(8), step(9, "finished")]))

    with pytest.raises(Paused, match="Training stands at step 4 of 9. The same command goes on with it."):
        workshop.train("Training", iter([step(4, "paused")]))


def test_the_result_of_a_run_is_its_last_export(workshop):
    exports = workshop.folder("run") / "exports"
    exports.mkdir(parents=True)
    for name in ("run-99.safetensors", "run-1000.safetensors"):
        (exports / name).touch()

    assert workshop.result(workshop.folder("run")).name == "run-1000.safetensors"


def test_a_card_tells_data_numbers_time_and_settings_but_no_place_on_somebodys_disk(workshop):
    def make(at: Workshop) -> Made:
        (at.out / "clip").mkdir()
        (at.out / "clip" / "model.safetensors").write_bytes(bytes(1_500_000))
        run = RunFolder(at.folder("clip"))
        run.path.mkdir(parents=True)
        run.describe("clip", {"steps": 9, "footage": Path("/home/me/moons").as_posix(), "batch": 4}, {})
        run.log(step=1, loss=1.0, seconds=90.0)
        run.log(step=2, loss=1.0, seconds=90.0)
        run.close()
        return Made(data="Three pictures.", runs=(run.path,), numbers={"found first": 0.8125})

    card = follow(Recipe(name="clip", file="clip", what="A small CLIP.", make=make), workshop).read_text()

    for line in ("# clip", "| found first | 0.8125 |", "| steps | 9 |", "| batch | 4 |", "- Data: Three pictures."):
        assert f"\n{line}\n" in f"\n{card}"
    assert "`clip`, 1.5 MB" in card
    assert "3 minutes of training" in card
    assert "Licence: Apache-2.0" in card
    assert "/home/me" not in card
