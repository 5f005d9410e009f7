"""LoRA files: every name that programs give, what is refused and why, and models with LoRAs on them."""

import gc
import json
import re
import weakref
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from zoetrope.host.weights import managed
from zoetrope.media.errors import MediaError
from zoetrope.models.checkpoints import open_checkpoint
from zoetrope.models.errors import CheckpointError
from zoetrope.models.lean_unet import LeanUNet
from zoetrope.models.lora import (
    Lora,
    Matrices,
    add_lora,
    describe_lora,
    load_lora,
    lora_of_tensors,
    lora_targets,
    merge_lora,
    save_lora,
    trained_lora,
)
from zoetrope.models.lora_names import LayerNames
from zoetrope.models.svd import load_svd
from zoetrope.models.svd_saving import save_svd

from ..random_checkpoints import TINY

RANK, ALPHA = 3, 7.0
CONVOLUTIONS = ["conv_in", "down_blocks.0.resnets.0.temporal_res_block.conv1", "conv_out", "time_embedding.linear_2",
                "down_blocks.0.downsamplers.0.conv", "up_blocks.1.resnets.0.spatial_res_block.conv_shortcut",
                "down_blocks.1.resnets.0.spatial_res_block.time_emb_proj", "add_embedding.linear_1",
                "mid_block.attentions.0.proj_in", "mid_block.attentions.0.time_pos_embed.linear_2"]  # fmt: skip


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    return load_svd(tiny_checkpoint("svd"), dtype=torch.float32, device="cpu")


@pytest.fixture(scope="module")
def lora(model):
    """A LoRA on layers of every kind, as if it had been trained."""
    return random_lora(model)


