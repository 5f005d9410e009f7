"""`zoetrope toyworld train`, with a recipe that takes no time."""

import pytest

from zoetrope.headless.command import main
from zoetrope.headless.toyworld_train import NAMES
from zoetrope.toyworld import recipes
from zoetrope.toyworld.recipes import RECIPES, Made, Paused, Recipe, recipe_of


def run(*arguments):
    return main(["toyworld", "train", *map(str, arguments)])


@pytest.fixture
def quick(monkeypatch):
    """Recipes that write what they were asked for, and those that were followed."""
    followed = []

    def quickly(name):
        def make(workshop):
            if workshop.session_minutes:
                raise Paused("Training stands at step 3 of 9. The same command goes on with it.")
            followed.append(workshop)
            (workshop.out / f"{name}.safetensors").write_bytes(b"weights")
            return Made(data="Nothing.", runs=(), numbers={"share right": 0.5})

        needs = recipe_of(name).needs
        return Recipe(name=name, file=f"{name}.safetensors", what="A model.", needs=needs, make=make)

    monkeypatch.setattr(recipes, "recipe_of", quickly)
    return followed


def test_the_command_offers_every_recipe():
    assert list(NAMES) == list(RECIPES)
    assert [recipe_of(name).name for name in NAMES] == list(NAMES)


def test_a_model_and_its_card_are_written_and_told(quick, tmp_path, capsys):
    assert run("svd", "--out", tmp_path, "--seed", 3, "--share", 0.5) == 0

    assert capsys.readouterr().out == f"{tmp_path / 'svd.safetensors'}\n{tmp_path / 'svd.md'}\n"
    card = (tmp_path / "svd.md").read_text()
    assert "| share right | 0.5 |" in card
    assert "zoetrope toyworld train svd --seed 3" in card
    assert (quick[0].seed, quick[0].share) == (3, 0.5)


def test_all_are_made_one_after_the_other(quick, tmp_path):
    assert run("all", "--out", tmp_path) == 0

    assert [workshop.name for workshop in quick] == list(NAMES)


def test_all_are_not_made_where_one_was_begun_with_what_ships(quick, tmp_path, capsys):
    assert run("svd-moon-lora", "--out", tmp_path) == 0
    (tmp_path / "work" / "svd-moon-lora").mkdir(parents=True)

    assert run("all", "--out", tmp_path) == 2

    assert "begun with the svd that ships" in capsys.readouterr().err
    assert [workshop.name for workshop in quick] == ["svd-moon-lora"]


def test_a_session_that_ends_early_says_how_to_go_on_and_leaves_no_card(quick, tmp_path, capsys):
    assert run("all", "--out", tmp_path, "--minutes", 1) == 0

    assert "stands at step 3 of 9" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.md"))


def test_a_share_that_is_none_is_refused(tmp_path, capsys):
    assert run("svd", "--out", tmp_path, "--share", "-1") == 2

    assert "share is -1.0. Give a number of at least 0." in capsys.readouterr().err
