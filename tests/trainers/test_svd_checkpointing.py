"""The network with gradients in little memory, against its own forward."""

import pytest
import torch
from torch.testing import assert_close

from zoetrope.models.lora import add_lora, lora_targets
from zoetrope.models.svd import load_svd
from zoetrope.trainers.svd_checkpointing import KeptBytes, checkpointed_unet


@pytest.fixture(scope="module", params=["svd", "svd_deep"])
def unet(request, tiny_checkpoint):
    """With a LoRA that does something."""
    model = load_svd(tiny_checkpoint(request.param), dtype=torch.float32, device="cpu")
    layers = add_lora(model.unet.module, lora_targets(model.unet.module, "strong"), 4, 4.0, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in layers.layers.values():
            layer.pair.up.normal_(std=0.1, generator=generator)
    return layers.unet


def inputs_of(unet, clips=2, frames=3, side=8):
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (clips, frames, 8, side, side),
        (clips,),
        (clips, 1, unet.config["cross_attention_dim"]),
        (clips, frames, unet.config["projection_class_embeddings_input_dim"]),
    ]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def gradients(unet, forward, given):
    weights = [weight for weight in unet.parameters() if weight.requires_grad]
    result = forward(*given)
    return result.detach(), torch.autograd.grad(result.square().mean(), weights)


@pytest.mark.parametrize("side", [8, 12])
def test_results_and_gradients_are_those_of_the_plain_network(unet, side):
    given = inputs_of(unet, side=side)

    expected, expected_gradients = gradients(unet, unet, given)
    result, found = gradients(unet, lambda *each: checkpointed_unet(unet, *each), given)

    assert torch.equal(result, expected)
    for one, other in zip(found, expected_gradients, strict=True):
        assert_close(one, other)
    assert max(gradient.abs().max() for gradient in found) > 0


def test_it_keeps_half_of_what_diffusers_checkpointing_keeps(unet):
    given = inputs_of(unet, clips=1)
    unet.enable_gradient_checkpointing()
    unet.train()  # or else diffusers keeps everything
    try:
        with KeptBytes(unet) as theirs:
            unet(*given)
    finally:
        unet.eval()
        unet.disable_gradient_checkpointing()

    with KeptBytes(unet) as ours:
        checkpointed_unet(unet, *given)

    assert 0 < ours.bytes <= 0.5 * theirs.bytes
