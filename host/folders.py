"""Where files come from and go to, and names of files that a stranger may have written.

A name in a workflow is never trusted: whatever it says, what it leads to lies inside the folder that it belongs to.
"""

from __future__ import annotations

import difflib
import mimetypes
import os
import re
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Literal

from .presence import IN_COMFYUI

if IN_COMFYUI:
    import folder_paths  # type: ignore[import-not-found]

Media = Literal["image", "video", "audio"]
SAFE_SUFFIXES = (".safetensors", ".sft")
"""Of model files that hold numbers and nothing that could run."""
MADE_HERE = ("checkpoints", "clip", "vae", "diffusion_models", "loras")
"""The kinds of models that are looked for below the output folder too, where what saves them puts them."""


@dataclass(frozen=True)
class _OwnFolders:
    """The folders of the headless runner."""

    input: Path = Path("input")
    output: Path = Path("output")
    temp: Path = Path("temp")
    models: Path = Path("models")


_own = _OwnFolders()


def set_folders(
    *, input: Path | None = None, output: Path | None = None, temp: Path | None = None, models: Path | None = None
) -> None:
    """For the headless runner: use these folders from now on; None leaves a folder as it is."""
    if IN_COMFYUI:
        raise RuntimeError("Inside ComfyUI the folders are ComfyUI's: set them with ComfyUI's own options.")
    global _own
    chosen = {"input": input, "output": output, "temp": temp, "models": models}
    _own = replace(_own, **{name: Path(folder) for name, folder in chosen.items() if folder is not None})


def own_folders() -> dict[str, Path]:
    """For the headless runner: the folders in use, to set again later."""
    return asdict(_own)


def input_folder() -> Path:
    return Path(folder_paths.get_input_directory()) if IN_COMFYUI else _own.input


def output_folder() -> Path:
    return Path(folder_paths.get_output_directory()) if IN_COMFYUI else _own.output


def temp_folder() -> Path:
    return Path(folder_paths.get_temp_directory()) if IN_COMFYUI else _own.temp


def models_folders(kind: str) -> list[Path]:
    """The folders where models of a kind, such as "checkpoints", are looked for, the first one first."""
    if not IN_COMFYUI:
        return [_own.models / kind, *([_own.output / kind] if kind in MADE_HERE else [])]
    if kind in folder_paths.folder_names_and_paths:
        return [Path(folder) for folder in folder_paths.get_folder_paths(kind)]
    return [Path(folder_paths.models_dir) / kind]


def list_models(kind: str, suffixes: tuple[str, ...] = SAFE_SUFFIXES) -> list[str]:
    """The names of the model files below the folders of a kind, sorted: what a loader offers."""
    if IN_COMFYUI and kind in folder_paths.folder_names_and_paths:
        names = set(folder_paths.get_filename_list(kind))
    else:
        names = {name for folder in models_folders(kind) for name in _tree(folder).files}
    return sorted(name for name in names if name.lower().endswith(suffixes))


def list_model_folders(kind: str, marker: str) -> list[str]:
    """The names of the folders below those of a kind that hold a file called `marker`, sorted."""
    files = [Path(name) for folder in models_folders(kind) for name in _tree(folder).files]
    return sorted({str(file.parent) for file in files if file.name == marker} - {"."})


