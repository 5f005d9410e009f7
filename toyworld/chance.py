"""Choices drawn from a seed."""

from collections.abc import Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")


class Chance:
    """Draws the same choices from a seed everywhere, and leaves the generators of others alone."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=self._generator, dtype=torch.float64).item()

    def one_of(self, items: Sequence[Item]) -> Item:
        return self.some_of(items, 1)[0]

    def some_of(self, items: Sequence[Item], count: int) -> list[Item]:
        """So many different ones, in random order."""
        return [items[index] for index in torch.randperm(len(items), generator=self._generator)[:count].tolist()]
