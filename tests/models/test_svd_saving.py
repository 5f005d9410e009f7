from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from zoetrope.host.weights import stationary
from zoetrope.models.checkpoints import open_checkpoint
from zoetrope.models.errors import CheckpointError
from zoetrope.models.svd import SVDModel, load_svd
from zoetrope.models.svd_layouts import HeadWidths, find_model
from zoetrope.models.svd_parts import build, temporal_vae
from zoetrope.models.svd_saving import save_svd, tensors_of

from ..random_checkpoints import TINY, manifest, read_all, tiny_tensors, write_headers, write_tensors

ON_CPU = dict(dtype=torch.float32, device="cpu")
PARTS = ("unet", "vae", "image_encoder")


def assert_equal_parts(one: SVDModel, other: SVDModel) -> None:
    for part in PARTS:
        ours, theirs = (dict(getattr(model, part).module.named_parameters()) for model in (one, other))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", TINY)
def test_a_model_that_is_saved_is_the_same_when_loaded(kind, tiny_checkpoint, tmp_path):
    model = load_svd(tiny_checkpoint(kind), **ON_CPU)
    model = replace(model, version="mine", frames=9)
    path = tmp_path / "saved.safetensors"

    save_svd(model, path, {"note": "hello"})
    again = load_svd(path, **ON_CPU)

    assert_equal_parts(again, model)
    assert (again.family, again.version, again.frames, again.decoder) == (model.family, "mine", 9, model.decoder)
    assert again.unet.module.config == model.unet.module.config
    assert again.image_encoder.module.config.num_attention_heads == 2
    assert open_checkpoint(path).metadata["note"] == "hello"


@pytest.mark.parametrize("kind", TINY)
def test_what_is_saved_has_the_original_keys_and_values(kind, tiny_checkpoint, tmp_path):
    path = tmp_path / "saved.safetensors"
    save_svd(load_svd(tiny_checkpoint(kind), dtype=torch.float16, device="cpu"), path, for_comfyui=False)
    original, saved = tiny_tensors(kind), read_all(open_checkpoint(path))

    assert saved.keys() <= original.keys()
    assert all(each.dtype == torch.float16 and torch.equal(each, original[key]) for key, each in saved.items())
    left_out = {".".join(key.split(".")[:5]) for key in original.keys() - saved.keys()}
    assert not any(key.startswith(("model.", "first_stage_model.decoder.")) for key in left_out)


def test_the_precision_may_be_chosen(tiny_checkpoint, tmp_path):
    save_svd(load_svd(tiny_checkpoint("sv3d_p"), **ON_CPU), tmp_path / "a.safetensors", dtype=torch.bfloat16)

    assert {stored.dtype for stored in open_checkpoint(tmp_path / "a.safetensors").tensors.values()} == {torch.bfloat16}


def test_what_comfyui_encodes_svd_with_makes_the_same_latents(tiny_checkpoint, tmp_path):
    """It takes the first stage's encoder, which has no convolution of one pixel after it."""
    model = load_svd(tiny_checkpoint("svd"), **ON_CPU)
    save_svd(model, tmp_path / "saved.safetensors")
    saved = read_all(open_checkpoint(tmp_path / "saved.safetensors"))
    first_stage = {key: each for key, each in saved.items() if key.startswith("first_stage_model.")}
    theirs = load_svd(
        tiny_checkpoint("svd"), vae=write_tensors(tmp_path / "vae.safetensors", first_stage), **ON_CPU
    ).vae.module
    image = torch.rand(1, 3, 32, 48) * 2 - 1

    assert_close(
        theirs.encode(image).latent_dist.parameters,
        model.vae.module.encode(image).latent_dist.parameters,
        atol=2e-6,
        rtol=0,
    )


