"""From where each frame of a clip is seen: what the manifest says of the camera.

A line of the manifest has it in a field of its own, by the names of the frames, so that a frame that is left out takes
its angles along: {"name": "mug", ..., "camera": {"mug_1.png": [10, 0], "mug_2.png": [10, 17.1]}}. The first number is
the elevation, in degrees above the thing's own horizon, the second the azimuth, in degrees around it: with growing
azimuth the camera goes to its own right, against the clock seen from above. Where azimuth 0 lies does not matter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from .footage import Clip, FootageError, some_of

CAMERA = "camera"
HIGHEST_DEGREES = 90.0


@dataclass(frozen=True)
class Camera:
    """Where the camera stands in each frame of a clip, in degrees."""

    elevations: tuple[float, ...]
    azimuths: tuple[float, ...]


def camera_of(clip: Clip) -> Camera | None:
    """What the manifest says; None where it says nothing. What it says by halves is refused."""
    told = (json.loads(clip.other) if clip.other else {}).get(CAMERA)
    if told is None:
        return None
    missing = [frame for frame in clip.frames if frame not in told] if isinstance(told, dict) else list(clip.frames)
    if missing:
        raise FootageError(
            f'The manifest has a field "{CAMERA}" for the clip {clip.name!r} that says nothing of {some_of(missing)}. '
            "Give an elevation and an azimuth in degrees for each frame, by its name, or take the field away."
        )
    angles = [_angles(clip, frame, told[frame]) for frame in clip.frames]
    return Camera(tuple(elevation for elevation, _ in angles), tuple(azimuth for _, azimuth in angles))


def with_camera(clip: Clip, elevations: Iterable[float], azimuths: Iterable[float]) -> Clip:
    """The clip as the manifest will hold it, with these angles, one of each for every frame."""
    pairs = [list(pair) for pair in zip(elevations, azimuths, strict=True)]
    facts = json.loads(clip.other) if clip.other else {}
    facts[CAMERA] = dict(zip(clip.frames, pairs, strict=True))
    return replace(clip, other=json.dumps(facts, sort_keys=True))


def _angles(clip: Clip, frame: str, told: Any) -> tuple[float, float]:
    is_pair = isinstance(told, list) and len(told) == 2 and all(type(angle) in (int, float) for angle in told)
    if not is_pair or not all(map(math.isfinite, told)) or abs(told[0]) > HIGHEST_DEGREES:
        raise FootageError(
            f"The manifest says of the camera in {frame} of the clip {clip.name!r}: {json.dumps(told)[:60]}. Write "
            "[elevation, azimuth], two numbers in degrees, the first from -90 to 90."
        )
    return float(told[0]), float(told[1])
