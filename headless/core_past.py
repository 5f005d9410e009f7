"""Prompts of older ComfyUI versions whose core nodes took other inputs, brought to what the nodes take now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Inputs = dict[str, Any]


def brought_up_to_date(prompt: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A copy of the prompt in which no node has a form of the past."""
    return {
        id: {**node, "inputs": PAST_FORMS.get(node["class_type"], dict)(dict(node.get("inputs", {})))}
        for id, node in prompt.items()
    }


def _save_video(inputs: Inputs) -> Inputs:
    """Until 0.32 the codec stood beside the format; now it is the format's own."""
    if isinstance(inputs.get("codec"), str) and "format.codec" not in inputs:
        inputs["format.codec"] = inputs.pop("codec")
    # A format of its own that leaves the codec open is allowed too, and means that the codec is chosen for it.
    inputs.setdefault("format.codec", "auto")
    return inputs


def _loader(inputs: Inputs) -> Inputs:
    """Older frontends exported the upload button and the player as if they were inputs."""
    return {name: value for name, value in inputs.items() if name not in ("upload", "audioUI")}


PAST_FORMS: Mapping[str, Callable[[Inputs], Inputs]] = {
    "LoadAudio": _loader,
    "LoadImage": _loader,
    "LoadImageMask": _loader,
    "LoadVideo": _loader,
    "PreviewAudio": _loader,
    "SaveAudio": _loader,
    "SaveVideo": _save_video,
}