@pytest.mark.parametrize("kind", ["sv3d_u", "sv3d_p"])
def test_what_comfyui_decodes_orbits_with_makes_the_same_frames(kind, tiny_checkpoint, tmp_path):
    """It takes the whole autoencoder that lies beside the encoder of the picture."""
    model = load_svd(tiny_checkpoint(kind), **ON_CPU)
    save_svd(model, tmp_path / "saved.safetensors")
    saved = read_all(open_checkpoint(tmp_path / "saved.safetensors"))
    prefix = "conditioner.embedders.1.encoder."
    own = {key.removeprefix(prefix): each for key, each in saved.items() if key.startswith(prefix)}

    vae = load_svd(tiny_checkpoint(kind), vae=write_tensors(tmp_path / "vae.safetensors", own), **ON_CPU).vae.module
    z = torch.randn(2, 4, 4, 4)

    assert torch.equal(vae.decode(z).sample, model.vae.module.decode(z).sample)


@pytest.mark.parametrize("kind", ["svd", "svd_image_decoder", "sv3d_u", "sv3d_p"])
def test_at_full_size_the_keys_and_shapes_are_those_of_the_release(kind, tmp_path):
    """On the meta device, so that only names and shapes are compared; the values follow the same paths."""
    shapes = manifest(kind)
    found = find_model(write_headers(shapes, tmp_path / "full.safetensors"), HeadWidths(), half=True)
    family = kind if kind.startswith("sv3d") else "svd"
    parts = {name: stationary(build(getattr(found, name))) for name in PARTS}
    decoder = "temporal" if kind == "svd" else "image"
    model = SVDModel(family, "", decoder, 14, "full", dtype=torch.float16, **parts)

    saved = {key: each.shape for key, each in tensors_of(model, torch.float16).items()}

    assert saved.items() <= shapes.items()
    left_out = {key for key in shapes if key not in saved and ".open_clip.model." not in key}
    beside = "conditioner.embedders.3.encoder."  # svd's second decoder, which no program reads
    assert all(key.startswith((beside + "decoder.", beside + "post_quant_conv.")) for key in left_out)


# --- Architectures of other widths and depths -------------------------------------------------------------------------


