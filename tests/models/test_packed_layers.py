"""Linear layers that are packed for a CPU: the same results, and what cannot be packed stays as it was."""

import pytest
import torch
from torch import nn

from tests.models.lean_networks import distance
from zoetrope.models import packed_layers
from zoetrope.models.packed_layers import PackedLinear, PackedPatches, can_pack, pack_layers

needs_packing = pytest.mark.skipif(not can_pack(torch.float32), reason="torch has no oneDNN here")
needs_bfloat16 = pytest.mark.skipif(not can_pack(torch.bfloat16), reason="this CPU does not compute in bfloat16")


def network(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(40, 72), nn.Sequential(nn.GELU(), nn.Linear(72, 24, bias=False)), nn.LayerNorm(24))
    return layers.to(dtype).eval().requires_grad_(False)


def packed_in(module: nn.Module) -> int:
    return sum(isinstance(each, PackedLinear) for each in module.modules())


@needs_packing
@pytest.mark.parametrize("shape", [(40,), (1, 40), (3, 5, 40), (0, 40)])
def test_results_are_the_same(shape):
    module = network(torch.float32)
    inputs = torch.randn(shape)
    expected = module(inputs)

    pack_layers(module)

    assert packed_in(module) == 2
    torch.testing.assert_close(module(inputs), expected, rtol=1e-5, atol=1e-5)


@needs_bfloat16
def test_bfloat16_is_as_close_to_float32_as_before():
    inputs = torch.randn(7, 40)
    exact = network(torch.float32)(inputs)
    module = network(torch.bfloat16)
    before = distance(module(inputs.bfloat16()), exact)

    pack_layers(module)

    assert packed_in(module) == 2
    assert distance(module(inputs.bfloat16()), exact) <= 1.2 * before


@needs_packing
def test_packed_again_nothing_changes():
    module = network(torch.float32)
    pack_layers(module)
    layers = list(module.modules())
    pack_layers(module)
    assert all(one is other for one, other in zip(layers, module.modules(), strict=True))


@needs_packing
def test_the_storage_of_every_parameter_can_be_asked_for():
    """ComfyUI 0.20 does so, of each model in its hands."""
    module = network(torch.float32)
    pack_layers(module)
    assert all(tensor.untyped_storage().nbytes() for tensor in (*module.parameters(), *module.buffers()))
    assert packed_in(module) == 2


@needs_packing
def test_what_was_packed_in_inference_mode_computes_outside_of_it():
    module = network(torch.float32)
    with torch.inference_mode():
        pack_layers(module)
    assert module(torch.randn(2, 40)).shape == (2, 24)


def test_half_precision_stays_plain():
    module = network(torch.float16)
    pack_layers(module)
    assert packed_in(module) == 0


@pytest.mark.parametrize("missing", ["_reorder_linear_weight", "_linear_pointwise"])
def test_a_torch_without_such_layers_keeps_the_plain_ones(monkeypatch, missing):
    class Without:
        def __getattr__(self, name):
            if name == missing:
                raise AttributeError(name)
            return getattr(torch.ops.mkldnn, name)

    monkeypatch.setattr(packed_layers, "_oneDNN", Without())
    module = network(torch.float32)
    pack_layers(module)
    assert packed_in(module) == 0


def test_on_a_cpu_where_nobody_tried_it_layers_stay_plain(monkeypatch):
    monkeypatch.setattr(packed_layers.platform, "machine", lambda: "riscv64")
    module = network(torch.float32)
    pack_layers(module)
    assert packed_in(module) == 0


@needs_packing
def test_a_layer_that_only_derives_from_linear_is_left_alone():
    class Adapted(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs) + 1

    module = nn.Sequential(Adapted(4, 4)).requires_grad_(False)
    pack_layers(module)
    assert packed_in(module) == 0


@needs_packing
@pytest.mark.parametrize("size", [(12, 8), (13, 11), (4, 4)])  # (13, 11) leaves a rest
def test_a_convolution_whose_windows_stand_side_by_side_is_packed(size):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 10, 4, stride=4)).requires_grad_(False)
    pictures = torch.randn(2, 3, *size)
    expected = layers(pictures)

    pack_layers(layers)

    assert isinstance(layers[0], PackedPatches) and layers[0].weight.dtype == torch.float32
    torch.testing.assert_close(layers(pictures), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changed", [{"stride": 2}, {"padding": 1}, {"dilation": 2}, {"groups": 3}])
def test_another_convolution_is_left_alone(changed):
    layers = nn.Sequential(nn.Conv2d(3, 9, 4, **({"stride": 4} | changed))).requires_grad_(False)
    pack_layers(layers)
    assert type(layers[0]) is nn.Conv2d
