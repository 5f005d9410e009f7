import os
from pathlib import Path

import pytest
import torch

from zoetrope.models.builtin_models import builtin_names
from zoetrope.models.lora import add_lora, lora_targets, save_lora
from zoetrope.nodes.lora import LoadLoRA
from zoetrope.nodes.svd import LoadSVD, SVDImageToVideo

pytestmark = pytest.mark.usefixtures("models")
SMALL = {"frames": 3, "steps": 2, "width": 64, "height": 64, "fps_id": 6, "motion_bucket_id": 127, "cond_aug": 0.02,
         "seed": 23, "decoding_t": 14, "guidance": {"guidance": "the model's own"}}  # fmt: skip


@pytest.fixture
def model(models, svd_file):
    (models / "checkpoints" / "svd.safetensors").symlink_to(svd_file)
    return LoadSVD.execute(checkpoint="svd.safetensors", dtype="fp32")[0]


@pytest.fixture
def lora(models, model):
    """The name of a LoRA in the folder of LoRAs."""
    unet = model.unet.module
    layers = add_lora(unet, lora_targets(unet, "motion and look"), rank=2, alpha=4, seed=0)
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(1))
    save_lora(models / "loras" / "moon.safetensors", layers)
    return "moon.safetensors"


def clip(model):
    picture = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    return SVDImageToVideo.execute(model=model, image=picture, **SMALL)[0]


def test_the_clip_changes_with_the_lora_and_its_strength(model, lora):
    before = clip(model)

    clips = {strength: clip(LoadLoRA.execute(model, lora, strength)[0]) for strength in (0.0, 0.5, 1.0, -1.0)}

    assert torch.equal(clips[0.0], before)
    assert all((clips[one] - clips[other]).abs().max() > 0.01 for one, other in ((0.0, 0.5), (0.5, 1.0), (1.0, -1.0)))
    assert torch.equal(clip(model), before)


def test_several_nodes_in_a_row_put_on_several_loras(model, lora):
    once = LoadLoRA.execute(model, lora, 1.0)[0]

    neither = LoadLoRA.execute(once, lora, -1.0)[0]

    assert (clip(once) - clip(model)).abs().max() > 0.01
    assert (clip(neither) - clip(model)).abs().max() < 1e-3


def test_files_in_the_folder_of_loras_are_offered(models):
    for name in ("b.safetensors", "a/c.safetensors", "old.ckpt"):
        (models / "loras" / name).parent.mkdir(exist_ok=True)
        (models / "loras" / name).touch()

    offered = LoadLoRA.GET_NODE_INFO_V1()["input"]["required"]["lora"][1]["options"]

    assert offered == [*builtin_names("loras"), os.path.normpath("a/c.safetensors"), "b.safetensors"]


@pytest.mark.parametrize(
    "name", ["../checkpoints/svd.safetensors", "/etc/passwd", "", ".", "a\0b", "C:x", "\\\\host\\x"]
)
def test_a_hostile_name_is_no_lora(name, model):
    assert isinstance(LoadLoRA.validate_inputs(lora=name), str)
    with pytest.raises(ValueError):
        LoadLoRA.execute(model, name, 1.0)


def test_a_missing_lora_is_told_with_its_folder(models, lora):
    told = LoadLoRA.validate_inputs(lora="mon.safetensors")

    assert str(Path("models", "loras")) in told
    assert "Did you mean 'moon.safetensors'?" in told
    assert LoadLoRA.validate_inputs(lora=lora) is True
    assert LoadLoRA.validate_inputs(lora=None) is True  # it is linked


def test_the_fingerprint_follows_the_file(models, model, lora):
    before = LoadLoRA.fingerprint_inputs(lora=lora, strength=1.0)
    assert LoadLoRA.fingerprint_inputs(lora=lora, strength=0.5) == before

    os.utime(models / "loras" / lora, (0, 0))

    assert LoadLoRA.fingerprint_inputs(lora=lora, strength=1.0) != before
