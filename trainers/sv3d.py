"""Training SV3D, a LoRA or weights of its own, on footage of orbits whose camera angles are known.

    settings = SV3DTraining(model=Path("sv3d_p.safetensors"), footage=Path("objects"), run=Path("runs/objects"))
    for step in train_sv3d(settings):
        print(step.step, step.loss)

The loop, the loss and what is trained are those of SVD, see svd.py. What differs: a clip ends with its picture, the
network is told the camera's place in each frame, and samples are orbits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from ..pipelines.sv3d import SV3DOptions
from .loop import TrainingStep
from .sv3d_footage import check_orbits, orbit_clips
from .sv3d_settings import SV3DTraining
from .sv3d_validation import made_orbits
from .svd import train_svd
from .svd_kinds import Kind
from .svd_plan import SVDPlan, plan_svd

__all__ = ["SV3D", "SV3DTraining", "plan_sv3d", "train_sv3d"]

SV3D = Kind(
    method="sv3d",
    settings=SV3DTraining,
    families=("sv3d_u", "sv3d_p"),
    refusal=(
        "{name} is an {family} model, which has no camera, and this trains SV3D. Train it with zoetrope train svd, or "
        "choose an SV3D checkpoint, sv3d_u.safetensors or sv3d_p.safetensors."
    ),
    check=check_orbits,
    clips=orbit_clips,
    picture_level=None,  # SV3D is sampled with as good as none
    usual_picture_level=SV3DOptions.cond_aug,
    samples=made_orbits,
)

plan_sv3d: Callable[..., SVDPlan] = partial(plan_svd, kind=SV3D)
train_sv3d: Callable[..., Iterator[TrainingStep]] = partial(train_svd, kind=SV3D)
