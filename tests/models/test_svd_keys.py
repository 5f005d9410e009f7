"""Every key of the released checkpoints becomes exactly one parameter, or the rows of three, and comes back."""

import math
from collections import Counter

import pytest
import torch
from torch import nn

from zoetrope.models.svd_keys import LEFTOVER, UNET, keys_by_part, names_of_part, places, unet_depths
from zoetrope.models.svd_layouts import HeadWidths, find_model
from zoetrope.models.svd_parts import Part, shapes_of

from ..random_checkpoints import manifest, write_headers

KINDS = ["svd", "svd_image_decoder", "sv3d_u", "sv3d_p"]
TEXT_LEFTOVERS = {
    f"conditioner.embedders.0.open_clip.model.{name}"
    for name in (
        "ln_final.bias",
        "ln_final.weight",
        "logit_scale",
        "positional_embedding",
        "text_projection",
        "token_embedding.weight",
    )
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_released_key_has_a_place_but_the_text_leftovers(kind):
    found = places(manifest(kind))

    assert {key for key, place in found.items() if place is None} == TEXT_LEFTOVERS
    assert {key for key in manifest(kind) if LEFTOVER.match(key)} == TEXT_LEFTOVERS


@pytest.mark.parametrize("kind", KINDS)
def test_every_released_key_comes_back_from_its_parameters(kind):
    parameters: Counter[tuple[str, str]] = Counter()
    for part, within in keys_by_part(manifest(kind)).items():
        names = names_of_part(part, within)
        for name in within:
            ours = names.ours(name)
            origins = [names.original(parameter) for parameter in ours]

            assert ours and {origin.key for origin in origins} == {name}
            assert [(origin.share, origin.shares) for origin in origins] == [(i, len(ours)) for i in range(len(ours))]
            parameters.update((part, parameter) for parameter in ours)

    assert set(parameters.values()) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_the_released_keys_fill_the_modules_to_the_last_parameter(kind, tmp_path):
    found = find_model(write_headers(manifest(kind), tmp_path / f"{kind}.safetensors"), HeadWidths(), half=True)

    for part in (found.unet, found.vae, found.image_encoder):
        module = on_meta(part)
        stored = shapes_of(part.checkpoint, part.origins)
        wanted = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}

        assert stored.keys() == wanted.keys()
        assert {name: math.prod(shape) for name, shape in stored.items()} == {
            name: math.prod(shape) for name, shape in wanted.items()
        }
    heads = {module.heads for name, module in on_meta(found.unet).named_modules() if name.endswith("attn1")}
    assert heads == {5, 10, 20}
    assert on_meta(found.image_encoder).config.num_attention_heads == 16


def on_meta(part: Part) -> nn.Module:
    with torch.device("meta"):
        return part.build()


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_that_nobody_uses_are_whole_autoencoders_halves(kind):
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
    wanted = {name for name, _ in vae.named_parameters()}
    for part, half in (("spare_encoder", ("encoder.", "quant_conv.")), ("spare_decoder", ("decoder.", "post_quant"))):
        given = {
            name for place in places(manifest(kind)).values() if place and place.part == part for name in place.names
        }
        expected = {name for name in wanted if name.startswith(half)}
        if part == "spare_encoder":
            # svd has no quant_conv there, sv3d nothing at all
            expected -= set() if kind == "svd_image_decoder" else {"quant_conv.weight", "quant_conv.bias"}
            expected = expected if kind.startswith("svd") else set()

        assert given == expected


def test_depths_are_read_from_the_keys():
    depths = unet_depths(key.removeprefix(UNET) for key in manifest("svd") if key.startswith(UNET))

    assert depths.layers == (2, 2, 2, 2)
    assert depths.attention == (True, True, True, False)


def test_a_name_that_is_in_no_table_has_no_place():
    keys = [*manifest("sv3d_u"), UNET + "input_blocks.1.1.view_attention.weight", "first_stage_model.loss.weight", "x"]

    assert {key for key, place in places(keys).items() if place is None} == {*keys[-3:], *TEXT_LEFTOVERS}
