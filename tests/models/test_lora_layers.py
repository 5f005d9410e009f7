"""Layers with a LoRA on them: the same as peft's, beside a network that stays as it is."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.testing import assert_close

from zoetrope.models.errors import CheckpointError
from zoetrope.models.lean_unet import LeanUNet, PlainUNet
from zoetrope.models.lora_layers import (
    PRESETS,
    LoraLayer,
    LoraPair,
    add_lora,
    lora_targets,
)

from .lean_networks import CONTEXT_WIDTH, VECTOR_WIDTH, distance, small_unet

CLIP = (1, 3, 8, 8, 8)
EVERY_KIND = ["conv_in", "down_blocks.0.resnets.0.temporal_res_block.conv1", "time_embedding.linear_1",
              "up_blocks.0.upsamplers.0.conv", "down_blocks.0.downsamplers.0.conv", "conv_out",
              "up_blocks.1.resnets.0.spatial_res_block.conv1",
              "up_blocks.0.resnets.0.temporal_res_block.conv2"]  # fmt: skip


def inputs(dtype=torch.float64, clip=CLIP):
    generator = torch.Generator().manual_seed(1)
    shapes = (clip, (clip[0], 1, CONTEXT_WIDTH), (*clip[:2], VECTOR_WIDTH))
    x, context, vector = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    return x, torch.full((clip[0],), 0.3), context, vector


def drawn(layers, seed=5):
    """As if they had been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return layers


def with_peft(unet, layers, rank, alpha):
    """The same matrices, put on by peft."""
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(layers.layers))
    network = inject_adapter_in_model(config, copy.deepcopy(unet))
    with torch.no_grad():
        for name, layer in layers.layers.items():
            theirs = network.get_submodule(name)
            theirs.lora_A.default.weight.copy_(layer.pair.down)
            theirs.lora_B.default.weight.copy_(layer.pair.up.reshape(theirs.lora_B.default.weight.shape))
    return network


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("gradients", [True, False])
def test_the_result_is_that_of_peft(preset, gradients):
    unet = small_unet().double()
    layers = drawn(add_lora(unet, [*lora_targets(unet, preset), *EVERY_KIND], rank=3, alpha=7, seed=0))
    theirs = with_peft(unet, layers, 3, 7).double()

    with torch.set_grad_enabled(gradients):
        ours, wanted = layers.unet(*inputs()), theirs(*inputs())

    assert distance(wanted, unet(*inputs())) > 0.01
    assert distance(ours, wanted) < 1e-7  # the matrices of the one are float32, as the seeds of the other


def test_the_gradients_are_those_of_peft():
    unet = small_unet().double()
    layers = drawn(add_lora(unet, [*lora_targets(unet, "strong"), *EVERY_KIND], rank=3, alpha=7, seed=0))
    theirs = with_peft(unet, layers, 3, 7).double()

    layers.unet(*inputs()).square().mean().backward()
    theirs(*inputs()).square().mean().backward()

    for name, layer in layers.layers.items():
        peft = theirs.get_submodule(name)
        assert distance(layer.pair.down.grad, peft.lora_A.default.weight.grad) < 1e-6, name
        up = peft.lora_B.default.weight.grad.flatten(1)
        assert distance(layer.pair.up.grad, up) < 1e-6, name


@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16])
def test_float32_matrices_are_trained_on_weights_in_half_precision(autocast):
    unet = small_unet().to(autocast)
    layers = drawn(add_lora(unet, lora_targets(unet, "strong"), rank=3, alpha=3, seed=0))

    with torch.autocast("cpu", autocast):
        said = layers.unet(*inputs(autocast))
    said.float().square().mean().backward()
    without = layers.unet(*inputs(autocast))

    assert distance(without, said) < 0.02
    assert all(parameter.dtype == parameter.grad.dtype == torch.float32 for parameter in layers.parameters())
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in layers.parameters())


def test_what_is_trained_is_drawn_as_peft_draws_it_and_says_nothing_at_first():
    unet = small_unet()

    layers = add_lora(unet, lora_targets(unet, "motion"), rank=8, alpha=8, seed=3)

    assert torch.equal(layers.unet(*inputs(torch.float32)), unet(*inputs(torch.float32)))
    for layer in layers.layers.values():
        bound = layer.pair.down.shape[1] ** -0.5
        assert not layer.pair.up.any()
        assert 0.9 * bound < layer.pair.down.abs().max() <= bound


