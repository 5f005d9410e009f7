"""Clips whose measures are held against those of other people's programs, the same on every machine."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

SEED = 11


def two_clips(frames: int = 3, height: int = 48, width: int = 64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(f h w c) of a smooth scene, and the same with noise, a shift and another brightness."""
    generator = np.random.default_rng(SEED)
    down, across = np.mgrid[:height, :width] / 16
    waves = [
        np.sin(down + 0.3 * frame) * np.cos(across * (1 + channel / 3))
        for frame in range(frames)
        for channel in range(3)
    ]
    truth = 0.5 + 0.4 * np.stack(waves).reshape(frames, 3, height, width).transpose(0, 2, 3, 1)
    clip = 0.9 * np.roll(truth, 1, axis=2) + generator.normal(0, 0.05, truth.shape)
    return clip.clip(0, 1).astype(np.float32), truth.astype(np.float32)


def panned(frames: int, step: int = 2, side: int = 96) -> torch.Tensor:
    """The reference's clip (f h w c): a textured ground that moves by whole pixels."""
    coarse = np.random.default_rng(4).random((14, 14 + 2 * frames * step // 8, 3)).astype(np.float32)
    ground = cv2.resize(coarse, (side + frames * step, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return torch.from_numpy(np.stack([ground[:, step * frame : step * frame + side] for frame in range(frames)]))


def two_sets(dimensions: int = 24) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n d) and (m d) samples."""
    generator = np.random.default_rng(SEED)
    mixing = generator.normal(0, 1, (dimensions, dimensions)) / dimensions**0.5
    return generator.normal(0, 1, (96, dimensions)), generator.normal(0.2, 1, (80, dimensions)) @ mixing


SHAPES = {  # index in torchvision's list, channels out, channels in, side
    "alex": [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)],
    "vgg": [
        *[(0, 64, 3, 3), (2, 64, 64, 3), (5, 128, 64, 3), (7, 128, 128, 3)],
        *[(10, 256, 128, 3), (12, 256, 256, 3), (14, 256, 256, 3)],
        *[(17, 512, 256, 3), (19, 512, 512, 3), (21, 512, 512, 3)],
        *[(24, 512, 512, 3), (26, 512, 512, 3), (28, 512, 512, 3)],
    ],
}
LINEAR = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


def trunk_weights(trunk: str) -> dict[str, NDArray[np.float32]]:
    """Random weights of torchvision's AlexNet or VGG16, under its names."""
    generator = np.random.default_rng(SEED)
    weights = {}
    for index, outputs, inputs, side in SHAPES[trunk]:
        shape = (outputs, inputs, side, side)
        scale = (2 / (inputs * side * side)) ** 0.5
        weights[f"features.{index}.weight"] = generator.standard_normal(shape, np.float32) * np.float32(scale)
        weights[f"features.{index}.bias"] = generator.standard_normal(outputs, np.float32) * np.float32(0.1)
    return weights


def linear_weights(trunk: str) -> dict[str, NDArray[np.float32]]:
    """Random linear weights of LPIPS, under its names."""
    generator = np.random.default_rng(SEED + 1)
    return {
        f"lin{index}.model.1.weight": generator.random((1, channels, 1, 1), np.float32)
        for index, channels in enumerate(LINEAR[trunk])
    }
