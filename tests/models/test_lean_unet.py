"""The rewritten forward against the UNet's own, on random networks of its classes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model

from zoetrope.models.lean_unet import LeanUNet, PlainUNet
from zoetrope.models.svd import load_svd

from ..pipelines.peak import peak_bytes
from ..random_checkpoints import golden_io
from .lean_networks import CONTEXT_WIDTH, VECTOR_WIDTH, distance, small_unet

NOISE_LEVEL = torch.tensor([0.3])


def inputs(batch=1, frames=3, size=(8, 8), tokens=1, *, same_vector=False, dtype=torch.float32, seed=0):
    """The UNet's conditions, and a noisy clip with its picture behind it."""
    generator = torch.Generator().manual_seed(seed)
    context = torch.randn(batch, tokens, CONTEXT_WIDTH, generator=generator, dtype=dtype)
    vector = torch.randn(batch, frames, VECTOR_WIDTH, generator=generator, dtype=dtype)
    clip = torch.randn(batch, frames, 8, *size, generator=generator, dtype=dtype)
    return (context, vector[:, :1].expand_as(vector) if same_vector else vector), clip


@st.composite
def architectures(draw):
    levels = draw(st.integers(1, 3))
    heads = [draw(st.sampled_from([1, 2, 4])) for _ in range(levels)]
    return small_unet(
        widths=tuple(draw(st.sampled_from([32, 64])) for _ in range(levels)),
        heads=tuple(heads),
        layers=draw(st.integers(1, 2)),
        attention=tuple(draw(st.booleans()) for _ in range(levels)),
        transformer_layers=draw(st.integers(1, 2)),
        seed=draw(st.integers(0, 9)),
    )


@settings(max_examples=10)
@given(
    unet=architectures(),
    batch=st.integers(1, 2),
    frames=st.integers(1, 5),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),  # GroupNorm refuses to norm a single value
    tokens=st.sampled_from([1, 3]),
    same_vector=st.booleans(),
)
def test_in_double_precision_the_lean_unet_says_what_the_plain_one_says(unet, batch, frames, size, tokens, same_vector):
    conditions, clip = inputs(batch, frames, size, tokens, same_vector=same_vector, dtype=torch.float64)
    unet = unet.double()
    levels = torch.linspace(-1, 1, batch)

    lean, plain = (network(unet, *conditions)(clip, levels) for network in (LeanUNet, PlainUNet))

    # The sinusoid of the noise level is float32 in both, and nothing else.
    assert distance(lean, plain) < 1e-10


@pytest.mark.parametrize("same_vector", [True, False])
def test_in_single_precision_the_lean_unet_rounds_no_more_than_the_plain_one(same_vector):
    unet = small_unet((32, 64, 64), (2, 2, 4), layers=2)
    conditions, clip = inputs(2, 4, same_vector=same_vector)

    lean, plain = (network(unet, *conditions)(clip, NOISE_LEVEL) for network in (LeanUNet, PlainUNet))
    exact = PlainUNet(unet.double(), *(each.double() for each in conditions))(clip.double(), NOISE_LEVEL)

    assert distance(lean, plain) < 4e-6
    assert distance(lean, exact) < 2e-6


@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_in_half_precision_the_lean_unet_is_as_near_to_the_truth_as_the_plain_one(dtype, tolerance):
    unet = small_unet()
    conditions, clip = inputs(2, 3)
    exact = PlainUNet(unet, *conditions)(clip, NOISE_LEVEL)
    unet, conditions, clip = unet.to(dtype), [each.to(dtype) for each in conditions], clip.to(dtype)

    lean, plain = (network(unet, *conditions)(clip, NOISE_LEVEL) for network in (LeanUNet, PlainUNet))

    assert lean.dtype == dtype
    assert distance(lean, exact) < min(tolerance, 1.5 * distance(plain, exact))


@pytest.mark.parametrize("kind", ["svd", "svd_deep", "sv3d_u", "sv3d_p"])
def test_the_lean_unet_says_what_the_reference_says(kind, tiny_checkpoint):
    io = golden_io(kind)
    unet = load_svd(tiny_checkpoint(kind), dtype=torch.float32, device="cpu").unet.module
    picture = io["cond_latent"].expand(len(io["unet_x"]), -1, -1, -1)
    nothing_and_picture = torch.stack([torch.cat([io["unet_x"], given], dim=1) for given in (picture * 0, picture)])
    context = torch.stack([io["clip_embed"] * 0, io["clip_embed"]])
    lean = LeanUNet(unet, context, io["vector"].expand(2, -1, -1))

    out = lean(nothing_and_picture, io["unet_c_noise"])

    torch.testing.assert_close(out, torch.stack([io["unet_out_uncond"], io["unet_out_cond"]]), atol=2e-5, rtol=0)


@pytest.mark.parametrize("tokens", [1, 3])
def test_lora_layers_are_respected_wherever_they_are(tokens):
    unet = small_unet().double()
    conditions, clip = inputs(1, 3, tokens=tokens, dtype=torch.float64)
    without = LeanUNet(unet, *conditions)(clip, NOISE_LEVEL)
    everywhere = "to_q to_k to_v to_out.0 proj net.2 proj_in proj_out conv conv1 conv2 conv_in conv_out time_emb_proj "
    targets = (everywhere + "linear_1 linear_2 conv_shortcut").split()
    adapted = inject_adapter_in_model(LoraConfig(r=2, target_modules=targets, init_lora_weights=False), unet).double()

    lean, plain = (network(adapted, *conditions)(clip, NOISE_LEVEL) for network in (LeanUNet, PlainUNet))

    assert distance(lean, plain) < 1e-10
    assert distance(lean, without) > 0.01


