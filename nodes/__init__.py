"""The nodes, and how ComfyUI gets them."""

from ..host import ComfyExtension, io
from .footage import FootageFromVideos, LoadFootage, SplitFootage
from .footage_views import FootageReport, FootageToFrames, FramePairs
from .frames import ExtractFrames
from .resizing import ResizeFrames
from .saving import SaveFrames, SaveGif
from .toyworld import ToyWorldClip, ToyWorldVideos

NODES: list[type[io.ComfyNode]] = [
    ToyWorldClip,
    ToyWorldVideos,
    ExtractFrames,
    ResizeFrames,
    SaveGif,
    SaveFrames,
    FootageFromVideos,
    LoadFootage,
    SplitFootage,
    FootageReport,
    FramePairs,
    FootageToFrames,
]


class ZoetropeExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
