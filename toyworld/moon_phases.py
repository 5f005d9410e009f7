"""How much of a moon is lit in each frame of a clip, found from its pixels.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..media.resizing import ResizeOptions, resize
from .moons import measure_lit_fractions

SKY_TO_MOON = 0.25  # of the way from the sky's brightness to the moon's, above which a pixel is the moon's


def phases_in(images: Tensor, full_moon: Tensor) -> list[float]:
    """The lit fractions (f) in (f h w c) images of a moon that stays where the (h w c) picture shows it full.

    A picture of another size covers the clip's, as the picture that a model makes a clip of does.
    """
    height, width = images.shape[1:3]
    resized, _ = resize(full_moon[None, ..., :3], ResizeOptions(width=width, height=height, fit="cover"))
    full = resized[0]
    grey = full.mean(dim=-1)
    sky, moon = grey.median(), grey.max()
    if moon - sky < 0.1:
        raise ValueError(
            "No moon is seen in the picture of the full moon: nothing in it is brighter than the rest. Connect a frame "
            "in which the moon is full, before a dark sky that fills most of it."
        )
    disc = grey > sky + SKY_TO_MOON * (moon - sky)
    discs = disc.expand(2, -1, -1)
    # How bright the day is, the full moon tells: a clip need not show any, and one that does is dark in other frames.
    return [measure_lit_fractions(torch.stack([full, frame[..., :3].to(full)]), discs)[1].item() for frame in images]
