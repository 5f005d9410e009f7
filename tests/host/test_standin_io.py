import json
from pathlib import Path

import pytest

from zoetrope.host import standin_io as io

from .every_input import every_input_node

GOLDEN = Path(__file__).parents[1] / "golden" / "object_info_every_input.json"


def test_the_stand_in_describes_a_node_as_comfyui_does():
    # The golden file is what ComfyUI 0.33.0 says of the same node, made of its own classes.
    described = json.loads(json.dumps(every_input_node(io).GET_NODE_INFO_V1()))

    assert described == json.loads(GOLDEN.read_text())


def test_the_order_of_inputs_is_the_order_of_the_schema():
    described = every_input_node(io).GET_NODE_INFO_V1()

    assert json.dumps(described["input"]) == json.dumps(json.loads(GOLDEN.read_text())["input"])


@pytest.mark.parametrize("what", ["inputs", "outputs"])
def test_two_inputs_or_outputs_of_one_name_are_refused(what):
    kind = io.Image.Input if what == "inputs" else io.Image.Output

    with pytest.raises(ValueError, match="more than one .* called twin"):
        io.Schema(node_id="Twins", **{what: [kind("twin"), kind("twin")]})


def test_a_running_node_knows_what_it_asked_for_and_keeps_nothing():
    class Node(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="Node")

        @classmethod
        def execute(cls):
            cls.kept = 1

    running = Node.running(unique_id="7")

    assert running.hidden.unique_id == "7"
    assert running.hidden.prompt is None
    assert Node.hidden.unique_id is None
    with pytest.raises(AttributeError, match="a node keeps nothing between runs"):
        running.execute()


def test_a_node_without_execute_is_told_so_when_it_is_described():
    class Node(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="Node")

    with pytest.raises(NotImplementedError, match="it lacks execute"):
        Node.GET_NODE_INFO_V1()


def test_what_a_node_gives_can_be_asked_for_by_place():
    output = io.NodeOutput(1, "two")

    assert output.result == (1, "two")
    assert output[1] == "two"
    assert io.NodeOutput().result is None