def random_lora(model, seed=0, names=None, rank=RANK, alpha=ALPHA):
    unet = model.unet.module
    layers = add_lora(unet, names or [*lora_targets(unet, "strong"), *CONVOLUTIONS], rank, alpha, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return trained_lora(layers)


def said_by(model, network=lambda unet, context, vector: lambda x, level: unet(x, level, context, vector)):
    unet = model.unet.module
    device = model.unet.ready()
    generator = torch.Generator().manual_seed(9)
    shapes = (1, 3, 8, 8, 8), (1, 1, unet.config.cross_attention_dim), (1, 3, 768)
    x, context, vector = (torch.randn(shape, generator=generator).to(device, model.dtype) for shape in shapes)
    with torch.no_grad():
        return network(unet, context, vector)(x, torch.tensor([0.3])).float()


def distance(one, other):
    return ((one - other).norm() / other.norm()).item()


def in_names(model, lora, form):
    """The LoRA's tensors as another program names them."""
    ours = LayerNames(model.unet.module).ours
    return {
        key: tensor for original, each in lora.layers.items() for key, tensor in form(original, ours[original], each)
    }


def kohya(prefix, language):
    def named(original, diffusers, each):
        name = prefix + {"original": original, "diffusers": diffusers}[language].replace(".", "_")
        kernel = (1,) * (each.down.ndim - 2)
        yield f"{name}.lora_down.weight", each.down
        yield f"{name}.lora_up.weight", each.up.reshape(*each.up.shape, *kernel)
        yield f"{name}.alpha", torch.tensor(each.alpha)

    return named


def dotted(prefix, language, down, up, alpha=True):
    def named(original, diffusers, each):
        name = prefix + {"original": original, "diffusers": diffusers}[language]
        yield f"{name}{down}", each.down
        yield f"{name}{up}", each.up.reshape(*each.up.shape, *(1,) * (each.down.ndim - 2))
        if alpha:
            yield f"{name}.alpha", torch.tensor([each.alpha])

    return named


def processors(original, diffusers, each):
    """diffusers' first form, which knew attention alone."""
    name = "unet." + re.sub(r"\.to_", ".processor.to_", diffusers).replace("to_out.0", "to_out")
    yield f"{name}_lora.down.weight", each.down
    yield f"{name}_lora.up.weight", each.up
    yield f"{name}.alpha", torch.tensor(each.alpha)


FORMS = {
    "comfyui, underscores": kohya("lora_unet_", "original"),
    "comfyui, dots": dotted("diffusion_model.", "original", ".lora_down.weight", ".lora_up.weight"),
    "comfyui, peft": dotted("diffusion_model.", "original", ".lora_A.weight", ".lora_B.weight"),
    "the checkpoint's": dotted("model.diffusion_model.", "original", ".lora.down.weight", ".lora.up.weight"),
    "kohya": kohya("lora_unet_", "diffusers"),
    "lycoris": kohya("lycoris_", "diffusers"),
    "diffusers": dotted("unet.", "diffusers", ".lora.down.weight", ".lora.up.weight"),
    "diffusers, peft": dotted("unet.", "diffusers", ".lora_A.weight", ".lora_B.weight"),
    "diffusers, linear": dotted("unet.", "diffusers", ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    "peft": dotted("base_model.model.", "diffusers", ".lora_A.weight", ".lora_B.weight"),
    "peft, adapter": dotted("base_model.model.", "diffusers", ".lora_A.moon.weight", ".lora_B.moon.weight"),
    "bare": dotted("", "diffusers", ".lora_A", ".lora_B"),
}


@pytest.mark.parametrize("form", FORMS)
def test_files_are_read_in_the_names_of_every_program(form, model, lora, tmp_path):
    save_file(in_names(model, lora, FORMS[form]), tmp_path / "lora.safetensors")

    read = load_lora(model, tmp_path / "lora.safetensors")

    assert torch.equal(said_by(read), said_by(load_lora(model, lora)))
    assert distance(said_by(read), said_by(model)) > 0.1


def test_attention_processors_of_early_diffusers_are_read(model, tmp_path):
    attention = random_lora(model, names=lora_targets(model.unet.module, "motion and look"))
    save_file(in_names(model, attention, processors), tmp_path / "lora.safetensors")

    read = load_lora(model, tmp_path / "lora.safetensors")

    assert torch.equal(said_by(read), said_by(load_lora(model, attention)))


@pytest.mark.parametrize("kind", TINY)
def test_a_lora_that_is_saved_is_the_same_when_loaded(kind, tiny_checkpoint, tmp_path):
    model = load_svd(tiny_checkpoint(kind), dtype=torch.float32, device="cpu")
    unet = model.unet.module
    names = [name for name, module in unet.named_modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)]
    lora = random_lora(model, names=names)

    save_lora(tmp_path / "lora.safetensors", lora)
    read = load_lora(model, tmp_path / "lora.safetensors").unet.module

    for original, each in lora.layers.items():
        layer = read.get_submodule(LayerNames(unet).ours[original])
        assert torch.equal(layer.pair.down, each.down) and torch.equal(layer.pair.up, each.up)
        assert layer.scale == ALPHA / RANK
    assert len(lora.layers) == len(names)


@pytest.mark.parametrize("form", ["comfyui, underscores", "diffusers, peft"])
def test_tensors_in_memory_are_read_as_those_of_a_file(form, model, lora, tmp_path):
    tensors = in_names(model, lora, FORMS[form])
    save_file(tensors, tmp_path / "lora.safetensors")

    read = lora_of_tensors(tensors, model.unet.module, "The trained LoRA")

    assert torch.equal(said_by(load_lora(model, read)), said_by(load_lora(model, tmp_path / "lora.safetensors")))
    assert read.name == "The trained LoRA"


def test_the_lora_model_that_a_lora_gives_to_comfyui_is_that_lora(model, lora):
    assert torch.equal(
        said_by(load_lora(model, lora_of_tensors(lora.tensors(), model.unet.module))), said_by(load_lora(model, lora))
    )


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "The trained LoRA is no LoRA: it holds nothing"),
        ("moon-4.safetensors", "The trained LoRA is no LoRA: it is 'moon-4.safetensors'"),
        ({"a.lora_up.weight": 3}, "The trained LoRA is no LoRA: it holds what are no tensors"),
        ({"double_blocks.0.img_attn.proj.lora_A.weight": torch.zeros(4, 3072)}, "The trained LoRA .* diffusion"),
        ({"a.weight": torch.zeros(2)}, "The trained LoRA is a file of a kind that is not known here"),
    ],
)
def test_tensors_in_memory_that_are_no_lora_for_this_model_are_refused(tensors, said, model):
    with pytest.raises(CheckpointError, match=said):
        lora_of_tensors(tensors, model.unet.module, "The trained LoRA")