def resolve_model(kind: str, name: str) -> Path:
    """The file or folder that a loader's value names, in the first folder of the kind that has it.

    A link that lies there may lead anywhere: whoever put it there wanted that, as many do who keep models on another
    disk. A workflow can make none.
    """
    where = f"the folder of {kind}"
    _refuse_hostile(name, where)
    inside = os.path.normpath(name.replace("\\", "/"))  # "link/../x" is x here, and not beside what the link leads to
    if inside == ".":
        raise ValueError(f"No name is given. Choose a model in {where}.")
    places = models_folders(kind)
    found = next((place / inside for place in places if (place / inside).exists()), None)
    if found is None:
        near = difflib.get_close_matches(inside, list_models(kind), n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise MissingModel(f"{name!r} is not in {where}, {' or '.join(map(str, places))}.{meant}")
    return found


class MissingModel(ValueError):
    """A model that a value names is not there."""


@dataclass(frozen=True)
class _Tree:
    """The files below a folder, and when each folder in it was last changed."""

    files: list[str]
    changed: dict[str, int]

    @property
    def holds(self) -> bool:
        return all(_changed(folder) == when for folder, when in self.changed.items())


_trees: dict[Path, _Tree] = {}


def _tree(root: Path) -> _Tree:
    """What is below a folder. It is only walked again when it has changed: ComfyUI asks for it with each prompt."""
    known = _trees.get(root)
    if known is None or not known.holds:
        changed, files, seen = {str(root): _changed(str(root))}, [], set()
        for folder, subfolders, names in os.walk(root, followlinks=True):
            if (real := os.path.realpath(folder)) in seen:  # links may lead in a circle
                subfolders.clear()
                continue
            seen.add(real)
            changed[folder] = _changed(folder)
            files += [str(Path(folder, name).relative_to(root)) for name in names]
        known = _trees[root] = _Tree(files, changed)
    return known


def _changed(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def list_input(kind: Media) -> list[str]:
    """The names of files in the input folder that are of a kind by their suffix, sorted, as ComfyUI's loaders list."""
    folder = input_folder()
    names = [entry.name for entry in os.scandir(folder) if entry.is_file()] if folder.is_dir() else []
    if IN_COMFYUI:
        return sorted(folder_paths.filter_files_content_types(names, [kind]))
    return sorted(name for name in names if _kind_of(name) == kind)


def _kind_of(name: str) -> str | None:
    if name.endswith(".webp"):  # the systems' lists of file types often lack it
        return "image"
    guessed, _ = mimetypes.guess_type(name, strict=False)
    return guessed.split("/")[0] if guessed else None


def resolve_input(name: str) -> Path:
    """The file that a loader's value names: in the input folder, or as "clip.mp4 [output]" in another one."""
    stem, kind = _without_annotation(name)
    root = {"input": input_folder, "output": output_folder, "temp": temp_folder}[kind]()
    path = _inside(root, stem, f"the {kind} folder")
    if not path.is_file():
        raise ValueError(f"{name!r} is not a file in the {kind} folder, {root}. {_similar(path)}")
    return path


def resolve_place(name: str) -> Path:
    """The file or folder that a value names, as `resolve_input` reads it; an empty name is the folder itself."""
    stem, kind = _without_annotation(name)
    root = {"input": input_folder, "output": output_folder, "temp": temp_folder}[kind]()
    path = _inside(root, stem, f"the {kind} folder")
    if not path.exists():
        raise ValueError(f"{name!r} is not in the {kind} folder, {root}. {_similar(path, folders=True)}")
    return path


def place_of(path: Path) -> tuple[Literal["input", "output", "temp"], Path]:
    """Which of the three folders a path lies in, and where that is."""
    if path.is_relative_to(root := input_folder()):
        return "input", root
    if path.is_relative_to(root := output_folder()):
        return "output", root
    if path.is_relative_to(root := temp_folder()):
        return "temp", root
    raise ValueError(f"{path} lies in none of the folders for input, output and temporary files.")


def annotated(path: Path) -> str:
    """The name by which `resolve_place` finds a path that lies in one of the folders."""
    kind, root = place_of(path)
    inside = path.relative_to(root).as_posix()
    return inside if kind == "input" else f"{inside} [{kind}]"


def output_place(name: str, below: str = "") -> Path:
    """The file or folder in the output folder, or below a folder in it, that a value names; there or not."""
    root = output_folder() / below
    where = f"the output folder's {below}" if below else "the output folder"
    name = name.replace("\\", "/")  # as `resolve_model` reads it, so that what is written is found again
    path = _inside(root, os.path.normpath(name) if name.strip() else "", where)
    if path == root:
        raise ValueError(f"No name is given. Choose a name for a folder inside {where}.")
    return path


def _without_annotation(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.*?) ?\[(input|output|temp)\]", name, re.DOTALL)
    return (match[1], match[2]) if match else (name, "input")


def _similar(path: Path, folders: bool = False) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if folders or entry.is_file()]
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {near[0]!r}?" if near else "Put the file there, or choose one that is there."


def _inside(root: Path, name: str, where: str) -> Path:
    """`root / name`, refused where that is no place below `root`."""
    _refuse_hostile(name, where)
    path = root / name
    real_root, real_path = Path(os.path.realpath(root)), Path(os.path.realpath(path))
    if not real_path.is_relative_to(real_root):
        raise ValueError(f"{name!r} leads out of {where}, {root}. Choose a name inside it.")
    return path


def _refuse_hostile(name: str, where: str) -> None:
    if "\0" in name:
        raise ValueError(f"{name!r} holds a NUL character, which no file name may. Choose a name inside {where}.")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} holds half a character, which no file name may. Write the name anew.") from None
    # Read as Windows reads it, a name is judged the same on every system, and so is a workflow that travels.
    windows = PureWindowsPath(name)
    if re.match("[A-Za-z]:", name) and not windows.root:
        raise ValueError(
            f"{name!r} begins with a letter and a colon, which on Windows is a drive. Choose a name without the colon."
        )
    if windows.drive or windows.root:
        raise ValueError(f"{name!r} is an absolute path. Choose a name inside {where}.")
    depth = 0
    for part in windows.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            raise ValueError(f"{name!r} leads out of {where}. Choose a name inside it.")


