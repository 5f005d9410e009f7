"""One step of training: gradients, and what they do to the weights.

A step whose loss or gradient is no number leaves everything as it was, whatever the cause: weights that have once taken
in a NaN never lose it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .averaging import Average
from .errors import Diverged, TrainingError
from .learning_rates import share_of_learning_rate
from .method import Method, Sample
from .optimizers import make_optimizer, memory_of, remind
from .options import TrainingOptions
from .processes import Processes
from .randomness import Chance, item_of, numbers_of
from .states import State

PATIENCE_STEPS = 5  # in a row that are no numbers: one may be a bad clip, five are bad weights
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
WEIGHTS, AVERAGE, MEMORY = "weights", "average", "optimizer"  # the files of a state


@dataclass(frozen=True)
class Learned:
    """What came of one step."""

    loss: float
    gradient_norm: float  # before it was clipped
    learning_rate: float
    skipped: bool  # the weights are as they were, because something was no number


class Learner:
    """The weights that are trained, and all that changes with them."""

    def __init__(self, method: Method, options: TrainingOptions, processes: Processes) -> None:
        self._method, self._options, self._processes = method, options, processes
        self.weights = dict(method.trained())
        _check_trainable(self.weights)
        processes.take_from_first(_data_of(self.weights))
        parameters = list(self.weights.values())
        betas = (options.beta1, options.beta2)
        self._optimizer = make_optimizer(options.optimizer, parameters, betas, options.weight_decay)
        self._average = Average(self.weights, options.average_decay) if options.average_decay else None
        self._scaler = torch.amp.GradScaler(processes.device.type, enabled=options.precision == "fp16")
        self.step = 0  # so many are done
        self.samples = 0  # so many are drawn, by all processes together
        self._is_updated = True  # and not in the middle of it
        self._updates = 0
        self._skipped_in_row = 0

    @property
    def is_whole(self) -> bool:
        """Whether an interrupt has left all that changes at the same step, so that it can be saved."""
        return self._is_updated and (self._average is None or self._average.is_whole)

    def learn(self) -> Learned:
        """Do one step, the same on every process."""
        loss = self._gradients()
        norm = self._clipped()
        rate = self._learning_rate()
        is_number = math.isfinite(loss) and math.isfinite(norm)
        self._is_updated = False
        if is_number:
            self._update(rate)
        self._count(loss, is_number)
        self._is_updated = True
        if self._skipped_in_row >= PATIENCE_STEPS:
            raise Diverged(self._what_diverged(f"for the {PATIENCE_STEPS}th time in a row"))
        return Learned(loss, norm, rate, not is_number)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """In this block the model is as it will be exported, and computes as it does in training."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(self._autocast())
            if self._average:
                stack.enter_context(self._average.in_place())
            yield

    def check_success(self) -> None:
        """Refuse to call a run finished that has learned nothing, or that ends in what is no number."""
        if self._skipped_in_row or not self._updates:
            raise Diverged(self._what_diverged("the last of the run" if self._updates else "as in every step before"))

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """All that decides how training goes on: tensors by file and name, and what is no tensor."""
        if not all(bool(weight.isfinite().all()) for weight in self.weights.values()):
            raise Diverged(self._what_diverged("when it was to be saved"))
        memory, numbers = memory_of(self._optimizer, list(self.weights))
        tensors = {WEIGHTS: _data_by_name(self.weights), MEMORY: memory}
        if self._average:
            tensors[AVERAGE] = self._average.weights
        return tensors, {
            "step": self.step,
            "samples": self.samples,
            "updates": self._updates,
            "skipped_in_row": self._skipped_in_row,
            "optimizer": self._options.optimizer,
            "optimizer_numbers": numbers,
            "scaler": self._scaler.state_dict(),
        }

    @torch.no_grad()
    def go_on_from(self, state: State) -> None:
        """Become what was saved."""
        progress, weights = state.progress, state.tensors(WEIGHTS)
        self._check_fits(state, weights)
        for name, weight in self.weights.items():
            weight.copy_(weights[name])
        remind(self._optimizer, list(self.weights), state.tensors(MEMORY), progress["optimizer_numbers"])
        if self._average:  # which begins now where there was none before
            averages = state.tensors(AVERAGE) if state.has(AVERAGE) else weights
            for name, average in self._average.weights.items():
                average.copy_(averages[name])
        if self._scaler.is_enabled() and progress["scaler"]:
            self._scaler.load_state_dict(progress["scaler"])
        self.step, self.samples = progress["step"], progress["samples"]
        self._updates, self._skipped_in_row = progress["updates"], progress["skipped_in_row"]

    def _gradients(self) -> float:
        """Leave the gradient of the whole step in the weights, and return its loss."""
        parts = self._options.accumulation
        total = torch.zeros((), device=self._processes.device)
        for part in range(parts):
            batch = self._method.batch(self._samples_of(part))
            with self._autocast():
                loss = self._method.loss(batch)
            total += loss.detach() / parts
            self._scaler.scale(loss / parts).backward()
        self._processes.average([total, *(_gradient_of(weight) for weight in self.weights.values())])
        self._scaler.unscale_(self._optimizer)
        return total.item()

    def _samples_of(self, part: int) -> list[Sample]:
        seed, items = self._options.seed, self._method.items
        ours = numbers_of(self.samples, part, self._processes.rank, self._processes.count, self._options.batch)
        return [Sample(item_of(seed, number, items), Chance(seed, number)) for number in ours]

    def _clipped(self) -> float:
        longest = self._options.max_gradient_norm or math.inf
        return nn.utils.clip_grad_norm_(list(self.weights.values()), longest).item()

    def _learning_rate(self) -> float:
        options = self._options
        return options.learning_rate * share_of_learning_rate(
            self.step,
            steps=options.steps,
            schedule=options.schedule,
            warm_up_steps=options.warm_up_steps,
            floor=options.final_learning_rate,
        )

    def _update(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._scaler.step(self._optimizer)
        if self._average:
            self._average.update(self._updates)
        self._updates += 1

    def _count(self, loss: float, is_number: bool) -> None:
        # In half precision gradients are scaled up until they overflow, and then less: no fault, while there is room.
        is_finding_scale = self._scaler.is_enabled() and math.isfinite(loss) and self._scaler.get_scale() > 1
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.samples += self._options.batch * self._options.accumulation * self._processes.count
        if is_number:
            self._skipped_in_row = 0
        elif not is_finding_scale:
            self._skipped_in_row += 1

    def _autocast(self) -> torch.autocast:
        precision = self._options.precision
        return torch.autocast(self._processes.device.type, DTYPES[precision], enabled=precision != "fp32")

    def _what_diverged(self, when: str) -> str:
        half = " bf16 instead of fp16," if self._options.precision == "fp16" else ""
        return (
            f"At step {self.step}, {when}, the loss, its gradient or a weight was not a number. Nothing of that has "
            f"entered the saved states. Go on from them with a learning rate lower than "
            f"{self._options.learning_rate:g},{half} or look for a broken clip in the footage."
        )

    def _check_fits(self, state: State, weights: Mapping[str, Tensor]) -> None:
        ours = {name: weight.shape for name, weight in self.weights.items()}
        theirs = {name: weight.shape for name, weight in weights.items()}
        different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        if different:
            raise TrainingError(
                f"{state.path} was trained with other weights than this run asks for: {len(different)} differ, such as "
                f"{different[0]}. Set rank and preset as they were, or choose a new run folder."
            )
        if state.progress["optimizer"] != self._options.optimizer:
            raise TrainingError(
                f"{state.path} was trained with the optimizer {state.progress['optimizer']}, and this run asks for "
                f"{self._options.optimizer}, which cannot go on from its memory. Set it as it was, or choose a new run "
                "folder."
            )


def _gradient_of(weight: nn.Parameter) -> Tensor:
    """Zeros where the loss did not depend on it, as it may on another process."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _data_of(weights: Mapping[str, nn.Parameter]) -> list[Tensor]:
    return list(_data_by_name(weights).values())


def _data_by_name(weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in weights.items()}


def _check_trainable(weights: Mapping[str, nn.Parameter]) -> None:
    """Mistakes of a method, each of which would train nothing and look like training."""
    assert weights, "a method trains something"
    for name, weight in weights.items():
        assert weight.requires_grad, f"{name} is frozen"
        assert weight.dtype in (torch.float32, torch.float64), (
            f"{name} is {weight.dtype}, which rounds small steps away"
        )
        assert not weight.is_inference(), f"{name} was made in inference mode: make models within inference_mode(False)"
