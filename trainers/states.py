"""Saved states of a run: each a folder that is whole or not there, and that is known to be sound before it is used.

A state is written under a hidden name. When its bytes are on the disk, with a manifest of their hashes, it is renamed
to `state-500`, and only then do older ones go. So a process may be killed, or the power may fail, at any moment: the
newest state that its manifest confirms is the one to go on from.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import TrainingError, clear_writing_errors

MANIFEST, PROGRESS = "manifest.json", "progress.json"
NAME = re.compile(r"state-(0|[1-9]\d*)")
UNFINISHED = ".state-"

Note = Callable[[str], None]
"""Told in a sentence what was put right."""


@dataclass(frozen=True)
class State:
    """A saved state that its manifest has confirmed."""

    path: Path
    progress: dict[str, Any]

    def has(self, name: str) -> bool:
        return self._file_of(name).is_file()

    def tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self._file_of(name))

    def _file_of(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"


def write_state(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], progress: Mapping[str, Any]
) -> Path:
    """Save tensors, by the name of their file and their own, and all else as JSON."""
    target = folder / f"state-{step}"
    draft = folder / f"{UNFINISHED}{step}-{secrets.token_hex(4)}"
    with clear_writing_errors(target):
        try:
            draft.mkdir()
            for name, group in tensors.items():
                save_file(_on_cpu(group), draft / f"{name}.safetensors")
            (draft / PROGRESS).write_text(json.dumps(progress), encoding="utf-8")
            (draft / MANIFEST).write_text(json.dumps(_manifest_of(draft), indent=1), encoding="utf-8")
            for path in [*draft.iterdir(), draft]:
                flush_to_disk(path)
            _put_in_place(draft, target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return target


def newest_state(folder: Path, note: Note) -> State | None:
    """The newest state that is sound; says which newer ones are not.

    Where all are damaged it is an error: a run of days must not begin anew, and remove what may be mended, by itself.
    """
    damaged: list[str] = []
    for _, path in sorted(_states_in(folder).items(), reverse=True):
        fault = _fault_of(path)
        if fault is None:
            for each in damaged:
                note(f"{each}, so {path.name} is taken.")
            return State(path, json.loads((path / PROGRESS).read_text(encoding="utf-8")))
        damaged.append(f"{path} is damaged ({fault})")
    if damaged:
        raise TrainingError(
            f"No saved state of the run is sound: {'; '.join(damaged)}. Put a copy of one back, or choose another run "
            "folder; where the states are removed, the run begins anew."
        )
    return None


def newest_step(folder: Path) -> int | None:
    """The step of the newest state, without a look at whether it is sound; None where there is none."""
    return max(_states_in(folder), default=None) if folder.is_dir() else None


def prune_states(folder: Path, newest: int, keep: int, milestones: Collection[int]) -> None:
    """Remove all but the newest so many and the milestones. One newer than the newest is damaged, and goes too."""
    states = _states_in(folder)
    kept = {
        *sorted(step for step in states if step <= newest)[-keep:],
        *(step for step in milestones if step <= newest),
    }
    for step in sorted(states.keys() - kept):
        _remove(states[step])


def remove_unfinished(folder: Path) -> None:
    """Clear away what killed processes left; for who has the folder's lock."""
    for path in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def flush_to_disk(path: Path) -> None:
    """Return when the disk has the file's bytes, or the folder's names."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and writes their names through by itself
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _states_in(folder: Path) -> dict[int, Path]:
    matches = [(NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir()]
    return {int(match[1]): path for match, path in matches if match}


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def _manifest_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": _hash_of(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }


def _fault_of(folder: Path) -> str | None:
    """What is wrong with a state, if anything is."""
    try:
        listed = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        there = _manifest_of(folder)
    except (OSError, ValueError, TypeError) as error:
        return str(error)
    wrong = sorted(name for name in listed.keys() | there.keys() if listed.get(name) != there.get(name))
    return f"{', '.join(wrong)} is not as it was written" if wrong or PROGRESS not in listed else None


def _hash_of(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _put_in_place(draft: Path, target: Path) -> None:
    if target.exists():  # a damaged one, from before which this run has gone on
        _remove(target)
    draft.rename(target)
    flush_to_disk(target.parent)


def _remove(path: Path) -> None:
    # Renamed first, so that a state is never half there. What cannot be removed now, the next session tries again.
    hidden = path.with_name(f"{UNFINISHED}old-{secrets.token_hex(4)}")
    with suppress(OSError):
        path.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
