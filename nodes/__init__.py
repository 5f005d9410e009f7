"""The nodes, and how ComfyUI gets them."""

from ..host import ComfyExtension, io
from .frames import ExtractFrames
from .toyworld import ToyWorldClip

NODES: list[type[io.ComfyNode]] = [
    ToyWorldClip,
    ExtractFrames,
]


class ZoetropeExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