@dataclass(frozen=True)
class Numbered:
    """The next free number for files of a name: write `folder / f"{stem}_{counter:05}_.png"`, then count on."""

    folder: Path
    stem: str
    counter: int
    subfolder: str
    kind: Literal["output", "temp"]


def numbered(prefix: str, folder: Literal["output", "temp"] = "output", width: int = 0, height: int = 0) -> Numbered:
    """Find where `prefix`, as "clips/%year%/waltz", puts the next file, counting as ComfyUI's savers do.

    %width%, %height%, %year%, %month%, %day%, %hour%, %minute%, %second%, and %date:yyyy-MM-dd% are filled in. The
    folder is not made: that is for whoever has something to write.
    """
    root = output_folder() if folder == "output" else temp_folder()
    name = _filled_in(prefix, width, height)
    _refuse_hostile(name, f"the {folder} folder")
    subfolder, stem = os.path.split(os.path.normpath(name))
    target = _inside(root, subfolder, f"the {folder} folder")
    return Numbered(target, stem, _highest_number(target, stem) + 1, subfolder, folder)


def _highest_number(folder: Path, stem: str) -> int:
    try:
        names = [os.path.normcase(entry.name) for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return 0
    pattern = re.compile(re.escape(os.path.normcase(stem)) + r"_(\d+)(?:[_.].*)?", re.DOTALL)
    return max((int(match[1]) for name in names if (match := pattern.fullmatch(name))), default=0)


def _filled_in(prefix: str, width: int, height: int) -> str:
    now = time.localtime()
    values = {
        "width": str(width),
        "height": str(height),
        "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    prefix = re.sub(r"%date(?::([^%]*))?%", lambda match: dated(match[1] or "yyyyMMddhhmmss", now), prefix)
    return re.sub(r"%(\w+)%", lambda match: values.get(match[1], match[0]), prefix)


def dated(pattern: str, now: time.struct_time) -> str:
    """A date in the notation of ComfyUI's frontend: yyyy or yy, M, d, h, m, s, doubled for two digits."""
    parts = {"d": now.tm_mday, "M": now.tm_mon, "h": now.tm_hour, "m": now.tm_min, "s": now.tm_sec}

    def written(match: re.Match[str]) -> str:
        text = match[0]
        if text[0] == "y":
            return text if len(text) == 3 else f"{now.tm_year:04}"[-len(text) :]
        return str(parts[text[0]]).zfill(len(text))

    return re.sub(r"dd?|MM?|hh?|mm?|ss?|yyy?y?", written, pattern)