def test_the_names_of_layers_are_told_apart_in_every_language(model):
    names = LayerNames(model.unet.module)

    flat = [name.replace(".", "_") for name in (*names.original, *names.ours)]

    assert len(set(flat)) == len(set(names.original) | set(names.ours)) == len(set(names.original)) + len(names.ours)


def test_saved_names_and_shapes_are_comfyuis(model, lora, tmp_path):
    save_lora(tmp_path / "lora.safetensors", lora)
    tensors = load_file(tmp_path / "lora.safetensors")

    assert len(tensors) == 3 * len(lora.layers)
    assert tensors["lora_unet_input_blocks_1_1_time_stack_0_attn1_to_q.lora_down.weight"].shape == (RANK, 32)
    assert tensors["lora_unet_input_blocks_0_0.lora_down.weight"].shape == (RANK, 8, 3, 3)
    assert tensors["lora_unet_input_blocks_0_0.lora_up.weight"].shape == (32, RANK, 1, 1)
    assert tensors["lora_unet_input_blocks_1_0_time_stack_in_layers_2.lora_up.weight"].shape == (32, RANK, 1, 1, 1)
    assert tensors["lora_unet_out_2.alpha"] == ALPHA


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_file_may_be_written_in_half_precision_and_keeps_alpha(dtype, model, lora, tmp_path):
    lora = replace(lora, layers={name: replace(each, alpha=7.123) for name, each in lora.layers.items()})

    save_lora(tmp_path / "lora.safetensors", lora, dtype=dtype)

    tensors = load_file(tmp_path / "lora.safetensors")
    assert {tensor.dtype for key, tensor in tensors.items() if not key.endswith(".alpha")} == {dtype}
    assert tensors["lora_unet_out_2.alpha"] == torch.tensor(7.123)
    read = said_by(load_lora(model, tmp_path / "lora.safetensors"))
    assert distance(read, said_by(load_lora(model, lora))) < 0.02


# --- Strength, stacks, merging ---------------------------------------------------------------------------------------


def test_strength_zero_is_the_model_itself(model, lora):
    assert load_lora(model, lora, strength=0) is model


def test_what_is_no_model_or_no_lora_is_refused(model, lora):
    with pytest.raises(CheckpointError, match="is put on a model, such as load_svd gives, and this is None"):
        load_lora(None, lora)
    with pytest.raises(CheckpointError, match="the path of a file or a folder, and this is None"):
        load_lora(model, None)


def test_strength_scales_the_change_of_the_weight(model):
    lora = random_lora(model, names=["conv_out"])
    base = said_by(model)

    changes = {strength: said_by(load_lora(model, lora, strength)) - base for strength in (1, -1, 0.25)}

    assert_close(changes[-1], -changes[1], atol=1e-5, rtol=1e-4)
    assert_close(changes[0.25], changes[1] / 4, atol=1e-5, rtol=1e-4)
    assert changes[1].norm() > 0.1 * base.norm()


def test_the_first_model_stays_as_it_is(model, lora):
    before, modules = said_by(model), list(model.unet.module.modules())

    load_lora(model, lora)

    assert torch.equal(said_by(model), before)
    assert all(one is other for one, other in zip(model.unet.module.modules(), modules, strict=True))


def test_loras_are_stacked_and_each_keeps_its_strength(model, lora):
    other = random_lora(model, seed=1, rank=2, alpha=5.0, names=lora_targets(model.unet.module, "motion"))

    both = load_lora(load_lora(model, lora, 0.5), other, -0.7)

    wanted = load_svd_weights(model)
    for strength, each in ((0.5, lora), (-0.7, other)):
        for name, matrices in each.layers.items():
            weight = LayerNames(model.unet.module).ours[name] + ".weight"
            change = torch.einsum("o r, r ... -> o ...", matrices.up, matrices.down)
            wanted[weight] += strength * matrices.alpha / matrices.rank * change
    merged = merge_lora(both)
    for name, weight in merged.unet.module.named_parameters():
        assert_close(weight, wanted[name], atol=1e-6, rtol=1e-6)
    assert distance(said_by(both), said_by(merged)) < 1e-5
    assert distance(said_by(both, LeanUNet), said_by(merged)) < 1e-5


def load_svd_weights(model):
    return {name: parameter.clone() for name, parameter in model.unet.module.named_parameters()}


