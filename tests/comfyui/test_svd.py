"""Models in the real ComfyUI: they run, are cancelled, put away by others, and come back."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoetrope.headless import run_workflow
from zoetrope.headless.queue import QueueError, queue_workflow
from zoetrope.headless.queue_watch import QueueProgress
from zoetrope.media.pictures import read_picture

from ..small_models import put_models
from .samples import make_samples
from .server import ComfyServer

SECONDS_TO_CANCEL = 5  # a step of the tiny model takes a fraction of a second, the run that is cancelled minutes
CLIP = ("frames", "steps", "width", "height", "fps_id", "motion_bucket_id", "cond_aug", "seed", "guidance",
        "decoding_t")  # fmt: skip
MODELS_THAT_ARE_LOADED = """
import comfy.model_management


class LoadedModels:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"after": ("IMAGE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "test", True

    @classmethod
    def IS_CHANGED(cls, **inputs):
        return float("nan")

    def run(self, after):
        models = [loaded.model for loaded in comfy.model_management.current_loaded_models]
        names = sorted(type(model.model.module).__name__ for model in models if hasattr(model.model, "module"))
        return {"ui": {"text": names}}


NODE_CLASS_MAPPINGS = {"TestLoadedModels": LoadedModels}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A ComfyUI with tiny models, and a node that tells which models its manager has."""
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        pytest.skip("COMFYUI_PATH is not set: it names the ComfyUI checkout to test against")
    base = tmp_path_factory.mktemp("svd")
    make_samples(base / "input")
    put_models(base / "models")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "loaded_models.py").write_text(MODELS_THAT_ARE_LOADED)
    with ComfyServer(Path(checkout), os.environ.get("COMFYUI_PYTHON", sys.executable), base) as running:
        yield running


def node(kind: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title or kind}}


def graph(checkpoint: str = "svd_xt.safetensors", folder: str = "svd/frames", **changed: Any) -> dict[str, Any]:
    """A picture, a model, a clip, and its frames saved."""
    settings = {"frames": 3, "steps": 2, "width": 64, "height": 64, "fps_id": 6, "motion_bucket_id": 127,
                "cond_aug": 0.02, "seed": 23, "guidance": "the model's own", "decoding_t": 2}  # fmt: skip
    return {
        "1": node("LoadImage", image="turned.jpg"),
        "2": node("ZoetropeLoadSVD", checkpoint=checkpoint, dtype="auto"),
        "3": node("ZoetropeSVDImageToVideo", "The clip", model=["2", 0], image=["1", 0], **settings | changed),
        "4": node("ZoetropeSaveFrames", images=["3", 0], folder=folder, name="{n:05}", format="png"),
        "5": node("TestLoadedModels", after=["3", 0]),
    }


def without_the_test_node(prompt: dict[str, Any]) -> dict[str, Any]:
    return {id: node for id, node in prompt.items() if not node["class_type"].startswith("Test")}


def frames_there(server: ComfyServer, ran: Any, id: str = "4") -> np.ndarray:
    assert ran.errors == []
    return np.stack([read_picture(server.path(shown)) for shown in ran.outputs[id]["files"]])


def frames_here(server: ComfyServer, prompt: dict[str, Any], folder: Path, id: str = "4") -> np.ndarray:
    ran = run_workflow(
        without_the_test_node(prompt),
        input=server.base / "input",
        models=server.base / "models",
        output=folder / "output",
        temp=folder / "temp",
    )
    shown = [folder / "output" / each["subfolder"] / each["filename"] for each in ran.outputs[id]["files"]]
    return np.stack([read_picture(path) for path in shown])


def assert_same(there: np.ndarray, here: np.ndarray) -> None:
    """The same frames, but for what another version of torch may round the other way."""
    assert there.shape == here.shape
    assert np.abs(there.astype(int) - here).max() <= 1
    assert there.std() > 5  # it is a picture of something


def test_a_clip_is_the_one_that_runs_without_comfyui(server, tmp_path):
    prompt = graph()

    assert_same(frames_there(server, server.run(prompt)), frames_here(server, prompt, tmp_path))


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_a_model_runs_in_the_precision_that_was_chosen(server, dtype):
    prompt = graph(seed=1)
    prompt["2"]["inputs"]["dtype"] = dtype

    assert frames_there(server, server.run(prompt)).std() > 5


def test_an_interrupt_ends_a_run_within_a_step_and_the_next_one_runs(server, tmp_path):
    interrupted = []

    def interrupt(news: QueueProgress) -> None:
        if news.title == "The clip" and news.done >= 2 and not interrupted:
            server.post("/interrupt", {})
            interrupted.append(time.monotonic())

    with pytest.raises(QueueError, match=r"(?i)cancel|interrupt"):
        queue_workflow(
            without_the_test_node(graph(steps=900, seed=2)),
            f"127.0.0.1:{server._port}",
            output=tmp_path,
            on_progress=interrupt,
        )

    assert time.monotonic() - interrupted[0] < SECONDS_TO_CANCEL
    prompt = graph(seed=3)
    assert_same(frames_there(server, server.run(prompt)), frames_here(server, prompt, tmp_path))


def test_models_are_put_away_when_comfyui_asks_and_come_back_when_they_are_needed(server, tmp_path):
    prompt = graph(seed=4)
    before = server.run(prompt)
    assert {"VideoUNet", "AutoencoderKLTemporalDecoder"} <= set(before.outputs["5"]["text"])

    free(server, unload_models=True)
    put_away = server.run({"1": prompt["1"], "5": node("TestLoadedModels", after=["1", 0])})
    again = server.run(graph(seed=4, folder="svd/again", decoding_t=1))

    assert put_away.outputs["5"].get("text", []) == []
    assert "VideoUNet" in again.outputs["5"]["text"]
    one_at_a_time = graph(seed=4, decoding_t=1)
    assert_same(frames_there(server, again), frames_here(server, one_at_a_time, tmp_path))


def test_a_model_is_loaded_anew_after_everything_was_thrown_away(server, tmp_path):
    server.run(graph(seed=5))

    free(server, unload_models=True, free_memory=True)

    prompt = graph(seed=5)
    assert_same(frames_there(server, server.run(prompt)), frames_here(server, prompt, tmp_path))


def test_two_models_work_in_one_graph(server, tmp_path):
    prompt = graph(seed=6)
    prompt |= {
        "6": node("ZoetropeLoadSVD", checkpoint="svd_xt.safetensors", dtype="bf16"),
        "7": prompt["3"] | {"inputs": prompt["3"]["inputs"] | {"model": ["6", 0], "image": ["3", 0], "frames": 2}},
        "8": node("ZoetropeSaveFrames", images=["7", 0], folder="svd/second", name="{n:05}", format="png"),
    }

    ran = server.run(prompt)

    assert frames_there(server, ran, "8").shape == (6, 64, 64, 3)  # a clip of each of three frames
    assert_same(frames_there(server, ran), frames_here(server, prompt, tmp_path))


def comparison(**changed: Any) -> dict[str, Any]:
    """The picture and the model of `graph`, and clips of them without and with a LoRA, saved."""
    usual = graph()
    clip = {name: usual["3"]["inputs"][name] for name in ("model", "image", *CLIP)}
    settings = {"lora": "svd_lora.safetensors", "more_loras": "", "strengths": "0, 0.5", "shown_frames": 3}
    return {
        "1": usual["1"],
        "2": usual["2"],
        "3": node("ZoetropeCompareBeforeAndAfter", "The clips", **clip | settings | changed),
        "4": node("SaveImage", images=["3", 2], filename_prefix="compared"),
    }


def test_a_comparison_gives_the_clips_of_the_nodes_that_it_stands_for(server):
    prompt = comparison()
    alone = {"class_type": "ZoetropeSVDImageToVideo", "_meta": {"title": "One clip"}}
    clip = {name: prompt["3"]["inputs"][name] for name in ("image", *CLIP)}
    prompt |= {
        "5": node("ZoetropeLoadLoRA", model=["2", 0], lora="svd_lora.safetensors", strength=0.5),
        "6": alone | {"inputs": clip | {"model": ["2", 0]}},
        "7": alone | {"inputs": clip | {"model": ["5", 0]}},
        "8": node("SaveImage", images=["6", 0], filename_prefix="without"),
        "9": node("SaveImage", images=["7", 0], filename_prefix="with"),
    }

    ran = server.run(prompt)

    assert ran.errors == []
    compared, without, with_it = (
        np.stack([read_picture(server.path(shown)) for shown in ran.outputs[id]["images"]]) for id in ("4", "8", "9")
    )
    assert (compared == np.concatenate([without, with_it])).all()
    assert np.abs(without.astype(int) - with_it).max() > 5
    assert [Path(shown["filename"]).suffix for shown in ran.outputs["3"]["images"]] == [".webp"]


def test_an_interrupt_ends_a_comparison_within_a_step(server, tmp_path):
    interrupted = []

    def interrupt(news: QueueProgress) -> None:
        if news.title == "The clips" and news.done >= 2 and not interrupted:
            server.post("/interrupt", {})
            interrupted.append(time.monotonic())

    with pytest.raises(QueueError, match=r"(?i)cancel|interrupt"):
        queue_workflow(comparison(steps=900), f"127.0.0.1:{server._port}", output=tmp_path, on_progress=interrupt)

    assert time.monotonic() - interrupted[0] < SECONDS_TO_CANCEL


def test_a_missing_checkpoint_is_told_with_where_it_comes_from(server):
    (server.base / "models" / "checkpoints" / "svd.safetensors").unlink()

    with pytest.raises(AssertionError, match=r"svd\.safetensors.*9\.56 GB.*stable-video-diffusion-img2vid"):
        server.run(graph(checkpoint="svd.safetensors"))


def test_comfyui_has_nothing_to_complain_of(server):
    told = [line for line in server.log().splitlines() if "invalid prompt" not in line]  # which a test here gave it

    assert [line for line in told if "memory leak" in line or "WARN" in line.upper()] == []


def free(server: ComfyServer, **what: bool) -> None:
    """Have models put away; ComfyUI does it when it is idle, and tells nobody when it has."""
    server.post("/free", what)
    time.sleep(2)
