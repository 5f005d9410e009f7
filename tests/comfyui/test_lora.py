"""LoRA files in the real ComfyUI: its own loader applies all of what we write, and comes to the same weights.

By default it is a random SVD of the released depth that is 320 channels wide throughout. SVD_CHECKPOINT names another
file, such as one of the full size from `python tests/random_checkpoints.py svd_xt FILE`; with it the test works in
float16, on 10 GB of disk more.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoetrope.models.lora import add_lora, describe_lora, load_lora, lora_targets, save_lora
from zoetrope.models.svd import SVDModel, load_svd
from zoetrope.models.svd_keys import UNET, UNetDepths, unet_names
from zoetrope.models.svd_saving import save_svd

from ..random_checkpoints import random_weights, tiny_tensors, write_tensors
from .server import ENVIRONMENT

SCRIPT = Path(__file__).parent / "lora_in_comfyui.py"
RANK, ALPHA, STRENGTH = 4, 10.0, 0.7
CONVOLUTIONS = ["conv_in", "conv_out", "down_blocks.0.resnets.0.spatial_res_block.conv1",
                "mid_block.resnets.0.temporal_res_block.conv2", "up_blocks.0.upsamplers.0.conv",
                "time_embedding.linear_1", "mid_block.attentions.0.proj_out"]  # fmt: skip


def narrow_checkpoint(path: Path) -> Path:
    """What ComfyUI takes for SVD by its depth and first width, with a tiny VAE and image encoder."""
    from zoetrope.models.svd_unet import VideoUNet

    with torch.device("meta"):
        unet = VideoUNet(block_out_channels=(320,) * 4, num_attention_heads=5)
    names = unet_names(UNetDepths(layers=(2, 2, 2, 2), attention=(True, True, True, False)))
    tensors = {key: each for key, each in tiny_tensors("svd").items() if not key.startswith(UNET)}
    for name, parameter in unet.named_parameters():
        key = UNET + names.original(name).key
        tensors[key] = random_weights(key, tuple(parameter.shape)).half()
    projection = "conditioner.embedders.0.open_clip.model.visual.proj"  # as wide as the context that ComfyUI expects
    tensors[projection] = random_weights(projection, (len(tensors[projection]), 1024)).half()
    return write_tensors(path, tensors, {"zoetrope.clip_head_channels": "16"})


@pytest.fixture(scope="module")
def comfyui() -> str:
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        pytest.skip("COMFYUI_PATH is not set: it names the ComfyUI checkout to test against")
    return checkout


@pytest.fixture(scope="module")
def checkpoint(comfyui, tmp_path_factory) -> Path:
    given = os.environ.get("SVD_CHECKPOINT")
    return Path(given) if given else narrow_checkpoint(tmp_path_factory.mktemp("lora") / "narrow_svd.safetensors")


@pytest.fixture(scope="module")
def model(checkpoint) -> SVDModel:
    dtype = torch.float16 if os.environ.get("SVD_CHECKPOINT") else torch.float32
    return load_svd(checkpoint, dtype=dtype, device="cpu", vae_dtype=dtype)


@pytest.mark.parametrize(
    "preset, more", [("motion", []), ("strong", CONVOLUTIONS)], ids=["motion", "strong and convolutions"]
)
def test_comfyui_applies_all_of_a_lora_as_we_do(preset, more, comfyui, checkpoint, model, tmp_path):
    unet = model.unet.module
    layers = add_lora(unet, [*lora_targets(unet, preset), *more], RANK, ALPHA, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.1 / parameter[0].numel()) ** 0.5)
    save_lora(tmp_path / "lora.safetensors", layers, describe_lora(base="svd", trigger="moon", steps=1))
    with_lora = load_lora(model, tmp_path / "lora.safetensors", STRENGTH)
    save_svd(with_lora, tmp_path / "merged.safetensors", for_comfyui=False)

    precision = "--force-fp16" if model.dtype == torch.float16 else "--force-fp32"
    found = compared_in(
        comfyui, checkpoint, tmp_path / "lora.safetensors", str(STRENGTH), tmp_path / "merged.safetensors", precision
    )

    sys.stdout.write(f"{found}\n")  # for who records them, with pytest -s
    assert found["model"] == "SVD_img2vid"
    assert found["complaints"] == []
    assert found["applied"] == found["in_lora"] == len(layers.layers)
    assert found["temporal"] == sum(".temporal_" in name for name in layers.layers) >= 96
    assert found["smallest_change"] > 0.01  # so that a LoRA put on at another strength would be noticed
    assert found["weight"] < (1e-3 if model.dtype == torch.float16 else 1e-6)
    assert found["change"] < (1e-1 if model.dtype == torch.float16 else 1e-5)


def compared_in(comfyui: str, *arguments: str | Path) -> dict:
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    run = subprocess.run(
        [python, SCRIPT, comfyui, *arguments, "--cpu"],
        cwd=comfyui,
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout.splitlines()[-1])
