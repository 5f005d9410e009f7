"""What is trained, and that it is all that changes."""

import pytest
import torch

from zoetrope.models.svd import load_svd
from zoetrope.trainers.svd_trained import LORA_PRESETS, make_trainable

PRESETS = (*LORA_PRESETS, "temporal weights", "all weights")


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    return load_svd(tiny_checkpoint("svd"), dtype=torch.float32, device="cpu")


def evaluated(unet):
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 3, 8, 8, 8), (1,), (1, 1, 32), (1, 3, 768)]
    return unet(*(torch.randn(shape, generator=generator) for shape in shapes))


@pytest.mark.parametrize("preset", PRESETS)
def test_all_that_is_trained_gets_a_gradient_and_the_model_stays_as_it_was(model, preset):
    before = {name: weight.clone() for name, weight in model.unet.module.named_parameters()}
    trained = make_trainable(model, preset, 4, 4.0, 0)
    unet = trained.model.unet.module
    assert torch.allclose(evaluated(unet), evaluated(model.unet.module), atol=1e-5)
    with torch.no_grad():
        for name, weight in trained.weights.items():
            if name.endswith(".up"):
                weight.add_(0.01)

    evaluated(unet).square().mean().backward()

    without = [name for name, weight in trained.weights.items() if weight.grad is None or not weight.grad.any()]
    assert not without
    others = set(map(id, trained.weights.values()))
    assert all(id(weight) in others for weight in unet.parameters() if weight.requires_grad)
    with torch.no_grad():
        for weight in trained.weights.values():
            weight.sub_(weight.grad)
    for name, weight in model.unet.module.named_parameters():
        assert torch.equal(weight, before[name])
        assert weight.grad is None


@pytest.mark.parametrize("preset", PRESETS)
def test_query_and_key_of_the_look_at_the_picture_are_never_trained(model, preset):
    names = make_trainable(model, preset, 4, 4.0, 0).weights

    assert any("attn2.to_v" in name for name in names)
    assert not any("attn2.to_q" in name or "attn2.to_k" in name for name in names)


def test_temporal_weights_are_those_that_a_model_of_pictures_has_not(model):
    names = make_trainable(model, "temporal weights", 4, 4.0, 0).weights

    kinds = ("temporal_transformer_blocks", "temporal_res_block", "time_mixer.mix_factor", "time_pos_embed")
    assert all(any(kind in name for name in names) for kind in kinds)
    assert all(any(kind in name for kind in kinds) for name in names)


def test_weights_of_half_precision_are_trained_in_float32(tiny_checkpoint):
    half = load_svd(tiny_checkpoint("svd"), dtype=torch.bfloat16, device="cpu")

    for preset in PRESETS:
        weights = make_trainable(half, preset, 4, 4.0, 0).weights
        assert {weight.dtype for weight in weights.values()} == {torch.float32}
