"""Parts from files and folders of the layouts that people have."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from zoetrope.models.errors import CheckpointError
from zoetrope.models.svd import SVDModel, load_svd, recognise

from ..random_checkpoints import tiny_tensors, write_tensors

ON_CPU = dict(dtype=torch.float32, device="cpu")
CLIP = "conditioner.embedders.0.open_clip.model."


@pytest.fixture(scope="module")
def tiny_svd(tiny_checkpoint) -> SVDModel:
    return load_svd(tiny_checkpoint("svd"), **ON_CPU)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def assert_same(one: nn.Module, other: nn.Module) -> None:
    ours, theirs = state(one), state(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def write_folder(model: SVDModel, folder: Path, *, variant: str = "", shards: int = 1, dtype=torch.float32) -> Path:
    """Write a model as diffusers' pipelines do; their own class cannot, for its UNet has another name."""
    parts = {"unet": model.unet, "vae": model.vae, "image_encoder": model.image_encoder}
    dotted = f".{variant}" if variant else ""
    for name, weights in parts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        config = weights.module.config
        (folder / name / "config.json").write_text(
            json.dumps(dict(config) if isinstance(config, dict) else config.to_dict(), default=str)
        )
        stem = "model" if name == "image_encoder" else "diffusion_pytorch_model"
        tensors = {key: each.to(dtype) for key, each in state(weights.module).items()}
        if shards == 1:
            write_tensors(folder / name / f"{stem}{dotted}.safetensors", tensors)
            continue
        shard_of = {}
        for index in range(shards):
            file = f"{stem}{dotted}-{index + 1:05}-of-{shards:05}.safetensors"
            some = {key: tensors[key] for key in list(tensors)[index::shards]}
            write_tensors(folder / name / file, some)
            shard_of |= dict.fromkeys(some, file)
        index_name = f"{stem}.safetensors.index{dotted}.json"
        (folder / name / index_name).write_text(json.dumps({"weight_map": shard_of}))
    (folder / "model_index.json").write_text("{}")
    return folder


@pytest.mark.parametrize("kind", ["svd", "svd_deep", "svd_image_decoder", "sv3d_u", "sv3d_p"])
def test_a_folder_in_the_layout_of_diffusers_is_the_same_model(kind, tiny_checkpoint, tmp_path):
    model = load_svd(tiny_checkpoint(kind), **ON_CPU)

    again = load_svd(write_folder(model, tmp_path / "a folder"), **ON_CPU)

    assert (again.family, again.decoder, again.name) == (model.family, model.decoder, "a folder")
    for part in ("unet", "vae", "image_encoder"):
        assert_same(getattr(again, part).module, getattr(model, part).module)
    assert again.unet.module.config["num_attention_heads"] == model.unet.module.config["num_attention_heads"]
    assert again.image_encoder.module.config.num_attention_heads == 2


@pytest.mark.parametrize("variant", ["", "fp16"])
@pytest.mark.parametrize("shards", [1, 3])
def test_variants_and_shards_are_found(variant, shards, tiny_svd, tmp_path):
    write_folder(tiny_svd, tmp_path, variant=variant, shards=shards)

    again = load_svd(tmp_path, **ON_CPU)

    assert_same(again.unet.module, tiny_svd.unet.module)
    assert_same(again.vae.module, tiny_svd.vae.module)


def test_of_two_variants_the_one_that_fits_the_precision_is_read(tiny_svd, tmp_path):
    write_folder(tiny_svd, tmp_path)
    write_folder(tiny_svd, tmp_path, variant="fp16", dtype=torch.float16)
    write_folder(tiny_svd, tmp_path, variant="non_ema", dtype=torch.bfloat16)

    assert recognise(tmp_path).dtype == torch.float32
    (tmp_path / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"")
    assert_same(load_svd(tmp_path, **ON_CPU).unet.module, tiny_svd.unet.module)
    with pytest.raises(CheckpointError, match="diffusion_pytorch_model.fp16.safetensors is an empty file"):
        load_svd(tmp_path, dtype=torch.float16, device="cpu")


def test_diffusers_reads_the_same_from_the_folder(tiny_svd, tmp_path):
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel

    write_folder(tiny_svd, tmp_path)

    assert_same(UNetSpatioTemporalConditionModel.from_pretrained(tmp_path / "unet"), tiny_svd.unet.module)
    assert_same(AutoencoderKLTemporalDecoder.from_pretrained(tmp_path / "vae"), tiny_svd.vae.module)


@pytest.mark.parametrize("frames, version", [(14, "svd"), (25, "svd_xt"), (8, "")])
def test_a_folder_tells_how_many_frames_its_model_makes(frames, version, tiny_svd, tmp_path):
    write_folder(tiny_svd, tmp_path)
    path = tmp_path / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_frames": frames}))

    facts = recognise(tmp_path)

    assert (facts.frames, facts.version) == (frames, version)