def test_a_seed_means_the_same_matrices_and_global_randomness_is_left_alone():
    unet = small_unet()
    names = lora_targets(unet, "motion")
    state = torch.get_rng_state()

    one, same, other = (add_lora(unet, names, 4, 4, seed).parameters() for seed in (1, 1, 2))

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one[::2], other[::2], strict=True))


def test_presets_grow_and_leave_out_what_has_no_gradient():
    unet = small_unet()
    motion, look, strong = (set(lora_targets(unet, preset)) for preset in PRESETS)

    assert motion < look < strong
    assert all("temporal_transformer_blocks" in name for name in motion)
    layers = drawn(add_lora(unet, strong, rank=2, alpha=2, seed=0))
    layers.unet(*inputs(torch.float32)).square().mean().backward()
    assert all(parameter.grad.any() for parameter in layers.parameters())
    # What is left out of the attention would learn nothing.
    rest = {
        name
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear) and ".attn" in name and name not in look
    }
    assert {name.split(".")[-2] + "." + name.split(".")[-1] for name in rest} == {"attn2.to_q", "attn2.to_k"}
    useless = drawn(add_lora(unet, rest, rank=2, alpha=2, seed=0))
    useless.unet(*inputs(torch.float32)).square().mean().backward()
    largest = max(parameter.grad.abs().max() for parameter in layers.parameters())
    assert all(parameter.grad.abs().max() < 1e-6 * largest for parameter in useless.parameters())


def test_all_attention_of_the_released_unet_is_192_linears_that_learn():
    """Of 256; the others are queries and keys of cross-attention."""
    from zoetrope.models.svd_unet import VideoUNet

    with torch.device("meta"):
        unet = VideoUNet(num_attention_heads=(5, 10, 20, 20))

    assert [len(lora_targets(unet, preset)) for preset in PRESETS] == [96, 192, 288]


def test_the_network_that_is_given_stays_as_it_is():
    unet = small_unet()
    before = {name: id(module) for name, module in unet.named_modules()}
    said = unet(*inputs(torch.float32))

    layers = drawn(add_lora(unet, lora_targets(unet, "strong"), rank=2, alpha=2, seed=0))
    layers.unet.train()
    layers.unet.enable_gradient_checkpointing()
    layers.unet.down_blocks[0].register_forward_hook(lambda *_: pytest.fail("the other's hook is called"))

    assert {name: id(module) for name, module in unet.named_modules()} == before
    assert not any(module.training for name, module in unet.named_modules() if list(module.children()))
    assert not unet.is_gradient_checkpointing
    assert torch.equal(unet(*inputs(torch.float32)), said)
    assert layers.unet.config == unet.config


def test_all_weights_but_the_new_ones_are_the_same_memory():
    unet = small_unet()

    layers = add_lora(unet, lora_targets(unet, "strong"), rank=2, alpha=2, seed=0)

    theirs = {id(parameter) for parameter in unet.parameters()}
    new = [parameter for parameter in layers.unet.parameters() if id(parameter) not in theirs]
    assert {id(parameter) for parameter in new} == {id(parameter) for parameter in layers.parameters()}
    assert len(list(layers.unet.parameters())) == len(theirs) + len(new)


def test_gradient_checkpointing_gives_the_same_gradients():
    unet = small_unet()
    layers = drawn(add_lora(unet, lora_targets(unet, "motion"), rank=2, alpha=2, seed=0))
    layers.unet(*inputs(torch.float32)).square().mean().backward()
    wanted = [parameter.grad.clone() for parameter in layers.parameters()]
    for parameter in layers.parameters():
        parameter.grad = None

    layers.unet.train()
    layers.unet.enable_gradient_checkpointing()
    layers.unet(*inputs(torch.float32)).square().mean().backward()

    for parameter, grad in zip(layers.parameters(), wanted, strict=True):
        assert_close(parameter.grad, grad)


