"""The folder of a run: all that one needs to go on with it, to look at it, and to repeat it.

run.yaml         what was asked for, with versions and hashes
state-500/       a saved state (states.py)
metrics.jsonl    a line for each step, and for each validation
samples/500/     what was validated with at that step, as WebP
exports/         results to use elsewhere
cache/           what is computed once from the footage (caching.py)
report.html      all of it to look at (report.py)
stop             put here by anybody, makes the run save and pause
lock             held by the process that trains
"""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from ..media.files import remove_drafts, written_beside
from ..media.pictures import to_bytes
from ..media.webp import write_webp
from .errors import TrainingError, clear_writing_errors
from .lock import only_one_in
from .states import Note, State, flush_to_disk, newest_state, prune_states, remove_unfinished, write_state

LIBRARIES = ("torch", "numpy", "diffusers", "transformers", "safetensors", "accelerate", "comfyui-zoetrope")
UNSAFE = re.compile(r"[^\w.-]+")


def nobody_reads(note: str) -> None:
    """For callers that show no notes; the run folder keeps them."""


def is_run(folder: Path) -> bool:
    """Whether a run was ever begun in a folder."""
    return any((folder / name).is_file() for name in ("run.yaml", "metrics.jsonl", "lock"))


class RunFolder:
    """A run on disk. Only the first process of a run writes to it."""

    def __init__(self, path: Path, note: Note = nobody_reads) -> None:
        self.path = path
        self.note = note
        self.metrics_file = path / "metrics.jsonl"
        self._metrics: BinaryIO | None = None
        self._newest: State | None = None  # as far as it was looked for since something was saved
        self._closing = ExitStack()

    @property
    def cache(self) -> Path:
        return self._made("cache")

    @property
    def exports(self) -> Path:
        return self._made("exports")

    def describe(self, method: str, settings: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
        """Write run.yaml, and note what is other than when the run began or was last continued."""
        self.refuse_another_method(method)
        before, now = self.description(), _now()
        changes = []
        for part, values in (("settings", settings), ("hashes", hashes)):
            for name, old, new in _differences(before.get(part, values), values):
                changes.append({"at": now, "what": name, "before": old, "now": new})
                told = "has changed" if part == "hashes" else f"was {old} and is {new} now"
                self.note(f"{name} {told}; the run goes on with the new one.")
        self._write_yaml(
            {
                "method": method,
                "began": before.get("began", now),
                "settings": dict(settings),
                "hashes": dict(hashes),
                "versions": _versions(),
                "changes": [*before.get("changes", []), *changes],
            }
        )

    def refuse_another_method(self, method: str) -> None:
        before = self.description().get("method", method)
        if before != method:
            raise TrainingError(f"{self.path} is a run of {before}, not of {method}. Choose another run folder.")

    def description(self) -> dict[str, Any]:
        """What run.yaml says; nothing where there is none yet."""
        import yaml

        path = self.path / "run.yaml"
        if not path.is_file():
            return {}
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise TrainingError(f"{path} is no longer YAML ({error}). Mend or remove it; it is not needed.") from error
        described = read if isinstance(read, dict) else {}
        for part, kind in (("settings", dict), ("hashes", dict), ("changes", list)):
            if not isinstance(described.get(part, kind()), kind):
                raise TrainingError(f"{path} no longer holds the run's {part}. Mend or remove it; it is not needed.")
        return described

    def log(self, **entry: Any) -> None:
        """Add a line to metrics.jsonl, in one write; what is no number becomes null."""
        line = json.dumps(_without_nan(entry)) + "\n"
        with clear_writing_errors(self.metrics_file):
            if self._metrics is None:
                self._metrics = self.metrics_file.open("ab", buffering=0)
            if self._metrics.write(line.encode()) < len(line):  # as much as there was room for
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def entries(self) -> Iterator[dict[str, Any]]:
        """The lines of metrics.jsonl, without what tells of no step, such as a line that a killed process tore."""
        if self.metrics_file.is_file():
            for line in self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                        yield entry

    def is_validated(self, step: int) -> bool:
        return any(entry["step"] == step and "validation" in entry for entry in self.entries())

    def rewind(self, step: int) -> None:
        """Forget the metrics of what comes after a step, for it is about to be done again."""
        kept = [json.dumps(entry) + "\n" for entry in self.entries() if entry["step"] <= step]
        self._close_metrics()
        with written_beside(self.metrics_file) as draft:
            draft.write_text("".join(kept), encoding="utf-8", newline="\n")

    def save_state(
        self,
        tensors: Mapping[str, Mapping[str, Tensor]],
        progress: Mapping[str, Any],
        keep: int,
        milestones: tuple[int, ...] = (),
    ) -> Path:
        """Save a state, and only then let older ones go."""
        if self._metrics is not None:  # a state must not be on the disk before the lines that tell how it came about
            flush_to_disk(self.metrics_file)
        self._newest = None
        step = progress["step"]
        path = write_state(self.path, step, tensors, progress)
        prune_states(self.path, step, keep, milestones)
        return path

    def newest_state(self) -> State | None:
        if self._newest is None:  # its hashes take time, and what is damaged is said once
            self._newest = newest_state(self.path, self.note)
        return self._newest

    def write_sample(self, step: int, name: str, frames: Tensor, frames_per_second: float) -> Path:
        """Keep an (f h w c) clip in 0..1 that was made at a step."""
        path = self._made("samples", str(step)) / f"{UNSAFE.sub('_', name)}.webp"
        return write_webp(path, to_bytes(frames), frames_per_second)

    def samples(self) -> dict[int, list[Path]]:
        """The samples by step, in order."""
        folders = [path for path in self.path.glob("samples/*") if path.name.isdecimal()]
        return {
            int(path.name): sorted(path.glob("*.webp")) for path in sorted(folders, key=lambda path: int(path.name))
        }

    def is_asked_to_stop(self) -> bool:
        return (self.path / "stop").exists()

    def before_closing(self, do: Callable[[], object]) -> None:
        """Have something done while the folder is still ours, however its user leaves it."""
        self._closing.callback(do)

    def close(self) -> None:
        try:
            self._closing.close()
        finally:
            self._close_metrics()

    def _close_metrics(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def _made(self, *parts: str) -> Path:
        folder = self.path.joinpath(*parts)
        with clear_writing_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _write_yaml(self, content: Mapping[str, Any]) -> None:
        import yaml

        with written_beside(self.path / "run.yaml") as draft:
            draft.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


@contextmanager
def opened_run(path: str | Path, note: Note = nobody_reads) -> Iterator[RunFolder]:
    """A run's folder, made where it is not there yet, for this process alone."""
    folder = Path(path)
    with clear_writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with only_one_in(folder):
        remove_unfinished(folder)
        for written in (folder, *folder.glob("cache/*"), *folder.glob("samples/*"), folder / "exports"):
            remove_drafts(written)
        (folder / "stop").unlink(missing_ok=True)  # it was meant for an earlier session
        run = RunFolder(folder, note)
        try:
            yield run
        finally:
            run.close()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield name, before.get(name, "not there"), now.get(name, "not there")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[library] = metadata.version(library)
    return found


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {name: _without_nan(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
