"""The estimates against what is counted, on narrow networks of the real topology.

Kernels take some memory for themselves, which is estimated but not counted.
"""

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder

from zoetrope.models.lean_unet import LeanUNet, PlainUNet
from zoetrope.models.lean_vae import lean_decode
from zoetrope.models.svd_unet import VideoUNet
from zoetrope.pipelines.activations import SLICE_BYTES, unet_bytes, vae_bytes

from .peak import peak_bytes

SHAPE = (3, 4, 32, 32)


@pytest.fixture(scope="module")
def unet():
    return VideoUNet(
        block_out_channels=(32, 64, 128, 128), num_attention_heads=(2, 4, 8, 8), cross_attention_dim=32,
        projection_class_embeddings_input_dim=768,
    ).eval().requires_grad_(False)  # fmt: skip


@pytest.fixture(scope="module")
def vae():
    return AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 64, 128, 128), down_block_types=("DownEncoderBlock2D",) * 4, layers_per_block=2
    ).eval().requires_grad_(False)  # fmt: skip


def evaluation(network, unet, clips):
    frames, _, height, width = SHAPE
    ready = network(unet, torch.randn(clips, 1, 32), torch.randn(clips, frames, 768))
    return lambda: ready(torch.randn(clips, frames, 8, height, width), torch.tensor([0.5]))


@pytest.mark.parametrize("clips", [1, 2])
def test_the_unet_takes_what_was_estimated_or_little_less(unet, clips):
    counted = peak_bytes(evaluation(PlainUNet, unet, clips))

    assert counted <= unet_bytes(unet, SHAPE, clips=clips) <= 1.3 * counted


def test_the_lean_unet_takes_what_was_estimated_or_little_less(unet):
    counted = peak_bytes(evaluation(LeanUNet, unet, 1))

    assert counted <= unet_bytes(unet, SHAPE, lean=True) <= 1.3 * counted + SLICE_BYTES


def test_the_vae_takes_what_was_estimated_or_little_less(vae):
    latents, picture = torch.randn(4, 4, 8, 12), torch.randn(1, 3, 64, 96)
    decoding = peak_bytes(lambda: vae.decode(latents, num_frames=4))
    encoding = peak_bytes(lambda: vae.encode(picture))

    assert decoding <= vae_bytes(vae, 4, 64, 96) <= 1.6 * decoding
    assert encoding <= vae_bytes(vae, 1, 64, 96)


@pytest.mark.parametrize("frames", [1, 8])
def test_the_lean_decoder_takes_what_was_estimated_or_little_less(vae, frames):
    counted = peak_bytes(lambda: lean_decode(vae, torch.randn(frames, 4, 8, 12)))

    assert counted <= vae_bytes(vae, frames, 64, 96, lean=True) <= 2 * counted + SLICE_BYTES
