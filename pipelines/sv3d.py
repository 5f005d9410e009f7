"""Orbits with SV3D: the views of a camera around an object, from a picture of it.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..diffusion.guidance import GuidanceKind
from ..host.weights import Weights
from ..models.svd import SVDModel
from .conditioning import (
    checked_picture,
    draw_noise,
    encode_condition,
    seeded,
    sv3d_p_vector,
    sv3d_u_vector,
)
from .decoding import decode_latents
from .sampling import OnStep, SamplingOptions, sample_latents, side_multiple
from .svd import as_network_picture

NATIVE_SIDE = 576


def _listed(angles: float | Sequence[float]) -> list[float]:
    """Angles as a list; one that is not in a list, be it a number of Python, NumPy or PyTorch, is a list of one."""
    every: Any = [angles] if _is_one(angles) else angles
    return [float(angle) for angle in every]


def _is_one(angles: float | Sequence[float]) -> bool:
    return np.ndim(angles) == 0


@dataclass(frozen=True, kw_only=True)
class SV3DOptions(SamplingOptions):
    """The reference's parameters and their defaults.

    The camera's place is given for each frame in degrees, and only SV3D_p takes it: elevation above the object's
    middle, one for all frames or a list, and azimuth around it, None for even steps once around. Azimuths count from
    the last frame's, which always shows what the picture shows.
    """

    frames: int = 21
    steps: int = 50
    cond_aug: float = 1e-5
    min_guidance: float | None = 1.0
    max_guidance: float | None = 2.5
    guidance: GuidanceKind = "triangle"
    elevations_deg: float | Sequence[float] = 10.0
    azimuths_deg: Sequence[float] | None = None
    replace_last: bool = True  # the last frame is the picture itself

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("elevations_deg", "azimuths_deg"):
            given = getattr(self, name)
            try:
                angles = [] if given is None and name == "azimuths_deg" else _listed(given)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name} is {given!r}. Give degrees: a number, or a list of one a frame.") from error
            if not all(map(math.isfinite, angles)):
                raise ValueError(f"{name} holds {next(a for a in angles if not math.isfinite(a))}, which is no angle.")

    def completed(self, model: SVDModel) -> SV3DOptions:
        default = SV3DOptions()
        return dataclasses.replace(
            self,
            frames=self.frames or model.frames,
            steps=self.steps or default.steps,
            min_guidance=default.min_guidance if self.min_guidance is None else self.min_guidance,
            max_guidance=default.max_guidance if self.max_guidance is None else self.max_guidance,
        )


def orbit(
    model: SVDModel,
    image: Tensor,
    options: SV3DOptions = SV3DOptions(),
    *,
    on_step: OnStep | None = None,
    tiny_decoder: Weights[Any] | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Look around the object in a picture (h w c) in 0..1: views (f h w c) in 0..1, float32 on `device`.

    The picture is square, of an object in its middle on white, as `objects` prepares it. A seed gives the views that
    the reference gives for it. To cancel, raise from `on_step`. A tiny decoder (models.tiny_decoder) takes the place of
    the VAE's for fast and blurred views.
    """
    options = options.completed(model)
    vector = camera_vector(model, options)
    picture = as_network_picture(_checked_object(image, side_multiple(model)))
    generator = seeded(options.seed)
    condition = encode_condition(model, picture, vector, cond_aug=options.cond_aug, generator=generator)
    noise = draw_noise((options.frames, *condition.latent.shape[1:]), generator)
    latents = sample_latents(model, condition, noise, options, on_step=on_step)
    views = decode_latents(
        model,
        latents,
        decoding_t=options.decoding_t,
        seams=options.seams,
        lean=options.lean,
        tiny_decoder=tiny_decoder,
        device=device,
    )
    if options.replace_last:
        views[-1] = ((picture[0] + 1) / 2).clamp(0, 1).movedim(0, -1)
    return views


def camera_vector(model: SVDModel, options: SV3DOptions) -> Tensor:
    """What the model is told of each frame's camera (f v); options are completed."""
    if model.family == "sv3d_p":
        return sv3d_p_vector(*camera_angles(options), cond_aug=options.cond_aug)
    if model.family != "sv3d_u":
        raise ValueError(
            f"{model.name} is an SVD model, which has no camera. Use it with SVD Image To Video, or choose an SV3D "
            "checkpoint, sv3d_u.safetensors or sv3d_p.safetensors."
        )
    if options.azimuths_deg is not None or not _is_one(options.elevations_deg):
        raise ValueError(
            f"{model.name} is an sv3d_u model, which goes once around the object at the picture's height and takes no "
            "camera path. Take the path away, or choose sv3d_p.safetensors."
        )
    return sv3d_u_vector(options.frames, cond_aug=options.cond_aug)


def camera_angles(options: SV3DOptions) -> tuple[list[float], list[float]]:
    """The camera's angle from straight above and around the object, counted from the last frame's, in radians."""
    frames = options.frames
    elevations, azimuths = _listed(options.elevations_deg), options.azimuths_deg
    if _is_one(options.elevations_deg):
        elevations = elevations * frames
    around = list(np.linspace(0, 360, frames + 1)[1:] % 360) if azimuths is None else _listed(azimuths)
    for name, angles in (("elevations_deg", elevations), ("azimuths_deg", around)):
        if len(angles) != frames:
            raise ValueError(
                f"{name} has {_counted(len(angles), 'angle')}, but the clip has {_counted(frames, 'frame')}. Give one "
                "for each frame, or change the number of frames."
            )
    polars = [math.radians(90 - elevation) for elevation in elevations]
    return polars, [math.radians((azimuth - around[-1]) % 360) for azimuth in around]


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _checked_object(image: Tensor, multiple: int) -> Tensor:
    colours = checked_picture(image)
    height, width = colours.shape[:2]
    if height != width or height % multiple:
        raise ValueError(
            f"The picture is {width}x{height}, but SV3D needs a square one, {NATIVE_SIDE}x{NATIVE_SIDE} as it was "
            f"trained with, or another multiple of {multiple}. Prepare the object first: that makes one of any picture."
        )
    return colours
