import json
import shutil
from pathlib import Path

import pytest

from zoetrope.headless import registry, run_workflow
from zoetrope.nodes import NODES

from ..small_models import made_small, needs_models
from .comparing import assert_equal_results
from .server import PACK

WORKFLOWS = sorted((PACK / "workflows" / "api").glob("*.json"))
# Tiny random models make noise, which H.264 is worst at, and another version of torch may round a byte the other way:
# videos of the same frames come out up to 3.3 apart on average, out of 255, those of another seed more than 20.
MODEL_NOISE = 8.0
IDS = [node.GET_SCHEMA().node_id for node in NODES]


def test_every_node_of_the_pack_is_there(comfyui):
    known = comfyui.get("/object_info")

    assert [id for id in IDS if id not in known] == [], comfyui.log()


def test_no_node_is_there_that_the_pack_does_not_list(comfyui):
    from_here = [id for id, entry in comfyui.get("/object_info").items() if entry["python_module"] == registry.OURS]

    assert sorted(from_here) == sorted(IDS)


@pytest.mark.parametrize("id", IDS)
def test_comfyui_describes_a_node_as_the_stand_in_does(id, comfyui, same_input):
    ours = json.loads(json.dumps(registry.definitions()[id]))
    theirs = comfyui.get(f"/object_info/{id}")[id]

    assert ours == theirs


def test_the_pack_is_loaded_without_a_word_of_warning(comfyui):
    lines = comfyui.log().splitlines()

    assert [line for line in lines if "zoetrope" in line.lower() and "WARN" in line.upper()] == []
    assert not any("IMPORT FAILED" in line for line in lines)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_shipped_workflow_gives_here_what_it_gives_in_comfyui(path: Path, comfyui_033, tmp_path):
    prompt = made_small(json.loads(path.read_text(encoding="utf-8")))

    there = comfyui_033.run(prompt)
    here = run_workflow(
        prompt,
        input=comfyui_033.base / "input",
        models=comfyui_033.base / "models",
        output=tmp_path / "output",
        temp=tmp_path / "temp",
    )

    # Their videos have sizes at which x264 makes the same of the same frames each time.
    noise = MODEL_NOISE if needs_models(prompt) else 0
    assert_equal_results(comfyui_033, there, here, tmp_path, encoder_noise=noise, picture_noise=noise)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_shipped_workflow_runs_in_every_comfyui_that_we_support(path: Path, comfyui):
    assert comfyui.run(made_small(json.loads(path.read_text(encoding="utf-8")))).errors == []


def test_footage_is_extracted_again_when_it_is_gone_and_not_when_nothing_has_changed(comfyui):
    toys = {"count": 1, "still": 0, "seconds": 1, "frames_per_second": 8, "width": 64, "height": 48, "seed": 0}
    wishes = {"choose": "all", "range": "whole clip", "width": 0, "height": 0, "fit": "stretch", "format": "png"}
    prompt = {
        "1": {"class_type": "ZoetropeToyWorldVideos", "inputs": toys},
        "2": {
            "class_type": "ZoetropeFootageFromVideos",
            "inputs": {"videos": ["1", 0], "folder": "again", "count_from": 1, **wishes},
        },
    }
    assert "2" not in comfyui.run(prompt).cached

    assert "2" in comfyui.run(prompt).cached
    shutil.rmtree(comfyui.base / "output" / "again")
    assert "2" not in comfyui.run(prompt).cached
    assert len(list((comfyui.base / "output" / "again").rglob("*.png"))) == 8
    assert "2" in comfyui.run(prompt).cached
