import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from zoetrope.host import work
from zoetrope.models.builtin_models import builtin_names
from zoetrope.models.svd import load_svd
from zoetrope.models.tiny_decoder import load_tiny_decoder
from zoetrope.nodes.svd import LoadSVD, SVDImageToVideo
from zoetrope.pipelines.svd import SVDOptions, image_to_video

from ..random_checkpoints import write_tensors

pytestmark = pytest.mark.usefixtures("models")
SMALL = {"frames": 3, "steps": 2, "width": 64, "height": 64, "fps_id": 6, "motion_bucket_id": 127, "cond_aug": 0.02,
         "seed": 23, "decoding_t": 14, "guidance": {"guidance": "the model's own"}}  # fmt: skip


@pytest.fixture
def checkpoint(models, svd_file):
    """The name of a tiny SVD in the folder of checkpoints."""
    (models / "checkpoints" / "svd_xt.safetensors").symlink_to(svd_file)
    return "svd_xt.safetensors"


@pytest.fixture
def model(checkpoint):
    return LoadSVD.execute(checkpoint=checkpoint, dtype="fp32")[0]


def picture(seed=0, height=64, width=64, count=1):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def checkpoint_options():
    return LoadSVD.GET_NODE_INFO_V1()["input"]["required"]["checkpoint"][1]["options"]


def test_what_looks_like_svd_is_offered_first(models):
    for name in ("checkpoints/anime.safetensors", "checkpoints/old.ckpt", "checkpoints/video/svd.safetensors"):
        (models / name).parent.mkdir(exist_ok=True)
        (models / name).touch()

    assert checkpoint_options() == [
        *builtin_names("models"),
        os.path.normpath("video/svd.safetensors"),
        "anime.safetensors",
    ]


def test_a_folder_of_diffusers_is_offered_where_it_is_of_svd(models):
    for name, kind in (("xt", "StableVideoDiffusionPipeline"), ("flux", "FluxPipeline"), ("broken", None)):
        (models / "diffusers" / name).mkdir()
        text = "{" if kind is None else json.dumps({"_class_name": kind})
        (models / "diffusers" / name / "model_index.json").write_text(text)

    assert checkpoint_options() == [*builtin_names("models"), "diffusers:xt"]


def test_a_missing_checkpoint_is_told_with_its_folder_its_page_and_its_size(models):
    told = LoadSVD.validate_inputs(checkpoint="svd_xt.safetensors")

    assert str(Path("models", "checkpoints")) in told
    assert "9.56 GB" in told
    assert "https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt" in told


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "diffusers:../..", "/etc/passwd", "builtin:../svd", "diffusers:"]
)
def test_a_hostile_name_is_no_checkpoint(name, models):
    told = LoadSVD.validate_inputs(checkpoint=name)

    assert told is True or isinstance(told, str)
    with pytest.raises(ValueError):
        LoadSVD.execute(checkpoint=name, dtype="fp32")


def test_parts_are_looked_for_in_folders_of_their_own(checkpoint):
    assert LoadSVD.validate_inputs(checkpoint=checkpoint) is True
    with pytest.raises(ValueError, match=r"models.vae"):
        LoadSVD.execute(checkpoint=checkpoint, dtype="fp32", vae="a.safetensors")
    with pytest.raises(ValueError, match="clip_vision"):
        LoadSVD.execute(checkpoint=checkpoint, dtype="fp32", image_encoder="../a.safetensors")


def test_the_fingerprint_follows_the_file(svd_file, models):
    own = Path(shutil.copy(svd_file, models / "checkpoints" / "own.safetensors"))
    before = LoadSVD.fingerprint_inputs(checkpoint=own.name, dtype="auto")
    assert LoadSVD.fingerprint_inputs(checkpoint=own.name, dtype="auto") == before

    os.utime(own, ns=(1, 1))

    assert LoadSVD.fingerprint_inputs(checkpoint=own.name, dtype="auto") != before
    assert LoadSVD.fingerprint_inputs(checkpoint=None) == ""


@pytest.mark.parametrize(("dtype", "wanted"), [("auto", torch.float32), ("bf16", torch.bfloat16)])
def test_a_model_is_loaded_in_the_precision_that_was_chosen(checkpoint, dtype, wanted, monkeypatch):
    monkeypatch.setattr(work, "device", lambda: torch.device("cpu"))

    (model,) = LoadSVD.execute(checkpoint=checkpoint, dtype=dtype)

    assert model.family == "svd"
    assert model.version == "svd_xt"
    assert next(model.unet.module.parameters()).dtype == wanted
    assert next(model.vae.module.parameters()).dtype == torch.float32


