import json

import pytest

from zoetrope.headless.errors import WorkflowError
from zoetrope.headless.workflow import load_workflow

from .small_nodes import node

PROMPT = {"1": node("Make", number=1), "2": node("Show", value=["1", 0])}
GRAPH = {
    "nodes": [
        {"id": 1, "type": "Make", "widgets_values": [1], "outputs": [{"type": "PARCEL"}]},
        {"id": 2, "type": "Show", "inputs": [{"name": "value", "type": "*", "link": 1}], "widgets_values": [""]},
    ],
    "links": [[1, 1, 0, 2, 0, "PARCEL"]],
}


@pytest.fixture
def saved(tmp_path):
    def saved(content, encoding="utf-8"):
        path = tmp_path / "workflow.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode(encoding))
        return path

    return saved


def test_the_api_format_is_taken_as_it_is(saved, definitions):
    loaded = load_workflow(saved(PROMPT), definitions)

    assert loaded.prompt == PROMPT
    assert loaded.extra_pnginfo is None


def test_what_is_posted_to_a_server_is_a_workflow_too(saved, definitions):
    assert load_workflow(saved({"prompt": PROMPT, "client_id": "me"}), definitions).prompt == PROMPT


def test_a_saved_graph_is_converted_and_kept_to_embed(saved, definitions):
    loaded = load_workflow(saved(GRAPH), definitions)

    assert loaded.prompt["2"]["inputs"] == {"label": "", "value": ["1", 0]}
    assert loaded.extra_pnginfo == {"workflow": GRAPH}


def test_a_workflow_may_be_given_as_it_is_in_python(definitions):
    assert load_workflow(PROMPT, definitions).prompt == PROMPT
    assert load_workflow(GRAPH, definitions).graph == GRAPH


def test_the_mark_at_the_start_that_windows_editors_leave_does_not_matter(saved, definitions):
    assert load_workflow(saved(PROMPT, "utf-8-sig"), definitions).prompt == PROMPT


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"1": ', "is broken JSON at line 1, column 7: Expecting value"),
        (b"\xff\xfe\x00", "is no text"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"[]", "it holds nothing"),
        (b"{}", "it holds nothing"),
        (b"[1]", "it holds a list"),
        (b"7", "it holds a number"),
        (b'"7"', "it holds a text"),
        (b"null", "it holds null"),
        (b"true", "it holds a yes or no"),
        (b'{"1": {"inputs": {}}}', "'1' in it is no node with a class_type"),
        (b'{"1": {"class_type": 5}}', "'1' in it is no node with a class_type"),
        (b'{"1": {"class_type": "Make", "inputs": []}}', "the inputs of node 1 are not by name"),
    ],
)
def test_what_is_no_workflow_is_told_in_a_sentence_with_the_way_to_get_one(content, sentence, saved, definitions):
    path = saved(content)

    with pytest.raises(WorkflowError, match=sentence) as refused:
        load_workflow(path, definitions)

    assert str(path) in str(refused.value)
    assert "choose Save, or Export (API)" in str(refused.value)


def test_a_file_that_is_missing_or_a_folder_is_told_so(tmp_path, definitions):
    with pytest.raises(WorkflowError, match="does not exist"):
        load_workflow(tmp_path / "no.json", definitions)
    with pytest.raises(WorkflowError, match="is a folder"):
        load_workflow(tmp_path, definitions)
