"""What every node owes to its users: words everywhere, a page, a place in a workflow, and to stay as it is."""

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoetrope.clips.choosing import SplitOptions
from zoetrope.clips.different import MostDifferent, OnePerScene
from zoetrope.clips.extracting import ExtractingOptions
from zoetrope.clips.pairs import PairOptions
from zoetrope.evaluation.alignment import AlignmentOptions
from zoetrope.evaluation.measuring import MeasuringOptions
from zoetrope.media.frame_folders import FramesOptions
from zoetrope.media.gifs import GifOptions
from zoetrope.media.resizing import ResizeOptions
from zoetrope.media.selection import AtRate, EveryNth, FrameRange, Listed, SecondsRange, Spread
from zoetrope.nodes import NODES
from zoetrope.pipelines.chain import ChainOptions
from zoetrope.pipelines.objects import ObjectOptions
from zoetrope.pipelines.sv3d import SV3DOptions
from zoetrope.pipelines.svd import LONG, SVDOptions
from zoetrope.toyworld.shapes import ShapesOptions
from zoetrope.toyworld.videos import VideosOptions
from zoetrope.trainers.svd import SVDTraining

ROOT = Path(__file__).parents[1]
FOOTAGE_RULES = [EveryNth(), AtRate(), Spread(), MostDifferent(), OnePerScene(), FrameRange(), SecondsRange()]
# The guidance that is the version's own until another one is chosen starts with the numbers of svd_xt.
SVD_OPTIONS = [SVDOptions(), SVDOptions(min_guidance=LONG.min_guidance, max_guidance=LONG.max_guidance)]
OPTIONS = {  # whose defaults a node's widgets must show
    "ZoetropeToyWorldClip": [ShapesOptions()],
    "ZoetropeExtractFrames": [EveryNth(), AtRate(), Spread(), Listed(), FrameRange(), SecondsRange()],
    "ZoetropeResizeFrames": [ResizeOptions()],
    "ZoetropeSaveGif": [GifOptions()],
    "ZoetropeSaveFrames": [FramesOptions()],
    "ZoetropeLoadLoRA": [],
    "ZoetropeToyWorldVideos": [VideosOptions(), ShapesOptions()],
    "ZoetropeFootageFromVideos": [ExtractingOptions(), ResizeOptions(), *FOOTAGE_RULES],
    "ZoetropeSplitFootage": [SplitOptions()],
    "ZoetropeFramePairs": [PairOptions()],
    "ZoetropeLoadFootage": [],
    "ZoetropeFootageReport": [],
    "ZoetropeFootageToFrames": [],
    "ZoetropeLoadPictures": [],
    "ZoetropeLoadSVD": [],
    "ZoetropeSVDImageToVideo": SVD_OPTIONS,
    "ZoetropeCompareBeforeAndAfter": SVD_OPTIONS,
    "ZoetropeTrainSVDLoRA": [SVDTraining(model=Path(), footage=Path(), run="my_lora")],  # the node takes a name
    "ZoetropeTrainingReport": [],
    "ZoetropeSVDChain": [ChainOptions(), *SVD_OPTIONS],
    "ZoetropeSV3DOrbit": [SV3DOptions()],
    "ZoetropeCameraPath": [],
    "ZoetropePrepareObject": [ObjectOptions()],
    "ZoetropeWatermark": [],
    "ZoetropeReadWatermark": [],
    "ZoetropeLoadCLIP": [],
    "ZoetropeCLIPSimilarity": [],
    "ZoetropeEvaluateVideo": [MeasuringOptions(), AlignmentOptions()],
    "ZoetropeCompareVideos": [MeasuringOptions(), AlignmentOptions()],
    "ZoetropeEvaluationReport": [],
    "ZoetropeMoonPhases": [],
}
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
every_node = pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)


@pytest.fixture(autouse=True)
def empty_folders(tmp_path, monkeypatch):
    """Combos list the files of the input folder, so there must be none."""
    monkeypatch.chdir(tmp_path)


def info_of(node: Any) -> dict[str, Any]:
    """The node's entry in ComfyUI's /object_info, as JSON has it."""
    return json.loads(json.dumps(node.GET_NODE_INFO_V1()))


