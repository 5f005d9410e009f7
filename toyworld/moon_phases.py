"""How much of a moon is lit in each frame of a clip, found from its pixels.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

from torch import Tensor

from .moons import measure_lit_fractions

SKY_TO_MOON = 0.25  # of the way from the sky's brightness to the moon's, above which a pixel is the moon's


def phases_in(images: Tensor, full_moon: Tensor) -> list[float]:
    """The lit fractions (f) in (f h w c) images of a moon that stays where the (h w c) picture shows it full."""
    if full_moon.shape[:2] != images.shape[1:3]:
        (height, width), (other_height, other_width) = images.shape[1:3], full_moon.shape[:2]
        raise ValueError(
            f"The full moon's picture is {other_width}x{other_height} and the clip {width}x{height}. Resize one."
        )
    grey = full_moon[..., :3].float().mean(dim=-1)
    sky, moon = grey.median(), grey.max()
    if moon - sky < 0.1:
        raise ValueError(
            "No moon is seen in the picture of the full moon: nothing in it is brighter than the rest. Connect a frame "
            "in which the moon is full, before a dark sky that fills most of it."
        )
    disc = grey > sky + SKY_TO_MOON * (moon - sky)
    return measure_lit_fractions(images[..., :3], disc.expand(len(images), -1, -1)).tolist()
