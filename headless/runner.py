"""Run a workflow in this process, without ComfyUI."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..host import IN_COMFYUI, folders
from . import overrides as settings
from .core_past import brought_up_to_date
from .errors import WorkflowError
from .execute import OnProgress, Progress, Run
from .registry import all_nodes, definitions, own_checks
from .validate import require_valid
from .workflow import load_workflow


@dataclass(frozen=True)
class RunResult:
    """What a run made: `outputs` has what each node shows, by node id, as a server would; `files` what was saved."""

    outputs: dict[str, dict[str, Any]]
    files: list[Path]


def _silent(progress: Progress) -> None:
    """For runs that nobody watches."""


def run_workflow(
    workflow: Path | str | Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    input: Path | str | None = None,
    output: Path | str | None = None,
    models: Path | str | None = None,
    temp: Path | str | None = None,
    on_progress: OnProgress = _silent,
) -> RunResult:
    """Run a workflow of either format, a file or its content.

    `overrides` sets inputs, as {"3.frames": 8, "Sampler.seed": 7}. The folders are ./input, ./output and ./models
    unless others are given; previews are thrown away unless a `temp` folder is given for them. To cancel, raise
    from `on_progress`.
    """
    if IN_COMFYUI:
        raise WorkflowError("This Python has ComfyUI on its path, so ComfyUI runs workflows here: use zoetrope queue.")
    with _using_folders(input, output, models, temp):
        known = definitions()
        loaded = load_workflow(workflow, known)
        prompt = settings.apply(brought_up_to_date(loaded.prompt), overrides or {}, known)
        outputs = require_valid(prompt, known, own_checks())
        # ComfyUI opens a file's graph before its prompt, and the graph does not have the overrides.
        embedded = None if overrides else loaded.extra_pnginfo
        shown = Run(prompt, all_nodes(), embedded, on_progress).execute(outputs)
        return RunResult(shown, list(_saved(shown)))


@contextmanager
def _using_folders(
    input: Path | str | None, output: Path | str | None, models: Path | str | None, temp: Path | str | None
) -> Iterator[None]:
    before = folders.own_folders()
    with ExitStack() as stack:
        stack.callback(folders.set_folders, **before)
        if temp is None:
            temp = stack.enter_context(tempfile.TemporaryDirectory(prefix="zoetrope-"))
        given = {"input": input, "output": output, "models": models, "temp": temp}
        folders.set_folders(**{name: Path(folder) for name, folder in given.items() if folder is not None})
        yield


def _saved(shown: Mapping[str, Mapping[str, Any]]) -> Iterator[Path]:
    """The files in the output folder that nodes showed, in the order of saving, each once."""
    entries = [entry for ui in shown.values() for items in ui.values() for entry in items if isinstance(entry, Mapping)]
    paths = [
        folders.output_folder() / entry.get("subfolder", "") / entry["filename"]
        for entry in entries
        if entry.get("type") == "output" and "filename" in entry
    ]
    yield from dict.fromkeys(paths)
