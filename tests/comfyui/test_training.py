"""Training in the real ComfyUI: over queues, cancelled over HTTP, and what comes of it in core's own nodes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from zoetrope.media.pictures import read_picture
from zoetrope.models.svd import load_svd
from zoetrope.trainers.svd import SVDTraining, train_svd

from ..random_checkpoints import write_tiny
from ..trainers.svd_runs import draw_footage
from .server import ComfyServer
from .test_lora import narrow_checkpoint

SETTINGS: dict[str, Any] = {"preset": "motion", "width": 32, "height": 32, "frames": 3, "seed": 5, "rank": 2,
                            "learning_rate": 1e-2, "samples": 0, "validation_clips": 1}  # fmt: skip
SECONDS_TO_CANCEL = 20  # a step takes a fraction of a second, the run that is cancelled would take an hour


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A ComfyUI with footage, a tiny model, and one that core's own loader takes for SVD."""
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        pytest.skip("COMFYUI_PATH is not set: it names the ComfyUI checkout to test against")
    base = tmp_path_factory.mktemp("training")
    checkpoints = base / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    write_tiny("svd", checkpoints / "svd.safetensors")
    draw_footage(base / "input" / "moons", clips=3)
    with ComfyServer(Path(checkout), os.environ.get("COMFYUI_PYTHON", sys.executable), base) as running:
        yield running


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def graph(run: str, steps: int, steps_per_queue: int = 0, **changed: Any) -> dict[str, Any]:
    settings = SETTINGS | {"run": run, "steps": steps, "steps_per_queue": steps_per_queue} | changed
    return {
        "1": node("ZoetropeLoadSVD", checkpoint="svd.safetensors", dtype="fp32"),
        "2": node("ZoetropeLoadFootage", path="moons"),
        "3": node("ZoetropeTrainSVDLoRA", model=["1", 0], footage=["2", 0], **settings),
        "4": node("PreviewAny", source=["3", 2]),
    }


def clip(model: list[Any], folder: str) -> dict[str, Any]:
    """A clip of the model, and its frames saved."""
    sampled = {"frames": 3, "steps": 2, "width": 64, "height": 64, "fps_id": 6, "motion_bucket_id": 127,
               "cond_aug": 0.02, "seed": 23, "guidance": "the model's own", "decoding_t": 2}  # fmt: skip
    return {
        f"{folder}1": node("ZoetropeToyWorldClip", scene="shapes", seconds=0.2, frames_per_second=5.0, width=64,
                           height=64, seed=3),
        f"{folder}2": node("ZoetropeExtractFrames", video=[f"{folder}1", 0], choose="list", range="whole clip",
                           file="none", **{"choose.indices": "0"}),
        f"{folder}3": node("ZoetropeSVDImageToVideo", model=model, image=[f"{folder}2", 0], **sampled),
        f"{folder}4": node("SaveImage", images=[f"{folder}3", 0], filename_prefix=folder),
    }  # fmt: skip


def frames(server: ComfyServer, outputs: dict[str, Any], id: str) -> list[bytes]:
    return [read_picture(server.path(shown)).tobytes() for shown in outputs[id]["images"]]


def run_folder(server: ComfyServer, run: str) -> Path:
    return server.base / "output" / "zoetrope" / "runs" / run


def states(server: ComfyServer, run: str) -> list[int]:
    return sorted(int(path.name.removeprefix("state-")) for path in run_folder(server, run).glob("state-*"))


