from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from zoetrope.diffusion.samplers import SAMPLERS
from zoetrope.diffusion.schedules import karras_sigmas
from zoetrope.host import work
from zoetrope.host.weights import Weights
from zoetrope.pipelines import sampling
from zoetrope.pipelines.conditioning import Condition, draw_noise, seeded
from zoetrope.pipelines.previewing import LatentColours
from zoetrope.pipelines.sampling import GuidedDenoiser, SamplingOptions, sample_latents, side_multiple
from zoetrope.pipelines.sv3d import SV3DOptions
from zoetrope.pipelines.svd import SVDOptions

from ..random_checkpoints import golden_io
from .conftest import config, sampled_with

GREY = LatentColours(torch.zeros(4, 3), torch.full((3,), 0.5))
plain_and_lean = pytest.mark.parametrize("lean", [False, True], ids=["plain", "lean"])


def condition_of(kind: str) -> Condition:
    golden = golden_io(kind)
    return Condition(golden["clip_embed"][:, None], golden["cond_latent"], golden["vector"], GREY)


def options_of(kind: str, **changes) -> SamplingOptions:
    return (SVDOptions if kind.startswith("svd") else SV3DOptions)(**{**sampled_with(kind), **changes})


@plain_and_lean
@pytest.mark.parametrize("kind", ["svd", "svd_deep", "sv3d_u", "sv3d_p"])
def test_every_step_is_the_reference_s(tiny, kind, lean):
    golden, steps = golden_io(kind), []

    result = sample_latents(
        tiny(kind), condition_of(kind), golden["noise"], options_of(kind, lean=lean), on_step=steps.append
    )

    assert_close(result, golden["samples_z"], rtol=0, atol=6e-5)
    assert [step.index for step in steps] == list(range(config(kind)["num_steps"]))
    assert_close(torch.tensor([step.sigma for step in steps]), golden["sigmas"][:-1], rtol=1e-6, atol=0)
    # What each step saw, from where the reference was before and after it: d = (x - D) / sigma.
    before, after, sigmas = golden["trajectory"][:-1], golden["trajectory"][1:], golden["sigmas"]
    for step in steps[1:]:
        slope = (after[step.index] - before[step.index]) / (sigmas[step.index + 1] - sigmas[step.index])
        expected = before[step.index] - sigmas[step.index] * slope
        assert_close(step.denoised, expected, rtol=0, atol=3e-4)


def test_the_noise_that_came_in_is_left_as_it_was(tiny):
    noise = golden_io("svd")["noise"].clone()

    sample_latents(tiny("svd"), condition_of("svd"), noise, options_of("svd", steps=1))

    assert torch.equal(noise, golden_io("svd")["noise"])


class Known(nn.Module):
    """A network in SVD's place that knows the clip, and counts how often it is asked; untold, it sees black."""

    def __init__(self, clip: torch.Tensor, most_clips: int = 2):
        super().__init__()
        self.register_parameter("clip", nn.Parameter(clip, requires_grad=False))
        self.most_clips, self.asked = most_clips, []
        self.config = type("Config", (), {"block_out_channels": (4, 4)})

    def forward(self, x, c_noise, context, vector):
        if len(x) > self.most_clips:
            raise torch.cuda.OutOfMemoryError("no room")
        self.asked.append(len(x))
        sigma = (4 * c_noise).exp().view(-1, 1, 1, 1, 1)
        noisy = x[:, :, :4] * (sigma**2 + 1) ** 0.5
        told = context.mean((1, 2)).view(-1, 1, 1, 1, 1)
        # v such that c_skip x + c_out v is the clip
        return (noisy / (sigma**2 + 1) - told * self.clip) * (sigma**2 + 1) ** 0.5 / sigma


def known(model, clip, **keywords):
    return replace(model, unet=Weights(Known(clip, **keywords)))


def told(frames: int) -> Condition:
    return Condition(torch.ones(1, 1, 8), torch.zeros(1, 4, 6, 5), torch.zeros(frames, 768), GREY)


CLIP = draw_noise((3, 4, 6, 5), seeded(0))
NOISE = draw_noise((3, 4, 6, 5), seeded(1))


def known_options(**changes) -> SVDOptions:
    return SVDOptions(**{"steps": 5, "min_guidance": 1.0, "max_guidance": 3.0, "lean": False, **changes})


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_network_that_knows_the_clip_gives_it_back_pushed_by_the_guidance(tiny, sampler, steps):
    model = known(tiny("svd"), CLIP)

    result = sample_latents(model, told(3), NOISE, known_options(sampler=sampler, steps=steps))

    pushed = CLIP * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)  # untold it sees black: 0 + scale * (clip - 0)
    assert_close(result, pushed, rtol=0, atol=1e-3)


