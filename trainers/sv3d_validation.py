"""How near the views that an SV3D in training makes are to the true ones, of things that it is never trained on.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..host import work
from ..models.svd import SVDModel
from ..pipelines.sv3d import orbit
from .method import Validation, spread
from .sv3d_footage import OrbitClip
from .sv3d_settings import SV3DTraining
from .svd_footage import CachedFootage
from .svd_validation import frames_of


def made_orbits(
    model: SVDModel, clips: Sequence[OrbitClip], cached: CachedFootage, settings: SV3DTraining
) -> Validation:
    """Orbits made from the pictures of held-out clips, with the same noise at each step, held against the clips."""
    made: dict[str, Tensor] = {}
    decibels = []
    for clip in spread(clips, settings.samples):
        truth = frames_of(clip, cached)
        options = clip.options(0, steps=settings.sample_steps, seed=settings.seed, side=settings.width)
        made[clip.name] = orbit(model, truth[-1], options, on_step=lambda step: work.raise_if_cancelled())
        # The last frame is the picture itself.
        decibels.append(_decibels(made[clip.name][:-1], truth[:-1]))
    numbers = {"PSNR of samples": sum(decibels) / len(decibels)} if made else {}
    return Validation(numbers=numbers, clips=made, frames_per_second=clips[0].frames_per_second)


def _decibels(views: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(max((views.cpu() - truth).square().mean().item(), 1e-10))
