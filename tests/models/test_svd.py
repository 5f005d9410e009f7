import gc
import os
import re
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from zoetrope.host.weights import managed
from zoetrope.models.errors import CheckpointError
from zoetrope.models.svd import SVDModel, load_svd, recognise

from ..random_checkpoints import (
    TINY,
    TINY_HEAD_CHANNELS,
    golden_io,
    manifest,
    tiny_tensors,
    write_headers,
    write_tensors,
    write_tiny,
)

ON_CPU = dict(dtype=torch.float32, device="cpu")
WIDTHS = {"zoetrope.head_channels": "16", "zoetrope.clip_head_channels": "16"}
FACTS = {
    "svd": ("svd", "temporal", 14),
    "svd_deep": ("svd", "temporal", 14),
    "svd_image_decoder": ("svd", "image", 14),
    "sv3d_u": ("sv3d_u", "image", 21),
    "sv3d_p": ("sv3d_p", "image", 21),
}


@pytest.mark.parametrize("kind", TINY)
def test_the_kind_is_told_by_the_tensors_whatever_the_name(kind, tiny_checkpoint, tmp_path):
    path = tmp_path / "download (1).safetensors"
    path.symlink_to(tiny_checkpoint(kind))

    model, facts = load_svd(path, **ON_CPU), recognise(path)

    assert (model.family, model.decoder, model.frames) == FACTS[kind]
    assert (facts.family, facts.decoder, facts.frames) == FACTS[kind]
    assert facts.dtype == torch.float16
    assert facts.parameters == sum(parameter.numel() for parameter in model.unet.module.parameters())


