"""Whether this is ComfyUI."""

from __future__ import annotations

from typing import Any

comfy_api: Any = None
try:
    import comfy_api.latest  # type: ignore[import-not-found, no-redef]
except ModuleNotFoundError as error:
    if error.name != "comfy_api":  # ComfyUI is there but broken: its own error is the one to see
        raise

IN_COMFYUI = comfy_api is not None
"""Whether ComfyUI's own classes are in use, and not the stand-in."""
