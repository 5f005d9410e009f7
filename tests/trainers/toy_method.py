"""A method small enough to know: a line is fitted to noisy points of another line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from zoetrope.media.files import written_beside
from zoetrope.trainers.method import Sample, Validation
from zoetrope.trainers.options import TrainingOptions
from zoetrope.trainers.processes import Processes

ALONE = Processes(torch.device("cpu"))

SLOPES = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
OFFSET = torch.tensor([0.5, -0.25])


def quick(**changes) -> TrainingOptions:
    """Options for a run of a moment."""
    return TrainingOptions(
        **{"steps": 10, "learning_rate": 0.05, "warm_up_steps": 2, "save_every": 4, "validate_at": (0,), **changes}
    )


@dataclass
class Points:
    """A batch: where, what is there, and for tests whose it is."""

    inputs: Tensor
    targets: Tensor
    samples: list[Sample]


class ToyMethod:
    """Learns SLOPES and OFFSET from points with noise on them."""

    name = "toy"

    def __init__(self, items: int = 7, width: int = 0) -> None:
        self.items = items
        self.drawn: list[Sample] = []
        start = torch.Generator().manual_seed(1)
        self.model = nn.Linear(3, 2)
        self.ballast = nn.Parameter(torch.zeros(width))  # makes states larger, so that kills meet their writing
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.copy_(torch.randn(weight.shape, generator=start))

    def trained(self) -> dict[str, nn.Parameter]:
        weights = dict(self.model.named_parameters())
        return weights | ({"ballast": self.ballast} if len(self.ballast) else {})

    def batch(self, samples: Sequence[Sample]) -> Points:
        self.drawn += samples
        inputs = torch.stack([self.place(sample.item) for sample in samples])
        noise = torch.stack([sample.chance.normal("noise", (2,)) for sample in samples])
        return Points(inputs, inputs @ SLOPES.T + OFFSET + 0.1 * noise, list(samples))

    def place(self, item: int) -> Tensor:
        return torch.tensor([item % 2, item % 3 - 1, item / self.items], dtype=torch.float32)

    def loss(self, batch: Points) -> Tensor:
        fit = (self.model(batch.inputs).float() - batch.targets).square().mean()
        return fit + (self.ballast - 1).square().mean() * 1e-3 if len(self.ballast) else fit

    def validate(self) -> Validation:
        inputs = torch.eye(3)
        error = (self.model(inputs).float() - (inputs @ SLOPES.T + OFFSET)).square().mean()
        clip = self.model.weight.detach().float().sigmoid().reshape(1, 2, 3, 1).repeat(2, 4, 4, 3)
        return Validation(numbers={"held-out loss": error.item()}, clips={"weights": clip})

    def export(self, folder: Path, step: int) -> Path:
        path = folder / f"toy-{step}.safetensors"
        with written_beside(path) as draft:
            draft.write_bytes(save({name: weight.detach().clone() for name, weight in self.trained().items()}))
        return path