@pytest.mark.parametrize(
    "fixture, kind", [("vae_svd", "svd"), ("vae_svd_image_decoder", "svd_image_decoder"), ("vae_sv3d", "sv3d_u")]
)
def test_the_vae_encodes_and_decodes_as_the_reference(fixture, kind, tiny_checkpoint):
    io = golden_io(fixture)
    model = load_svd(tiny_checkpoint(kind), **ON_CPU)
    vae, scale = model.vae.module, model.vae.module.config["scaling_factor"]
    image = io["image_u8"].permute(2, 0, 1)[None] / 127.5 - 1

    def decoded(z: torch.Tensor) -> torch.Tensor:
        frames = {"num_frames": len(z)} if model.decoder == "temporal" else {}
        return vae.decode(z / scale, **frames).sample

    assert_close(vae.encode(image).latent_dist.mode(), io["cond_latent_mode"], atol=2e-5, rtol=0)
    assert_close(decoded(io["z"]), io["decoded_all_at_once"], atol=2e-5, rtol=0)
    assert_close(torch.cat([decoded(z) for z in io["z"].split(3)]), io["decoded_chunked"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_image_encoder_sees_what_the_reference_sees(index, tiny_checkpoint):
    from kornia.geometry import resize

    io = golden_io("clip")
    encoder = load_svd(tiny_checkpoint("svd"), **ON_CPU).image_encoder.module
    image = io[f"image_u8_{index}"].permute(2, 0, 1)[None] / 127.5 - 1
    image = resize(image, (224, 224), interpolation="bicubic", align_corners=True, antialias=True)
    mean, deviation = torch.tensor([[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]])
    pixels = ((image + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]

    assert_close(encoder(pixel_values=pixels).image_embeds, io[f"embed_{index}"], atol=5e-6, rtol=0)


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_cast_from_any_precision_to_any(stored, wanted, tmp_path):
    tensors = {key: tensor.to(stored) for key, tensor in tiny_tensors("sv3d_u").items()}
    path = write_tensors(tmp_path / "sv3d_u.safetensors", tensors)

    model = load_svd(path, dtype=wanted, device="cpu", head_channels=16, clip_head_channels=16)

    key = "model.diffusion_model.input_blocks.0.0.weight"
    assert_close(model.unet.module.conv_in.weight, tensors[key].to(wanted), atol=0, rtol=0)
    assert {parameter.dtype for parameter in model.unet.module.parameters()} == {wanted} == {model.dtype}
    assert {parameter.dtype for parameter in model.image_encoder.module.parameters()} == {wanted}
    assert {parameter.dtype for parameter in model.vae.module.parameters()} == {torch.float32}


def test_weights_are_ordinary_tensors_even_where_nodes_run(tiny_checkpoint):
    with torch.inference_mode():
        model = load_svd(tiny_checkpoint("sv3d_p"), dtype=torch.bfloat16, device="cpu")

    for part in (model.unet, model.vae, model.image_encoder):
        for parameter in part.module.parameters():
            assert not parameter.is_inference() and not parameter.requires_grad and not parameter.is_meta
        assert not any(module.training for module in part.module.modules())


def smaller(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of the same architecture at three tenths of the width, and a quarter in the VAE."""
    vae = {128: 32, 256: 64, 512: 128}
    return tuple(vae.get(size, size * 3 // 10 if size % 320 == 0 else size) for size in shape)


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux says how much memory was used")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loading_takes_no_more_memory_than_the_model(dtype, tmp_path):
    """Half a gigabyte, in a file that is a hole; benchmarks/svd_loading.py does it at full size."""
    shapes = {key: smaller(shape) for key, shape in manifest("svd").items()}
    path = write_headers(shapes, tmp_path / "svd.safetensors")
    given = dict(head_channels=32, clip_head_channels=24)
    load_svd(write_tiny("svd", tmp_path / "warm.safetensors"), **ON_CPU)  # what is imported is no part of the model
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes()

    model = load_svd(path, dtype=dtype, device="cpu", **given)

    size = sum(part.bytes for part in (model.unet, model.vae, model.image_encoder))
    assert size > 4e8
    assert peak_bytes() - before < 1.15 * size


def test_two_models_of_one_file_share_its_weights(tiny_checkpoint, tmp_path):
    path = write_tiny("svd", tmp_path / "svd.safetensors")
    one, other = load_svd(path, **ON_CPU), load_svd(str(path), **ON_CPU)
    half = load_svd(path, dtype=torch.float16, device="cpu")
    placed = load_svd(path, place=managed, **ON_CPU)
    wider = load_svd(path, head_channels=32, **ON_CPU)

    assert (one.unet, one.vae, one.image_encoder) == (other.unet, other.vae, other.image_encoder)
    assert half.unet is not one.unet and half.vae is one.vae  # which is in float32 in both
    assert placed.unet is not one.unet
    assert wider.unet is not one.unet and wider.image_encoder is one.image_encoder

    write_tiny("svd_deep", path)
    assert load_svd(path, **ON_CPU).unet is not one.unet


def test_a_file_in_the_place_of_another_is_read_though_it_is_as_long_and_as_old(tmp_path):
    path, tensors = tmp_path / "svd.safetensors", tiny_tensors("svd")
    write_tensors(path, tensors, WIDTHS)
    before, old = load_svd(path, **ON_CPU), path.stat()
    bias = "model.diffusion_model.out.2.bias"
    other = write_tensors(tmp_path / "other.safetensors", tensors | {bias: tensors[bias] + 1}, WIDTHS)
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert other.stat().st_size == old.st_size
    other.replace(path)

    after = load_svd(path, **ON_CPU)

    assert_close(after.unet.module.conv_out.bias, before.unet.module.conv_out.bias + 1, rtol=0, atol=1e-2)


def test_weights_end_with_the_last_model_that_uses_them(tmp_path):
    path = write_tiny("sv3d_u", tmp_path / "sv3d_u.safetensors")
    model = load_svd(path, **ON_CPU)
    changed = replace(model, unet=managed(load_svd(path, **ON_CPU).unet.module))
    unet, vae = weakref.ref(model.unet.module), weakref.ref(model.vae.module)

    del model
    gc.collect()
    assert unet() is changed.unet.module and vae() is changed.vae.module

    del changed
    gc.collect()
    assert unet() is None and vae() is None


@pytest.mark.parametrize(
    "name, kind, version, frames",
    [
        ("svd.safetensors", "svd", "svd", 14),
        ("svd_xt.safetensors", "svd", "svd_xt", 25),
        ("SVD-XT-fp16.safetensors", "svd", "svd_xt", 25),
        ("svd_xt_1_1.safetensors", "svd", "svd_xt_1_1", 25),
        ("svd_xt_v1.1.safetensors", "svd", "svd_xt_1_1", 25),
        ("stable-video-diffusion-img2vid-xt-1-1.safetensors", "svd", "svd_xt_1_1", 25),
        ("svd_xt_image_decoder.safetensors", "svd_image_decoder", "svd_xt", 25),
        ("img2vid.safetensors", "svd", "svd", 14),
        ("model.safetensors", "svd", "", 14),
        ("sv3d_u.safetensors", "svd", "", 14),  # the name lies
        ("sv3d_p.safetensors", "sv3d_p", "sv3d_p", 21),
        ("sv3d_u-fp16.safetensors", "sv3d_p", "sv3d_p", 21),
        ("svd_xt.safetensors", "sv3d_u", "sv3d_u", 21),
    ],
)
def test_version_and_frames_are_told_by_the_name_where_it_does_not_lie(name, kind, version, frames, tmp_path):
    path = write_tiny(kind, tmp_path / name)

    facts = recognise(path)

    assert (facts.version, facts.frames) == (version, frames)


def test_what_the_metadata_say_goes_before_the_name(tmp_path):
    metadata = {"zoetrope.version": "svd", "zoetrope.frames": "8", "zoetrope.head_channels": "8"}
    path = write_tensors(tmp_path / "svd_xt.safetensors", tiny_tensors("svd"), metadata)

    model = load_svd(path, clip_head_channels=16, **ON_CPU)

    assert (model.version, model.frames, model.name) == ("svd", 8, "svd_xt")
    assert heads_of(model) == {4, 8}


@pytest.mark.parametrize("text", ["0", "-14", "many", "1e3", "", "99999999999"])
def test_numbers_in_the_metadata_that_make_no_sense_are_refused(text, tmp_path):
    path = write_tensors(tmp_path / "svd.safetensors", tiny_tensors("svd"), {"zoetrope.head_channels": text})

    with pytest.raises(CheckpointError, match="zoetrope.head_channels is"):
        load_svd(path, **ON_CPU)


def heads_of(model: SVDModel) -> set[int]:
    return {module.heads for name, module in model.unet.module.named_modules() if name.endswith("attn1")}


def test_head_widths_are_those_of_the_released_models_unless_given(tmp_path):
    path = write_tiny("svd", tmp_path / "svd.safetensors", head_widths=False)
    given = dict(head_channels=TINY_HEAD_CHANNELS, clip_head_channels=TINY_HEAD_CHANNELS)

    assert heads_of(load_svd(path, **given, **ON_CPU)) == {2, 4}
    assert heads_of(load_svd(path, head_channels=32, clip_head_channels=16, **ON_CPU)) == {1, 2}
    with pytest.raises(CheckpointError, match="32 wide, which cannot be cut into heads of 64. .* as head_channels"):
        load_svd(path, **ON_CPU)
    with pytest.raises(CheckpointError, match="32 wide, which cannot be cut into heads of 80. .* clip_head_channels"):
        load_svd(path, head_channels=16, **ON_CPU)
    with pytest.raises(CheckpointError, match="head_channels is -1"):
        load_svd(path, head_channels=-1, **ON_CPU)


def test_a_released_checkpoint_needs_no_more_than_its_list_of_tensors_to_be_recognised(tmp_path):
    for kind, parameters in (("svd_xt", 1_524_623_082), ("sv3d_u", 1_523_967_722), ("sv3d_p", 1_525_278_442)):
        facts = recognise(write_headers(manifest(kind), tmp_path / f"{kind}.safetensors"))

        assert (facts.version, facts.parameters) == (kind, parameters)


# --- What does not fit ----------------------------------------------------------------------------------------------


def changed(tmp_path, kind="svd", **tensors):
    """A tiny checkpoint with other tensors; None leaves one out."""
    every = tiny_tensors(kind) | {key.replace("__", "."): tensor for key, tensor in tensors.items()}
    present = {key: tensor for key, tensor in every.items() if tensor is not None}
    return write_tensors(tmp_path / "changed.safetensors", present, WIDTHS)


UNET, ENCODER = "model__diffusion_model__", "conditioner__embedders__3__encoder__encoder__"
CLIP = "conditioner__embedders__0__open_clip__model__visual__"


@pytest.mark.parametrize(
    "key",
    [
        UNET + "out__2__bias",
        UNET + "input_blocks__1__0__time_mixer__mix_factor",
        UNET + "input_blocks__0__0__weight",
        UNET + "label_emb__0__0__weight",
        UNET + "middle_block__1__transformer_blocks__0__attn2__to_k__weight",
        "first_stage_model__decoder__conv_out__time_mix_conv__bias",
        ENCODER + "down__0__block__0__conv1__weight",
        CLIP + "proj",
        CLIP + "transformer__resblocks__1__attn__in_proj_weight",
        CLIP + "ln_post__bias",
    ],
)
def test_a_missing_weight_is_named_as_in_the_file(key, tmp_path):
    with pytest.raises(CheckpointError, match="lacks|is missing") as error:
        load_svd(changed(tmp_path, **{key: None}), **ON_CPU)

    assert "changed.safetensors" in str(error.value)
    assert key.replace("__", ".") in str(error.value)


@pytest.mark.parametrize(
    "key",
    [
        "something__else__weight",
        UNET + "input_blocks__1__1__view_attention__weight",
        UNET + "out__2__scale",
        UNET + "input_blocks__1__0__in_layers__0__scale",
        UNET + "input_blocks__9__0__weight",
        "first_stage_model__decoder__mid__block_3__conv1__weight",
        "first_stage_model__encoder__unknown__weight",
        CLIP + "transformer__resblocks__0__attn__gate",
        "conditioner__embedders__0__open_clip__model__ln_final__scale",
    ],
)
def test_an_unknown_weight_is_named(key, tmp_path):
    with pytest.raises(CheckpointError, match="weights that no model of its kind has") as error:
        load_svd(changed(tmp_path, **{key: torch.zeros(1)}), **ON_CPU)

    assert key.replace("__", ".") in str(error.value)


@pytest.mark.parametrize(
    "key, shape",
    [
        (UNET + "out__2__bias", (5,)),
        (UNET + "out__2__bias", ()),
        (UNET + "time_embed__0__weight", (128, 33)),
        (UNET + "input_blocks__1__0__in_layers__2__weight", (32, 32, 3)),
        (ENCODER + "conv_out__weight", (8, 32, 1, 1)),
        (CLIP + "transformer__resblocks__0__attn__in_proj_weight", (97, 32)),
        (CLIP + "transformer__resblocks__0__attn__in_proj_bias", ()),
    ],
)
def test_a_weight_of_the_wrong_shape_is_named(key, shape, tmp_path):
    with pytest.raises(CheckpointError, match="has the shape") as error:
        load_svd(changed(tmp_path, **{key: torch.zeros(shape)}), **ON_CPU)

    assert f"{key.replace('__', '.')} in changed.safetensors has the shape {list(shape)}" in str(error.value)


def test_widths_that_no_such_model_has_are_told(tmp_path):
    key = UNET + "label_emb__0__0__weight"
    with pytest.raises(CheckpointError, match=r"conditioned on 512 numbers .* svd 768, sv3d_u 256, sv3d_p 1280"):
        load_svd(changed(tmp_path, **{key: torch.zeros(128, 512)}), **ON_CPU)
    key = UNET + "input_blocks__0__0__weight"
    with pytest.raises(
        CheckpointError, match=r"takes 9 channels \(model.diffusion_model.input_blocks.0.0.weight\) and gives 4"
    ):
        load_svd(changed(tmp_path, **{key: torch.zeros(32, 9, 3, 3)}), **ON_CPU)
    key = UNET + "input_blocks__1__0__in_layers__2__weight"
    with pytest.raises(
        CheckpointError, match="input_blocks.1.0.in_layers.2.weight is 33 wide, which cannot be normalised in 32"
    ):
        load_svd(changed(tmp_path, **{key: torch.zeros(33, 32, 3, 3)}), **ON_CPU)
    key = CLIP + "proj"
    with pytest.raises(CheckpointError, match=r"in 48 numbers, and the UNet .* wants 32. Choose CLIP's ViT-H-14"):
        load_svd(changed(tmp_path, **{key: torch.zeros(32, 48)}), **ON_CPU)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"head_channels": 0}, "^head_channels is 0, and a head of attention is a whole number wide, at least 1"),
        ({"head_channels": 16.0}, "^head_channels is 16.0"),
        ({"clip_head_channels": -1}, "^clip_head_channels is -1"),
        ({"clip_head_channels": 7}, "32 wide, which cannot be cut into heads of 7. Give .* as clip_head_channels"),
        ({"dtype": torch.int8}, "^dtype is torch.int8, in which no video model can compute. Choose"),
        ({"dtype": "float16"}, "^dtype is 'float16'"),
        ({"vae_dtype": torch.float8_e4m3fn}, "^vae_dtype is torch.float8_e4m3fn"),
        ({"device": "gpu0"}, "^device is 'gpu0', which cannot be used here: .* Choose 'cpu'"),
        ({"device": "vulkan"}, "^device is 'vulkan', which cannot be used here"),
    ],
    ids=str,
)
def test_what_no_model_can_be_loaded_with_is_refused_in_a_sentence(changes, sentence, tiny_checkpoint):
    with pytest.raises(CheckpointError, match=sentence):
        load_svd(tiny_checkpoint("svd"), **(ON_CPU | changes))


@pytest.mark.parametrize("size", [0, 100, 100_000])
def test_a_truncated_checkpoint_is_told(size, tiny_checkpoint, tmp_path):
    path = tmp_path / "svd.safetensors"
    path.write_bytes(tiny_checkpoint("svd").read_bytes()[:size])

    with pytest.raises(CheckpointError, match="svd.safetensors is (an empty file|cut short)"):
        load_svd(path, **ON_CPU)


def test_a_model_that_does_not_exist_is_told_with_where_to_get_it(tmp_path):
    with pytest.raises(CheckpointError, match=r"sv3d_p.safetensors does not exist.*9.37 GB.*huggingface.co"):
        load_svd(tmp_path / "sv3d_p.safetensors", **ON_CPU)
    with pytest.raises(CheckpointError, match=r"No model called 'nope' comes with the pack\."):
        load_svd("builtin:nope", **ON_CPU)
    with pytest.raises(CheckpointError, match="from the path of a file or a folder.* and this is None"):
        load_svd(None, **ON_CPU)
    with pytest.raises(CheckpointError, match=r"No model called '../svd' comes with the pack\."):
        load_svd("builtin:../svd", **ON_CPU)
