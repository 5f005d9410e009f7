"""The settings of a run that trains SV3D, as they stand in its YAML file."""

from __future__ import annotations

from dataclasses import dataclass

from .svd_settings import ClipTraining

NATIVE_SIDE = 576  # of the released models


@dataclass(frozen=True, kw_only=True)
class SV3DTraining(ClipTraining):
    """The camera's angles are the footage's own. What is taken of a clip ends with the picture, as when sampling."""

    width: int = NATIVE_SIDE
    height: int = NATIVE_SIDE

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("height", self.height == self.width, f"SV3D's pictures are square, and width is {self.width}.")
