"""Showing how far the work is: a bar on a terminal, plain lines where there is none."""

import shutil
import sys
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

BAR_CELLS = 24
SECONDS_BETWEEN_DRAWINGS = 0.1
LINES_BESIDE_NUMBERS = 2  # of a note; a longer one, such as a plan or a report, is printed as lines of its own


def printable(text: str) -> str:
    """`text` on one line and without control characters, which could steer the terminal that shows a foreign title."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def cells(text: str) -> int:
    """How many cells of a terminal `text` takes: wide letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def shortened(text: str, width: int) -> str:
    """`text` cut to `width` cells, its end replaced by dots where something is missing."""
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 3:
        text = text[:-1]
    return text + "..."[: max(0, width)]


def readable_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    if minutes:
        return f"{minutes} min {rest:02} s"
    return f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"


@dataclass
class _Task:
    """What has been shown of one title."""

    started: float  # seconds of the clock
    step: float = 0
    total: float = 0
    tenths: int = 0
    done: bool = False
    note: str = ""
    said: set[str] = field(default_factory=set)  # lines of its notes


class ProgressDisplay:
    """Shows steps of named work, and messages between them.

    On a terminal the running work is a bar that is drawn over, and finished work one line with its duration. In a log
    file or a pipe each title gets a line when it starts and one for every 10 %.

        with ProgressDisplay() as display:
            display.show("Sampler", 3, 25)
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._on_terminal = self._stream.isatty()
        self._tasks: dict[str, _Task] = {}
        self._bar_is_shown = False
        self._drawn = float("-inf")  # when the bar was last drawn

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def show(self, title: str, step: float, total: float, note: str = "") -> None:
        """Say that `title` has done `step` of `total` steps; a total of 1 means that there are no steps to count.

        The note stands behind the numbers: a rate, or the time that is left. Of a note of many lines, those that were
        not there before are printed once, above the numbers.
        """
        title = printable(title)
        task = self._tasks.get(title)
        if task is None or step < task.step or (task.done and step < total):
            task = self._tasks[title] = _Task(started=self._clock(), said=task.said if task else set())
            starts = True
        else:
            starts = False
        was_done, task.step, task.total = task.done, step, total
        task.done = total > 0 and step >= total
        self._take_note(task, note)
        if self._on_terminal:
            self._show_on_terminal(title, task, was_done)
        else:
            self._show_in_log(title, task, starts)

    def say(self, message: str) -> None:
        """Print a line of its own; a bar moves below it."""
        self._clear_bar()
        self._write(f"{printable(message)}\n")

    def close(self) -> None:
        """Leave the cursor on a fresh line."""
        if self._bar_is_shown:
            self._write("\n")
            self._bar_is_shown = False

    def _take_note(self, task: _Task, note: str) -> None:
        lines = [line for line in map(printable, note.splitlines()) if line]
        new = [line for line in lines if line not in task.said]
        task.said.update(new)
        if len(new) > LINES_BESIDE_NUMBERS:
            for line in new:
                self.say(line)
            task.note = ""
        elif len(lines) <= LINES_BESIDE_NUMBERS:
            task.note = ", ".join(lines)
        elif new:
            task.note = ", ".join(new)

    def _show_on_terminal(self, title: str, task: _Task, was_done: bool) -> None:
        seconds = self._clock() - task.started
        if task.done:
            if not was_done:
                steps = f"  {task.total:g} steps" if task.total > 1 else ""
                self.say(f"{title}{steps}  {readable_duration(seconds)}")
            return
        if self._clock() - self._drawn >= SECONDS_BETWEEN_DRAWINGS:
            self._clear_bar()
            self._write(self._bar(title, task, seconds))
            self._bar_is_shown, self._drawn = True, self._clock()

    def _bar(self, title: str, task: _Task, seconds: float) -> str:
        end = f"  {readable_duration(seconds)}"
        if task.total > 1:
            full = int(BAR_CELLS * max(0.0, task.step) / task.total)
            end = f"  [{'#' * full}{'-' * (BAR_CELLS - full)}] {task.step:g}/{task.total:g}{end}"
        if task.note:
            end = f"{end}  {task.note}"
        # One cell stays free: a full line makes some terminals scroll, and the bar would be drawn on every line.
        width = shutil.get_terminal_size().columns - 1
        return shortened(shortened(title, max(8, width - cells(end))) + end, width)

    def _show_in_log(self, title: str, task: _Task, starts: bool) -> None:
        if starts and not task.done:
            self.say(title)
        if task.total <= 1:
            return
        tenths = int(10 * task.step / task.total)
        if tenths > task.tenths:
            task.tenths = tenths
            note = f", {task.note}" if task.note else ""
            self.say(f"{title}: {10 * tenths} % ({task.step:g} of {task.total:g}{note})")

    def _clear_bar(self) -> None:
        if self._bar_is_shown:
            self._write("\r\x1b[2K")
            self._bar_is_shown = False

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"  # a title may hold letters that a Windows console lacks
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()
