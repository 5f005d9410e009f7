import json
import struct

import pytest
import safetensors.torch
import torch

from zoetrope.models.checkpoints import ToWrite, open_checkpoint, open_shards, write_checkpoint
from zoetrope.models.errors import CheckpointError

from ..random_checkpoints import read_all, write_tensors

TENSORS = {
    "half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "brain": torch.arange(4, dtype=torch.bfloat16),
    "single": torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0)),
    "scalar": torch.tensor(2.5),
    "none": torch.zeros(0, 4),
    "whole": torch.tensor([1, -2, 3]),
}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype and torch.equal(one[key], other[key]) for key in one
    )


def test_what_others_write_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(TENSORS, path, {"note": "hello"})

    checkpoint = open_checkpoint(path)

    assert equal(read_all(checkpoint), TENSORS)
    assert checkpoint.metadata == {"note": "hello"}


@pytest.mark.parametrize("length", [0x7B, 0x5B, 0x207B, 0x7B20, 0x5B0A, 0x0280, 0x0580], ids=hex)
def test_the_length_of_a_list_of_tensors_is_not_taken_for_the_beginning_of_another_format(length, tmp_path):
    path = tmp_path / "model.safetensors"
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.ljust(length)
    path.write_bytes(struct.pack("<Q", length) + header + b"\x07")

    assert equal(read_all(open_checkpoint(path)), {"a": torch.tensor([7], dtype=torch.uint8)})


def test_others_read_what_is_written(tmp_path):
    path = write_tensors(tmp_path / "model.safetensors", TENSORS, {"note": "hello"})

    assert equal(safetensors.torch.load_file(path), TENSORS)
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", "note": "hello"}


def test_a_share_of_the_rows_is_read_alone(tmp_path):
    stacked = torch.arange(24.0).reshape(6, 4)
    checkpoint = open_checkpoint(write_tensors(tmp_path / "model.safetensors", {"before": stacked + 1, "qkv": stacked}))

    with checkpoint.reading() as reader:
        shares = [reader.read("qkv", share=share, shares=3) for share in range(3)]

    assert torch.equal(torch.cat(shares), stacked)
    assert all(share.shape == (2, 4) for share in shares)


def test_tensors_that_are_cast_have_memory_of_their_own(tmp_path):
    path = write_tensors(tmp_path / "model.safetensors", {"a": torch.ones(9), "b": torch.zeros(3), "c": torch.ones(99)})

    with open_checkpoint(path).reading() as reader:
        a, b, c = (reader.read(key, torch.float16) for key in "abc")

    assert (a.sum(), b.sum(), c.sum()) == (9, 0, 99)
    assert {a.dtype, b.dtype, c.dtype} == {torch.float16}


def test_what_is_read_has_memory_of_its_own(tmp_path):
    path = write_tensors(tmp_path / "model.safetensors", {"a": torch.ones(3)})
    with open_checkpoint(path).reading() as reader:
        tensor = reader.read("a")

    tensor += 1

    assert read_all(open_checkpoint(path))["a"].tolist() == [1, 1, 1]


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path):
    def fail() -> torch.Tensor:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        write_checkpoint(tmp_path / "model.safetensors", {"a": ToWrite(torch.float32, (1,), fail)}, {})

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html><head>", "is a web page"),
        (b"\n  <html lang=en>", "is a web page"),
        (b"\xef\xbb\xbf<!-- saved --><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9559625980\n", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(99), "pickle file"),
        (b"\x80\x02}q\x00(X", "pickle file"),
        (b"GGUF\x03\x00\x00\x00" + bytes(99), "GGUF"),
        (b'{"error": "Access to model stabilityai/sv3d is restricted."}', "text file"),
        (b"\xff\xd8\xff\xe0 a picture" + bytes(99), "not a safetensors file"),
        (b"abc", "not a safetensors file"),
        (struct.pack("<Q", 1000) + b'{"a":', "is cut short: it has 13 bytes and should have at least 1,008 bytes"),
        (struct.pack("<Q", 5) + b"{]}{}", "is damaged: its list of tensors cannot be read"),
        (struct.pack("<Q", 2) + b"{}", "holds no tensors"),
    ],
)
def test_a_file_that_is_something_else_is_told_for_what_it_is(tmp_path, content, said):
    path = tmp_path / "svd_xt.safetensors"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=said) as error:
        open_checkpoint(path)

    assert "svd_xt.safetensors" in str(error.value)


def test_a_truncated_download_is_told_with_its_size(tmp_path):
    path = write_tensors(tmp_path / "svd.safetensors", {"a": torch.zeros(1000)})
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(CheckpointError, match=f"cut short: it has {whole - 1:,} bytes and should have .* {whole:,} "):
        open_checkpoint(path)


def test_a_file_that_shrinks_while_it_is_read_is_told(tmp_path):
    path = write_tensors(tmp_path / "svd.safetensors", {"a": torch.zeros(1000)})
    checkpoint = open_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-1])

    with checkpoint.reading() as reader, pytest.raises(CheckpointError, match="became shorter"):
        reader.read("a")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "the size of w does not fit its shape"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}, "the size of w does not fit its shape"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}, "the size of w does not fit its shape"),
        ({"dtype": "F32", "shape": [1]}, "what it says of w makes no sense"),
        ({"dtype": "F32", "shape": "x", "data_offsets": [0, 4]}, "what it says of w makes no sense"),
        ("nothing", "what it says of w makes no sense"),
        ({"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}, "stores w as"),
        ({"dtype": "F4", "shape": [1], "data_offsets": [0, 4]}, "stores w as F4"),
    ],
)
def test_a_list_of_tensors_that_makes_no_sense_is_refused(tmp_path, entry, said):
    header = json.dumps({"w": entry}).encode()
    path = tmp_path / "svd.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))

    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(path)


def test_several_files_are_read_as_one(tmp_path):
    write_tensors(tmp_path / "model-00001-of-00002.safetensors", {"a": torch.ones(1)})
    write_tensors(tmp_path / "model-00002-of-00002.safetensors", {"b": torch.zeros(2)})
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))

    assert equal(read_all(open_shards(index)), {"a": torch.ones(1), "b": torch.zeros(2)})

    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks model-00002-of-00002.safetensors"):
        open_shards(index)


def test_an_index_never_leads_out_of_its_folder(tmp_path):
    write_tensors(tmp_path / "secret.safetensors", {"a": torch.ones(1)})
    (tmp_path / "unet").mkdir()
    index = tmp_path / "unet" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))

    with pytest.raises(CheckpointError, match="lacks secret.safetensors"):
        open_shards(index)


@pytest.mark.parametrize("text", ["", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', "{}"])
def test_an_index_that_is_none_is_refused(tmp_path, text):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)

    with pytest.raises(CheckpointError, match="is not an index"):
        open_shards(index)


def test_a_path_that_holds_no_file_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder"):
        open_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(tmp_path / "svd.safetensors")
