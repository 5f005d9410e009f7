import math

import pytest
import torch
from torch.testing import assert_close

from zoetrope.pipelines.conditioning import (
    checked_picture,
    clip_pixels,
    draw_noise,
    embed_picture,
    encode_condition,
    encode_pictures,
    seeded,
    sv3d_p_vector,
    sv3d_u_vector,
    svd_vector,
)

from ..random_checkpoints import golden_io
from .conftest import config

KINDS = ["svd", "svd_deep", "sv3d_u", "sv3d_p"]


def network_picture(image: torch.Tensor) -> torch.Tensor:
    return image.movedim(-1, 0)[None] / 255 * 2 - 1


@pytest.mark.parametrize("case", range(3))
def test_clip_is_shown_what_the_reference_shows_it(case):
    golden = golden_io("clip")

    pixels = clip_pixels(network_picture(golden[f"image_u8_{case}"]))

    assert_close(pixels[:, :, ::8, ::8], golden[f"preprocessed_{case}_8x"], rtol=0, atol=5e-6)
    mean_and_deviation = torch.stack([pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))])
    assert_close(mean_and_deviation, golden[f"preprocessed_{case}_mean_std"], rtol=0, atol=5e-6)


@pytest.mark.parametrize("case", range(3))
def test_clip_sees_what_it_sees_in_the_reference(tiny, case):
    golden = golden_io("clip")

    token = embed_picture(tiny("svd").image_encoder, network_picture(golden[f"image_u8_{case}"]))

    assert_close(token[0], golden[f"embed_{case}"], rtol=0, atol=5e-6)


@pytest.mark.parametrize("kind, fixture", [("svd", "vae_svd"), ("sv3d_u", "vae_sv3d")])
def test_the_latent_of_a_picture_is_the_reference_s_and_not_scaled(tiny, kind, fixture):
    golden = golden_io(fixture)

    latent = encode_pictures(tiny(kind).vae, network_picture(golden["image_u8"]))

    assert_close(latent, golden["cond_latent_mode"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_told_as_by_the_reference_exactly(kind):
    golden, numbers = golden_io(kind)["vector"], config(kind)["numbers"]
    frames = len(golden)
    if kind == "sv3d_p":
        vector = sv3d_p_vector(numbers["polars_rad"], numbers["azimuths_rad"], cond_aug=numbers["cond_aug"])
    elif kind == "sv3d_u":
        vector = sv3d_u_vector(frames, cond_aug=numbers["cond_aug"])
    else:
        vector = svd_vector(frames, **numbers)

    assert torch.equal(vector, golden)


@pytest.mark.parametrize("kind", KINDS)
def test_a_condition_and_its_noise_are_the_reference_s_from_the_seed(tiny, kind):
    golden, numbers = golden_io(f"e2e_{kind}"), config(f"e2e_{kind}")
    generator, picture = seeded(numbers["seed"]), network_picture(golden["image_u8"])

    condition = encode_condition(
        tiny(kind), picture, torch.zeros(1, 768), cond_aug=numbers["numbers"]["cond_aug"], generator=generator
    )

    assert_close(condition.context[0], golden["clip_embed"], rtol=0, atol=5e-6)
    assert_close(condition.latent, golden["cond_latent"], rtol=0, atol=2e-5)
    assert torch.equal(draw_noise(golden["noise"].shape, generator), golden["noise"])


def test_networks_of_low_precision_give_conditions_in_float32(tiny):
    from copy import deepcopy

    from zoetrope.host.weights import stationary

    encoder = stationary(deepcopy(tiny("svd").image_encoder.module).bfloat16())
    vae = stationary(deepcopy(tiny("svd").vae.module).bfloat16())
    picture = network_picture(golden_io("e2e_svd")["image_u8"])

    token, latent = embed_picture(encoder, picture), encode_pictures(vae, picture)

    assert token.dtype == latent.dtype == torch.float32
    assert_close(token, embed_picture(tiny("svd").image_encoder, picture), rtol=0, atol=0.1)


def test_grey_becomes_a_colour_alpha_is_dropped_and_overshoot_comes_back():
    grey, alpha = torch.rand(4, 5, 1), torch.rand(4, 5, 4)

    assert torch.equal(checked_picture(grey), grey.expand(4, 5, 3))
    assert torch.equal(checked_picture(alpha), alpha[..., :3])
    assert checked_picture(torch.tensor([[[-0.05, 0.5, 1.05]]])).flatten().tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    "image, sentence",
    [
        (torch.zeros(2, 64, 64, 3), r"The picture is \(2, 64, 64, 3\) of torch.float32.*take one picture"),
        (torch.zeros(3, 64, 64), r"The picture is \(3, 64, 64\)"),
        (torch.zeros(64, 64, 3, dtype=torch.uint8), "of torch.uint8.*divide bytes by 255"),
        (torch.zeros(64, 0, 3), "0x64 pixels, so there is nothing to see"),
        (torch.full((8, 8, 3), math.nan), "holds NaN or infinity"),
        (torch.full((8, 8, 3), 200.0), "values go from 200 to 200.*Divide bytes by 255"),
        (torch.full((8, 8, 3), -1.0), "values go from -1 to -1.*from -1..1, add 1 and halve"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(image, sentence):
    with pytest.raises(ValueError, match=sentence):
        checked_picture(image)
