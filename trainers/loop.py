"""The training loop, the only one: what every method shares, and nothing that any of them alone needs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from .errors import Diverged, TrainingError
from .learner import Learner
from .method import Method, Validation
from .options import TrainingOptions
from .processes import Processes
from .report import write_report
from .run_folder import RunFolder

Ending = Literal["finished", "paused"]


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """What came of an optimiser step, and of what was due after it."""

    step: int  # so many are done
    steps: int
    loss: float
    gradient_norm: float
    learning_rate: float
    seconds: float
    skipped: bool  # the loss or a gradient was no number, so the weights are as they were
    validation: Validation | None = None
    saved: Path | None = None
    exported: Path | None = None
    ending: Ending | None = None  # of the last one: the run is finished, or goes on in another session


def nobody_asks() -> bool:
    """For callers that end a session in no other way than by ceasing to ask for steps."""
    return False


@torch.inference_mode(False)  # ComfyUI runs nodes in inference mode; a loss needs gradients
@torch.enable_grad()
def train(
    method: Method,
    options: TrainingOptions,
    run: RunFolder,
    processes: Processes,
    asked_to_stop: Callable[[], bool] = nobody_asks,
) -> Iterator[TrainingStep]:
    """Go on with the run, or begin it, and yield after every optimiser step.

    `asked_to_stop`, a file called `stop` in the run's folder, and the session's limits make the run save, export and
    pause after the step. A caller that asks for no more steps, a Ctrl-C, a cancel, and any error of the method make it
    save what is done. Only where nothing can be saved, or the run has diverged, the states from before remain.
    """
    session = _Session(method, options, run, processes, asked_to_stop)
    try:
        yield from session.steps()
    except Diverged:
        session.is_lost = True
        raise
    except BaseException:
        session.save_if_whole()
        raise


class _Session:
    """A run from where it stands to where this process leaves it."""

    def __init__(
        self,
        method: Method,
        options: TrainingOptions,
        run: RunFolder,
        processes: Processes,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        self._method, self._options, self._run, self._processes = method, options, run, processes
        self._asked_to_stop = asked_to_stop
        self.is_lost = False  # the disk is full, or the run has diverged
        self._learner = Learner(method, options, processes)
        self._saved_step = self._resume()
        self._first_step = self._learner.step
        self._began = time.monotonic()
        run.before_closing(self.save_if_whole)  # a generator that is merely left is closed too late, or never

    def steps(self) -> Iterator[TrainingStep]:
        self._validate_if_due()  # at step 0, or where the last session was interrupted before it could
        if self._learner.step >= self._options.steps:
            self._finish("finished")  # once more: it may have been killed while it finished
            return
        ending = None
        while ending is None:
            result = self._next()
            ending = result.ending
            yield result

    def save_if_whole(self) -> Path | None:
        """Save unless this step is saved, or half of it has gone into the weights."""
        learner = self._learner
        if self.is_lost or not self._processes.is_first or not learner.is_whole or learner.step == self._saved_step:
            return None
        options = self._options
        try:
            saved = self._run.save_state(*learner.state(), keep=options.keep_states, milestones=options.milestones)
        except TrainingError:  # a second try, when the folder is closed, would say the same once more
            self.is_lost = True
            raise
        self._saved_step = learner.step
        return saved

    def _resume(self) -> int | None:
        """Go on from the newest sound state; the step that is saved, if any."""
        step = self._processes.told_by_first(self._prepared_folder() if self._processes.is_first else 0)
        if step < 0:
            return None
        state = self._run.newest_state()
        if state is None or state.progress["step"] != step:
            raise TrainingError(f"{self._run.path} is not the same folder for every process. Put it on a shared disk.")
        self._learner.go_on_from(state)
        return step

    def _prepared_folder(self) -> int:
        """Rewind what is on disk to the newest sound state, and tell its step; -1 where there is none."""
        state = self._run.newest_state()
        step = state.progress["step"] if state else -1
        self._run.rewind(step)
        return step

    def _next(self) -> TrainingStep:
        began = time.monotonic()
        learned = self._learner.learn()
        seconds = time.monotonic() - began
        if self._processes.is_first:
            self._log(learned.loss, learned.gradient_norm, learned.learning_rate, seconds)
        validation = self._validate_if_due()
        ending = self._ending()
        saved = self.save_if_whole() if ending or self._is_save_due() else None
        return TrainingStep(
            step=self._learner.step,
            steps=self._options.steps,
            loss=learned.loss,
            gradient_norm=learned.gradient_norm,
            learning_rate=learned.learning_rate,
            seconds=seconds,
            skipped=learned.skipped,
            validation=validation,
            saved=saved,
            exported=self._finish(ending) if ending else None,
            ending=ending,
        )

    def _log(self, loss: float, gradient_norm: float, learning_rate: float, seconds: float) -> None:
        self._run.log(
            step=self._learner.step,
            loss=loss,
            gradient_norm=gradient_norm,
            learning_rate=learning_rate,
            seconds=round(seconds, 4),
        )

    def _ending(self) -> Ending | None:
        if self._learner.step == self._options.steps:
            return "finished"
        return "paused" if self._processes.any(self._is_pause_due()) else None

    def _is_pause_due(self) -> bool:
        options = self._options
        steps, minutes = self._learner.step - self._first_step, (time.monotonic() - self._began) / 60
        return (
            (options.session_steps > 0 and steps >= options.session_steps)
            or (options.session_minutes > 0 and minutes >= options.session_minutes)
            or self._asked_to_stop()
            or self._run.is_asked_to_stop()
        )

    def _is_save_due(self) -> bool:
        return self._learner.step % self._options.save_every == 0 or self._learner.step in self._options.milestones

    def _is_validation_due(self) -> bool:
        step, options = self._learner.step, self._options
        return (
            step in options.validate_at
            or step == options.steps
            or (options.validate_every > 0 and step % options.validate_every == 0)
        )

    def _validate_if_due(self) -> Validation | None:
        validation = None
        step = self._learner.step
        if self._is_validation_due() and self._processes.is_first and not self._run.is_validated(step):
            with self._learner.evaluating():
                validation = self._method.validate()
            self._keep(validation)
        return validation

    def _keep(self, validation: Validation) -> None:
        step = self._learner.step
        bad = [name for name, number in validation.numbers.items() if math.isnan(number)]
        if bad:
            raise Diverged(
                f"The validation at step {step} is not a number ({', '.join(bad)}). Train with a lower learning rate."
            )
        for name, clip in validation.clips.items():
            self._run.write_sample(step, name, clip, validation.frames_per_second)
        self._run.log(step=step, validation=dict(validation.numbers))
        write_report(self._run)

    def _finish(self, ending: Ending) -> Path | None:
        if ending == "finished":
            self._learner.check_success()
        exported = None
        if self._processes.is_first:
            with self._learner.evaluating():
                exported = self._method.export(self._run.exports, self._learner.step)
            write_report(self._run)
        self._processes.wait()
        return exported
