"""Footage as SV3D is trained on it: clips that end with the picture, and where their camera stands.

Axes: f frames, h height, w width, c channels, v of the vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..clips.cameras import Camera, camera_of
from ..clips.footage import Clip, some_of
from ..models.svd import Family
from ..pipelines.conditioning import sv3d_p_vector, sv3d_u_vector
from ..pipelines.sv3d import SV3DOptions, camera_angles
from .errors import TrainingError
from .svd_footage import CachedFootage, ChosenClips, OnClip, TrainingClip, nobody_counts, rate_of
from .svd_settings import ClipTraining

TOLERANCE_DEGREES = 1.0  # by which a camera may miss the even turn that sv3d_u makes


@dataclass(frozen=True, kw_only=True)
class OrbitClip(TrainingClip):
    """A clip that ends with the picture, from which the camera's turn is counted."""

    camera: Camera
    family: Family

    def picture(self, start: int) -> Path:
        return self.window(start)[-1]

    def options(self, start: int, **more: Any) -> SV3DOptions:
        """How a window would be sampled."""
        if self.family == "sv3d_u":
            return SV3DOptions(frames=self.frames, **more)
        taken = self.taken(start)
        elevations, azimuths = self.camera.elevations[taken], self.camera.azimuths[taken]
        return SV3DOptions(frames=self.frames, elevations_deg=elevations, azimuths_deg=azimuths, **more)

    def vector(self, start: int, cond_aug: float) -> Tensor:
        if self.family == "sv3d_u":
            return sv3d_u_vector(self.frames, cond_aug=cond_aug)
        return sv3d_p_vector(*camera_angles(self.options(start)), cond_aug=cond_aug)

    def told(self) -> dict[str, Any]:
        return {"elevations": list(self.camera.elevations), "azimuths": list(self.camera.azimuths)}


def check_orbits(chosen: ChosenClips, settings: ClipTraining, family: Family, frames: int) -> None:
    """Refuse clips of whose camera nothing is known, or that sv3d_u could not be told."""
    cameras = {clip.name: camera_of(clip) for clip in (*chosen.trained, *chosen.held_out)}
    unknown = [name for name, camera in cameras.items() if camera is None]
    if unknown:
        raise TrainingError(
            f"The manifest of {settings.footage} does not say from where {len(unknown)} of its clips are seen: "
            f"{some_of(unknown)}. SV3D learns from views whose angles are known: give each clip's line in "
            'footage.jsonl a field "camera" with the elevation and azimuth of every frame, such as '
            '{"mug_1.png": [10, 0], "mug_2.png": [10, 17.1]}.'
        )
    if family == "sv3d_u":
        uneven = [
            name for name, camera in cameras.items() if camera and not _is_even(camera, settings.frame_step, frames)
        ]
        if uneven:
            raise TrainingError(
                f"sv3d_u goes once around a thing at one height, in {frames} even steps of {360 / frames:.4g} degrees "
                f"towards the camera's right. {len(uneven)} of the clips in {settings.footage} do not: "
                f"{some_of(uneven)}. Leave them out, or train sv3d_p, which is told the camera's path."
            )


def orbit_clips(
    chosen: ChosenClips, cached: CachedFootage, settings: ClipTraining, frames: int, on_clip: OnClip = nobody_counts
) -> tuple[list[OrbitClip], list[OrbitClip]]:
    """The clips to train on and those to validate with."""

    def made(clip: Clip) -> OrbitClip:
        camera = camera_of(clip)
        assert camera is not None, "clips without one are refused before"
        return OrbitClip(
            name=clip.name,
            paths=tuple(chosen.footage.paths(clip)),
            frames=frames,
            step=settings.frame_step,
            frames_per_second=rate_of(clip, settings),
            camera=camera,
            family=cached.family,
        )

    return [made(clip) for clip in chosen.trained], [made(clip) for clip in chosen.held_out]


def _is_even(camera: Camera, frame_step: int, frames: int) -> bool:
    """Whether every so many frames the camera has gone on by an equal part of a turn, at one height."""
    turns = [
        (after - before - 360 / frames + 180) % 360 - 180
        for before, after in zip(camera.azimuths, camera.azimuths[frame_step:], strict=False)
    ]
    heights = max(camera.elevations) - min(camera.elevations)
    return heights <= TOLERANCE_DEGREES and all(abs(turn) <= TOLERANCE_DEGREES for turn in turns)