@pytest.mark.parametrize("guidance", ["linear", "triangle", "constant"])
def test_guidance_one_is_no_guidance_and_costs_none(tiny, guidance):
    model = known(tiny("svd"), CLIP)

    result = sample_latents(model, told(3), NOISE, known_options(max_guidance=1.0, guidance=guidance))

    assert_close(result, CLIP, rtol=0, atol=1e-3)
    assert model.unet.module.asked == [1] * 5


@pytest.mark.parametrize(
    "start, end, evaluations",
    [(0.0, 1.0, [2, 2, 2, 2, 2]), (0.0, 0.4, [2, 2, 1, 1, 1]), (0.4, 0.8, [1, 1, 2, 2, 1]), (0.8, 1.0, [1, 1, 1, 1, 2]),
     (0.41, 0.42, [1, 1, 1, 1, 1])],
)  # fmt: skip
def test_guidance_acts_in_its_part_of_the_steps(tiny, start, end, evaluations):
    model, asked = known(tiny("svd"), CLIP), []

    def note(step):
        asked.append(len(model.unet.module.asked))

    options = known_options(guidance_start=start, guidance_end=end)
    sample_latents(model, told(3), NOISE, options, on_step=note)

    assert [after - before for before, after in zip([0, *asked], asked, strict=False)] == evaluations


def on_an_accelerator(monkeypatch, bytes_free):
    """Let the sampler believe that it runs where two clips at once pay."""
    monkeypatch.setattr(sampling.work, "available_bytes", lambda device: bytes_free)
    monkeypatch.setattr(sampling, "_pays_off", lambda device: True)


@pytest.mark.parametrize(
    "bytes_free, most_clips, asked",
    [(2**40, 2, [2, 2]), (0, 2, [1, 1, 1, 1]), (2**40, 1, [1, 1, 1, 1])],
    ids=["room for both", "no room for both", "room is less than it seemed"],
)
def test_both_predictions_are_made_at_once_where_there_is_room(tiny, monkeypatch, bytes_free, most_clips, asked):
    on_an_accelerator(monkeypatch, bytes_free)
    model = known(tiny("svd"), CLIP, most_clips=most_clips)

    result = sample_latents(model, told(3), NOISE, known_options(steps=2))

    assert model.unet.module.asked == asked
    assert_close(result[0], CLIP[0], rtol=0, atol=1e-3)


def test_both_at_once_and_in_turn_make_the_same_clip(tiny, monkeypatch):
    in_turn = sample_latents(tiny("svd"), condition_of("svd"), golden_io("svd")["noise"], options_of("svd", lean=False))
    on_an_accelerator(monkeypatch, 2**40)

    at_once = sample_latents(tiny("svd"), condition_of("svd"), golden_io("svd")["noise"], options_of("svd", lean=False))

    assert_close(at_once, in_turn, rtol=0, atol=2e-5)


def test_where_there_is_no_room_for_one_clip_the_error_is_the_device_s(tiny):
    with pytest.raises(work.out_of_memory_errors):
        sample_latents(known(tiny("svd"), CLIP, most_clips=0), told(3), NOISE, known_options())


@plain_and_lean
def test_raising_from_a_step_ends_the_sampling_and_the_next_run_is_as_if_it_had_never_been(tiny, lean):
    run = tiny("svd"), condition_of("svd"), golden_io("svd")["noise"], options_of("svd", lean=lean)

    def cancel(step):
        if step.index == 2:
            raise KeyboardInterrupt

    untouched = sample_latents(*run)
    with pytest.raises(KeyboardInterrupt):
        sample_latents(*run, on_step=cancel)

    assert torch.equal(sample_latents(*run), untouched)


def test_sampling_records_no_gradients_and_gives_a_tensor_that_can(tiny):
    result = sample_latents(tiny("svd"), condition_of("svd"), golden_io("svd")["noise"], options_of("svd", steps=1))

    assert not result.requires_grad
    assert not result.is_inference()


def test_the_random_numbers_of_others_are_left_alone(tiny):
    state = torch.get_rng_state()

    sample_latents(tiny("svd"), condition_of("svd"), golden_io("svd")["noise"], options_of("svd", steps=1))

    assert torch.equal(torch.get_rng_state(), state)


def test_a_cached_network_is_near_the_exact_one_and_not_equal(tiny):
    run = tiny("svd_deep"), condition_of("svd_deep"), golden_io("svd_deep")["noise"]

    exact = sample_latents(*run, options_of("svd_deep"))
    cached = sample_latents(*run, options_of("svd_deep", cache_interval=2))

    assert 1e-4 < (cached - exact).abs().mean() < exact.abs().mean()