def test_strength_is_a_number_that_can_be_turned():
    unet = small_unet().double()
    layers = drawn(add_lora(unet, ["conv_out"], rank=2, alpha=5, seed=0))

    said = {}
    for strength in (0.0, 1.0, -1.0, 2.0):
        layers.set_strength(strength)
        assert layers.strength == pytest.approx(strength)
        with torch.no_grad():
            said[strength] = layers.unet(*inputs())

    base = unet(*inputs())
    assert torch.equal(said[0.0], base)
    assert_close(said[1.0] - base, base - said[-1.0])  # the last layer is linear in its weight
    assert_close(said[2.0] - base, 2 * (said[1.0] - base))
    assert distance(said[1.0], base) > 0.01


@given(
    kind=st.sampled_from(["linear", "2d", "3d"]),
    rows=st.integers(1, 40),
    stride=st.integers(1, 2),
    depth=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_a_layer_says_the_same_whether_rows_or_weights_are_changed(kind, rows, stride, depth, seed):
    generator = torch.Generator().manual_seed(seed)
    if kind == "linear":
        layer, shape = nn.Linear(6, 10), (rows, 6)
    elif kind == "2d":
        layer, shape = nn.Conv2d(6, 10, 3, stride=stride, padding=1), (1, 6, rows, 5)
    else:
        layer, shape = nn.Conv3d(6, 10, (3, 1, 1), padding=(1, 0, 0)), (1, 6, rows, 2, 2)
    layer = layer.double().requires_grad_(False)
    weight = layer.weight.clone()
    whole = layer
    for number in range(depth):
        down = torch.randn(number + 1, *weight.shape[1:], generator=generator).double()
        up = torch.randn(10, number + 1, generator=generator).double()
        whole = LoraLayer(whole, LoraPair(down, up), 0.5 - number)
        weight += (0.5 - number) * torch.einsum("o r, r ... -> o ...", up, down)
    x = torch.randn(shape, generator=generator).double()
    reference = copy.deepcopy(layer)
    reference.weight.copy_(weight)

    with torch.enable_grad():
        by_rows = whole(x)
    with torch.no_grad():
        either = whole(x)

    assert_close(whole.weight, weight)
    assert_close(by_rows, reference(x))
    assert_close(either, reference(x))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_lean_unet_says_what_the_plain_one_says(preset):
    unet = small_unet(widths=(32, 64), layers=2).double()
    layers = drawn(add_lora(unet, [*lora_targets(unet, preset), *EVERY_KIND], rank=3, alpha=6, seed=0))
    twice = drawn(add_lora(layers.unet, lora_targets(unet, preset), rank=2, alpha=1, seed=1), seed=6)
    x, level, context, vector = inputs(clip=(2, 3, 8, 9, 8))

    with torch.no_grad():
        plain = PlainUNet(twice.unet, context, vector)(x, level)
        lean = LeanUNet(twice.unet, context, vector)(x, level)

    assert distance(plain, unet(x, level, context, vector)) > 0.01
    assert distance(lean, plain) < 1e-10


def test_matrices_can_be_trained_though_a_node_made_them():
    unet = small_unet()
    with torch.inference_mode():
        layers = add_lora(unet, lora_targets(unet, "motion"), rank=2, alpha=2, seed=0)

    layers.unet(*inputs(torch.float32)).square().mean().backward()

    assert all(parameter.grad is not None for parameter in layers.parameters())


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (dict(rank=0), "rank is 0"),
        (dict(alpha=0.0), "alpha is 0"),
        (dict(alpha=float("nan")), "alpha is nan"),
        (dict(names=[]), "No layers are chosen"),
        (dict(names=["conv_norm_out"]), "conv_norm_out is a GroupNorm"),
        (dict(names=["down_blocks.9"]), "down_blocks.9 is no such module"),
    ],
)
def test_what_cannot_be_trained_is_told_in_a_sentence(wrong, sentence):
    unet = small_unet()
    arguments = dict(names=["conv_in"], rank=4, alpha=4.0, seed=0) | wrong

    with pytest.raises(CheckpointError, match=sentence):
        add_lora(unet, **arguments)


def test_a_preset_that_is_none_is_told_with_those_that_are():
    with pytest.raises(CheckpointError, match="'all'.*motion, motion and look, strong"):
        lora_targets(small_unet(), "all")
