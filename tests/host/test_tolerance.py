from types import SimpleNamespace

import pytest

from zoetrope.host import standin_io
from zoetrope.host.tolerance import TolerantIo


class OldSchema:
    def __init__(self, node_id, inputs=()):
        self.node_id = node_id
        self.inputs = inputs


class OldInt:
    io_type = "INT"

    class Input:
        def __init__(self, id, default=None):
            self.id = id
            self.default = default


class OldCustom:
    io_type = "THING"
    Input = OldInt.Input


OLD = SimpleNamespace(Schema=OldSchema, Int=OldInt, Custom=lambda io_type: OldCustom, NodeOutput=tuple)


@pytest.fixture
def io():
    return TolerantIo(OLD, standin_io)


def test_a_keyword_that_an_older_comfyui_does_not_know_is_left_out(io):
    schema = io.Schema(node_id="Node", search_aliases=["other"], essentials_category="Basics")

    assert schema.node_id == "Node"
    assert not hasattr(schema, "search_aliases")


def test_inputs_are_made_with_what_the_older_comfyui_knows(io):
    made = io.Int.Input("count", default=3, advanced=True, tooltip="How many.")

    assert isinstance(made, OldInt.Input)
    assert (made.id, made.default) == ("count", 3)
    assert io.Custom("THING").Input("thing", raw_link=True).id == "thing"


def test_a_slip_is_refused_and_not_left_out(io):
    with pytest.raises(TypeError, match="tooltp"):
        io.Int.Input("count", tooltp="How many.")


def test_what_is_not_made_by_keywords_passes_as_it_is(io):
    assert io.NodeOutput is tuple
    assert io.Int.io_type == "INT"


def test_what_the_stand_in_lacks_is_lacking_here_too(io):
    OLD.Autogrow = object()

    with pytest.raises(AttributeError, match="Autogrow"):
        io.Autogrow  # noqa: B018 - asking is the test