def steps_logged(server: ComfyServer, run: str) -> list[int]:
    lines = (run_folder(server, run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["step"] for entry in map(json.loads, lines) if "loss" in entry]


def test_a_run_goes_on_with_each_queue_and_then_answers_from_memory(server, tmp_path):
    seen = []
    for _ in range(4):
        ran = server.run(graph("queues", steps=5, steps_per_queue=3))
        assert ran.errors == []
        seen.append(("3" in ran.cached, states(server, "queues")[-1]))

    assert seen == [(False, 3), (False, 5), (True, 5), (True, 5)]
    checkpoint = server.base / "models/checkpoints/svd.safetensors"
    alone = SVDTraining(
        model=checkpoint, footage=server.base / "input/moons", run=tmp_path / "queues", steps=5, **SETTINGS
    )
    model = load_svd(checkpoint, dtype=torch.float32, device="cpu")
    *_, last = train_svd(alone, model=model)
    there = load_file(server.base / "output/loras/zoetrope/queues-5.safetensors")
    here = load_file(last.exported)
    assert there.keys() == here.keys()
    for name in here:  # but for what another version of torch rounds the other way
        torch.testing.assert_close(there[name], here[name], atol=1e-4, rtol=1e-2)


def test_a_run_whose_folder_was_removed_is_trained_anew(server):
    prompt = graph("removed", steps=2)
    assert "3" not in server.run(prompt).cached
    assert "3" in server.run(prompt).cached
    shutil.rmtree(run_folder(server, "removed"))

    ran = server.run(prompt)

    assert ran.errors == []
    assert "3" not in ran.cached
    assert states(server, "removed") == [2]


def test_what_was_trained_is_at_once_of_use_and_the_model_stays_as_it_was(server):
    before = {"1": graph("", 1)["1"], **clip(["1", 0], "before")}
    trained = graph("useful", steps=3)
    trained |= {
        "5": node("ZoetropeLoadLoRA", model=["1", 0], lora=["3", 3], strength=1.0),
        "6": node("SaveLoRA", lora=["3", 0], prefix="loras/core/useful", steps=["3", 2]),
        "7": node("LossGraphNode", loss=["3", 1], filename_prefix="loss"),
        "8": node("ZoetropeTrainingReport", run=["3", 4], steps_shown=5),
        **clip(["1", 0], "after"),
        **clip(["5", 0], "with"),
    }

    first = server.run(before)
    ran = server.run(trained)

    assert first.errors == ran.errors == []
    unchanged = frames(server, first.outputs, "before4")
    assert frames(server, ran.outputs, "after4") == unchanged
    assert frames(server, ran.outputs, "with4") != unchanged
    assert ran.outputs["7"]["images"]
    assert ran.outputs["8"]["images"]
    (saved,) = (server.base / "output/loras/core").glob("useful_3_steps_*.safetensors")
    published = server.base / "output/loras/zoetrope/useful-3.safetensors"
    ours, theirs = load_file(published), load_file(saved)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    name = str(Path("zoetrope/useful-3.safetensors"))
    offered = server.get("/object_info/LoraLoaderModelOnly")["LoraLoaderModelOnly"]["input"]["required"]["lora_name"]
    assert name in (offered[0] if isinstance(offered[0], list) else offered[1]["options"])
    assert (
        name
        in server.get("/object_info/ZoetropeLoadLoRA")["ZoetropeLoadLoRA"]["input"]["required"]["lora"][1]["options"]
    )


def test_core_puts_all_of_it_on_its_own_svd_in_the_same_graph(server):
    checkpoint = narrow_checkpoint(server.base / "models/checkpoints/svd_narrow.safetensors")
    (server.base / "models/diffusion_models").mkdir(exist_ok=True)
    (server.base / "models/diffusion_models" / checkpoint.name).symlink_to(checkpoint)
    prompt = graph("core", steps=1, width=64, height=64)
    prompt["1"] = node("ZoetropeLoadSVD", checkpoint=checkpoint.name, dtype="fp32")
    prompt |= {
        "5": node("UNETLoader", unet_name=checkpoint.name, weight_dtype="default"),
        "6": node("LoraLoaderModelOnly", model=["5", 0], lora_name=["3", 3], strength_model=1.0),
        "7": node("PreviewAny", source=["6", 0]),
    }

    ran = server.run(prompt, seconds=600)

    assert ran.errors == []
    assert "lora key not loaded" not in server.log()


def test_a_cancel_saves_within_a_step_and_the_next_queue_goes_on_there(server):
    def cancel() -> None:
        metrics = run_folder(server, "cancelled") / "metrics.jsonl"
        until = time.monotonic() + 300
        while time.monotonic() < until and not (metrics.is_file() and metrics.read_text().count("gradient") >= 3):
            time.sleep(0.05)
        cancelled.extend([time.monotonic(), len(steps_logged(server, "cancelled"))])
        server.post("/interrupt", {})

    cancelled: list[float] = []
    asking = threading.Thread(target=cancel)
    asking.start()
    ran = server.run(graph("cancelled", steps=100_000), seconds=600)
    asking.join()

    assert time.monotonic() - cancelled[0] < SECONDS_TO_CANCEL
    (step,) = states(server, "cancelled")
    assert cancelled[1] <= step <= cancelled[1] + 2  # the step that it was at, and one that went on meanwhile
    assert steps_logged(server, "cancelled")[-1] == step
    assert "4" not in ran.outputs  # it ended there
    assert (server.base / f"output/loras/zoetrope/cancelled-{step}.safetensors").is_file()

    again = server.run(graph("cancelled", steps=100_000, steps_per_queue=2))

    assert again.errors == []
    assert steps_logged(server, "cancelled") == list(range(1, step + 3))
    other = server.run({"1": graph("", 1)["1"], **clip(["1", 0], "other")})
    assert other.errors == []


def test_a_wish_that_cannot_be_met_is_told_and_nothing_is_kept_of_it(server):
    ran = server.run(graph("wrong", steps=2, frames=50))

    assert "shorter than the 50 frames" in ran.errors[0]
    assert not run_folder(server, "wrong").exists()
    with pytest.raises(AssertionError, match="leads out of"):
        server.run(graph("../wrong", steps=2))


def test_comfyui_has_nothing_to_complain_of(server):
    told = [line for line in server.log().splitlines() if "invalid prompt" not in line]

    assert [line for line in told if "memory leak" in line or "WARN" in line.upper()] == []
