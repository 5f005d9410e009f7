from zoetrope.host import metadata
from zoetrope.host.standin_io import ComfyNode

PROMPT, WORKFLOW = {"1": {"class_type": "Node"}}, {"nodes": []}


def test_the_prompt_and_the_workflow_are_embedded():
    node = ComfyNode.running(prompt=PROMPT, extra_pnginfo={"workflow": WORKFLOW, "note": "mine"})

    assert list(metadata(node).items()) == [("prompt", PROMPT), ("workflow", WORKFLOW), ("note", "mine")]


def test_a_node_that_was_told_nothing_embeds_nothing():
    assert metadata(ComfyNode) == {}
    assert metadata(object) == {}