def test_a_clip_is_the_one_of_the_library(model, tiny_checkpoint):
    images, frames, clips, rate = SVDImageToVideo.execute(model=model, image=picture(), **SMALL)

    same = load_svd(tiny_checkpoint("svd"), dtype=torch.float32, device="cpu")
    options = SVDOptions(frames=3, steps=2, min_guidance=1.5, max_guidance=3.0)
    assert torch.equal(images, image_to_video(same, picture()[0], options))
    assert images.dtype == torch.float32
    assert (frames, clips, rate) == (3, 1, 7.0)


def test_a_batch_of_pictures_is_a_batch_of_clips(model):
    both = picture(count=2)

    images, frames, clips, _ = SVDImageToVideo.execute(model=model, image=both, **SMALL)

    assert (len(images), frames, clips) == (6, 3, 2)
    for index in range(2):
        alone, *_ = SVDImageToVideo.execute(model=model, image=both[index : index + 1], **SMALL)
        assert torch.equal(images[3 * index : 3 * index + 3], alone)


def test_an_empty_batch_is_refused(model):
    with pytest.raises(ValueError, match="no picture to start from"):
        SVDImageToVideo.execute(model=model, image=picture()[:0], **SMALL)


def test_every_guidance_that_can_be_chosen_makes_its_clip(model):
    low_and_high = {"min_guidance": 1.0, "max_guidance": 9.0}
    choices = [
        {"guidance": "the model's own"},
        {"guidance": "linear", **low_and_high},
        {"guidance": "triangle", **low_and_high},
        {"guidance": "constant", "max_guidance": 9.0},
    ]

    clips = [SVDImageToVideo.execute(model=model, image=picture(), **SMALL | {"guidance": each})[0] for each in choices]

    assert all(not torch.equal(one, other) for at, one in enumerate(clips) for other in clips[:at])


def test_a_choice_that_is_none_is_told(model):
    with pytest.raises(ValueError, match="guidance is not set to one of its options"):
        SVDImageToVideo.execute(model=model, image=picture(), **SMALL | {"guidance": None})


def test_the_forming_clip_is_shown_and_a_cancel_ends_it_within_a_step(model):
    told = []

    def listen(done, total, preview):
        told.append((done, total, preview))
        if done == 1:
            raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(listen):
        SVDImageToVideo.execute(model=model, image=picture(), **SMALL | {"steps": 5})

    ((done, total, preview),) = told
    assert (done, total) == (1, 6)  # five steps, and decoding
    assert preview.size == (16, 16)  # three pictures of 8 x 8 in two rows


def test_progress_counts_the_steps_of_all_clips(model):
    told = []

    with work.reporting_to(lambda done, total, preview: told.append((done, total))):
        SVDImageToVideo.execute(model=model, image=picture(count=2), **SMALL)

    assert told == [(done, 6) for done in range(1, 7)]


@pytest.fixture
def tiny_decoder(models):
    """The name of a tiny decoder of random weights in its folder."""
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng():
        torch.manual_seed(0)
        tiny = AutoencoderTiny(encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4)
    (models / "vae_approx").mkdir()
    tensors = {key: value.contiguous() for key, value in tiny.state_dict().items()}
    write_tensors(models / "vae_approx" / "taesd_decoder.safetensors", tensors)
    return "taesd_decoder.safetensors"


def test_a_tiny_decoder_takes_the_place_of_the_models_own(model, tiny_decoder, models):
    options = SVDImageToVideo.GET_NODE_INFO_V1()["input"]["optional"]["decoder"][1]["options"]
    assert options == ["the model's own", tiny_decoder]

    images, *_ = SVDImageToVideo.execute(model=model, image=picture(), **SMALL, decoder=tiny_decoder)

    file = models / "vae_approx" / tiny_decoder
    decoder = load_tiny_decoder(file, dtype=torch.float32, device="cpu")
    options = SVDOptions(frames=3, steps=2, min_guidance=1.5, max_guidance=3.0)
    assert torch.equal(images, image_to_video(model, picture()[0], options, tiny_decoder=decoder))
    assert not torch.equal(images, image_to_video(model, picture()[0], options))


def test_a_tiny_decoder_that_is_not_there_is_told(model):
    with pytest.raises(ValueError, match="'taesd_decoder.safetensors' is not in the folder of vae_approx"):
        SVDImageToVideo.execute(model=model, image=picture(), **SMALL, decoder="taesd_decoder.safetensors")


def test_a_picture_is_not_touched(model):
    image = picture()
    before = image.clone()

    SVDImageToVideo.execute(model=model, image=image, **SMALL)

    assert torch.equal(image, before)
