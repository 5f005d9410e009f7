from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from zoetrope.host.weights import Weights
from zoetrope.pipelines import decoding
from zoetrope.pipelines.decoding import decode_latents

from ..random_checkpoints import golden_io
from .conftest import config

plain_and_lean = pytest.mark.parametrize("lean", [False, True], ids=["plain", "lean"])
FIXTURES = {"svd": "vae_svd", "sv3d_u": "vae_sv3d", "svd_image_decoder": "vae_svd_image_decoder"}


def pictures(decoded: torch.Tensor) -> torch.Tensor:
    return ((decoded + 1) / 2).clamp(0, 1).movedim(1, -1)


@plain_and_lean
@pytest.mark.parametrize("kind, fixture", FIXTURES.items())
def test_chunks_are_decoded_as_by_the_reference(tiny, kind, fixture, lean):
    golden = golden_io(fixture)

    result = decode_latents(tiny(kind), golden["z"], decoding_t=config(fixture)["decode_chunk"], lean=lean)

    assert_close(result, pictures(golden["decoded_chunked"]), rtol=0, atol=1e-5)


@plain_and_lean
def test_without_seams_the_clip_is_decoded_as_one(tiny, lean):
    golden = golden_io("vae_svd")

    result = decode_latents(tiny("svd"), golden["z"], decoding_t=1, seams=False, lean=lean)

    assert_close(result, pictures(golden["decoded_all_at_once"]), rtol=0, atol=1e-5)
    assert (result - decode_latents(tiny("svd"), golden["z"], decoding_t=3)).abs().max() > 1e-3  # seams are seen


@pytest.mark.parametrize("kind", ["sv3d_u", "svd_image_decoder"])
def test_a_decoder_that_looks_at_single_pictures_has_no_seams(tiny, kind):
    latents = golden_io(FIXTURES[kind])["z"]

    assert_close(
        decode_latents(tiny(kind), latents, decoding_t=1), decode_latents(tiny(kind), latents), rtol=0, atol=1e-5
    )


class Small(nn.Module):
    """A decoder with room for so many frames, which notes how many it was given."""

    def __init__(self, vae: nn.Module, most_frames: int):
        super().__init__()
        self.vae, self.most_frames, self.given = vae, most_frames, []
        self.config = vae.config

    def decode(self, latents, **keywords):
        if len(latents) > self.most_frames:
            raise torch.cuda.OutOfMemoryError("no room")
        self.given.append(len(latents))
        return self.vae.decode(latents, **keywords)


def small(model, most_frames):
    return replace(model, vae=Weights(Small(model.vae.module, most_frames)))


def test_where_memory_is_not_enough_all_chunks_are_halved_and_the_user_is_told(tiny):
    latents = golden_io("vae_svd")["z"]
    model = small(tiny("svd"), 1)

    with pytest.warns(UserWarning) as told:
        result = decode_latents(model, latents, decoding_t=3, lean=False)

    assert model.vae.module.given == [1, 1, 1, 1]
    assert [str(each.message).split(".")[0] for each in told] == [
        "Memory is not enough to decode 3 frames at a time, so it is done in chunks of 2",
        "Memory is not enough to decode 2 frames at a time, so it is done in chunks of 1",
    ]
    assert_close(result, decode_latents(tiny("svd"), latents, decoding_t=1), rtol=0, atol=1e-5)


def test_for_single_pictures_smaller_chunks_change_nothing_and_nobody_is_told(tiny):
    latents = golden_io("vae_sv3d")["z"]
    model = small(tiny("sv3d_u"), 2)

    result = decode_latents(model, latents, lean=False)

    assert max(model.vae.module.given) == 2
    assert_close(result, decode_latents(tiny("sv3d_u"), latents), rtol=0, atol=1e-5)


def test_where_memory_does_not_hold_one_frame_the_error_is_the_device_s(tiny):
    with pytest.raises(torch.cuda.OutOfMemoryError):
        decode_latents(small(tiny("sv3d_u"), 0), golden_io("vae_sv3d")["z"], lean=False)


def test_a_cpu_is_not_asked_for_memory_that_it_does_not_have(tiny, monkeypatch):
    latents, model = golden_io("vae_svd")["z"], small(tiny("svd"), 4)
    enough_for_two = decoding.vae_bytes(tiny("svd").vae.module, 2, 8 * latents.shape[2], 8 * latents.shape[3])
    monkeypatch.setattr(decoding.work, "available_bytes", lambda device: enough_for_two)

    with pytest.warns(UserWarning, match="not enough to decode 4 frames"):
        decode_latents(model, latents, lean=False)

    assert model.vae.module.given == [2, 2]


def test_frames_come_to_the_device_that_was_asked_for_in_float32_and_without_gradients(tiny):
    latents = golden_io("vae_svd")["z"]

    result = decode_latents(tiny("svd"), latents, device="meta")

    assert (result.device.type, result.dtype, result.requires_grad) == ("meta", torch.float32, False)
    assert result.shape == (len(latents), 8 * latents.shape[2], 8 * latents.shape[3], 3)
