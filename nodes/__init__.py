"""The nodes, and how ComfyUI gets them."""

from ..host import ComfyExtension, io
from .frames import ExtractFrames
from .resizing import ResizeFrames
from .saving import SaveFrames, SaveGif
from .toyworld import ToyWorldClip

NODES: list[type[io.ComfyNode]] = [
    ToyWorldClip,
    ExtractFrames,
    ResizeFrames,
    SaveGif,
    SaveFrames,
]


class ZoetropeExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
