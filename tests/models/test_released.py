import gzip
import json
from pathlib import Path

import pytest

from zoetrope.models.released import RELEASED, how_to_get

GOLDEN = Path(__file__).parents[1] / "golden" / "svd"


@pytest.mark.parametrize(
    ("name", "manifest"),
    [
        ("svd.safetensors", "svd"),
        ("svd_xt.safetensors", "svd"),
        ("svd_image_decoder.safetensors", "svd_image_decoder"),
        ("sv3d_u.safetensors", "sv3d_u"),
        ("sv3d_p.safetensors", "sv3d_p"),
    ],
)
def test_a_released_file_is_as_large_as_its_tensors_are_in_float32(name, manifest):
    facts = json.loads(gzip.decompress((GOLDEN / f"manifest_{manifest}.json.gz").read_bytes()))

    assert RELEASED[name].gigabytes == pytest.approx(facts["fp32_bytes"] / 1e9, abs=0.006)


def test_a_known_file_is_told_with_its_size_and_its_page():
    told = how_to_get("video/svd_xt.safetensors")

    assert "9.56 GB" in told
    assert "https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt." in told


@pytest.mark.parametrize("name", ["sv3d_u.safetensors", "old\\sv3d_p.safetensors", "svd_xt_1_1.safetensors"])
def test_a_gated_file_is_told_to_need_a_sign_in(name):
    assert "sign in" in how_to_get(name)


def test_of_an_unknown_name_the_released_ones_are_told():
    told = how_to_get("my_merge.safetensors")

    assert all(name in told for name in RELEASED)
