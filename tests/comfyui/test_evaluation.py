"""Measuring in the real ComfyUI: with its own CLIP_VISION, and with ours, which its memory manager has."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .server import ComfyServer, Ran

FRAMES = 3
VISION = "clip_vision_l.safetensors"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A ComfyUI with a random image encoder of the smallest size that its loader knows, which is ViT-L/14."""
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        pytest.skip("COMFYUI_PATH is not set: it names the ComfyUI checkout to test against")
    base = tmp_path_factory.mktemp("evaluation")
    write_image_encoder(base / "models" / "clip_vision" / VISION)
    with ComfyServer(Path(checkout), os.environ.get("COMFYUI_PYTHON", sys.executable), base) as running:
        yield running


def write_image_encoder(path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        patch_size=14,
        projection_dim=768,
        hidden_act="quick_gelu",
        initializer_factor=10.0,  # with the usual 1 all pictures are nearly the same to it
    )
    weights = CLIPVisionModelWithProjection(config).half().state_dict()
    path.parent.mkdir(parents=True)
    save_file({name: tensor for name, tensor in weights.items() if "position_ids" not in name}, path)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def graph(clip: dict[str, Any]) -> dict[str, Any]:
    """A clip of the toy world, the same with less detail measured against it, and the report saved."""
    every = {"choose": "count", "choose.count": FRAMES, "range": "whole clip", "file": "none"}
    size = {"height": 0, "fit": "stretch", "multiple_of": 1, "filter": "area"}
    return {
        "1": node("ZoetropeToyWorldClip", scene="shapes", seconds=1.0, frames_per_second=12.0, width=256, height=256,
                  seed=3),
        "2": node("ZoetropeExtractFrames", video=["1", 0], **every),
        "3": node("ZoetropeResizeFrames", images=["2", 0], width=16, **size),
        "4": clip,
        "5": node("ZoetropeCLIPSimilarity", generated=["3", 0], truth=["2", 0], clip=["4", 0]),
        "6": node("ZoetropeEvaluationReport", evaluation=["5", 5], picture="all", measure="clip", clip="", save=True,
                  filename_prefix="measured"),
    }  # fmt: skip


def report_of(server: ComfyServer, ran: Ran) -> Any:
    assert ran.errors == []
    shown = next(each for each in ran.outputs["6"]["files"] if each["filename"] == "report.json")
    return json.loads(server.path(shown).read_text(encoding="utf-8"))


def values_of(report: Any) -> list[float]:
    return report["clips"][0]["metrics"]["clip"]["per_frame"]


def test_a_clip_vision_of_comfyui_measures_as_ours_of_the_same_file_does(server):
    theirs = report_of(server, server.run(graph(node("CLIPVisionLoader", clip_name=VISION))))
    ours = node("ZoetropeLoadCLIP", model=f"clip_vision/{VISION}", dtype="fp32", activation="auto", head_channels=0)
    mine = report_of(server, server.run(graph(ours)))

    assert "CLIP_VISION (" in json.dumps(theirs) and "clip_vision_l (quick_gelu, float32)" in json.dumps(mine)
    off = [1 - value for value in values_of(mine)]
    assert len(off) == FRAMES and min(off) > 1e-3  # the blurred frames are others, even to random weights
    # ComfyUI makes a frame smaller in another way than Pillow does.
    assert [1 - value for value in values_of(theirs)] == pytest.approx(off, rel=0.1)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_small_clip_measures_the_same_when_it_was_put_away_and_came_back(server, dtype):
    small = node("ZoetropeLoadCLIP", model="builtin", dtype=dtype, activation="auto", head_channels=0)
    first = values_of(report_of(server, server.run(graph(small))))
    server.post("/free", {"unload_models": True, "free_memory": True})
    again = values_of(report_of(server, server.run(graph(small))))

    assert again == first and max(first) < 0.999
