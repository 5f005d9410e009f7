"""How far two sets of features lie apart: not clip by clip, but as sets.

Both distances are of features of anything; here mostly of CLIP's, and then a number is comparable only with those of
the same model. Frames of one clip are no samples of their own: a set has one row a clip.

Axes: n and m samples, d channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import EvaluationError

FEWEST_FOR_FRECHET = 64  # below it the number is bias: two samples of one distribution lie far apart
FEWEST_FOR_KERNEL = 16
RESAMPLES = 200
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Distance:
    """A distance, with the interval in which it lies in 95 of 100 such samples."""

    value: float
    low: float
    high: float
    samples: tuple[int, int]
    baseline: float | None = None  # between two halves of the true set: what no model can be told apart from
    network: str = ""  # whose features they are: distances by two networks are not comparable


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Of the Gaussians through (n d) and (m d) samples: Dowson and Landau 1982, as in FID and FVD."""
    _check(one, other, FEWEST_FOR_FRECHET, "The Frechet distance")
    return _frechet(one.double(), other.double())


def kernel_distance(one: Tensor, other: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy of (n d) and (m d) samples, with KID's kernel; may be below 0."""
    _check(one, other, FEWEST_FOR_KERNEL, "The kernel distance")
    kernels = _Kernels.of(one.double(), other.double())
    return kernels.discrepancy(torch.ones(len(one)).double(), torch.ones(len(other)).double())


def frechet_with_interval(one: Tensor, truth: Tensor, seed: int = 0, resamples: int = RESAMPLES) -> Distance:
    """The Frechet distance with an interval and, as a baseline, the one between halves of the true set.

    Samples drawn again lie farther apart than those that they are drawn from, so the interval is turned around the
    value (Efron's basic bootstrap).
    """
    value = frechet_distance(one, truth)
    one, truth = one.double(), truth.double()
    generator = torch.Generator().manual_seed(seed)

    def again() -> float:
        return _frechet(one[_drawn(len(one), generator)], truth[_drawn(len(truth), generator)])

    low, high = _quantiles(again, resamples)
    order = torch.randperm(len(truth), generator=generator)
    half = len(truth) // 2
    baseline = _frechet(truth[order[:half]], truth[order[half:]])
    return Distance(value, max(0.0, 2 * value - high), max(0.0, 2 * value - low), (len(one), len(truth)), baseline)


def kernel_with_interval(one: Tensor, truth: Tensor, seed: int = 0, resamples: int = RESAMPLES) -> Distance:
    """The kernel distance with a bootstrap interval, in which no sample is held against its own copy."""
    value = kernel_distance(one, truth)
    kernels = _Kernels.of(one.double(), truth.double())
    generator = torch.Generator().manual_seed(seed)

    def again() -> float:
        weights = (torch.bincount(_drawn(size, generator), minlength=size).double() for size in (len(one), len(truth)))
        return kernels.discrepancy(*weights)

    low, high = _quantiles(again, resamples)
    return Distance(value, low, high, (len(one), len(truth)))


def _check(one: Tensor, other: Tensor, fewest: int, what: str) -> None:
    if one.dim() != 2 or other.dim() != 2 or one.shape[1] != other.shape[1]:
        raise EvaluationError(
            f"The sets of features are {tuple(one.shape)} and {tuple(other.shape)}. Both have to be (samples, "
            "channels) with as many channels."
        )
    if min(len(one), len(other)) < fewest:
        raise EvaluationError(
            f"{what} of sets of {len(one)} and {len(other)} would be chance: it takes {fewest} clips or more on either "
            "side. Compare more clips, or clip by clip."
        )
    if not (one.isfinite().all() and other.isfinite().all()):
        raise EvaluationError("A set of features holds NaN or infinity. Make the features again.")


def _frechet(one: Tensor, other: Tensor) -> float:
    means = (one.mean(0) - other.mean(0)).square().sum()
    roots = _root(one), _root(other)
    traces = sum((root**2).sum() for root in roots)
    # The trace of (S1 S2)^1/2 is the sum of the singular values of A B^T where S1 = A^T A and S2 = B^T B: no root of a
    # matrix that is singular, or not quite symmetric, has to be found.
    both = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    return max(0.0, float(means + traces - 2 * both))


def _root(samples: Tensor) -> Tensor:
    """A matrix A, of d rows at the most, whose A^T A is the covariance of (n d) samples."""
    centered = (samples - samples.mean(0)) / (len(samples) - 1) ** 0.5
    return torch.linalg.qr(centered, mode="r").R if len(samples) > samples.shape[1] else centered


@dataclass(frozen=True)
class _Kernels:
    """How alike samples are: within either set, each to itself left out, and between them."""

    one: Tensor  # (n n)
    other: Tensor  # (m m)
    between: Tensor  # (n m)

    @classmethod
    def of(cls, one: Tensor, other: Tensor) -> _Kernels:
        within = [_cubic(each, each).fill_diagonal_(0) for each in (one, other)]
        return cls(within[0], within[1], _cubic(one, other))

    def discrepancy(self, one: Tensor, other: Tensor) -> float:
        """Where sample i counts `one[i]` (n) or `other[i]` (m) times."""
        within = (
            (weights @ kernel @ weights) / (weights.sum() ** 2 - weights.square().sum())
            for weights, kernel in ((one, self.one), (other, self.other))
        )
        between = (one @ self.between @ other) / (one.sum() * other.sum())
        return float(sum(within) - 2 * between)


def _cubic(one: Tensor, other: Tensor) -> Tensor:
    return (one @ other.T / one.shape[1] + 1) ** 3


def _drawn(size: int, generator: torch.Generator) -> Tensor:
    return torch.randint(size, (size,), generator=generator)


def _quantiles(again: Callable[[], float], resamples: int) -> tuple[float, float]:
    drawn = torch.tensor([again() for _ in range(resamples)], dtype=torch.float64)
    edges = drawn.quantile(torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64))
    return float(edges[0]), float(edges[1])
