"""ComfyUI's VIDEO objects: made from a file or from frames, and taken apart again."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

from torch import Tensor

from . import standin_video
from .presence import IN_COMFYUI, comfy_api

if IN_COMFYUI:
    latest = comfy_api.latest
    _from_file, _from_components = latest.InputImpl.VideoFromFile, latest.InputImpl.VideoFromComponents
    _components_of_type = latest.Types.VideoComponents
else:
    _from_file, _from_components = standin_video.VideoFromFile, standin_video.VideoFromComponents
    _components_of_type = standin_video.VideoComponents


@dataclass(frozen=True)
class Source:
    """A file on disk or in memory, and the span of it that the video stands for."""

    file: str | BytesIO
    start_seconds: float = 0.0
    duration_seconds: float = 0.0  # 0 is to the end


@dataclass(frozen=True)
class Components:
    """A clip in memory: (f h w c) images in 0..1, frames per second, and ComfyUI's AUDIO dict or None."""

    images: Tensor
    frame_rate: Fraction
    audio: dict[str, Any] | None


def VideoFromFile(path: str | Path | BytesIO) -> Any:
    """A VIDEO that is read from its file when it is used."""
    return _from_file(path if isinstance(path, BytesIO) else str(path))


def VideoFromComponents(images: Tensor, frame_rate: Fraction, audio: dict[str, Any] | None = None) -> Any:
    """A VIDEO of (f h w c) images in 0..1."""
    return _from_components(_components_of_type(images=images, audio=audio, frame_rate=Fraction(frame_rate)))


def source_of(video: Any) -> Source | None:
    """The file behind a VIDEO, to decode only what is needed of it; None where its frames are in memory already."""
    if not isinstance(video, _from_file):
        return None
    start, duration = _span_of(video)
    return Source(video.get_stream_source(), start, duration)


def _span_of(video: Any) -> tuple[float, float]:
    if hasattr(video, "get_active_trim_window"):
        return video.get_active_trim_window()
    # ComfyUI before 0.21 trims, but tells the span to nobody.
    start, duration = video._VideoFromFile__start_time, video._VideoFromFile__duration
    if start < 0:
        start = max(_from_file(video.get_stream_source()).get_duration() + start, 0.0)
    return float(start), float(duration)


def components_of(video: Any) -> Components:
    """The frames of a VIDEO, decoded whole into memory."""
    components = video.get_components()
    return Components(components.images, Fraction(components.frame_rate), components.audio)
