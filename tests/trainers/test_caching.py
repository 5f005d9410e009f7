"""The cache never gives what belongs to something else, or what is damaged."""

import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zoetrope.trainers.caching import CacheKey, TensorCache, hash_of_files, hash_of_tensors

KEY = CacheKey(source="s", view={"size": [64, 64], "crop": "centre"}, model="m", code=1)
LATENTS = {"mean": torch.arange(6.0).reshape(2, 3), "std": torch.ones(2, dtype=torch.bfloat16)}


@pytest.fixture
def notes():
    return []


@pytest.fixture
def cache(tmp_path, notes):
    return TensorCache(tmp_path / "cache", notes.append)


def must_not_be_made():
    raise AssertionError("it is there already")


def test_what_was_made_once_is_read_from_then_on(cache):
    made = cache.get(KEY, lambda: LATENTS)
    read = cache.get(KEY, must_not_be_made)

    for name, tensor in LATENTS.items():
        assert torch.equal(made[name], tensor)
        assert torch.equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype


@pytest.mark.parametrize(
    "change",
    [
        {"source": "t"},
        {"view": {"size": [64, 128], "crop": "centre"}},
        {"view": {"size": [64, 64], "crop": "left"}},
        {"view": {"size": [64, 64], "crop": "centre", "flip": True}},
        {"model": "n"},
        {"code": 2},
    ],
)
def test_whatever_changes_the_entry_is_another(cache, change):
    cache.get(KEY, lambda: LATENTS)

    other = cache.get(replace(KEY, **change), lambda: {"mean": torch.zeros(1)})

    assert torch.equal(other["mean"], torch.zeros(1))
    assert torch.equal(cache.get(KEY, must_not_be_made)["mean"], LATENTS["mean"])


def test_the_order_in_which_a_view_is_described_does_not_matter():
    assert KEY.name == replace(KEY, view={"crop": "centre", "size": [64, 64]}).name


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda path: path.write_bytes(path.read_bytes()[:-4]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"<html>"),
        lambda path: save_file({"mean": torch.ones(2, 3)}, path),
    ],
    ids=["a bit", "cut", "empty", "another file", "other tensors"],
)
def test_a_damaged_entry_is_made_again_and_said(cache, notes, damage):
    cache.get(KEY, lambda: LATENTS)
    damage(cache.path_of(KEY))

    again = cache.get(KEY, lambda: LATENTS)

    assert torch.equal(again["mean"], LATENTS["mean"])
    assert len(notes) == 1
    assert "made again" in notes[0]
    assert torch.equal(cache.get(KEY, must_not_be_made)["mean"], LATENTS["mean"])


def test_filling_holds_one_entry_at_a_time(cache):
    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0

    def make():
        nonlocal most
        tensor = torch.rand(100)
        alive.add(tensor)
        most = max(most, len(alive))
        return {"latent": tensor}

    filled = list(cache.fill((replace(KEY, source=str(index)), make) for index in range(20)))

    assert len(filled) == 20
    assert most == 1
    assert all(cache.path_of(key).is_file() for key in filled)


def test_a_making_that_fails_leaves_nothing(cache, tmp_path):
    def make():
        raise RuntimeError("the clip is gone")

    with pytest.raises(RuntimeError):
        cache.get(KEY, make)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_full_disk_is_said_in_a_sentence_and_leaves_no_half_entry(cache, tmp_path, monkeypatch):
    def full(path, data):
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(ValueError, match="cannot be written. The disk is full"):
        cache.get(KEY, lambda: LATENTS)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_hash_of_files_is_of_their_bytes_and_order(tmp_path):
    one, two = tmp_path / "1.png", tmp_path / "2.png"
    one.write_bytes(b"ab")
    two.write_bytes(b"c")
    before = hash_of_files([one, two])

    moved = one.rename(tmp_path / "3.png")
    assert hash_of_files([moved, two]) == before
    assert hash_of_files([two, moved]) != before
    two.write_bytes(b"d")
    assert hash_of_files([moved, two]) != before
    moved.write_bytes(b"a")
    two.write_bytes(b"bc")
    assert hash_of_files([moved, two]) != before


def test_the_hash_of_tensors_tells_models_apart():
    model = nn.Linear(3, 3)
    before = hash_of_tensors(model.state_dict())
    assert hash_of_tensors(model.state_dict()) == before

    with torch.no_grad():
        model.bias[1] += 1e-7

    assert hash_of_tensors(model.state_dict()) != before
    assert hash_of_tensors({"a": torch.zeros(4)}) != hash_of_tensors({"a": torch.zeros(2, 2)})
    assert hash_of_tensors({"a": torch.zeros(4)}) != hash_of_tensors({"b": torch.zeros(4)})
    assert hash_of_tensors({"a": torch.zeros(0)}) != hash_of_tensors({})
