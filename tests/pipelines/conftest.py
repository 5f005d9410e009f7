"""Tiny models whose results the reference computed, loaded once."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from zoetrope.models.svd import SVDModel, load_svd

GOLDEN = Path(__file__).parents[1] / "golden" / "svd"


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint: Callable[[str], Path]) -> Callable[[str], SVDModel]:
    """Gives the model of a tiny checkpoint: svd, svd_deep, svd_image_decoder, sv3d_u or sv3d_p."""
    return cache(lambda kind: load_svd(tiny_checkpoint(kind), dtype=torch.float32, device="cpu"))


def config(fixture: str) -> dict[str, Any]:
    """The numbers that a fixture was computed with."""
    return json.loads((GOLDEN / fixture / "config.json").read_text(encoding="utf-8"))


def sampled_with(fixture: str) -> dict[str, Any]:
    """The options that every kind of clip has, as a fixture was computed with."""
    numbers = config(fixture)
    return {
        "frames": numbers["num_frames"],
        "steps": numbers["num_steps"],
        "cond_aug": numbers["numbers"]["cond_aug"],
        "min_guidance": numbers["guider"].get("min_scale", 1.0),
        "max_guidance": numbers["guider"]["max_scale"],
        "seed": numbers["seed"],
        "decoding_t": numbers.get("decoding_t", 14),
    }