def test_a_lora_and_its_opposite_are_nothing(model, lora):
    neither = load_lora(load_lora(model, lora, 1.5), lora, -1.5)

    assert distance(said_by(neither), said_by(model)) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_merging_writes_a_checkpoint_that_says_the_same(dtype, tiny_checkpoint, tmp_path):
    model = load_svd(tiny_checkpoint("svd"), dtype=dtype, device="cpu")
    with_lora = load_lora(model, random_lora(model), 0.8)

    save_svd(with_lora, tmp_path / "merged.safetensors")
    again = load_svd(tmp_path / "merged.safetensors", dtype=torch.float32, device="cpu")

    exact = load_svd(tiny_checkpoint("svd"), dtype=torch.float32, device="cpu")
    exact = load_lora(exact, random_lora(exact), 0.8)
    assert distance(said_by(again), said_by(exact)) < (1e-5 if dtype == torch.float32 else 2e-2)
    assert open_checkpoint(tmp_path / "merged.safetensors").tensors.keys() == saved_keys(model, tmp_path)


def saved_keys(model, folder):
    save_svd(model, folder / "base.safetensors")
    return open_checkpoint(folder / "base.safetensors").tensors.keys()


def test_merging_shares_what_has_no_lora_and_leaves_the_model(model, lora):
    with_lora = load_lora(model, lora)
    before = said_by(with_lora)

    merged = merge_lora(with_lora)

    assert merge_lora(model) is model
    ours, theirs = (dict(each.unet.module.named_parameters()) for each in (merged, model))
    touched = {LayerNames(model.unet.module).ours[name] + ".weight" for name in lora.layers}
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] is not theirs[name]} == touched
    assert torch.equal(said_by(with_lora), before)


# --- Memory ----------------------------------------------------------------------------------------------------------


def test_the_memory_of_the_base_is_shared(model, lora):
    with_lora = load_lora(load_lora(model, lora), lora)

    own = sum(each.down.numel() + each.up.numel() for each in lora.layers.values()) * 4
    assert with_lora.unet.bytes == model.unet.bytes + 2 * own
    assert with_lora.vae is model.vae
    base = {parameter.data_ptr() for parameter in model.unet.module.parameters()}
    new = [each for each in with_lora.unet.module.parameters() if each.data_ptr() not in base]
    assert sum(each.numel() * each.element_size() for each in new) == 2 * own


def test_matrices_are_in_the_models_precision(tiny_checkpoint, lora):
    model = load_svd(tiny_checkpoint("svd"), dtype=torch.bfloat16, device="cpu")

    unet = load_lora(model, lora).unet.module

    assert {parameter.dtype for parameter in unet.parameters()} == {torch.bfloat16}
    assert distance(said_by(load_lora(model, lora)), said_by(model)) > 0.1


def test_managed_weights_stay_managed_each_part_once(tiny_checkpoint, lora):
    model = load_svd(tiny_checkpoint("svd"), dtype=torch.float32, device="cpu", place=managed)

    twice = load_lora(load_lora(model, lora), lora)

    kinds = {type(part) for part in twice.unet.parts}
    assert kinds == {type(model.unet)}
    assert twice.unet.parts[0] is model.unet
    assert len(twice.unet.parts) == 3
    own = sum(part.bytes for part in twice.unet.parts)
    assert own == twice.unet.bytes
    assert distance(said_by(twice), said_by(model)) > 0.1


def test_nothing_keeps_a_lora_when_its_model_is_gone(tiny_checkpoint, lora):
    model = load_svd(tiny_checkpoint("svd"), dtype=torch.float32, device="cpu")
    with_lora = load_lora(model, lora)
    layer = weakref.ref(with_lora.unet.module.conv_in)
    base = weakref.ref(model.unet.module)

    del with_lora
    gc.collect()
    assert layer() is None
    assert base() is not None


def test_what_a_node_loads_can_be_trained_on(model, lora, tmp_path):
    save_lora(tmp_path / "lora.safetensors", lora)
    with torch.inference_mode():
        with_lora = load_lora(model, tmp_path / "lora.safetensors")
        merged = merge_lora(with_lora)

    for each in (with_lora, merged):
        assert not any(parameter.is_inference() for parameter in each.unet.module.parameters())
        assert not any(parameter.requires_grad for parameter in each.unet.module.parameters())


# --- alpha -----------------------------------------------------------------------------------------------------------


