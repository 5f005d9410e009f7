"""New models: untrained, of any size, and files like any other once they are saved."""

import pytest
import torch

from zoetrope.models.errors import CheckpointError
from zoetrope.models.new_svd import UNetSize, new_svd
from zoetrope.models.svd import SamplingNumbers, load_svd
from zoetrope.models.svd_saving import save_svd
from zoetrope.pipelines.svd import SVDOptions

SIZES = (
    UNetSize(widths=(64, 64), layers=1, attention=(False, True)),
    UNetSize(widths=(64, 128), layers=2, attention=(True, False)),
)
ON_CPU = dict(dtype=torch.float32, device="cpu")


@pytest.fixture
def new(tiny_checkpoint):
    def made(family="svd", size=SIZES[0], seed=1, **more):
        parts = tiny_checkpoint("svd" if family == "svd" else family)
        given = {"vae": parts, "image_encoder": parts, "frames": 5, "width": 32, "height": 48} | more
        return new_svd(family, size, seed=seed, **given)

    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", ["svd", "sv3d_u", "sv3d_p"])
def test_a_new_model_is_the_same_when_saved_and_loaded(new, tmp_path, family, size):
    model = new(family, size)
    save_svd(model, tmp_path / "new.safetensors")
    again = load_svd(tmp_path / "new.safetensors", **ON_CPU)

    ours, theirs = (dict(each.unet.module.named_parameters()) for each in (model, again))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert again.unet.module.config["block_out_channels"] == size.widths
    assert (again.family, again.decoder, again.frames) == (family, model.decoder, 5)
    assert (again.width, again.height) == (32, 48)


def test_a_seed_means_its_weights_and_leaves_the_random_numbers_of_others_alone(new):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, same, other = (new(seed=seed).unet.module.conv_in.weight for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_a_model_is_best_sampled_with_is_in_its_file(new, tmp_path):
    numbers = SamplingNumbers(steps=7, min_guidance=1.0, max_guidance=1.75)
    save_svd(new(numbers=numbers), tmp_path / "svd.safetensors")
    model = load_svd(tmp_path / "svd.safetensors", **ON_CPU)
    own = SVDOptions().completed(model)
    asked = SVDOptions(steps=3, min_guidance=2.0, max_guidance=2.0).completed(model)

    assert model.numbers == numbers
    assert (own.steps, own.min_guidance, own.max_guidance) == (7, 1.0, 1.75)
    assert (asked.steps, asked.min_guidance, asked.max_guidance) == (3, 2.0, 2.0)


def test_a_model_that_says_nothing_of_itself_is_sampled_as_its_version(tiny_checkpoint):
    model = load_svd(tiny_checkpoint("svd"), **ON_CPU)

    assert model.numbers is None
    assert SVDOptions().completed(model).steps == 25


def test_guidance_that_is_no_number_is_refused_with_the_files_name(new, tmp_path):
    path = tmp_path / "new.safetensors"
    model = new()
    save_svd(model, path, {"zoetrope.sampling_steps": "20", "zoetrope.sampling_max_guidance": "much"})

    with pytest.raises(CheckpointError, match=r"new\.safetensors say that zoetrope\.sampling_max_guidance is 'much'"):
        load_svd(path, **ON_CPU)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"widths": (32, 64)}, "32 wide"),
        ({"widths": ()}, "0 widths and 2"),
        ({"attention": (True,)}, "2 widths and 1"),
        ({"layers": 0}, "layers is 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(given, said):
    with pytest.raises(CheckpointError, match=said):
        UNetSize(**given)
