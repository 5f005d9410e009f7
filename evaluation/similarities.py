"""What CLIP's features of frames tell, once they are there.

Features are of length 1, so that a product is a cosine: 1 for what CLIP takes for the same.

Axes: f frames, d CLIP channels.
"""

from __future__ import annotations

from torch import Tensor


def to_truth(features: Tensor, truth: Tensor) -> Tensor:
    """Frame by frame (f), of (f d) features of a clip and of the true one."""
    return (features * truth).sum(1)


def to_prompt(features: Tensor, prompt: Tensor) -> Tensor:
    """Of each frame (f d) with one prompt (d): about 0.15 where neither has to do with the other, 0.3 is good."""
    return features @ prompt


def to_next(features: Tensor) -> Tensor:
    """Of each frame with the next (f-1). A frozen clip has 1."""
    return (features[1:] * features[:-1]).sum(1)


def to_first(features: Tensor) -> Tensor:
    """Of each frame but the first with the first (f-1). A frozen clip has 1."""
    return features[1:] @ features[0]


def around_loop(features: Tensor) -> Tensor:
    """Of each frame with the next, and of the last with the first (f), as in an orbit that closes."""
    return (features * features.roll(-1, 0)).sum(1)


def loop_seam(features: Tensor) -> float:
    """How much less the last frame is like the first than neighbours are like each other; 0 where the loop closes."""
    around = around_loop(features)
    return float(around[:-1].mean() - around[-1])
