"""The small models that ship with the pack: their names, which begin with "builtin:", and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from .errors import CheckpointError

Kind = Literal["models", "loras"]
BUILTIN = Path(__file__).parent / "builtin"
PREFIX = "builtin:"
FOLDERS: Mapping[Kind, Path] = {"models": BUILTIN, "loras": BUILTIN / "loras"}
WORDS: Mapping[Kind, str] = {"models": "model", "loras": "LoRA"}
CLIP = BUILTIN / "clip"


def is_builtin(source: str | Path) -> bool:
    return str(source).startswith(PREFIX)


def builtin_names(kind: Kind) -> list[str]:
    """What ships, as it is chosen: "builtin:svd" ..."""
    return [PREFIX + name for name in _there(kind)]


def find_builtin(source: str | Path, kind: Kind) -> Path:
    """The file that "builtin:NAME" stands for."""
    there = _there(kind)
    wanted = str(source).removeprefix(PREFIX)
    if wanted not in there:
        choice = f"There are {', '.join(there)}." if there else "This version brings none; choose a file instead."
        raise CheckpointError(f"No {WORDS[kind]} called {wanted!r} comes with the pack. {choice}")
    return there[wanted]


def _there(kind: Kind) -> dict[str, Path]:
    """Those that make clips from pictures first, for the first one is what a node takes unless another is chosen."""
    paths = FOLDERS[kind].glob("*.safetensors")
    return {path.stem: path for path in sorted(paths, key=lambda path: (not path.stem.startswith("svd"), path.stem))}