def test_a_step_shows_the_clip_as_it_forms(tiny):
    steps = []

    sample_latents(tiny("svd"), condition_of("svd"), golden_io("svd")["noise"], options_of("svd"), on_step=steps.append)

    assert_close(steps[-1].preview(), torch.full((4, 8, 12, 3), 0.5))


def test_a_condition_and_noise_of_different_clips_are_refused(tiny):
    with pytest.raises(ValueError, match="The condition is of 4 frames, and the noise of 5"):
        sample_latents(tiny("svd"), condition_of("svd"), torch.zeros(5, 4, 8, 12), options_of("svd"))


def test_sides_are_multiples_of_what_vae_and_unet_halve(tiny):
    assert side_multiple(tiny("svd")) == 16  # three halvings and one


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"frames": -1}, "frames is -1. Choose at least 1, or 0"),
        ({"steps": -5}, "steps is -5"),
        ({"cond_aug": -0.1}, "cond_aug is -0.1. It is an amount of noise"),
        ({"frames": 2.5}, "frames is 2.5. Choose a whole number"),
        ({"steps": "4"}, "steps is '4'. Choose a whole number"),
        ({"seed": 1.0}, "seed is 1.0. Choose a whole number"),
        ({"cond_aug": None}, "cond_aug is None, which is no number"),
        ({"max_guidance": "high"}, "max_guidance is 'high', which is no number"),
        ({"cond_aug": float("nan")}, "cond_aug is nan, which is no number"),
        ({"max_guidance": float("inf")}, "max_guidance is inf"),
        ({"guidance": "square"}, "guidance is 'square'. Choose one of linear, triangle, constant"),
        ({"sampler": "ddim"}, "sampler is 'ddim'. Choose one of euler, heun, dpm"),
        ({"guidance_start": 0.5, "guidance_end": 0.5}, "Guidance goes from 0.5 to 0.5. Choose shares"),
        ({"guidance_end": 1.5}, "Guidance goes from 0.0 to 1.5"),
        ({"seed": -1}, "seed is -1. It goes from 0"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"decoding_t": 0}, "decoding_t is 0. At least 1 frame"),
        ({"cache_interval": 0}, "cache_interval is 0"),
        ({"cache_interval": 2, "lean": False}, "which only the lean network can"),
    ],
)
def test_options_that_make_no_clip_are_refused_in_a_sentence(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        SamplingOptions(**changes)


@pytest.mark.parametrize(
    "dtype, lean", [(torch.bfloat16, False), (torch.bfloat16, True), (torch.float16, True)], ids=str
)
def test_a_network_of_low_precision_stays_near_and_the_arithmetic_around_it_is_float32(tiny, dtype, lean):
    from copy import deepcopy

    run = condition_of("svd"), golden_io("svd")["noise"]
    rounded = replace(tiny("svd"), unet=Weights(deepcopy(tiny("svd").unet.module).to(dtype)))

    result = sample_latents(rounded, *run, options_of("svd", lean=lean))

    assert result.dtype == torch.float32
    assert_close(result, golden_io("svd")["samples_z"], rtol=0, atol=0.3)


def test_the_first_prediction_is_the_reference_s_told_and_untold(tiny):
    golden = golden_io("svd")
    sigmas = karras_sigmas(5)
    start = golden["trajectory"][0]
    both = {}
    for name, scale in (("uncond", 0.0), ("cond", 1.0)):
        options = options_of("svd", min_guidance=scale, max_guidance=scale).completed(tiny("svd"))
        denoise = GuidedDenoiser(tiny("svd"), condition_of("svd"), tuple(start.shape), options, sigmas)
        with torch.no_grad():
            both[name] = denoise(start, sigmas[0])

    for name, denoised in both.items():
        assert_close(denoised, golden[f"denoised_first_{name}"], rtol=0, atol=2e-5)


def test_whole_numbers_of_other_libraries_make_the_same_clip():
    options = SamplingOptions(frames=np.int64(3), steps=torch.tensor(2), seed=np.uint32(5), decoding_t=np.int16(1))

    assert options == SamplingOptions(frames=3, steps=2, seed=5, decoding_t=1)
    assert {type(number) for number in (options.frames, options.steps, options.seed, options.decoding_t)} == {int}


def test_a_network_whose_numbers_overflow_is_told_in_its_first_step(tiny):
    model = tiny("svd")
    unet = deepcopy(model.unet.module)
    unet.conv_out.bias[0] = torch.inf

    with pytest.raises(ValueError, match="NaN or infinity of the clip in step 1, computed in torch.float32. Load"):
        sample_latents(
            replace(model, unet=Weights(unet)), condition_of("svd"), golden_io("svd")["noise"], options_of("svd")
        )
