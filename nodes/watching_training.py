"""What a node shows of a run of training: while it works, in words and as a picture, and when it is done."""

from __future__ import annotations

import time
from pathlib import Path

from einops import rearrange
from PIL import Image
from torch import Tensor

from ..host import work
from ..media.pictures import Pixels, to_bytes
from ..media.webp import read_webp
from ..trainers.loop import TrainingStep
from ..trainers.run_folder import RunFolder
from ..trainers.run_picture import History, as_clip, below_each_other, draw_curves, spread
from ..trainers.svd import SVDTraining
from ..trainers.svd_plan import readable_duration

SECONDS_BETWEEN_WORDS, SECONDS_BETWEEN_PICTURES = 0.3, 3.0
FRAMES_SHOWN = 5  # of a clip
LATELY = 50  # steps whose mean loss is told; that of a single one says little


class RunLook:
    """A run as one picture: its losses, and below them the newest clip that it made."""

    def __init__(self, settings: SVDTraining) -> None:
        folder = RunFolder(settings.run)
        self._settings = settings
        self.history = History.of(folder.entries())
        self._clip: Tensor | None = None
        newest = [paths[0] for paths in folder.samples().values() if paths][-1:]
        for path in newest:
            self._keep(as_clip(read_webp(path)[0]))

    def add(self, done: TrainingStep) -> None:
        validation = done.validation
        self.history.add(done.step, done.loss, validation.numbers if validation else None)
        for clip in list(validation.clips.values())[:1] if validation else ():
            self._keep(clip)

    def picture(self) -> Pixels:
        curves = draw_curves(title_of(self._settings.run, self.history.step), self.history)
        if self._clip is None:
            return curves
        return next(to_bytes(below_each_other(curves, self._clip)))

    def _keep(self, clip: Tensor) -> None:
        self._clip = rearrange(clip[spread(range(len(clip)), FRAMES_SHOWN)], "f h w c -> 1 h (f w) c")


class RunWatch:
    """Shows on the node how far a run is, and keeps what there is to say of it."""

    def __init__(self, settings: SVDTraining, plan: str) -> None:
        self._settings = settings
        self._said = [plan]
        self._title = ""
        self._bar = work.Progress(settings.steps)
        self._look: RunLook | None = None  # until a step is done, before which the run may be rewound and measured
        self._words_due = self._picture_due = 0.0
        work.say(plan)

    def prepare(self, title: str, done: int, total: int) -> None:
        """What is done before the first step."""
        if title != self._title:
            self._title, self._bar = title, work.Progress(total)
        if self._is_due(done == total):
            work.say(f"{self._said[0]}\n{title}: {done} of {total}")
        self._bar.update(done)

    def note(self, text: str) -> None:
        self._said.append(text)
        work.say("\n".join(self._said))

    def show(self, done: TrainingStep) -> None:
        """Of a step that is done; a cancel is left to the loop, which saves and exports before it ends."""
        if self._title:
            self._title, self._bar = "", work.Progress(self._settings.steps)
        if done.skipped:
            self.note(f"Step {done.step} was left out: its loss or gradient was no number.")
        is_first = self._look is None
        if self._look is None:
            self._look = look = RunLook(self._settings)  # which has this step already
        else:
            look = self._look
            look.add(done)
        if self._is_due(is_first or done.ending is not None):
            work.say(_state(done, look.history))
        now = time.monotonic()
        picture = None
        if now >= self._picture_due or done.validation or done.ending:
            picture = Image.fromarray(look.picture())
            self._picture_due = now + SECONDS_BETWEEN_PICTURES
        if done.ending:
            self._said.append(_state(done, look.history))
        if not work.is_cancelled():
            self._bar.update(done.step, picture)

    def told(self) -> str:
        return "\n".join(self._said)

    def _is_due(self, last: bool) -> bool:
        now = time.monotonic()
        if not last and now < self._words_due:
            return False
        self._words_due = now + SECONDS_BETWEEN_WORDS
        return True


def _state(done: TrainingStep, history: History) -> str:
    """How far the run is, in a line or two."""
    lines = [f"step {done.step} of {done.steps}, {_losses(history)}"]
    if done.ending is None:
        left = readable_duration(done.seconds * (done.steps - done.step))
        lines.append(f"{done.seconds:.2f} s a step, about {left} left to the run's end")
    return "\n".join(lines)


def _losses(history: History) -> str:
    """The newest losses in words."""
    lately = [loss for _, loss in history.losses[-LATELY:]]
    words = [f"loss {sum(lately) / len(lately):.4f}"] if lately else []
    words += [f"on clips held out {loss:.4f} at step {step:g}" for step, loss in history.held_out[-1:]]
    return ", ".join(words) or "nothing measured yet"


def summary_of(run: RunFolder) -> str:
    """How far a run is, in words."""
    history = History.of(run.entries())
    settings = run.description().get("settings", {})
    lines = [f"step {history.step} of {settings.get('steps', '?')}, {_losses(history)}"]
    if len(history.held_out) > 1:
        (first, before), (last, after) = history.held_out[0], history.held_out[-1]
        lines.append(f"on clips held out from {before:.4f} at step {first:g} to {after:.4f} at step {last:g}")
    changes = run.description().get("changes", [])
    lines += [f"{change['at']}: {change['what']} from {change['before']} to {change['now']}" for change in changes]
    return "\n".join(lines)


def title_of(run: Path, step: int) -> str:
    return f"{run.name}, step {step}"
