"""Randomness as a function: what is drawn depends on who asks for what, and never on what was drawn before.

The samples of a run are numbered through all its steps, batches and processes. From the seed, the number of a sample
and the name of a stream ("noise", "noise level", ...) follows a key, and from the key what is drawn. So there is no
generator whose state would have to be saved; a run that was killed and resumed is the run that nobody disturbed; two
processes share the work of one; and none of them draws what another has drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

GOLDEN_STEP = 0x9E3779B97F4A7C15  # the golden ratio's fraction, times 2**64
TURN = 2**64


@dataclass(frozen=True)
class Chance:
    """All that is drawn for one sample. Asking twice for the same gives the same."""

    seed: int
    number: int  # of the sample, counted through the whole run

    def normal(self, stream: str, shape: Sequence[int] = ()) -> Tensor:
        """Standard normal numbers, float32, on the CPU."""
        drawn = self._generator(stream).standard_normal(tuple(shape), dtype=np.float32)
        return torch.from_numpy(np.asarray(drawn))

    def uniform(self, stream: str, shape: Sequence[int] = ()) -> Tensor:
        """Numbers in 0..1, without 1, float32, on the CPU."""
        return torch.from_numpy(np.asarray(self._generator(stream).random(tuple(shape), dtype=np.float32)))

    def below(self, stream: str, end: int) -> int:
        """A whole number in 0..end, without end."""
        return int(self._generator(stream).integers(end))

    def even(self, stream: str) -> float:
        """A number in 0..1 such that those of any row of samples lie evenly: what stratified sampling draws.

        Each sample goes on from the one before by the golden ratio, whatever batch and process it belongs to.
        """
        start = int.from_bytes(_key(self.seed, f"even {stream}", 0)[:8], "big")
        return ((start + self.number * GOLDEN_STEP) % TURN) / TURN

    def _generator(self, stream: str) -> np.random.Generator:
        return _generator(self.seed, stream, self.number)


def item_of(seed: int, number: int, items: int) -> int:
    """Which of the items the sample of that number takes: each once per epoch, in an order new to every epoch."""
    epoch, place = divmod(number, items)
    return int(_order(seed, epoch, items)[place])


def numbers_of(first: int, micro_batch: int, rank: int, processes: int, batch: int) -> range:
    """The samples of a process for one micro-batch of a step that begins with the sample `first`.

    A step of two processes with one micro-batch each holds the same samples as a step of one process with two.
    """
    start = first + (micro_batch * processes + rank) * batch
    return range(start, start + batch)


def _key(seed: int, stream: str, number: int) -> bytes:
    return blake2b(f"{seed}/{number}/{stream}".encode(), digest_size=16).digest()


def _generator(seed: int, stream: str, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_key(seed, stream, number), "big")))


@lru_cache(maxsize=2)  # a batch may reach from one epoch into the next
def _order(seed: int, epoch: int, items: int) -> np.ndarray:
    return _generator(seed, "order", epoch).permutation(items)
