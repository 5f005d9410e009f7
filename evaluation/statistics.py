"""What a few clips say about a model: means with intervals, two models held against each other, ranks.

A clip is one sample, whatever its number of frames: those of one clip are no samples of their own. Everything drawn by
chance is drawn from a seed, so a report is the same each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000
FEWEST_FOR_INTERVAL = 3  # clips; of fewer no interval can be told


@dataclass(frozen=True)
class Mean:
    """The mean over clips, and where it lies in 95 of 100 such sets of clips; None where the clips are too few."""

    value: float
    low: float | None
    high: float | None
    clips: int


@dataclass(frozen=True)
class Comparison:
    """By how much one model is above another on the same clips."""

    difference: float
    low: float | None
    high: float | None
    chance: float | None  # how often chance alone makes a difference as large: the two-sided p of a sign-flip test
    clips: int

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves no doubt which of them is above."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def mean_with_interval(values: Sequence[float], seed: int = 0) -> Mean:
    """The mean of finite values, with a percentile bootstrap interval."""
    finite = np.array([value for value in values if math.isfinite(value)])
    if not len(finite):
        return Mean(math.nan, None, None, 0)
    low, high = _interval(finite, seed)
    return Mean(float(finite.mean()), low, high, len(finite))


def compare(one: Sequence[float], other: Sequence[float], seed: int = 0) -> Comparison:
    """Clip by clip (Efron's paired bootstrap): values of two models on the same clips, in the same order."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if math.isfinite(a) and math.isfinite(b)]
    differences = np.array([a - b for a, b in pairs])
    if not len(differences):
        return Comparison(math.nan, None, None, None, 0)
    low, high = _interval(differences, seed)
    return Comparison(float(differences.mean()), low, high, _chance(differences, seed), len(differences))


def ranks(values: Sequence[float], *, higher_is_better: bool) -> list[float]:
    """1 for the best; equals share the mean of their places, and what is not finite comes last."""
    worst = -math.inf
    keyed = [(value if higher_is_better else -value) if math.isfinite(value) else worst for value in values]
    return [1 + sum(other > own for other in keyed) + (sum(other == own for other in keyed) - 1) / 2 for own in keyed]


def _interval(values: np.ndarray, seed: int) -> tuple[float | None, float | None]:
    if len(values) < FEWEST_FOR_INTERVAL:
        return None, None
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(0, len(values), (500, len(values)))].mean(1) for _ in range(RESAMPLES // 500)]
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _chance(differences: np.ndarray, seed: int) -> float | None:
    """If neither model were better, each difference could as well have the other sign."""
    if len(differences) < FEWEST_FOR_INTERVAL:
        return None
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1.0, 1.0], (RESAMPLES, len(differences)))
    as_large = np.abs((signs * differences).mean(1)) >= abs(differences.mean()) - 1e-12
    return float((as_large.sum() + 1) / (RESAMPLES + 1))
