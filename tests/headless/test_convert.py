"""The graphs in golden/convert were made for these tests; api/ beside them is what frontend 1.49.6 makes of them."""

import json
import re
import time
from pathlib import Path

import pytest

from zoetrope.headless import registry
from zoetrope.headless.convert import one_of_the_choices, to_prompt, widget_values
from zoetrope.headless.errors import WorkflowError

GOLDEN = Path(__file__).parents[1] / "golden"
GRAPHS = sorted((GOLDEN / "convert").glob("*.json"))
SHIPPED = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))
CORE = json.loads((GOLDEN / "object_info_core.json").read_text())


def graph(name):
    return json.loads((GOLDEN / "convert" / f"{name}.json").read_text())


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_becomes_what_the_frontend_makes_of_it(path):
    expected = json.loads((path.parent / "api" / path.name).read_text())

    assert to_prompt(json.loads(path.read_text()), CORE) == expected


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_graph_becomes_the_prompt_that_ships_with_it(path):
    expected = json.loads((path.parent / "api" / path.name).read_text(encoding="utf-8"))

    assert to_prompt(json.loads(path.read_text(encoding="utf-8")), registry.definitions()) == expected


def test_values_may_be_saved_by_name():
    by_place, by_name = graph("video"), graph("video")
    for node in by_name["nodes"]:
        if node["type"] in CORE:
            node["widgets_values"] = widget_values(CORE[node["type"]], node.get("widgets_values"))

    assert to_prompt(by_name, CORE) == to_prompt(by_place, CORE)


def test_values_saved_only_beside_by_name_are_read_too():
    named = graph("video")
    for node in named["nodes"]:
        if node["type"] in CORE:
            node["widgets_values_named"] = widget_values(CORE[node["type"]], node.pop("widgets_values", None))

    assert to_prompt(named, CORE) == to_prompt(graph("video"), CORE)


def test_links_may_be_saved_as_lists_or_by_name():
    listed = graph("video")
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    by_name = {**listed, "links": [dict(zip(keys, link, strict=True)) for link in listed["links"]]}

    assert to_prompt(by_name, CORE) == to_prompt(listed, CORE)


def test_dates_are_filled_into_the_names_of_files(monkeypatch):
    monkeypatch.setattr(time, "localtime", lambda: time.struct_time((2026, 3, 4, 5, 6, 7, 2, 63, 0)))
    named = graph("loaders")
    save = next(node for node in named["nodes"] if node["type"] == "SaveImage")
    save["widgets_values"] = ["%date:yyyy-MM-dd%/%width%"]

    assert to_prompt(named, CORE)[str(save["id"])]["inputs"]["filename_prefix"] == "2026-03-04/%width%"


def test_a_list_is_wrapped_so_that_nobody_takes_it_for_a_link():
    definitions = {"Node": {"input": {"required": {"many": ["COMBO", {"options": []}]}}, "output": []}}
    node = {"id": 1, "type": "Node", "widgets_values": [["a", 1]]}

    assert to_prompt({"nodes": [node], "links": []}, definitions)["1"]["inputs"] == {"many": {"__value__": ["a", 1]}}


def test_a_value_for_an_input_without_a_widget_is_dropped_where_an_older_file_has_one():
    inputs = {"forced": ["INT", {"forceInput": True}], "free": ["INT", {"default": 1}]}
    definition = {"input": {"required": inputs}, "input_order": {}, "output": []}

    assert widget_values(definition, [5, 7]) == {"free": 7}
    assert widget_values(definition, [7]) == {"free": 7}


def test_one_choice_is_made_and_comments_go():
    made = {one_of_the_choices("a {red|{light|dark} blue} ball // now\nrolls /* not\nthis */away") for _ in range(60)}

    assert made == {f"a {color} ball \nrolls away" for color in ("red", "light blue", "dark blue")}
    assert one_of_the_choices(r"\{kept\|as it is\}") == "{kept|as it is}"


BROKEN = {
    "unknown node": (
        {"nodes": [{"id": 4, "type": "SaveImag", "title": "Mine"}]},
        "The workflow needs nodes that are not here: node 4 (Mine, SaveImag), did you mean SaveImage?. Install",
    ),
    "subgraph": (
        {"nodes": [{"id": 4, "type": "abc-def"}], "definitions": {"subgraphs": [{"id": "abc-def", "name": "Blur"}]}},
        "Node 4 (Blur) is a subgraph, which only ComfyUI unfolds. Open it in ComfyUI, choose Export (API)",
    ),
    "group node": (
        {"nodes": [{"id": 4, "type": "workflow>My group"}]},
        "Node 4 (workflow>My group) is a subgraph",
    ),
    "node without a type": ({"nodes": [{"id": 4}]}, "a node without an id or a type"),
    "node that is a number": ({"nodes": [4]}, "a node without an id or a type"),
    "damaged inputs": ({"nodes": [{"id": 4, "type": "SaveImage", "inputs": [7]}]}, "Node 4 (SaveImage) has damaged"),
    "damaged link": ({"nodes": [], "links": [[1, 2]]}, "The link [1, 2] of the workflow is damaged"),
    "reroutes in a circle": (
        {
            "nodes": [
                {"id": 1, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 2}]},
                {"id": 2, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 1}]},
                {"id": 3, "type": "PreviewAny", "inputs": [{"name": "source", "type": "*", "link": 3}]},
            ],
            "links": [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 1, 0, "*"], [3, 2, 0, 3, 0, "*"]],
        },
        "node 2 (Reroute) is linked to itself",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_converted_is_told_in_a_sentence(what):
    broken, sentence = BROKEN[what]

    with pytest.raises(WorkflowError, match=re.escape(sentence)):
        to_prompt(broken, CORE)