def inputs_of(described: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(dotted id, type, settings) of each input, those inside the options of a dynamic combo included."""
    for group in ("required", "optional"):
        for name, (io_type, settings) in described.get(group, {}).items():
            yield prefix + name, io_type, settings
            if io_type == "COMFY_DYNAMICCOMBO_V3":
                for option in settings["options"]:
                    yield from inputs_of(option["inputs"], f"{prefix}{name}.")


@every_node
def test_a_node_says_what_it_is(node):
    info = info_of(node)

    assert re.fullmatch(r"Zoetrope([A-Z][A-Za-z0-9]*)+", info["name"])
    assert re.fullmatch(r"[A-Z0-9][A-Za-z0-9 ]+", info["display_name"])
    assert re.fullmatch(r"Zoetrope(/[a-z0-9 ]+)+", info["category"])
    assert info["description"].endswith(".")
    assert len(info["description"]) > 40
    assert len(info["search_aliases"]) >= 3


def test_no_two_nodes_look_the_same():
    infos = [info_of(node) for node in NODES]

    assert len({info["name"] for info in infos}) == len(NODES)
    assert len({info["display_name"] for info in infos}) == len(NODES)


@every_node
def test_every_input_and_output_has_a_tooltip(node):
    info = info_of(node)

    silent = [name for name, _, settings in inputs_of(info["input"]) if not settings.get("tooltip", "").endswith(".")]
    silent_outputs = [
        name
        for name, tooltip in zip(info["output_name"], info["output_tooltips"], strict=True)
        if not (tooltip or "").endswith(".")
    ]

    assert not silent
    assert not silent_outputs


@every_node
def test_inputs_and_outputs_are_called_by_plain_words(node):
    info = info_of(node)

    names = [name.split(".")[-1] for name, _, _ in inputs_of(info["input"])] + info["output_name"]

    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


@every_node
def test_every_widget_starts_with_a_value_that_is_allowed(node):
    for name, io_type, settings in inputs_of(info_of(node)["input"]):
        if io_type not in WIDGETS or settings.get("forceInput"):
            continue
        if io_type == "COMBO" and not settings["options"]:
            continue  # it lists models, and there are none
        # A list of models has none, for it begins with what ships.
        default = settings["options"][0] if io_type == "COMBO" and "default" not in settings else settings["default"]
        if io_type == "COMBO":
            assert default in settings["options"], name
        if io_type in ("INT", "FLOAT"):
            assert settings["min"] <= default <= settings["max"], name
            assert isinstance(default, int if io_type == "INT" else float), name


@every_node
def test_widgets_start_with_the_defaults_of_the_options_they_fill(node):
    info = info_of(node)
    assert info["name"] in OPTIONS, f"name the options that {info['name']} fills in OPTIONS"
    defaults: dict[str, list[Any]] = {}
    for options in OPTIONS[info["name"]]:
        for field in dataclasses.fields(options):
            defaults.setdefault(field.name, []).append(getattr(options, field.name))

    compared = 0
    for name, io_type, settings in inputs_of(info["input"]):
        leaf = name.split(".")[-1]
        if io_type in WIDGETS and "default" in settings and leaf in defaults:
            assert settings["default"] in defaults[leaf], name
            compared += 1

    assert compared or not OPTIONS[info["name"]]


@every_node
def test_a_page_explains_every_input_and_output(node):
    info = info_of(node)
    page = ROOT / "web" / "docs" / f"{info['name']}.md"

    assert page.is_file(), f"write {page.relative_to(ROOT)}"
    text = page.read_text(encoding="utf-8")
    names = {name.split(".")[-1] for name, _, _ in inputs_of(info["input"])} | set(info["output_name"])
    assert not {name for name in names if not re.search(rf"(`|\*\*){re.escape(name)}(`|\*\*)", text)}


def test_no_page_explains_what_is_not_there():
    pages = {path.stem for path in (ROOT / "web" / "docs").glob("*.md")}

    assert pages == {info_of(node)["name"] for node in NODES}


@every_node
def test_a_workflow_shows_the_node_at_work(node):
    name = info_of(node)["name"]
    graphs = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "workflows").glob("*.json")}
    prompts = {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "workflows/api").glob("*.json")
    }

    assert any(name == placed["type"] for graph in graphs.values() for placed in graph["nodes"])
    assert any(name == placed["class_type"] for prompt in prompts.values() for placed in prompt.values())


@every_node
def test_a_node_that_validates_takes_every_dynamic_combo_that_it_has(node):
    """ComfyUI hands them to `validate_inputs` whether they are named there or not."""
    dynamic = {name.split(".")[0] for name, io_type, _ in inputs_of(info_of(node)["input"]) if "DYNAMIC" in io_type}

    if "validate_inputs" in vars(node):
        assert dynamic <= inspect.signature(node.validate_inputs).parameters.keys()


def test_what_saved_workflows_rely_on_stays_as_it_is(golden):
    """Ids, names, their order, defaults and options: whoever saved a graph or a prompt yesterday runs it tomorrow."""
    infos = {node.GET_SCHEMA().node_id: info_of(node) for node in NODES}
    for info in infos.values():
        del info["python_module"]  # the folder's name, which is the user's

    golden("object_info", infos)
