"""The rewritten decoders against the VAEs' own, on random networks of their classes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model

from zoetrope.models.lean_vae import lean_decode

from ..pipelines.peak import peak_bytes
from .lean_networks import distance, small_image_vae, small_temporal_vae


def latents_of(frames=3, size=(4, 5), dtype=torch.float32):
    return torch.randn(frames, 4, *size, generator=torch.Generator().manual_seed(0)).to(dtype)


def plainly_decoded(vae, latents):
    if hasattr(vae.decoder, "time_conv_out"):
        return vae.decode(latents, num_frames=len(latents)).sample
    return vae.decode(latents).sample


widths = st.lists(st.sampled_from([32, 64]), min_size=1, max_size=3).map(tuple)


@settings(max_examples=8)
@given(widths=widths, frames=st.integers(1, 5), size=st.tuples(st.integers(2, 6), st.integers(2, 6)))
def test_in_double_precision_a_clip_is_decoded_as_the_temporal_vae_decodes_it(widths, frames, size):
    vae, latents = small_temporal_vae(widths).double(), latents_of(frames, size, torch.float64)

    assert distance(lean_decode(vae, latents), plainly_decoded(vae, latents)) < 1e-10


@settings(max_examples=8)
@given(widths=widths, frames=st.integers(1, 3), post_quant=st.booleans())
def test_in_double_precision_pictures_are_decoded_as_the_image_vae_decodes_them(widths, frames, post_quant):
    vae, latents = small_image_vae(widths, post_quant=post_quant).double(), latents_of(frames, dtype=torch.float64)

    assert distance(lean_decode(vae, latents), plainly_decoded(vae, latents)) < 1e-10


@pytest.mark.parametrize("vae_of", [small_temporal_vae, small_image_vae])
def test_in_single_precision_the_result_is_at_least_as_near_to_the_truth(vae_of):
    vae, latents = vae_of((32, 64, 64)), latents_of(4)
    lean, plain = lean_decode(vae, latents), plainly_decoded(vae, latents)
    exact = plainly_decoded(vae.double(), latents.double())

    assert distance(lean, exact) < max(2e-6, distance(plain, exact))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 1e-2), (torch.bfloat16, 5e-2)])
def test_in_half_precision_the_result_is_as_near_to_the_truth(dtype, tolerance):
    vae, latents = small_temporal_vae(), latents_of()
    exact = plainly_decoded(vae, latents)
    vae, latents = vae.to(dtype), latents.to(dtype)

    lean = lean_decode(vae, latents)

    assert lean.dtype == dtype
    assert distance(lean, exact) < min(tolerance, 1.5 * distance(plainly_decoded(vae, latents), exact))


@pytest.mark.parametrize("vae_of", [small_temporal_vae, small_image_vae])
@pytest.mark.parametrize("slice_bytes", [1, 40_000, 200_000])
def test_slices_of_any_size_leave_no_seams(vae_of, slice_bytes, monkeypatch):
    vae, latents = vae_of().double(), latents_of(7, dtype=torch.float64)
    monkeypatch.setattr("zoetrope.models.lean_layers.CONVOLUTION_BYTES", slice_bytes)

    assert distance(lean_decode(vae, latents), plainly_decoded(vae, latents)) < 1e-10


def test_each_further_frame_takes_the_memory_of_two_tensors_of_the_last_layers(monkeypatch):
    for name, size in (("LEAST_ROWS", 64), ("CACHE_BYTES", 16_000), ("CONVOLUTION_BYTES", 64_000)):
        monkeypatch.setattr(f"zoetrope.models.lean_layers.{name}", size)
    vae = small_temporal_vae((32, 64, 64))

    few, many = (peak_bytes(lambda frames=frames: lean_decode(vae, latents_of(frames, (8, 8)))) for frames in (4, 16))

    picture_of_last_layers = 32 * (8 * 4) ** 2 * 4  # channels, pixels, bytes
    assert many - few < 2.1 * 12 * picture_of_last_layers
    assert many < 0.3 * peak_bytes(lambda: plainly_decoded(vae, latents_of(16, (8, 8))))


def test_lora_layers_are_respected_wherever_they_are():
    vae, latents = small_temporal_vae().double(), latents_of(dtype=torch.float64)
    without = lean_decode(vae, latents)
    targets = [
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
        "conv",
        "conv1",
        "conv2",
        "conv_in",
        "conv_out",
        "conv_shortcut",
        "time_conv_out",
    ]
    adapted = inject_adapter_in_model(LoraConfig(r=2, target_modules=targets, init_lora_weights=False), vae).double()

    lean = lean_decode(adapted, latents)

    assert distance(lean, plainly_decoded(adapted, latents)) < 1e-10
    assert distance(lean, without) > 0.01


def test_the_latents_are_left_as_they_are():
    latents = latents_of()
    before = latents.clone()

    lean_decode(small_temporal_vae(), latents)

    assert torch.equal(latents, before)
