"""The nodes that can run in this process: ours, and equivalents of the core nodes that workflows need around them."""

from __future__ import annotations

from typing import Any

from .. import nodes
from ..host import io
from . import core_pictures, core_sounds, core_values, core_videos
from .definitions import Definitions
from .validate import OwnCheck

OURS = "custom_nodes.ComfyUI-Zoetrope"


def all_nodes() -> dict[str, type[io.ComfyNode]]:
    """The node classes by the name that workflows call them."""
    core = [*core_pictures.NODES, *core_videos.NODES, *core_sounds.NODES, *core_values.NODES]
    return {node.GET_SCHEMA().node_id: node for node in [*nodes.NODES, *core]}


def definitions() -> Definitions:
    """What ComfyUI's `/object_info` would say of the nodes, with the files that are in the input folder now."""
    return {kind: definition(node) for kind, node in all_nodes().items()}


def definition(node: type[io.ComfyNode]) -> dict[str, Any]:
    module = OURS if node in nodes.NODES else "nodes"
    return node.GET_NODE_INFO_V1() | {"python_module": module}


def own_checks() -> dict[str, OwnCheck]:
    """The nodes' own `validate_inputs`, where they bring one."""
    found = {kind: getattr(node, "validate_inputs", None) for kind, node in all_nodes().items()}
    return {kind: check for kind, check in found.items() if check is not None}
