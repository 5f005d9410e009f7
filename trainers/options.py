"""The settings that every method has: how long, how fast and how exactly to train, and what to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from .errors import TrainingError
from .learning_rates import Schedule
from .optimizers import OptimizerName

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Steps are optimiser steps. Each takes `batch` samples, `accumulation` times, on every process."""

    steps: int = 5000
    batch: int = 1
    accumulation: int = 1
    seed: int = 42

    learning_rate: float = 1e-4
    schedule: Schedule = "cosine"
    warm_up_steps: int = 100
    final_learning_rate: float = 0.1  # where cosine and linear end, as a share of learning_rate
    optimizer: OptimizerName = "adamw"
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0  # 0 leaves gradients as long as they are
    precision: Precision = "fp32"  # of the forward and backward pass; the trained weights are always float32
    average_decay: float = 0.0  # of the moving average that is validated and exported; 0 for none

    save_every: int = 500
    keep_states: int = 2  # the newest so many
    milestones: tuple[int, ...] = ()  # steps whose states are kept beside them
    validate_at: tuple[int, ...] = (0, 1000, 2000, 3000, 5000)
    validate_every: int = 0  # steps; 0 for only those above and the last

    session_steps: int = 0  # steps until this session pauses, to be continued by the next; 0 for all
    session_minutes: float = 0.0  # the same in minutes

    def __post_init__(self) -> None:
        for name, wanted in get_type_hints(type(self)).items():
            if get_origin(wanted) is Literal:
                choices = get_args(wanted)
                self._check(name, getattr(self, name) in choices, f"It is one of {', '.join(choices)}.")
        for name in ("steps", "batch", "accumulation", "save_every", "keep_states"):
            self._check(name, getattr(self, name) >= 1, "It is at least 1.")
        for name in ("seed", "warm_up_steps", "validate_every", "session_steps", "session_minutes"):
            self._check(name, getattr(self, name) >= 0, "It is at least 0.")
        for name in ("weight_decay", "max_gradient_norm"):
            self._check(name, getattr(self, name) >= 0, "It is at least 0, which leaves it out.")
        for name in ("milestones", "validate_at"):
            self._check(name, min(getattr(self, name), default=0) >= 0, "Steps are at least 0.")
        for name in ("beta1", "beta2", "average_decay"):
            self._check(name, 0 <= getattr(self, name) < 1, "It goes from 0 to below 1.")
        self._check("final_learning_rate", 0 <= self.final_learning_rate <= 1, "It goes from 0 to 1.")
        self._check("learning_rate", 0 < self.learning_rate <= 1, "It is above 0 and at most 1; 1e-4 suits most LoRAs.")
        self._check(
            "warm_up_steps",
            self.warm_up_steps == 0 or self.warm_up_steps < self.steps,
            f"It is to be less than the {self.steps} steps of the run.",
        )

    def _check(self, name: str, holds: bool, rule: str) -> None:
        if not holds:  # written so that NaN, for which no comparison holds, is refused too
            raise TrainingError(f"{name} is {getattr(self, name)}. {rule}")
