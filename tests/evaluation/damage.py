"""A clip, and the same damaged in ten ways of three strengths each.

Axes: f frames, h height, w width, c channels.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from zoetrope.toyworld.shapes import ShapesOptions, compose, render


def clean(frames: int = 24, side: int = 96) -> Tensor:
    """Shapes that move over a textured ground that a camera pans over, so that everything in it moves."""
    options = ShapesOptions(seconds=frames / 12, frames_per_second=12, width=side, height=side, seed=5, shapes=3)
    shapes = render(compose(options), options).images
    generator = np.random.default_rng(1)
    coarse = generator.random((side // 8, side // 8 + frames, 3), np.float32)
    ground = cv2.resize(coarse, (side + frames, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    pan = np.stack([ground[:, frame : frame + side] for frame in range(frames)])
    return (0.55 * shapes + 0.45 * torch.from_numpy(pan)).clamp(0, 1)


def generator_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def freeze(clip: Tensor, strength: int) -> Tensor:
    """The clip stops after two thirds, after a third, at once."""
    last = [2 * len(clip) // 3, len(clip) // 3, 0][strength]
    return clip[[min(number, last) for number in range(len(clip))]]


def shuffle(clip: Tensor, strength: int) -> Tensor:
    """Frames change places within stretches of 3, of 8, of the whole clip."""
    size = [3, 8, len(clip)][strength]
    chance = generator_of(2)
    order = np.concatenate(
        [first + chance.permutation(len(clip[first : first + size])) for first in range(0, len(clip), size)]
    )
    return clip[order.tolist()]


def reverse(clip: Tensor, strength: int) -> Tensor:
    """The last third, the last two thirds, all of it is played backwards."""
    first = [2 * len(clip) // 3, len(clip) // 3, 0][strength]
    return torch.cat([clip[:first], clip[first:].flip(0)])


def flicker(clip: Tensor, strength: int) -> Tensor:
    """Every other frame is darker."""
    darker = clip.clone()
    darker[1::2] *= 1 - [0.03, 0.08, 0.2][strength]
    return darker


def drop(clip: Tensor, strength: int) -> Tensor:
    """Frames are lost, and the one before stands in for each: every sixth, every third, two of three."""
    every = [6, 3, 1.5][strength]
    kept = [number - (1 if number % every >= every - 1 else 0) for number in range(len(clip))]
    if strength == 2:
        kept = [number - number % 3 for number in range(len(clip))]
    return clip[kept]


def blur(clip: Tensor, strength: int) -> Tensor:
    deviation = [0.7, 1.5, 3.0][strength]
    return torch.from_numpy(np.stack([cv2.GaussianBlur(frame.numpy(), (0, 0), deviation) for frame in clip]))


def noise(clip: Tensor, strength: int) -> Tensor:
    added = generator_of(3).normal(0, [0.02, 0.05, 0.12][strength], clip.shape)
    return (clip + torch.from_numpy(added).float()).clamp(0, 1)


def colour_drift(clip: Tensor, strength: int) -> Tensor:
    """Red grows and blue fades, a little with every frame."""
    by = torch.linspace(0, [0.05, 0.12, 0.3][strength], len(clip))[:, None, None]
    drifted = clip.clone()
    drifted[..., 0] += by
    drifted[..., 2] -= by
    return drifted.clamp(0, 1)


def cut(clip: Tensor, strength: int) -> Tensor:
    """Another scene takes the last frames, a sixth, a third, a half of them: the clip itself, upside down."""
    last = len(clip) // [6, 3, 2][strength]
    return torch.cat([clip[:-last], clip[-last:].flip(1)])


def zoom(clip: Tensor, strength: int) -> Tensor:
    """The picture is enlarged from its middle."""
    share = 1 / [1.05, 1.15, 1.4][strength]
    height, width = clip.shape[1:3]
    down, across = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    middle = clip[:, down : height - down, across : width - across].permute(0, 3, 1, 2)
    return torch.nn.functional.interpolate(middle, (height, width), mode="bilinear").permute(0, 2, 3, 1)


DAMAGES = {
    each.__name__: each for each in (freeze, shuffle, reverse, flicker, drop, blur, noise, colour_drift, cut, zoom)
}