def test_hooks_of_a_layer_are_called_although_its_weights_are_at_hand():
    unet = small_unet().double()
    conditions, clip = inputs(1, 2, dtype=torch.float64)
    block = unet.down_blocks[0].resnets[0]
    for layer in (block.spatial_res_block.conv1, block.temporal_res_block.conv1, block.spatial_res_block.norm1):
        layer.register_forward_hook(lambda layer, given, result: result * 2)
    attention = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    attention.to_out[0].register_forward_hook(lambda layer, given, result: result * 2)

    lean, plain = (network(unet, *conditions)(clip, NOISE_LEVEL) for network in (LeanUNet, PlainUNet))

    assert distance(lean, plain) < 1e-10


def test_another_attention_processor_is_asked_instead_of_the_constant():
    from diffusers.models.attention_processor import AttnProcessor2_0

    class Doubling(AttnProcessor2_0):
        def __call__(self, attn, *args, **kwargs):
            return 2 * super().__call__(attn, *args, **kwargs)

    unet = small_unet().double()
    unet.set_attn_processor(Doubling())
    conditions, clip = inputs(1, 3, dtype=torch.float64)

    lean, plain = (network(unet, *conditions)(clip, NOISE_LEVEL) for network in (LeanUNet, PlainUNet))

    assert distance(lean, plain) < 1e-10


def test_many_slices_say_what_one_says(monkeypatch):
    unet = small_unet(layers=2).double()
    conditions, clip = inputs(1, 5, (16, 12), dtype=torch.float64)
    at_once = LeanUNet(unet, *conditions)(clip, NOISE_LEVEL)
    for name in ("LEAST_ROWS", "CACHE_BYTES", "CONVOLUTION_BYTES"):
        monkeypatch.setattr(f"zoetrope.models.lean_layers.{name}", 7)

    assert distance(LeanUNet(unet, *conditions)(clip, NOISE_LEVEL), at_once) < 1e-10


def test_nothing_that_is_given_changes():
    unet = small_unet()
    conditions, clip = inputs(2)
    before = clip.clone(), [each.clone() for each in conditions], {k: v.clone() for k, v in unet.state_dict().items()}
    lean = LeanUNet(unet, *conditions)

    first, second = lean(clip, NOISE_LEVEL), lean(clip, NOISE_LEVEL)

    assert torch.equal(first, second)
    assert torch.equal(clip, before[0]) and all(map(torch.equal, conditions, before[1]))
    assert all(torch.equal(value, before[2][name]) for name, value in unet.state_dict().items())


def test_it_runs_where_gradients_are_on_and_records_none():
    unet = small_unet().requires_grad_(True)
    conditions, clip = inputs()

    assert not LeanUNet(unet, *conditions)(clip, NOISE_LEVEL).requires_grad


def test_guided_it_takes_less_than_half_the_memory_of_the_plain_unet():
    unet = small_unet((32, 64, 64), (2, 4, 4), layers=2)
    conditions, clip = inputs(2, 6, (32, 32))

    lean, plain = (
        peak_bytes(lambda network=network: network(unet, *conditions)(clip, NOISE_LEVEL))
        for network in (LeanUNet, PlainUNet)
    )

    assert lean < 0.45 * plain


# Deep features from an earlier evaluation


@pytest.mark.parametrize("branch", range(5))
def test_kept_deep_features_are_exact_where_nothing_changes(branch):
    unet = small_unet(layers=2).double()
    conditions, clip = inputs(2, 3, dtype=torch.float64)
    exact = LeanUNet(unet, *conditions)(clip, NOISE_LEVEL)
    cached = LeanUNet(unet, *conditions, cache_interval=3, cache_branch=branch)

    for _ in range(4):
        assert distance(cached(clip, NOISE_LEVEL), exact) < 1e-10


@pytest.mark.parametrize("interval", [2, 3])
def test_deep_features_are_computed_anew_at_each_interval(interval):
    unet = small_unet(layers=2).double()
    conditions, clip = inputs(1, 3, dtype=torch.float64)
    clips = [clip * (1 - step / 10) for step in range(2 * interval + 1)]
    exact, cached = LeanUNet(unet, *conditions), LeanUNet(unet, *conditions, cache_interval=interval)

    distances = [distance(cached(each, NOISE_LEVEL), exact(each, NOISE_LEVEL)) for each in clips]

    assert [each < 1e-10 for each in distances] == [step % interval == 0 for step in range(len(clips))]


def test_fewer_kept_layers_are_nearer_to_the_exact_result():
    unet = small_unet((32, 64, 64), (2, 4, 4), layers=2).double()
    conditions, clip = inputs(1, 3, dtype=torch.float64)
    later = clip + 0.1 * torch.randn(clip.shape, generator=torch.Generator().manual_seed(1), dtype=clip.dtype)
    exact = LeanUNet(unet, *conditions)(later, NOISE_LEVEL)

    def error(branch):
        cached = LeanUNet(unet, *conditions, cache_interval=2, cache_branch=branch)
        cached(clip, NOISE_LEVEL)
        return distance(cached(later, NOISE_LEVEL), exact)

    assert error(7) < error(3) < error(0)


@pytest.mark.parametrize("options, said", [({"cache_interval": 0}, "is 0"), ({"cache_branch": 3}, "is 3.* to 2")])
def test_impossible_caching_is_refused(options, said):
    conditions, _ = inputs()

    with pytest.raises(ValueError, match=said):
        LeanUNet(small_unet(), *conditions, **options)
