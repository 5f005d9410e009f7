"""What the training loop asks of a method, and what the two hand each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from .randomness import Chance

Item = TypeVar("Item")


@dataclass(frozen=True)
class Sample:
    """One example of a batch: which item of the training set, and the chance to draw from for it."""

    item: int
    chance: Chance


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How good the weights are at one step, measured with the same randomness at every step."""

    numbers: Mapping[str, float] = field(default_factory=dict)  # losses and scores, by name
    clips: Mapping[str, Tensor] = field(default_factory=dict)  # (f h w c) in 0..1, by name; one frame is a picture
    frames_per_second: float = 7.0


def spread(items: Sequence[Item], count: int) -> Sequence[Item]:
    """So many of the items at most, from the first on, evenly apart: clips that lie side by side are often alike."""
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else items


class Method(Protocol):
    """One way to train: its models, its data, its loss, and the file in which its result is handed on.

    Its models are on their device already. Whatever it draws comes from the chance of a sample, also dropout, so its
    modules are in evaluation mode; what another library draws behind its back could be drawn neither again nor alike on
    every device.
    """

    @property
    def name(self) -> str: ...

    @property
    def items(self) -> int:
        """How many the training set holds."""

    def trained(self) -> Mapping[str, nn.Parameter]:
        """The weights that are trained, in float32, by the names under which they are saved."""

    def batch(self, samples: Sequence[Sample]) -> Any:
        """Fetch the items and draw all that is random."""

    def loss(self, batch: Any) -> Tensor:
        """The mean over the samples of a batch: how wrong the model is about them."""

    def validate(self) -> Validation: ...

    def export(self, folder: Path, step: int) -> Path:
        """Write the result to a file of its own name in that folder, whole or not at all, and return its path."""
