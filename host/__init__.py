"""The one door to ComfyUI.

Inside ComfyUI, nodes get ComfyUI's own classes, folders, progress and memory. Where ComfyUI is absent, they get a
stand-in with the same names, and the headless runner plays the part of ComfyUI. Nothing else in the pack imports
ComfyUI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .presence import IN_COMFYUI, comfy_api
from .provenance import metadata

if TYPE_CHECKING:  # modules, imported by whom asks for them: two of them bring torch, which not everybody needs
    from . import folders, video, work
if TYPE_CHECKING or not IN_COMFYUI:
    from . import standin_io as io
    from . import standin_ui as ui
    from .standin_io import ComfyExtension
else:
    from . import standin_io
    from .tolerance import TolerantIo

    io = TolerantIo(comfy_api.latest.io, standin_io)
    ui = comfy_api.latest.ui
    ComfyExtension = comfy_api.latest.ComfyExtension

__all__ = ["IN_COMFYUI", "ComfyExtension", "folders", "io", "metadata", "ui", "video", "work"]