def random_(module: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return module.eval().requires_grad_(False)


UNETS = [
    # widths, layers, levels with attention, transformer depths, width of a head
    ((32,), (1,), (True,), (1,), 32),
    ((32,), (2,), (False,), (1,), 8),
    ((32, 64, 96), (3, 3, 3), (True, False, True), (1, 1, 1), 32),
    ((64, 64), (2, 2), (False, True), (1, 2), 64),
    ((32, 32, 64, 64), (1, 1, 1, 1), (True, True, True, False), (2, 1, 1, 1), 4),
    ((32, 64), (1, 2), (True, True), (1, 1), 16),
]


@pytest.mark.parametrize("unet, vector", [*((unet, 256) for unet in UNETS), (UNETS[2], 768), (UNETS[2], 1280)])
def test_models_of_any_width_and_depth_come_back(unet, vector, tmp_path):
    from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from zoetrope.models.svd_unet import VideoUNet

    widths, layers, attention, depths, head = unet
    kinds = ["CrossAttn" if has else "" for has in attention]
    module = VideoUNet(
        down_block_types=tuple(f"{kind}DownBlockSpatioTemporal" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlockSpatioTemporal" for kind in reversed(kinds)),
        block_out_channels=widths,
        layers_per_block=layers,
        transformer_layers_per_block=depths,
        num_attention_heads=tuple(width // head for width in widths),
        cross_attention_dim=24,
        projection_class_embeddings_input_dim=vector,
    )
    encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=3,
            num_attention_heads=3,
            patch_size=8,
            image_size=40,
            projection_dim=24,
            hidden_act="gelu",
        )
    )
    levels = len(widths)
    blocks = dict(block_out_channels=widths, down_block_types=("DownEncoderBlock2D",) * levels, layers_per_block=2)
    if vector == 768:
        vae = AutoencoderKLTemporalDecoder(**blocks)
    else:
        vae = AutoencoderKL(**blocks, up_block_types=("UpDecoderBlock2D",) * levels, use_post_quant_conv=False)
    families = {768: "svd", 256: "sv3d_u", 1280: "sv3d_p"}
    placed = {
        name: stationary(random_(part, seed))
        for seed, (name, part) in enumerate(zip(PARTS, (module, vae, encoder), strict=True))
    }
    decoder = "temporal" if vector == 768 else "image"
    model = SVDModel(families[vector], "", decoder, 5, "random", dtype=torch.float32, **placed)

    save_svd(model, tmp_path / "random.safetensors")
    again = load_svd(tmp_path / "random.safetensors", **ON_CPU)

    assert_equal_parts(again, model)
    assert again.family == model.family and again.frames == 5
    x, context = torch.randn(1, 2, 8, 16, 16), torch.randn(1, 1, 24)
    numbers = (torch.tensor([0.3]), context, torch.randn(1, 2, vector))
    assert torch.equal(again.unet.module(x, *numbers), model.unet.module(x, *numbers))
    pixels = torch.randn(1, 3, 40, 40)
    assert torch.equal(
        again.image_encoder.module(pixel_values=pixels).image_embeds, encoder(pixel_values=pixels).image_embeds
    )


@pytest.mark.parametrize("layers", [1, 3])
def test_a_temporal_vae_of_any_depth_has_two_blocks_in_the_middle_as_the_reference(layers, tiny_checkpoint, tmp_path):
    model = load_svd(tiny_checkpoint("svd"), **ON_CPU)
    config = dict(block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2, layers_per_block=layers)
    vae = random_(temporal_vae(config), 0)

    save_svd(replace(model, vae=stationary(vae)), tmp_path / "a.safetensors")
    again = load_svd(tmp_path / "a.safetensors", **ON_CPU).vae.module

    z = torch.randn(3, 4, 4, 4)
    assert len(again.decoder.mid_block.resnets) == 2 and len(again.encoder.down_blocks[0].resnets) == layers
    assert torch.equal(again.decode(z, num_frames=3).sample, vae.decode(z, num_frames=3).sample)


def test_a_model_that_a_file_cannot_hold_is_refused(tiny_checkpoint, tmp_path):
    from zoetrope.models.svd_unet import VideoUNet

    model = load_svd(tiny_checkpoint("svd"), **ON_CPU)
    config = dict(model.unet.module.config) | {"num_attention_heads": (2, 2)}
    uneven = VideoUNet(**{name: value for name, value in config.items() if not name.startswith("_")})

    with pytest.raises(CheckpointError, match=r"are \[16, 32\] wide"):
        save_svd(replace(model, unet=stationary(uneven)), tmp_path / "a.safetensors")
    uneven.lora = nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match=r"has no name for: lora.bias, lora.weight\. Merge"):
        save_svd(replace(model, unet=stationary(uneven)), tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def with_its_own(part, model):
    """The model with a copy of one part, which may be changed: what is loaded is shared with all who load that file."""
    return replace(model, **{part: stationary(deepcopy(getattr(model, part).module))})


@pytest.mark.parametrize("part, layer", [("unet", "to_q"), ("vae", "to_v"), ("image_encoder", "q_proj")])
def test_layers_that_another_library_has_put_into_a_model_are_refused(part, layer, tiny_checkpoint, tmp_path):
    from peft import LoraConfig, inject_adapter_in_model

    model = with_its_own(part, load_svd(tiny_checkpoint("svd"), **ON_CPU))
    inject_adapter_in_model(LoraConfig(r=2, target_modules=[layer]), getattr(model, part).module)

    with pytest.raises(CheckpointError, match=f"put a layer of its own, Linear, in the place of the model's .*{layer}"):
        save_svd(model, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_computed_are_refused(tiny_checkpoint, tmp_path):
    model = with_its_own("unet", load_svd(tiny_checkpoint("svd"), **ON_CPU))
    nn.utils.parametrizations.weight_norm(model.unet.module.conv_in)

    with pytest.raises(CheckpointError, match="in the place of the model's conv_in"):
        save_svd(model, tmp_path / "a.safetensors")