def peft_tensors(model, lora):
    return in_names(model, lora, dotted("unet.", "diffusers", ".lora_A.weight", ".lora_B.weight", alpha=False))


def scales(model):
    unet = model.unet.module
    return {name: unet.get_submodule(name).scale for name in ("conv_in", "conv_out")}


def test_without_an_alpha_it_is_the_rank(model, lora, tmp_path):
    save_file(peft_tensors(model, lora), tmp_path / "lora.safetensors")

    assert scales(load_lora(model, tmp_path / "lora.safetensors")) == {"conv_in": 1, "conv_out": 1}


def test_alpha_is_found_in_the_metadata_that_diffusers_writes(model, lora, tmp_path):
    config = {"unet.r": RANK, "unet.lora_alpha": 6, "unet.alpha_pattern": {"conv_out": 12}}
    metadata = {"lora_adapter_metadata": json.dumps(config)}
    save_file(peft_tensors(model, lora), tmp_path / "lora.safetensors", metadata)

    assert scales(load_lora(model, tmp_path / "lora.safetensors")) == {"conv_in": 2, "conv_out": 4}


def test_alpha_is_found_in_the_configuration_that_peft_writes(model, lora, tmp_path):
    from peft import LoraConfig, get_peft_model

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config = {}
            self.conv_in = torch.nn.Conv2d(8, 32, 3)
            self.conv_out = torch.nn.Conv2d(32, 4, 3)

    config = LoraConfig(r=4, lora_alpha=6, target_modules=["conv_in", "conv_out"], alpha_pattern={"conv_out": 12},
                        use_rslora=True)  # fmt: skip
    get_peft_model(Net(), config).save_pretrained(tmp_path / "run")

    found = scales(load_lora(model, tmp_path / "run"))

    assert found == {"conv_in": pytest.approx(6 / 4**0.5), "conv_out": pytest.approx(12 / 4**0.5)}


def test_what_diffusers_itself_saves_is_read(model, tmp_path):
    from diffusers import StableVideoDiffusionPipeline
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    assert StableVideoDiffusionPipeline is not None
    base = load_svd_weights(model)
    unet = type(model.unet.module)(**model.unet.module.config)
    unet.load_state_dict(base)
    names = lora_targets(unet, "motion and look")
    unet = inject_adapter_in_model(LoraConfig(r=4, lora_alpha=4, target_modules=names, init_lora_weights=False), unet)
    state = get_peft_model_state_dict(unet)
    StableDiffusionLoraLoaderMixin.save_lora_weights(tmp_path, unet_lora_layers=state)

    read = load_lora(model, tmp_path)

    theirs = replace(model, unet=type(model.unet)(unet.requires_grad_(False).eval()))
    assert distance(said_by(read), said_by(theirs)) < 1e-5


def test_a_convolution_in_three_parts_is_read(model, tmp_path):
    numbers = torch.Generator().manual_seed(0)
    down, middle, up = (torch.randn(shape, generator=numbers) for shape in ((2, 8, 1, 1), (2, 2, 3, 3), (32, 2, 1, 1)))
    parts = {"lora_down": down, "lora_mid": middle, "lora_up": up}
    save_file({f"lora_unet_conv_in.{name}.weight": each for name, each in parts.items()}, tmp_path / "a.safetensors")

    layer = load_lora(model, tmp_path / "a.safetensors").unet.module.conv_in

    x = torch.randn(1, 8, 6, 6, generator=numbers)
    convolve = torch.nn.functional.conv2d
    wanted = layer.base(x) + convolve(convolve(convolve(x, down), middle, padding=1), up)
    assert_close(layer(x), wanted, atol=1e-4, rtol=1e-4)


def test_linear_layers_may_be_written_as_convolutions_of_a_pixel(model, tmp_path):
    lora = random_lora(model, names=["mid_block.attentions.0.proj_in"])
    (name, each), = lora.layers.items()  # fmt: skip
    key = "lora_unet_" + name.replace(".", "_")
    tensors = {f"{key}.lora_down.weight": each.down[..., None, None], f"{key}.lora_up.weight": each.up[..., None, None]}
    save_file(tensors, tmp_path / "a.safetensors")
    save_file({key: tensor[..., 0, 0].contiguous() for key, tensor in tensors.items()}, tmp_path / "b.safetensors")

    one, other = (said_by(load_lora(model, tmp_path / f"{file}.safetensors")) for file in "ab")

    assert torch.equal(one, other)


