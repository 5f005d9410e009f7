"""Settings from a file and from KEY=VALUE."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from zoetrope.trainers.config import plain, read_settings
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.options import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class Recipe(TrainingOptions):
    footage: Path
    model: Path = Path("builtin:svd")
    preset: Literal["motion", "strong"] = "motion"
    caption: str = ""
    flip: bool = False
    rank: int | None = None


@pytest.fixture
def recipe(tmp_path):
    """Reads settings that a file holds, with others in their place."""

    def read(text: str, *overrides: str) -> Recipe:
        file = tmp_path / "recipe.yaml"
        file.write_text(f"footage: clips\n{text}\n", encoding="utf-8")
        return read_settings(Recipe, file, overrides)

    return read


def refusal(read, *args) -> str:
    with pytest.raises(TrainingError) as caught:
        read(*args)
    return str(caught.value)


def test_what_the_file_does_not_say_is_the_default(recipe):
    assert recipe("") == Recipe(footage=recipe("").footage)


def test_values_get_their_types(recipe):
    settings = recipe(
        "steps: 20\nlearning_rate: 1e-3\nwarm_up_steps: 2.0\nflip: yes\nvalidate_at: [0, 5]\nrank: 8\ncaption: 12"
    )

    assert settings.steps == 20
    assert settings.learning_rate == 0.001  # YAML takes 1e-3 for a text
    assert settings.warm_up_steps == 2
    assert settings.flip is True
    assert settings.validate_at == (0, 5)
    assert settings.rank == 8
    assert settings.caption == "12"


@pytest.mark.parametrize(
    "override, name, value",
    [
        ("steps=200", "steps", 200),
        ("validate_at=0,10, 20", "validate_at", (0, 10, 20)),
        ("validate_at=", "validate_at", ()),
        ("rank=none", "rank", None),
        ("flip=off", "flip", False),
        ("seed=9223372036854775807", "seed", 2**63 - 1),
        ("caption=a=b", "caption", "a=b"),
        ("preset=strong", "preset", "strong"),
    ],
)
def test_what_was_typed_takes_the_place_of_what_the_file_says(recipe, override, name, value):
    assert getattr(recipe("steps: 500\nrank: 4\nflip: true", override), name) == value


def test_paths_start_from_the_file_and_typed_ones_from_the_current_folder(recipe, tmp_path):
    assert recipe("").footage == tmp_path / "clips"
    assert recipe("", "footage=clips").footage == Path("clips")
    assert recipe(f"model: {tmp_path / 'svd.safetensors'}").model == tmp_path / "svd.safetensors"


def test_a_built_in_model_is_no_path(recipe):
    assert str(recipe("model: builtin:svd_xt").model) == "builtin:svd_xt"


def test_an_unknown_name_is_refused_with_the_nearest(recipe):
    assert "no setting learning_rat. Did you mean learning_rate?" in refusal(recipe, "learning_rat: 1")
    assert "--set: there is no setting stps. Did you mean steps?" in refusal(recipe, "", "stps=4")


@pytest.mark.parametrize(
    "text, words",
    [
        ("steps: many", "steps is 'many', which is not a whole number"),
        ("steps: 2.5", "steps is 2.5, which is not a whole number"),
        ("steps: true", "steps is True, which is not a whole number"),
        ("steps: [1]", "not a whole number"),
        ("learning_rate: .nan", "learning_rate is nan, which is not a number"),
        ("learning_rate: .inf", "not a number"),
        ("flip: perhaps", "flip is 'perhaps', which is not true or false"),
        ("preset: motoin", "none of motion, strong. Did you mean motion?"),
        ("caption: no", "Put it in quotes"),
        ("validate_at: [0, x]", "'x', which is not a whole number"),
        ("model:", "not a text"),
        ("steps: 0", "steps is 0. It is at least 1."),
        ("learning_rate: 2", "learning_rate is 2.0. It is above 0"),
        ("warm_up_steps: 9000", "less than the 5000 steps"),
        ("validate_at: -1", "Steps are at least 0"),
        ("beta2: 1", "below 1"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_is_said(recipe, text, words):
    assert words in refusal(recipe, text)


@pytest.mark.parametrize("override", ["steps", "=4", " =4"])
def test_an_override_without_a_name_or_a_value_is_refused(recipe, override):
    assert "KEY=VALUE" in refusal(recipe, "", override)


def test_what_has_no_default_is_asked_for():
    assert "Nothing says footage. Give a file of settings with --config" in refusal(read_settings, Recipe, None)


def test_a_missing_file_is_named(tmp_path):
    assert "absent.yaml is not there" in refusal(read_settings, Recipe, tmp_path / "absent.yaml")


def test_a_file_that_is_no_mapping_is_refused(tmp_path):
    file = tmp_path / "list.yaml"
    file.write_text("- 1\n", encoding="utf-8")

    assert "holds no settings" in refusal(read_settings, Recipe, file)


def test_settings_written_and_read_again_are_the_same(recipe, tmp_path):
    import yaml

    settings = recipe("steps: 20\nvalidate_at: [1, 2]\nrank: 3\nlearning_rate: 1.0e-05\nwarm_up_steps: 1")
    file = tmp_path / "again.yaml"
    file.write_text(yaml.safe_dump(plain(settings)), encoding="utf-8")

    assert read_settings(Recipe, file) == settings
