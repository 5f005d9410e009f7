"""What to embed in a saved file, so that it can be opened in ComfyUI and shows the workflow that made it."""

from __future__ import annotations

from typing import Any

from .presence import IN_COMFYUI


def metadata(node: type) -> dict[str, Any]:
    """The `prompt`, `workflow` and whatever else came with the run of a node, to embed in files as JSON.

    Empty where the node does not ask for them, where there are none, or where the user switched metadata off.
    """
    if _switched_off():
        return {}
    hidden = getattr(node, "hidden", None)
    prompt = getattr(hidden, "prompt", None)
    extra = getattr(hidden, "extra_pnginfo", None)
    return ({} if prompt is None else {"prompt": prompt}) | dict(extra or {})


def _switched_off() -> bool:
    if not IN_COMFYUI:
        return False
    from comfy.cli_args import args  # type: ignore[import-not-found]

    return bool(args.disable_metadata)