def test_a_folder_that_is_no_model_is_told(tiny_svd, tmp_path):
    with pytest.raises(CheckpointError, match="has no folder named unet"):
        load_svd(tmp_path, **ON_CPU)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="unet has no weights in safetensors format"):
        load_svd(tmp_path, **ON_CPU)
    write_folder(tiny_svd, tmp_path)
    (tmp_path / "unet" / "config.json").write_text("<html>")
    with pytest.raises(CheckpointError, match=r"config.json cannot be read as JSON"):
        load_svd(tmp_path, **ON_CPU)
    (tmp_path / "unet" / "config.json").write_text('{"num_attention_heads": [5, 7]}')
    with pytest.raises(
        CheckpointError, match=r"which cannot be cut into the heads that its config.json gives, \[5, 7\]"
    ):
        load_svd(tmp_path, **ON_CPU)
    (tmp_path / "unet" / "config.json").write_text('{"num_attention_heads": [2]}')
    with pytest.raises(CheckpointError, match=r"its config.json gives \[2\] as num_attention_heads of 2 levels"):
        load_svd(tmp_path, **ON_CPU)


# --- Parts from files of their own ------------------------------------------------------------------------------------


def without(kind: str, *prefixes: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in tiny_tensors(kind).items() if not key.startswith(prefixes)}


def below(prefix: str, kind: str = "svd") -> dict[str, Tensor]:
    return {key.removeprefix(prefix): each for key, each in tiny_tensors(kind).items() if key.startswith(prefix)}


