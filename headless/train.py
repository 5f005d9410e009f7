"""`zoetrope train`: fine-tune a model, go on with a run, or only tell what one would take."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from .progress import ProgressDisplay

if TYPE_CHECKING:  # torch comes with them, and `--help` should not wait for it
    from ..trainers.loop import TrainingStep

FINISHED, STOPPED = 0, 130
EXAMPLE = """\
run.yaml, in which paths start from its folder:
    model: ../models/svd.safetensors
    footage: moons
    run: runs/moons
    preset: motion
    steps: 2000
    width: 512
    height: 320

  zoetrope footage split moons                     sets clips aside, on which the run is judged
  zoetrope train svd --config run.yaml --plan
  zoetrope train svd --config run.yaml --set rank=16 --set learning_rate=2e-4
  zoetrope train svd --config run.yaml --resume
  accelerate launch -m zoetrope train svd --config run.yaml
  torchrun --nproc_per_node 2 -m zoetrope train svd --config run.yaml

The last two train on several GPUs, each with samples of its own. Without GPUs only torchrun starts several processes.

All settings, with what they mean: the page of the node Train SVD LoRA, web/docs/ZoetropeTrainSVDLoRA.md.
Ctrl-C, or a file called `stop` in the run's folder, ends a run after the step that it is at; --resume goes on with it.
"""


class Trainer(NamedTuple):
    """A method of training, as the command needs it."""

    settings: type[Any]
    plan: Callable[..., Any]
    train: Callable[..., Any]


def _svd() -> Trainer:
    from ..trainers.svd import SVDTraining, plan_svd, train_svd

    return Trainer(SVDTraining, plan_svd, train_svd)


METHODS: dict[str, Callable[[], Trainer]] = {"svd": _svd}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Fine-tunes a model on footage."
    parser.epilog = EXAMPLE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("method", choices=sorted(METHODS), help="svd: Stable Video Diffusion, a LoRA or weights")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a YAML file with the run's settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting in place of the file's; repeatable"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="the same as --set steps=N")
    parser.add_argument("--resume", action="store_true", help="go on with the run, where something of it is saved")
    parser.add_argument("--plan", action="store_true", help="tell what the run would take, and leave")


def main(arguments: argparse.Namespace) -> int:
    """Train; gives 0 where the run has come to its end or its session's, and 130 where it was stopped."""
    from ..host import work
    from ..trainers.config import read_settings
    from ..trainers.processes import launched_processes

    trainer = METHODS[arguments.method]()
    overrides = [*arguments.set, *([f"steps={arguments.steps}"] if arguments.steps is not None else [])]
    settings = read_settings(trainer.settings, arguments.config, overrides)
    processes = launched_processes(work.device())
    settings = settings.on(processes.device)
    speed = partial(_speed, processes.device, settings.precision)
    plan = trainer.plan(settings, speed, processes.device, processes=processes.count)
    if processes.is_first:
        sys.stdout.write(f"{plan.text()}\n")
        sys.stdout.flush()
    if arguments.plan:
        return FINISHED
    _check_resume(settings.run, arguments.resume)
    with ProgressDisplay() as display, _Stopping(display.say) as stopping:
        show = display.show if processes.is_first else _show_nothing
        last = None
        for step in trainer.train(
            settings,
            plan=plan,
            processes=processes,
            asked_to_stop=lambda: stopping.asked,
            on_progress=show,
            note=display.say,
        ):
            stopping.is_training = True
            last = step
            if processes.is_first:
                _tell(step, display)
    return _ended(last, stopping.asked, settings, is_first=processes.is_first)


def _speed(device: Any, precision: str) -> float:
    from ..trainers.learner import DTYPES
    from ..trainers.svd_plan import measured_flops_per_second

    return measured_flops_per_second(device, DTYPES[precision])


def _check_resume(run: Path, resume: bool) -> None:
    """Refuse to go on with a run unless that was asked for; a forgotten name must not cost days of another run."""
    from ..trainers.errors import TrainingError
    from ..trainers.run_folder import RunFolder

    state = RunFolder(run).newest_state() if run.is_dir() else None
    if state is not None and not resume:
        step = state.progress["step"]
        raise TrainingError(
            f"{run} holds a run that is saved at step {step}. Add --resume to go on with it, or choose another run "
            "folder."
        )


def _tell(step: TrainingStep, display: ProgressDisplay) -> None:
    display.show("Training", step.step, step.steps, f"loss {step.loss:.4f}, {step.seconds:.2f} s a step")
    if step.skipped:
        display.say(f"Step {step.step} was left out: its loss or gradient was no number.")
    if step.validation is not None:
        numbers = ", ".join(f"{name} {number:.4g}" for name, number in step.validation.numbers.items())
        display.say(f"Step {step.step}, on clips held out: {numbers}")


def _ended(last: TrainingStep | None, stopped: bool, settings: Any, *, is_first: bool) -> int:
    if is_first:
        done = last.step if last is not None else settings.steps
        if last is not None and last.exported is not None:
            sys.stdout.write(f"{last.exported}\n")
        if done < settings.steps:
            sys.stdout.write(f"The run stands at step {done} of {settings.steps}. Go on with it with --resume.\n")
        elif last is None:
            sys.stdout.write(f"The run has its {settings.steps} steps already. Set steps to more to go on.\n")
    return STOPPED if stopped else FINISHED


def _show_nothing(title: str, done: float, total: float) -> None:
    """For the processes beside the first, whose progress is the same."""


class _Stopping:
    """Takes the first Ctrl-C, or the system's wish, for one to stop after the step; the second ends at once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.asked = False
        self.is_training = False  # and not yet at what is before it, where nothing is to be saved

    def __enter__(self) -> _Stopping:
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self.is_training:
            raise KeyboardInterrupt
        self.asked = True
        self._say("Stopping after this step. Press Ctrl-C again to stop at once.")
