"""Image to video with Stable Video Diffusion: a clip that starts from a picture.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..host.weights import Weights
from ..media.pictures import to_bytes
from ..media.resizing import ResizeOptions, resize
from ..models.svd import SVDModel
from .conditioning import checked_picture, draw_noise, encode_condition, seeded, svd_vector
from .decoding import decode_latents
from .sampling import OnStep, SamplingOptions, sample_latents, side_multiple


class Numbers(NamedTuple):
    """What the reference samples a version with."""

    steps: int
    min_guidance: float
    max_guidance: float


SHORT, LONG = Numbers(25, 1.0, 2.5), Numbers(30, 1.5, 3.0)
VERSIONS = {"svd": SHORT, "svd_xt": LONG, "svd_xt_1_1": LONG}
LONG_FRAMES = 25
MOST_MOTION = 1023  # as in ComfyUI's own node


@dataclass(frozen=True, kw_only=True)
class SVDOptions(SamplingOptions):
    """The reference's parameters and their defaults; 0 and None are the numbers of the model's version.

    | version               | frames | steps | min_guidance | max_guidance |
    |-----------------------|--------|-------|--------------|--------------|
    | svd                   | 14     | 25    | 1.0          | 2.5          |
    | svd_xt and svd_xt_1_1 | 25     | 30    | 1.5          | 3.0          |
    """

    width: int = 0  # pixels, multiples of 64; 0 and 0 keep the picture's size, but for what is left over
    height: int = 0
    fps_id: float = 6  # the clip's frames per second less one, as in training: 6 is 7 frames per second
    motion_bucket_id: float = 127  # how much moves, 1 to 255

    def __post_init__(self) -> None:
        super().__post_init__()
        self._make_whole("width", "height")
        self._check_numbers("fps_id", "motion_bucket_id")
        if not 0 <= self.motion_bucket_id <= MOST_MOTION:
            raise ValueError(
                f"motion_bucket_id is {self.motion_bucket_id}. It goes from 0 to {MOST_MOTION}, and SVD was trained "
                "on 1 to 255."
            )
        for name in ("width", "height"):
            if (side := getattr(self, name)) < 0:
                raise ValueError(f"{name} is {side}. Choose a size in pixels, or 0 for the picture's own.")

    def completed(self, model: SVDModel) -> SVDOptions:
        own = VERSIONS.get(model.version, LONG if model.frames >= LONG_FRAMES else SHORT)
        return dataclasses.replace(
            self,
            frames=self.frames or model.frames,
            steps=self.steps or own.steps,
            min_guidance=own.min_guidance if self.min_guidance is None else self.min_guidance,
            max_guidance=own.max_guidance if self.max_guidance is None else self.max_guidance,
        )


def image_to_video(
    model: SVDModel,
    image: Tensor,
    options: SVDOptions = SVDOptions(),
    *,
    on_step: OnStep | None = None,
    tiny_decoder: Weights[Any] | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Make a clip (f h w c) in 0..1, float32 on `device`, that starts from a picture (h w c) in 0..1.

    A seed gives the clip that the reference gives for it. To cancel, raise from `on_step`. A tiny decoder
    (models.tiny_decoder) takes the place of the VAE's for a fast and blurred clip.
    """
    if model.family != "svd":
        raise ValueError(
            f"{model.name} is an {model.family} model, which turns the camera around an object. Use it with SV3D "
            "Orbit, or choose an SVD checkpoint, such as svd_xt.safetensors."
        )
    options = options.completed(model)
    picture = sized_picture(image, options.width, options.height, side_multiple(model))
    generator = seeded(options.seed)
    numbers = svd_vector(
        options.frames,
        fps_id=options.fps_id,
        motion_bucket_id=options.motion_bucket_id,
        cond_aug=options.cond_aug,
    )
    condition = encode_condition(model, picture, numbers, cond_aug=options.cond_aug, generator=generator)
    noise = draw_noise((options.frames, *condition.latent.shape[1:]), generator)
    latents = sample_latents(model, condition, noise, options, on_step=on_step)
    return decode_latents(
        model,
        latents,
        decoding_t=options.decoding_t,
        seams=options.seams,
        lean=options.lean,
        tiny_decoder=tiny_decoder,
        device=device,
    )


def sized_picture(image: Tensor, width: int, height: int, multiple: int) -> Tensor:
    """Give a picture (h w c) in 0..1 as the network takes it: (1 3 height width) in -1..1, its sides multiples.

    Without a size (0) it keeps its own, squashed by less than one multiple to the next smaller ones. With a size it
    covers that, and what is too much is cropped evenly; where one side is 0, it follows from the other.
    """
    colours = checked_picture(image)
    own_height, own_width = colours.shape[:2]
    _check_size(width, height, multiple)
    if width or height:
        width = width or _nearest_multiple(own_width * height / own_height, multiple)
        height = height or _nearest_multiple(own_height * width / own_width, multiple)
        options = ResizeOptions(width=width, height=height, fit="cover", filter="lanczos")
        return as_network_picture(resize(colours[None], options)[0][0])
    if min(own_width, own_height) < multiple:
        raise ValueError(
            f"The picture is {own_width}x{own_height}, but this model needs {multiple} pixels a side at least. Choose "
            "a larger picture, or a width and a height that it is enlarged to; SVD was trained on 1024x576."
        )
    return as_network_picture(_squashed(colours, own_width % multiple, own_height % multiple))


def _squashed(colours: Tensor, columns: int, rows: int) -> Tensor:
    """Make a picture (h w 3) so many columns and rows smaller, as bytes and by Pillow, as the reference means to."""
    if not (columns or rows):
        return colours
    (pixels,) = to_bytes(colours[None])
    height, width = pixels.shape[:2]
    smaller = Image.fromarray(pixels).resize((width - columns, height - rows), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(smaller)) / 255


def _check_size(width: int, height: int, multiple: int) -> None:
    for name, side in (("width", width), ("height", height)):
        if side % multiple:
            below = side // multiple * multiple
            nearest = f"{below} or {below + multiple}" if below else str(multiple)
            raise ValueError(
                f"{name} is {side}, but this model makes multiples of {multiple}. Choose {nearest}, or 0 for the "
                "picture's own."
            )


def as_network_picture(colours: Tensor) -> Tensor:
    """From (h w 3) in 0..1 to (1 3 h w) in -1..1."""
    return colours.movedim(-1, 0)[None] * 2 - 1


def _nearest_multiple(side: float, multiple: int) -> int:
    return max(multiple, multiple * math.floor(side / multiple + 0.5))