@pytest.fixture(scope="module")
def unet_alone(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("unet") / "svd_unet.safetensors"
    return write_tensors(path, below_unet(), {"zoetrope.head_channels": "16", "zoetrope.clip_head_channels": "16"})


def below_unet() -> dict[str, Tensor]:
    return without("svd", "first_stage_model.", "conditioner.")


def test_a_model_without_a_part_asks_for_it(unet_alone, tiny_checkpoint):
    with pytest.raises(CheckpointError, match="svd_unet.safetensors holds no VAE. .* as vae"):
        load_svd(unet_alone, **ON_CPU)
    with pytest.raises(CheckpointError, match="svd_unet.safetensors holds no image encoder. .* as image_encoder"):
        load_svd(unet_alone, vae=tiny_checkpoint("svd"), **ON_CPU)


def test_parts_come_from_other_checkpoints_and_are_shared_with_them(unet_alone, tiny_checkpoint, tiny_svd):
    other = tiny_checkpoint("svd")

    model = load_svd(unet_alone, vae=other, image_encoder=other, **ON_CPU)

    assert model.vae is tiny_svd.vae and model.image_encoder is tiny_svd.image_encoder
    assert_same(model.unet.module, tiny_svd.unet.module)


def test_a_unet_alone_under_the_names_of_diffusers_is_read(tiny_svd, tiny_checkpoint, tmp_path):
    path = write_tensors(tmp_path / "diffusion_pytorch_model.safetensors", state(tiny_svd.unet.module))
    others = dict(vae=tiny_checkpoint("svd"), image_encoder=tiny_checkpoint("svd"))

    model = load_svd(path, head_channels=16, clip_head_channels=16, **others, **ON_CPU)

    assert_same(model.unet.module, tiny_svd.unet.module)


IMAGE_ENCODERS = {
    "Open CLIP, whole": lambda model: below(CLIP),
    "Open CLIP's half": lambda model: below(CLIP + "visual."),
    "as in a checkpoint": lambda model: without("svd", "model.", "first_stage_model."),
    "transformers": lambda model: state(model.image_encoder.module),
    "transformers, with positions": lambda model: (
        state(model.image_encoder.module) | {"vision_model.embeddings.position_ids": torch.arange(257)[None]}
    ),
    "all of CLIP in transformers": lambda model: (
        state(model.image_encoder.module)
        | {"text_model.embeddings.token_embedding.weight": torch.zeros(1), "logit_scale": torch.ones(())}
    ),
}


@pytest.mark.parametrize("layout", IMAGE_ENCODERS)
def test_image_encoders_of_all_layouts_are_the_same(layout, tiny_svd, tiny_checkpoint, tmp_path):
    path = write_tensors(tmp_path / "clip_vision_h.safetensors", IMAGE_ENCODERS[layout](tiny_svd))

    model = load_svd(tiny_checkpoint("svd"), image_encoder=path, clip_head_channels=16, **ON_CPU)

    assert_same(model.image_encoder.module, tiny_svd.image_encoder.module)
    assert model.image_encoder is not tiny_svd.image_encoder


def former(name: str) -> str:
    """What the first versions of diffusers called a weight of a VAE."""
    layers = {"to_q": "query", "to_k": "key", "to_v": "value", r"to_out\.0": "proj_attn"}
    for now, then in layers.items():
        name = re.sub(rf"(attentions\.0)\.{now}\.", rf"\1.{then}.", name)
    return name


VAES = {
    "as in a checkpoint": ("svd", lambda model: without("svd", "model.", "conditioner.embedders.0.")),
    "diffusers": ("svd", lambda model: state(model.vae.module)),
    "diffusers, formerly": ("sv3d_u", lambda m: {former(name): each for name, each in state(m.vae.module).items()}),
    "an autoencoder alone": ("sv3d_u", lambda model: autoencoder()),
    "an autoencoder in a checkpoint": (
        "sv3d_u",
        lambda model: (
            {f"first_stage_model.{name}": each for name, each in autoencoder().items()}
            | {"cond_stage_model.transformer.x": torch.zeros(1)}
        ),
    ),
}


def autoencoder() -> dict[str, Tensor]:
    """The VAE of SV3D as a file in the style of the first Stable Diffusion."""
    encoder = below("conditioner.embedders.1.encoder.", "sv3d_u")
    decoder = below("first_stage_model.", "sv3d_u")
    kept = {name: each for name, each in encoder.items() if name.startswith(("encoder.", "quant_conv."))}
    return kept | decoder | {"loss.discriminator.weight": torch.zeros(1)}


@pytest.mark.parametrize("layout", VAES)
def test_vaes_of_all_layouts_are_the_same(layout, tiny_checkpoint, tmp_path):
    kind, tensors = VAES[layout]
    own = load_svd(tiny_checkpoint(kind), **ON_CPU)
    path = write_tensors(tmp_path / "vae.safetensors", tensors(own))

    model = load_svd(tiny_checkpoint(kind), vae=path, **ON_CPU)

    assert_same(model.vae.module, own.vae.module)
    assert model.vae is not own.vae and model.decoder == own.decoder


def test_an_encoder_without_a_last_convolution_of_one_pixel_is_taken_as_it_is(tiny_checkpoint, tmp_path):
    """The first stage of svd is such a one."""
    path = write_tensors(tmp_path / "vae.safetensors", below("first_stage_model."))

    vae = load_svd(tiny_checkpoint("svd"), vae=path, **ON_CPU).vae.module
    image = torch.rand(1, 3, 32, 32)

    assert torch.equal(vae.encode(image).latent_dist.parameters, vae.encoder(image))


def test_a_vae_folder_may_be_named_itself_or_by_the_model_that_it_lies_in(tiny_svd, tiny_checkpoint, tmp_path):
    write_folder(tiny_svd, tmp_path)

    for path in (tmp_path, tmp_path / "vae"):
        assert_same(load_svd(tiny_checkpoint("svd"), vae=path, **ON_CPU).vae.module, tiny_svd.vae.module)
    for path in (tmp_path, tmp_path / "image_encoder"):
        model = load_svd(tiny_checkpoint("svd"), image_encoder=path, **ON_CPU)
        assert_same(model.image_encoder.module, tiny_svd.image_encoder.module)


def test_a_file_that_lacks_what_it_is_chosen_for_is_told(tiny_svd, tiny_checkpoint, tmp_path):
    lora = write_tensors(tmp_path / "lora.safetensors", {"lora_unet_x.lora_up.weight": torch.zeros(1)})
    decoder = write_tensors(
        tmp_path / "decoder.safetensors",
        {name: each for name, each in state(tiny_svd.vae.module).items() if name.startswith("decoder.")},
    )
    clip = write_tensors(tmp_path / "clip.safetensors", state(tiny_svd.image_encoder.module))
    path = tiny_checkpoint("svd")

    with pytest.raises(CheckpointError, match="lora.safetensors is a LoRA.* Choose a VAE"):
        load_svd(path, vae=lora, **ON_CPU)
    with pytest.raises(
        CheckpointError, match="decoder.safetensors is a VAE alone. Choose a VAE that has an encoder and"
    ):
        load_svd(path, vae=decoder, **ON_CPU)
    with pytest.raises(CheckpointError, match="clip.safetensors is an image encoder alone. Choose a VAE"):
        load_svd(path, vae=clip, **ON_CPU)
    with pytest.raises(CheckpointError, match="decoder.safetensors is a VAE alone. Choose CLIP's image encoder"):
        load_svd(path, image_encoder=decoder, **ON_CPU)
    with pytest.raises(CheckpointError, match="vae.safetensors does not exist"):
        load_svd(path, vae=tmp_path / "vae.safetensors", **ON_CPU)
