import inspect
import math
from copy import deepcopy
from dataclasses import replace
from operator import itemgetter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from zoetrope.host.weights import Weights
from zoetrope.models.svd import load_svd
from zoetrope.pipelines.svd import SVDOptions, image_to_video, sized_picture

from ..random_checkpoints import golden_io
from .conftest import GOLDEN, config, sampled_with

KINDS = ["svd", "svd_deep"]


def options_of(kind: str, **changes) -> SVDOptions:
    numbers = config(f"e2e_{kind}")["numbers"]
    return SVDOptions(**{"keep_size": True, **sampled_with(f"e2e_{kind}"), **numbers, **changes})


def picture_of(kind: str) -> torch.Tensor:
    return golden_io(f"e2e_{kind}")["image_u8"] / 255


@pytest.mark.parametrize("lean", [False, True], ids=["plain", "lean"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_and_a_seed_give_the_reference_s_frames(tiny, kind, lean):
    frames = image_to_video(tiny(kind), picture_of(kind), options_of(kind, lean=lean))

    assert_close(frames, golden_io(f"e2e_{kind}")["frames"].movedim(1, -1), rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("seed", [0, 7])
def test_the_frames_are_those_of_diffusers_pipeline(tiny, seed):
    from diffusers import EulerDiscreteScheduler, StableVideoDiffusionPipeline, UNetSpatioTemporalConditionModel
    from transformers import CLIPImageProcessor

    ours = tiny("svd")
    unet = UNetSpatioTemporalConditionModel.from_config(ours.unet.module.config)
    unet.load_state_dict(ours.unet.module.state_dict())
    for name, module in unet.named_modules():  # as the reference has it; diffusers' own differ in most blocks
        if isinstance(module, torch.nn.GroupNorm) and ".resnets." in name:
            module.eps = 1e-5
    pipeline = StableVideoDiffusionPipeline(
        vae=ours.vae.module,
        image_encoder=ours.image_encoder.module,
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(
            prediction_type="v_prediction", use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0,
            timestep_type="continuous", timestep_spacing="leading", steps_offset=1,
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
        ),
        feature_extractor=CLIPImageProcessor(),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    pixels = golden_io("e2e_svd")["image_u8"]
    theirs = pipeline(
        Image.fromarray(pixels.numpy()), height=64, width=96, num_frames=6, num_inference_steps=5, fps=7,
        min_guidance_scale=1.0, max_guidance_scale=3.0, motion_bucket_id=100, noise_aug_strength=0.05,
        decode_chunk_size=4, generator=torch.Generator().manual_seed(seed), output_type="pt",
    ).frames[0]  # fmt: skip

    options = SVDOptions(
        frames=6, steps=5, fps_id=6, min_guidance=1.0, max_guidance=3.0, motion_bucket_id=100, cond_aug=0.05,
        decoding_t=4, seed=seed, keep_size=True,
    )  # fmt: skip
    frames = image_to_video(ours, pixels / 255, options)

    assert_close(frames, theirs.movedim(1, -1), rtol=0, atol=5e-5)


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_any_number_of_frames_is_a_clip(tiny, frames):
    clip = image_to_video(tiny("svd"), picture_of("svd"), options_of("svd", frames=frames, steps=2))

    assert clip.shape == (frames, 64, 96, 3)
    assert clip.isfinite().all()
    assert clip.min() >= 0
    assert clip.max() <= 1
    assert (clip.dtype, clip.device.type, clip.requires_grad, clip.is_inference()) == (
        torch.float32, "cpu", False, False
    )  # fmt: skip


@pytest.fixture(scope="module")
def usual_clip(tiny):
    return image_to_video(tiny("svd"), picture_of("svd"), options_of("svd"))


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"fps_id": 12}, {"motion_bucket_id": 60}, {"cond_aug": 0.3}, {"max_guidance": 5.0},
               {"guidance": "constant"}, {"guidance": "triangle"}, {"guidance_end": 0.5}, {"sampler": "heun"},
               {"sampler": "dpm++2m"}, {"decoding_t": 2}, {"seams": False}, {"steps": 4}, {"cache_interval": 2}],
    ids=str,
)  # fmt: skip
def test_every_option_changes_the_clip(tiny, usual_clip, change):
    clip = image_to_video(tiny("svd"), picture_of("svd"), options_of("svd", **change))

    assert (clip - usual_clip).abs().max() > 1e-3


def test_a_seed_gives_the_same_clip_whatever_was_drawn_before(tiny):
    run = tiny("svd"), picture_of("svd"), options_of("svd", steps=2)
    torch.manual_seed(1)
    first = image_to_video(*run)
    torch.manual_seed(2)

    assert torch.equal(image_to_video(*run), first)


def test_where_everything_is_loaded_and_run_in_inference_mode_as_in_comfyui_the_clip_is_the_same(tiny_checkpoint):
    with torch.inference_mode():
        model = load_svd(tiny_checkpoint("svd"), dtype=torch.float32, device="cpu")
        inside = image_to_video(model, picture_of("svd"), options_of("svd", steps=2))

    assert torch.equal(image_to_video(model, picture_of("svd"), options_of("svd", steps=2)), inside)


def test_a_tiny_decoder_takes_the_place_of_the_vae_s_for_what_was_sampled(tiny):
    enlarge = torch.nn.ConvTranspose2d(4, 3, 8, stride=8).requires_grad_(False)
    steps = []

    clip = image_to_video(
        tiny("svd"), picture_of("svd"), options_of("svd", steps=1), on_step=steps.append, tiny_decoder=Weights(enlarge)
    )

    assert_close(clip, ((enlarge(steps[-1].denoised) + 1) / 2).clamp(0, 1).movedim(1, -1), rtol=0, atol=1e-3)


def test_raising_from_a_step_ends_it_at_once_and_the_next_run_is_as_if_it_had_never_been(tiny):
    run, seen = (tiny("svd"), picture_of("svd"), options_of("svd")), []

    def cancel(step):
        seen.append(step.index)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        image_to_video(*run, on_step=cancel)

    assert seen == [0]
    assert_close(image_to_video(*run), golden_io("e2e_svd")["frames"].movedim(1, -1), rtol=0, atol=2e-5)


def test_the_preview_of_the_last_step_is_like_the_clip(tiny):
    """With random weights a latent has no colours, so the preview is that of a linear map: finite, and of the size."""
    steps = []

    image_to_video(tiny("svd"), picture_of("svd"), options_of("svd"), on_step=steps.append)

    shown = steps[-1].preview()
    assert shown.shape == (4, 8, 12, 3)
    assert 0 <= shown.min() < shown.max() <= 1


@pytest.mark.parametrize(
    "version, frames, expected",
    [("svd", 14, (14, 25, 1.0, 2.5)), ("svd_xt", 25, (25, 30, 1.5, 3.0)), ("svd_xt_1_1", 25, (25, 30, 1.5, 3.0)),
     ("", 14, (14, 25, 1.0, 2.5)), ("", 25, (25, 30, 1.5, 3.0))],
)  # fmt: skip
def test_each_version_has_the_reference_s_numbers(tiny, version, frames, expected):
    options = SVDOptions().completed(replace(tiny("svd"), version=version, frames=frames))

    assert (options.frames, options.steps, options.min_guidance, options.max_guidance) == expected
    assert (options.fps_id, options.motion_bucket_id, options.cond_aug, options.seed, options.decoding_t) == (
        6, 127, 0.02, 23, 14
    )  # fmt: skip
    assert (options.guidance, options.sampler, options.seams) == ("linear", "euler", True)


def test_numbers_that_are_given_are_kept(tiny):
    given = SVDOptions(frames=3, steps=2, min_guidance=0.0, max_guidance=0.5, width=128, height=192)

    assert given.completed(tiny("svd")) == given


@pytest.mark.parametrize(
    ("given", "size"),
    [({}, (64, 64)), ({"width": 128}, (128, 0)), ({"height": 128}, (0, 128)), ({"keep_size": True}, (0, 0))],
)
def test_without_a_size_the_clip_has_the_model_s_own(tiny, given, size):
    completed = SVDOptions(**given).completed(tiny("svd"))

    assert (completed.width, completed.height) == size


def test_a_size_and_the_picture_s_size_cannot_both_be_had():
    with pytest.raises(ValueError, match="keep_size is set, and a size of 64x0 is given too"):
        SVDOptions(width=64, keep_size=True)


def test_a_picture_whose_size_is_fine_is_taken_as_it_is():
    image = torch.rand(128, 192, 3)

    assert torch.equal(sized_picture(image, 0, 0, 64), image.movedim(-1, 0)[None] * 2 - 1)


def test_other_pictures_are_squashed_to_the_next_smaller_size_as_the_reference_means_it():
    pixels = np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)
    expected = torch.from_numpy(np.array(Image.fromarray(pixels).resize((128, 64))))  # Pillow's own choice is bicubic

    found = sized_picture(torch.from_numpy(pixels) / 255, 0, 0, 64)

    assert torch.equal(found, (expected / 255).movedim(-1, 0)[None] * 2 - 1)