# --- Metadata --------------------------------------------------------------------------------------------------------


def test_metadata_say_what_was_trained_and_how(lora, tmp_path):
    told = describe_lora(base="svd_xt", trigger="a waning moon", steps=500, data_hash="ab12", settings={"rate": 1e-4})

    save_lora(tmp_path / "lora.safetensors", lora, told | {"note": "mine"})

    metadata = open_checkpoint(tmp_path / "lora.safetensors").metadata
    assert metadata["zoetrope.base"] == metadata["ss_base_model_version"] == "svd_xt"
    assert metadata["zoetrope.trigger"] == "a waning moon"
    assert json.loads(metadata["ss_tag_frequency"]) == {"footage": {"a waning moon": 1}}
    assert metadata["zoetrope.steps"] == "500"
    assert metadata["zoetrope.data_hash"] == "ab12"
    assert json.loads(metadata["zoetrope.settings"]) == {"rate": 1e-4}
    assert metadata["zoetrope.rank"] == metadata["ss_network_dim"] == "3"
    assert metadata["zoetrope.alpha"] == metadata["ss_network_alpha"] == "7"
    assert metadata["note"] == "mine"


def test_ranks_that_differ_are_said_to(model, tmp_path):
    layers = {name: Matrices(torch.ones(rank, 8, 3, 3), torch.ones(32, rank), rank)
              for name, rank in (("input_blocks.0.0", 2), ("out.2", 3))}  # fmt: skip

    save_lora(tmp_path / "lora.safetensors", Lora(layers))

    assert open_checkpoint(tmp_path / "lora.safetensors").metadata["ss_network_dim"] == "Dynamic"


def test_metadata_are_texts(lora, tmp_path):
    with pytest.raises(CheckpointError, match="'steps' is 5. Write it as a text"):
        save_lora(tmp_path / "lora.safetensors", lora, {"steps": 5})

    assert not list(tmp_path.iterdir())


# --- Errors ----------------------------------------------------------------------------------------------------------


def refused(model, tmp_path, tensors, metadata=None, name="their.safetensors"):
    save_file(
        {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()},
        tmp_path / name,
        metadata,
    )
    with pytest.raises(CheckpointError) as error:
        load_lora(model, tmp_path / name)
    assert name in str(error.value)
    assert str(error.value).endswith(".")
    return str(error.value)


def layer(name, inputs=32, outputs=32, rank=2):
    return {f"{name}.lora_down.weight": torch.ones(rank, inputs), f"{name}.lora_up.weight": torch.ones(outputs, rank)}


SD = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_"


