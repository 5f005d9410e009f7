"""The processes that train together: this one alone, or those that `accelerate launch` or torchrun has started.

Gradients are averaged here, once a step, rather than by a wrapper around the model: a method may call its modules as it
likes, and no call can go past the wrapper, after which each process would train for itself unnoticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as together
from torch import Tensor

from .errors import TrainingError

# Where the programs that start several processes say how many: torchrun and accelerate, and those of MPI.
COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
LAUNCH = "torchrun --nproc_per_node N -m zoetrope train ..."
PATIENCE = timedelta(hours=12)  # for the first process, which validates and saves while the others wait
BYTES_AT_ONCE = 64 * 2**20


@dataclass(frozen=True)
class Processes:
    """Which of how many this process is, and where its tensors are."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """The one that validates, and that writes to the run's folder."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace the tensors, in place, by their mean over all processes."""
        if self.count > 1:
            for some in _in_portions(tensors):
                flat = torch.cat([tensor.flatten() for tensor in some])
                together.all_reduce(flat)
                for tensor, mean in zip(some, (flat / self.count).split([t.numel() for t in some]), strict=True):
                    tensor.copy_(mean.view_as(tensor))

    def take_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Replace the tensors, in place, by those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                together.broadcast(tensor, 0)

    def told_by_first(self, number: int) -> int:
        """The number that the first process gives."""
        told = torch.tensor(number, device=self.device)
        self.take_from_first([told])
        return int(told.item())

    def any(self, wish: bool) -> bool:
        """Whether any process wishes it."""
        if self.count == 1:
            return wish
        wishes = torch.tensor(float(wish), device=self.device)
        together.all_reduce(wishes)
        return bool(wishes.item())

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.count > 1:
            together.barrier()


def launched_processes(device: torch.device) -> Processes:
    """Find the others where `accelerate launch` or torchrun has started several; else this process is alone."""
    counts = [int(os.environ[name]) for name in COUNTS if name in os.environ]
    if not counts:
        _check_not_forsaken()
    if max(counts, default=1) < 2:
        return Processes(device)
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
    if state.num_processes < 2:
        raise TrainingError(
            f"{max(counts)} processes were started, but accelerate finds no way from one to the other on the device "
            f"{device.type}. Start them with `{LAUNCH}`, or only one."
        )
    return Processes(state.device, state.process_index, state.num_processes)


def _check_not_forsaken() -> None:
    """Refuse to train as one where several were asked for.

    Without several GPUs, and so for `--cpu`, `accelerate launch --num_processes N` starts a single process, and leaves
    the others to MPI. All that tells of it is that it names a place at which they should have met.
    """
    if "ACCELERATE_USE_CPU" in os.environ and "MASTER_ADDR" in os.environ:
        raise TrainingError(
            "accelerate was asked for several processes and has started one: where there are not several GPUs it "
            f"leaves the others to MPI. Start them with `{LAUNCH}`, or set --num_processes to 1."
        )


def _in_portions(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Groups of one type and of a size that is worth a message, so that no second copy of everything is made."""
    portion: list[Tensor] = []
    filled = 0
    for tensor in tensors:
        if portion and (tensor.dtype != portion[0].dtype or filled + tensor.nbytes > BYTES_AT_ONCE):
            yield portion
            portion, filled = [], 0
        portion.append(tensor)
        filled += tensor.nbytes
    if portion:
        yield portion