@pytest.mark.parametrize(
    "case", [case for case in config("preprocess")["svd"] if "shape" in case], ids=itemgetter("name")
)
def test_pictures_are_taken_as_by_the_reference_s_script(case):
    pixels = np.array(Image.open(GOLDEN / "preprocess" / case["input"]))

    found = sized_picture(torch.from_numpy(pixels) / 255, 0, 0, 64)

    assert list(found.shape) == case["shape"]
    assert found.double().sum().item() == pytest.approx(case["sum"], abs=0.01)


@pytest.mark.parametrize(
    "width, height, size", [(128, 64, (64, 128)), (64, 0, (64, 64)), (0, 128, (128, 192)), (192, 0, (128, 192))]
)
def test_a_size_is_covered_and_a_missing_side_follows_from_the_other(width, height, size):
    left_half_white = torch.zeros(200, 300, 3)
    left_half_white[:, :150] = 1

    found = sized_picture(left_half_white, width, height, 64)

    assert tuple(found.shape) == (1, 3, *size)
    middle = size[1] // 2
    assert_close(found[..., : middle - 4], torch.ones_like(found[..., : middle - 4]), rtol=0, atol=1e-4)
    assert_close(found[..., middle + 4 :], -torch.ones_like(found[..., middle + 4 :]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "size, width, height, sentence",
    [
        ((64, 40), 0, 0, "The picture is 40x64, but this model needs 64 pixels a side at least"),
        ((64, 64), 1000, 0, "width is 1000, but this model makes multiples of 64. Choose 960 or 1024, or 0"),
        ((64, 64), 0, 10, "height is 10, but this model makes multiples of 64. Choose 64, or 0"),
    ],
)
def test_sizes_that_cannot_be_made_are_refused_in_a_sentence(size, width, height, sentence):
    with pytest.raises(ValueError, match=sentence):
        sized_picture(torch.zeros(*size, 3), width, height, 64)


@pytest.mark.parametrize(
    "changes, sentence",
    [({"fps_id": math.nan}, "fps_id is nan"), ({"motion_bucket_id": math.inf}, "motion_bucket_id is inf"),
     ({"width": -64}, "width is -64. Choose a size in pixels")],
)  # fmt: skip
def test_options_that_make_no_clip_are_refused_in_a_sentence(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        SVDOptions(**changes)


def test_a_model_of_another_kind_is_refused_with_the_way_out(tiny):
    with pytest.raises(ValueError, match="sv3d_u is an sv3d_u model.*Use it with SV3D Orbit"):
        image_to_video(tiny("sv3d_u"), picture_of("svd"))


def test_the_vae_works_in_its_own_precision_whatever_the_network_s_is(tiny):
    halved = replace(
        tiny("svd"),
        unet=Weights(deepcopy(tiny("svd").unet.module).bfloat16()),
        image_encoder=Weights(deepcopy(tiny("svd").image_encoder.module).bfloat16()),
    )
    frames = image_to_video(halved, picture_of("svd"), options_of("svd"))

    assert halved.vae.module.dtype == torch.float32
    assert_close(frames, golden_io("e2e_svd")["frames"].movedim(1, -1), rtol=0, atol=0.1)


def test_options_are_named_when_they_are_given():
    kinds = {parameter.kind for parameter in inspect.signature(SVDOptions).parameters.values()}

    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
