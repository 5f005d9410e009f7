import json
from pathlib import Path

import pytest

from zoetrope.headless import registry
from zoetrope.headless.definitions import declared_inputs

CORE = json.loads((Path(__file__).parents[1] / "golden" / "object_info_core.json").read_text())
CORE_NODES = [kind for kind, node in registry.all_nodes().items() if node not in registry.nodes.NODES]


def read(definition):
    """A node's inputs in order, whether it is described in ComfyUI's older way or its newer one."""
    ours = {"multiselect", "multiline"}  # the newer way also says what is not the case
    lists = {"image", "file", "audio"}  # and these list the machine's files
    return [
        (
            (item.name, item.type, item.required, item.default if item.name not in lists else None),
            {key: str(value) for key, value in item.settings.items() if key not in ours | {"options"}},
        )
        for item in declared_inputs(definition)
    ]


@pytest.mark.parametrize("kind", CORE_NODES)
def test_a_core_node_has_the_inputs_and_outputs_that_comfyui_gives_it(kind):
    ours = json.loads(json.dumps(registry.definition(registry.all_nodes()[kind])))

    assert read(ours) == read(CORE[kind])
    for what in ("output", "output_is_list", "output_name", "output_node", "display_name", "is_input_list"):
        assert ours[what] == CORE[kind][what], what


def test_our_nodes_come_with_the_name_of_the_pack():
    for node in registry.nodes.NODES:
        assert registry.definition(node)["python_module"] == "custom_nodes.ComfyUI-Zoetrope"


def test_nodes_that_check_themselves_are_known():
    assert set(registry.own_checks()) >= {"LoadImage", "LoadImageMask", "LoadVideo", "LoadAudio"}
