"""What ships: its names, and that each of it loads and is small."""

import re

import pytest
import torch

from zoetrope.models import builtin_models
from zoetrope.models.builtin_models import BUILTIN, builtin_names, find_builtin, is_builtin
from zoetrope.models.clip import load_clip
from zoetrope.models.errors import CheckpointError
from zoetrope.models.lora import load_lora
from zoetrope.models.svd import load_svd, recognise

MOST_BYTES, MOST_BYTES_TOGETHER = 12_000_000, 40_000_000
MODELS, LORAS = ["svd", "sv3d_p", "sv3d_u"], ["svd-moon-lora"]
CARDS = [*MODELS, *LORAS, "vae", "clip"]
# How far a number may move from one training to another.
NOISE = {
    "moons, each picture by itself, dB": 0.5,
    "moons, as clips, dB": 0.5,
    "shapes, each picture by itself, dB": 0.5,
    "shapes, as clips, dB": 0.5,
    "objects, each picture by itself, dB": 0.5,
    "objects, as clips, dB": 0.5,
    "deviation of scaled latents": 0.02,
    "captions of pictures found first": 0.02,
    "pictures of captions found first": 0.02,
    "rank correlation, mean of the pictures": 0.03,
    "median error of the lit fraction": 0.01,
    "its correlation with the truth": 0.02,
    "PSNR above that of a still picture": 1.0,
    "PSNR": 1.0,
    "PSNR of a still picture": 0.0,
    "median error without the LoRA": 0.05,
    "PSNR without the LoRA": 0.2,
    "views nearer to the truth than 30 degrees off": 0.04,
    "PSNR of the picture in each view's place": 0.0,
    "views that follow when the path is another": 0.02,
    "median error of the angle": 0.5,
    "things gone round once": 0.05,
}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    (tmp_path / "loras").mkdir()
    for name in ("sv3d_p", "svd", "aaa", "loras/moon"):
        (tmp_path / f"{name}.safetensors").touch()
    folders = {"models": tmp_path, "loras": tmp_path / "loras"}
    monkeypatch.setattr(builtin_models, "FOLDERS", folders)
    return tmp_path


def test_names_tell_what_ships_with_the_one_to_begin_with_first(shipped):
    assert builtin_names("models") == ["builtin:svd", "builtin:aaa", "builtin:sv3d_p"]
    assert builtin_names("loras") == ["builtin:moon"]
    assert find_builtin("builtin:moon", "loras") == shipped / "loras" / "moon.safetensors"
    assert is_builtin("builtin:moon") and not is_builtin("moon.safetensors")


def test_a_name_that_does_not_ship_is_told_with_those_that_do(shipped):
    with pytest.raises(CheckpointError, match=re.escape("No LoRA called 'svd' comes with the pack. There are moon.")):
        find_builtin("builtin:svd", "loras")
    with pytest.raises(CheckpointError, match="No model called '../svd'"):
        find_builtin("builtin:../svd", "models")


def test_what_ships_is_what_is_promised():
    assert builtin_names("models") == [f"builtin:{name}" for name in MODELS]
    assert builtin_names("loras") == [f"builtin:{name}" for name in LORAS]
    assert load_clip("builtin", dtype=torch.float32, device="cpu").text is not None


@pytest.mark.parametrize("name", CARDS)
def test_what_ships_has_a_card_that_tells_how_it_was_made(name):
    card = (BUILTIN / f"{name}.md").read_text(encoding="utf-8")

    assert all(word in card for word in ("Data", "Seed", "Time", "Numbers", f"zoetrope toyworld train {name}"))


def rows_below(heading, card):
    """The rows of a card's table, by their first cell."""
    _, found, section = card.partition(f"\n## {heading}\n")
    assert found, f"the card lacks {heading}"
    table = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]
    return {name: [float(value) for value in values] for name, *values in rows}


@pytest.mark.parametrize("name", CARDS)
def test_what_ships_was_made_again_with_about_the_same_numbers(name):
    """As the cards tell, to which whoever makes the models anew adds what came of making them a second time."""
    card = (BUILTIN / f"{name}.md").read_text(encoding="utf-8")
    ships, again = rows_below("Numbers", card), rows_below("Made again", card)

    assert ships and again.keys() == ships.keys()
    for what, (number, made_again) in again.items():
        assert number == ships[what][0]
        assert made_again == pytest.approx(number, abs=NOISE[what]), what


@pytest.mark.parametrize("name", [f"builtin:{name}" for name in MODELS])
def test_every_model_that_ships_loads(name):
    facts = recognise(name)
    model = load_svd(name, dtype=torch.float32, device="cpu")

    assert model.family == facts.family == find_builtin(name, "models").stem
    assert (model.width, model.height) == (64, 64)
    assert all(weights.isfinite().all() for weights in model.unet.module.parameters())


@pytest.mark.parametrize("name", [f"builtin:{name}" for name in LORAS])
def test_every_lora_that_ships_loads(name):
    model = load_svd("builtin:svd", dtype=torch.float32, device="cpu")

    assert load_lora(model, name).unet is not model.unet


def test_what_ships_is_small():
    sizes = {path: path.stat().st_size for path in BUILTIN.rglob("*") if path.is_file()}

    assert max(sizes.values()) < MOST_BYTES
    assert sum(sizes.values()) < MOST_BYTES_TOGETHER
