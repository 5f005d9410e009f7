import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoetrope.headless import RunResult, run_workflow
from zoetrope.headless.validate import InvalidWorkflow
from zoetrope.host import folders

from .small_nodes import node


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An input folder with one picture in it, in the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input").mkdir()
    Image.fromarray(np.full((6, 8, 3), 100, np.uint8)).save(tmp_path / "input" / "grey.png")
    return tmp_path


COPY = {
    "1": node("LoadImage", image="grey.png"),
    "2": node("SaveImage", images=["1", 0], filename_prefix="copies/%width%x%height%"),
    "3": node("PreviewImage", images=["1", 0]),
}


def test_what_was_saved_lies_in_the_output_folder_and_is_told(here):
    result = run_workflow(COPY)

    path = Path("output/copies/8x6_00001_.png")
    assert isinstance(result, RunResult)
    assert result.files == [path]
    assert (np.asarray(Image.open(path)) == 100).all()
    assert result.outputs["2"] == {"images": [{"filename": path.name, "subfolder": "copies", "type": "output"}]}


def test_previews_are_thrown_away_unless_a_folder_is_given_for_them(here):
    before = set(here.rglob("*"))
    preview = {"1": COPY["1"], "3": COPY["3"]}

    assert run_workflow(preview).files == []
    assert set(here.rglob("*")) == before
    shown = run_workflow(preview, temp=here / "previews").outputs["3"]["images"][0]
    assert (here / "previews" / shown["filename"]).is_file()


def test_folders_may_be_elsewhere_and_are_only_for_this_run(here, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    before = folders.own_folders()

    result = run_workflow(COPY, input=here / "input", output=elsewhere / "made")

    assert result.files == [elsewhere / "made/copies/8x6_00001_.png"]
    assert folders.own_folders() == before


def test_a_second_run_leaves_the_files_of_the_first(here):
    run_workflow(COPY)

    assert run_workflow(COPY).files == [Path("output/copies/8x6_00002_.png")]


def test_inputs_can_be_set_from_outside(here):
    result = run_workflow(COPY, overrides={"Save Image.filename_prefix": "other"})

    assert result.files == [Path("output/other_00001_.png")]


def test_a_saved_graph_is_embedded_only_where_it_is_what_was_run(here):
    graph = {
        "nodes": [
            {"id": 1, "type": "LoadImage", "mode": 0, "inputs": [], "widgets_values": ["grey.png", "image"],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}]},
            {"id": 2, "type": "SaveImage", "mode": 0, "widgets_values": ["one"],
             "inputs": [{"name": "images", "type": "IMAGE", "link": 1}], "outputs": []},
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    }  # fmt: skip

    (as_saved,) = run_workflow(graph).files
    (changed,) = run_workflow(graph, overrides={"2.filename_prefix": "two"}).files

    assert json.loads(Image.open(as_saved).text["workflow"]) == graph
    assert "workflow" not in Image.open(changed).text  # ComfyUI would open it, and it lacks the change
    assert json.loads(Image.open(changed).text["prompt"])["2"]["inputs"]["filename_prefix"] == "two"


def test_nothing_is_run_or_written_where_anything_is_wrong(here):
    before = set(here.rglob("*"))

    with pytest.raises(InvalidWorkflow, match=r"'gray.png' is not a file .* Did you mean 'grey.png'\?"):
        run_workflow(COPY | {"4": node("LoadImage", image="gray.png"), "5": node("PreviewAny", source=["4", 0])})

    assert set(here.rglob("*")) == before


def test_a_cancelled_run_leaves_no_half_file_and_the_folders_as_they_were(here):
    before = folders.own_folders()

    def cancel(progress):
        if progress.title == "Save Image":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_workflow(COPY, on_progress=cancel)

    assert not (here / "output").exists()
    assert folders.own_folders() == before


def test_prompts_of_older_versions_run(here):
    old = {
        "1": node("LoadImage", image="grey.png", upload="image"),
        "2": node("CreateVideo", images=["1", 0], fps=4),
        "3": node("SaveVideo", video=["2", 0], filename_prefix="old", format="mp4", codec="h264"),
        "4": node("SaveVideo", video=["2", 0], filename_prefix="bare", format="auto"),
    }

    assert run_workflow(old).files == [Path("output/old_00001_.mp4"), Path("output/bare_00001_.mp4")]
