import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from torch.testing import assert_close

from zoetrope.models.errors import CheckpointError
from zoetrope.models.tiny_decoder import load_tiny_decoder
from zoetrope.pipelines.decoding import decode_latents


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    width = (16, 16, 16, 16)
    return AutoencoderTiny(encoder_block_out_channels=width, decoder_block_out_channels=width).eval()


def as_its_author_gives_it(theirs):
    """Layer 0, which clamps, has no weights."""
    return {f"{int(number) + 1}.{rest}": weights.contiguous() for number, rest, weights in numbered(theirs)}


def numbered(theirs):
    for key, weights in theirs.decoder.layers.state_dict().items():
        number, rest = key.split(".", 1)
        yield number, rest, weights


def file_of(tensors, path):
    save_file(tensors, path)
    return path


def load(path):
    return load_tiny_decoder(path, dtype=torch.float32, device="cpu")


@pytest.mark.parametrize("layout", ["author", "comfyui", "diffusers"])
def test_every_layout_is_the_decoder_of_diffusers(theirs, tmp_path, layout):
    author = as_its_author_gives_it(theirs)
    tensors = {
        "author": author,
        "comfyui": {f"taesd_decoder.{key}": weights for key, weights in author.items()},
        "diffusers": dict(theirs.state_dict()),  # its encoder too
    }[layout]
    latents = torch.randn(3, 4, 4, 6)

    decoder = load(file_of(tensors, tmp_path / "taesd_decoder.safetensors"))

    with torch.no_grad():
        assert_close(decoder.module(latents), theirs.decode(latents).sample)


def test_a_clip_is_decoded_without_the_vae(theirs, tmp_path):
    decoder = load(file_of(as_its_author_gives_it(theirs), tmp_path / "taesd_decoder.safetensors"))
    latents = torch.randn(5, 4, 4, 6)

    pictures = decode_latents(None, latents, decoding_t=2, tiny_decoder=decoder)

    with torch.no_grad():
        expected = ((theirs.decode(latents).sample + 1) / 2).clamp(0, 1).movedim(1, -1)
    assert_close(pictures, expected)


def test_the_tiny_decoder_of_other_latents_is_told_for_what_it_is(tmp_path):
    other = AutoencoderTiny(
        latent_channels=16, encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4
    )

    with pytest.raises(CheckpointError, match="taef1.* is not the tiny decoder of Stable Diffusion 1's latents"):
        load(file_of(as_its_author_gives_it(other), tmp_path / "taef1_decoder.safetensors"))


def test_what_is_no_decoder_is_told_for_what_it_is(tmp_path):
    with pytest.raises(CheckpointError, match="is not the tiny decoder"):
        load(file_of({"lora.weight": torch.zeros(2)}, tmp_path / "lora.safetensors"))


def test_missing_layers_are_named(theirs, tmp_path):
    tensors = as_its_author_gives_it(theirs)
    del tensors["19.bias"]

    with pytest.raises(CheckpointError, match="not a whole TAESD decoder: layers.18.bias are missing"):
        load(file_of(tensors, tmp_path / "taesd_decoder.safetensors"))
