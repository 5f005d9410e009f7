"""An exponential moving average of the trained weights, which often samples better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """The average of some weights, for which it can stand in."""

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.weights = {name: weight.detach().clone() for name, weight in weights.items()}
        self.is_whole = True  # no interrupt has come while the two changed places
        self._of = weights

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take in the weights after so many updates of them, the first of which is 0."""
        decay = decay_at(updates, self.decay)
        for name, average in self.weights.items():
            average.lerp_(self._of[name], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """In this block the model has the average for its weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        self.is_whole = False
        for name, average in self.weights.items():
            own = self._of[name].clone()
            self._of[name].copy_(average)
            average.copy_(own)
        self.is_whole = True


def decay_at(updates: int, decay: float) -> float:
    """Smaller in the beginning, so that where training started from is soon forgotten."""
    return min(decay, (1 + updates) / (10 + updates))
