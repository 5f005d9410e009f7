import pytest
import torch
from torch.testing import assert_close

from zoetrope.models.autoencoders import (
    decoding_clips,
    is_temporal_layer,
    load_autoencoder,
    new_autoencoder,
    save_autoencoder,
    with_latents_scaled,
)

PICTURES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def vae():
    return new_autoencoder((32, 64), 1, seed=0).requires_grad_(False)


def test_the_twin_of_clips_decodes_as_the_one_of_pictures_until_it_is_trained(vae):
    twin = decoding_clips(vae, seed=0)
    latents = vae.encode(PICTURES).latent_dist.mean

    with torch.no_grad():
        assert_close(twin.encode(PICTURES).latent_dist.mean, latents)
        decoded = twin.decode(latents, num_frames=3).sample
    assert_close(decoded, vae.decode(latents).sample)
    temporal = [name for name, _ in twin.named_parameters() if is_temporal_layer(name)]
    assert len(dict(twin.named_parameters())) - len(temporal) == len(dict(vae.named_parameters()))


def test_scaled_latents_are_decoded_to_the_same_pictures(vae):
    scaled = with_latents_scaled(vae, 2.5)
    before, after = vae.encode(PICTURES).latent_dist, scaled.encode(PICTURES).latent_dist

    assert_close(after.mean, 2.5 * before.mean)
    assert_close(after.std, 2.5 * before.std)
    assert_close(scaled.decode(after.mean).sample, vae.decode(before.mean).sample, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("of_clips", [False, True])
def test_a_file_gives_back_what_was_saved(vae, of_clips, tmp_path):
    saved = decoding_clips(vae, seed=0) if of_clips else vae
    save_autoencoder(saved, tmp_path / "vae.safetensors")

    loaded = load_autoencoder(tmp_path / "vae.safetensors")

    assert type(loaded) is type(saved)
    for name, weights in saved.state_dict().items():
        assert_close(loaded.state_dict()[name], weights, rtol=0, atol=0)