@pytest.mark.parametrize(
    "tensors, metadata, purpose",
    [
        (layer(SD + "attn1_to_q") | layer(SD + "attn2_to_k", 768), None, "Stable Diffusion 1"),
        (layer(SD + "attn1_to_q") | layer(SD + "attn2_to_k", 2048), None, "SDXL"),
        (layer(SD + "attn1_to_q") | layer("lora_te_text_model_encoder_layers_0_mlp_fc1"), None, "reads text"),
        (layer("text_encoder.text_model.encoder.layers.0.mlp.fc1"), None, "reads text"),
        (layer(SD + "attn1_to_q", 320, 320), {"ss_base_model_version": "sd_v1"}, "Stable Diffusion 1"),
        (layer(SD + "attn1_to_q", 320, 320), {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL"),
        (layer("lora_unet_double_blocks_0_img_attn_proj"), None, "Flux"),
        (layer("diffusion_model.blocks.0.self_attn.q"), None, "Wan"),
        (layer("down_blocks.0.motion_modules.0.temporal_transformer.proj_in"), None, "AnimateDiff"),
    ],
)
def test_a_lora_for_something_else_is_told_for_what_it_is(tensors, metadata, purpose, model, tmp_path):
    told = refused(model, tmp_path, tensors, metadata)

    assert purpose in told
    assert "trained for SVD" in told


def test_layers_that_are_unknown_are_named(model, tmp_path):
    told = refused(
        model, tmp_path, layer("lora_unet_conv_in_other") | layer("lora_unet_mid_block_attentions_0_proj_in")
    )

    assert "1 of 2: lora_unet_conv_in_other" in told


PROJECTION = "lora_unet_mid_block_attentions_0_proj_in"
RIGHT = layer(PROJECTION, 64, 64)
DOWN, UP, ALPHA_KEY = f"{PROJECTION}.lora_down.weight", f"{PROJECTION}.lora_up.weight", f"{PROJECTION}.alpha"


@pytest.mark.parametrize(
    "tensors, words",
    [
        (RIGHT | {"a.dora_scale": torch.ones(1)}, "DoRA, in a.dora_scale"),
        ({"lora_unet_conv_in.hada_w1_a": torch.ones(1)}, "LoHa"),
        (RIGHT | {"lora_unet_conv_in.diff_b": torch.ones(1)}, "differences of whole weights"),
        ({"conv_in.weight": torch.ones(1), "model.alpha": torch.ones(1)}, "and no LoRA"),
        (RIGHT | {"what.is.this": torch.ones(1)}, "no kind known here: what.is.this"),
        ({DOWN: RIGHT[DOWN]}, f"lacks the up matrix of {PROJECTION}"),
        (RIGHT | {UP: torch.ones(64, 1)}, "has the rank 2, and .*lora_up.weight has 1"),
        (RIGHT | {DOWN: torch.ones(2, 5)}, r"shape \[64, 5\], and here the layer has \[64, 64\]"),
        (RIGHT | {DOWN: torch.full((2, 64), float("nan"))}, "lora_down.weight .* no numbers"),
        (RIGHT | {ALPHA_KEY: torch.tensor(float("inf"))}, "alpha .* no numbers"),
        (RIGHT | {ALPHA_KEY: torch.ones(2)}, r"alpha .* the shape \[2\]"),
        (RIGHT | {DOWN: torch.ones(2)}, "which no LoRA has"),
        (RIGHT | {f"{PROJECTION}.lora_mid.weight": torch.ones(3, 3, 3, 3)}, "does not fit the matrix before it"),
        (RIGHT | layer("lora_unet_middle_block_1_proj_in", 64, 64), "names one layer twice"),
        ({f"x.lora_{a}.{n}.weight": torch.ones(2, 2) for a in "AB" for n in ("one", "two")}, "more than one LoRA"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tensors, words, model, tmp_path):
    told = refused(model, tmp_path, tensors)

    assert re.search(words, told), told


@pytest.mark.parametrize("config", ["{", "[1]", '{"unet.lora_alpha": "high"}'])
def test_a_configuration_that_makes_no_sense_is_told(config, model, tmp_path):
    save_file(RIGHT, tmp_path / "a.safetensors", {"lora_adapter_metadata": config})

    with pytest.raises(CheckpointError, match="configuration"):
        load_lora(model, tmp_path / "a.safetensors")


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), 101, -1e9])
def test_a_strength_that_makes_no_sense_is_told(strength, model, lora):
    with pytest.raises(CheckpointError, match="strength is"):
        load_lora(model, lora, strength)


def test_a_missing_file_and_an_empty_folder_are_told(model, tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_lora(model, tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="adapter_model.safetensors"):
        load_lora(model, tmp_path)


def test_a_lora_of_another_model_is_refused_from_memory_too(model, lora, tiny_checkpoint):
    other = load_svd(tiny_checkpoint("svd_deep"), dtype=torch.float32, device="cpu")

    with pytest.raises(CheckpointError, match="does not"):
        load_lora(model, random_lora(other))


def test_a_lora_that_is_no_numbers_is_not_saved(model, tmp_path):
    lora = random_lora(model, names=["conv_in"])
    next(iter(lora.layers.values())).up[0, 0] = float("inf")

    with pytest.raises(CheckpointError, match="no numbers"):
        save_lora(tmp_path / "lora.safetensors", lora)

    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_whole_or_not_at_all(model, lora, tmp_path):
    path = tmp_path / "lora.safetensors"
    save_lora(path, lora)
    before = path.read_bytes()

    with pytest.raises(CheckpointError):
        save_lora(path, lora, {"steps": 5})
    with pytest.raises(MediaError, match="is a folder"):
        save_lora(tmp_path, lora)
    assert path.read_bytes() == before

    save_lora(path, random_lora(model, seed=2))
    assert path.read_bytes() != before
    assert list(tmp_path.iterdir()) == [path]
