"""`zoetrope doctor`: what is installed, on which device, which models are found, what is missing, and what to do.

Nothing goes over the network unless a server is named. Whatever is broken here is what this command is for, so each
thing is looked at by itself, and what it raises becomes a line of the report.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

PACK = Path(__file__).resolve().parent.parent
DISTRIBUTION = "comfyui-zoetrope"
OLDEST_COMFYUI = (0, 20)
OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
MODULES = {"pillow": "PIL", "pyyaml": "yaml", **dict.fromkeys(OPENCV, "cv2")}  # by distribution, where the names differ
MODEL_SUFFIXES = {".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf"}
LOW_DISK_BYTES = 2 * 2**30  # a minute of 1080p frames as PNG
MARKS = {"ok": "ok", "note": "-", "missing": "MISSING"}

Status = Literal["ok", "note", "missing"]
"""Fine; fine, but worth knowing; or needed and not there."""


@dataclass(frozen=True)
class Finding:
    section: str
    name: str
    found: str
    status: Status = "ok"
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    folder: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    parser.add_argument("--models", help="where models are looked for (default: ./models)", **folder)
    parser.add_argument("--output", help="where files are saved (default: ./output)", **folder)
    parser.add_argument("--server", metavar="URL", help="a ComfyUI server to look at, as 127.0.0.1:8188")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def main(arguments: argparse.Namespace) -> int:
    """Print the report; gives 0 where everything needed is there, else 2."""
    findings = list(examine(arguments.models, arguments.output, arguments.server))
    sys.stdout.write(as_json(findings) if arguments.json else as_text(findings))
    return 2 if any(finding.status == "missing" for finding in findings) else 0


def examine(models: Path | None = None, output: Path | None = None, server: str | None = None) -> Iterator[Finding]:
    """Look at everything, section by section."""
    yield from _guarded("Installed", installed)
    yield from _guarded("Video", codecs)
    yield from _guarded("Machine", lambda: machine(output or Path("output")))
    yield from _guarded("Models", lambda: models_found(models or Path("models")))
    yield from _guarded("ComfyUI", lambda: comfyui_nearby(os.environ.get("COMFYUI_PATH")))
    if server is not None:
        yield from _guarded("Server", lambda: server_found(server))


def as_text(findings: list[Finding]) -> str:
    lines: list[str] = []
    for index, finding in enumerate(findings):
        if index == 0 or finding.section != findings[index - 1].section:
            lines += ["", finding.section] if lines else [finding.section]
        lines.append(f"  {MARKS[finding.status]:<8}{finding.name}: {finding.found}")
        if finding.advice:
            lines.append(f"          {finding.advice}")
    missing = sum(finding.status == "missing" for finding in findings)
    things = "1 thing is" if missing == 1 else f"{missing} things are"
    lines += ["", f"{things} missing: see what is marked." if missing else "Everything needed is there."]
    return "\n".join(lines) + "\n"


def as_json(findings: list[Finding]) -> str:
    ok = all(finding.status != "missing" for finding in findings)
    return json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}, indent=1) + "\n"


def _guarded(section: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What `look` finds; where it breaks off, a line that says why."""
    try:
        yield from look()
    except Exception as error:
        yield Finding(section, "this section", f"breaks off: {_reason(error)}", "missing", "Put this right first.")


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


# What is installed


def installed() -> Iterator[Finding]:
    version = _version_of(DISTRIBUTION)
    yield Finding(
        "Installed",
        "Zoetrope",
        f"{version} in {PACK}" if version else f"in {PACK}, not installed by pip",
        advice="" if version else f'For the zoetrope command anywhere: pip install -e "{PACK}"',
    )
    yield _python()
    for name, least in requirements():
        yield _library(name, least)


def _python() -> Finding:
    least = re.sub(r"[^\d.]", "", _package_metadata("Requires-Python") or "3.10")
    running = platform.python_version()
    if _numbers(running) < _numbers(least):
        advice = f"Make an environment with Python {least} or later."
        return Finding("Installed", "Python", f"{running}, older than {least}", "missing", advice)
    return Finding("Installed", "Python", f"{running} at {sys.executable}")


def _package_metadata(name: str) -> str | None:
    try:
        return metadata.metadata(DISTRIBUTION)[name]
    except metadata.PackageNotFoundError:
        return None


def requirements() -> Iterator[tuple[str, str]]:
    """The pack's own requirements, without those of its extras: the name, and the lowest version that will do."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # in custom_nodes, not installed by pip
        lines = (PACK / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        match = re.fullmatch(r"\s*([\w.-]+)\s*(?:>=\s*([\w.]+))?\s*", line.partition("#")[0])
        if match:
            yield match[1], match[2] or ""


def _library(name: str, least: str) -> Finding:
    names = OPENCV if name.lower() in OPENCV else (name,)  # any of them brings the same module
    present = next((each for each in names if _version_of(each)), None)
    if present is None:
        return Finding("Installed", name, "not installed", "missing", f'pip install "{name}>={least}"')
    version = _version_of(present) or ""
    if _numbers(version) < _numbers(least):
        advice = f'pip install --upgrade "{present}>={least}"'
        return Finding("Installed", present, f"{version}, older than {least}", "missing", advice)
    try:
        importlib.import_module(MODULES.get(present.lower(), present))
    except Exception as error:
        advice = f"Install it again: pip install --force-reinstall {present}"
        return Finding("Installed", present, f"{version}, but cannot be imported: {_reason(error)}", "missing", advice)
    return Finding("Installed", present, version)


def _version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version at its beginning: (2, 13) of "2.13.0+cpu" and of "2.13"."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


# Video


def codecs() -> Iterator[Finding]:
    import av

    from ..media.writing import CODECS, CONTAINERS

    yield Finding("Video", "FFmpeg", f"libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}, with PyAV")
    encoders = {name: codec.encoder for name, codec in CODECS.items()}
    encoders |= {name.removeprefix("lib"): name for name in (c.sound_codec for c in CONTAINERS.values())}
    usual = CONTAINERS[".mp4"]
    needed = {usual.codecs[0], usual.sound_codec}
    for name, encoder in encoders.items():
        decoder, writer = _ffmpeg_codec(name, "r"), _ffmpeg_codec(encoder, "w")
        if decoder and writer:
            yield Finding("Video", name, f"read by {decoder}, written by {writer}")
            continue
        cannot = "not written" if decoder else "not read" if writer else "neither read nor written"
        yield Finding(
            "Video",
            name,
            cannot,
            "missing" if name in needed else "note",
            "This FFmpeg was built without it: pip install --force-reinstall av",
        )


def _ffmpeg_codec(name: str, mode: Literal["r", "w"]) -> str | None:
    """FFmpeg's own name of a codec, None where it was built without it."""
    import av

    try:
        return av.codec.Codec(name, mode).name
    except ValueError:
        return None


# The machine


def machine(output: Path) -> Iterator[Finding]:
    yield from _devices()
    yield Finding("Machine", "processor", f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}")
    import psutil

    memory = psutil.virtual_memory()
    yield Finding("Machine", "memory", f"{_size(memory.available)} free of {_size(memory.total)}")
    yield _disk(output)


def _devices() -> Iterator[Finding]:
    import torch

    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield Finding("Machine", f"cuda:{index}", f"{name}, {_size(free)} free of {_size(total)}")
    for index in range(torch.xpu.device_count() if torch.xpu.is_available() else 0):
        properties = torch.xpu.get_device_properties(index)
        yield Finding("Machine", f"xpu:{index}", f"{properties.name}, {_size(properties.total_memory)}")
    if torch.backends.mps.is_available():
        yield Finding("Machine", "mps", f"Apple GPU, up to {_size(torch.mps.recommended_max_memory())}")
    if not (torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available()):
        note = "Zoetrope runs on it, real checkpoints slowly. With a GPU, install the PyTorch made for it."
        yield Finding("Machine", "device", f"cpu, {torch.get_num_threads()} threads", "note", note)


def _disk(output: Path) -> Finding:
    there = next(path for path in [output.absolute(), *output.absolute().parents] if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{_size(free)} free for {output}"
    if not os.access(there, os.W_OK) or not there.is_dir():
        reason = "cannot be written to" if there.is_dir() else "is not a folder"
        return Finding("Machine", "disk", f"{there} {reason}", "missing", "Choose another folder with --output.")
    if free < LOW_DISK_BYTES:
        return Finding("Machine", "disk", found, "note", "That is little for video: make room, or choose another disk.")
    return Finding("Machine", "disk", found)


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"


# Models


def models_found(folder: Path) -> Iterator[Finding]:
    yield from _built_in(PACK / "models" / "builtin")
    if not folder.is_dir():
        advice = "Name the folder with --models DIR; ComfyUI's is called models too."
        yield Finding("Models", "your models", f"{folder} does not exist", "note", advice)
        yield _no_video_model()
        return
    by_kind: dict[str, list[str]] = {}
    for path, size in _models_below(folder):
        kind, *rest = path.relative_to(folder).parts
        by_kind.setdefault(kind if rest else ".", []).append(f"{'/'.join(rest) or kind} ({_size(size)})")
    for kind, names in sorted(by_kind.items()):
        yield Finding("Models", kind, ", ".join(names))
    if not by_kind:
        yield Finding("Models", "your models", f"none in {folder}", "note")
    yield from _video_models(folder)


def _video_models(folder: Path) -> Iterator[Finding]:
    """The checkpoints of SVD and SV3D among the models, and what is wrong with those that are only called so."""
    from ..models.errors import CheckpointError
    from ..models.released import RELEASED
    from ..models.svd import recognise

    found = False
    for path in _checkpoints_in(folder):
        try:
            facts = recognise(path)
        except CheckpointError as error:
            if path.name in RELEASED:  # of others, most are models of another kind
                yield Finding("Models", "SVD", f"{path.name} cannot be used", "note", str(error))
            continue
        found = True
        decoder = f"{facts.decoder} decoder" if facts.decoder else "no VAE"
        told = f"{facts.version or facts.family}, {facts.frames} frames, {decoder}, {facts.dtype}".replace("torch.", "")
        yield Finding("Models", "SVD", f"{path.relative_to(folder).as_posix()}: {told}")
    if not found:
        yield _no_video_model()


def _no_video_model() -> Finding:
    from ..models.released import how_to_get

    return Finding("Models", "SVD", "no checkpoint of SVD or SV3D", "note", how_to_get("svd_xt.safetensors"))


def _checkpoints_in(folder: Path) -> list[Path]:
    files = [path for path in (folder / "checkpoints").rglob("*") if path.suffix.lower() in (".safetensors", ".sft")]
    folders = [index.parent for index in (folder / "diffusers").rglob("model_index.json")]
    return sorted(files) + sorted(folders)


def _built_in(folder: Path) -> Iterator[Finding]:
    names = [f"{path.name} ({_size(path.stat().st_size)})" for path in sorted(folder.glob("*.safetensors"))]
    if names:
        yield Finding("Models", "built in", ", ".join(names))
    else:
        yield Finding("Models", "built in", f"none in {folder}", "note")


def _models_below(folder: Path) -> Iterator[tuple[Path, int]]:
    """Single files, and folders in diffusers' layout as one model each, with their sizes."""
    for entry in sorted(folder.iterdir()):
        if entry.is_file() and entry.suffix.lower() in MODEL_SUFFIXES:
            yield entry, entry.stat().st_size
        elif entry.is_dir() and (entry / "model_index.json").is_file():
            yield entry, sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())
        elif entry.is_dir() and not entry.is_symlink():
            yield from _models_below(entry)
        elif entry.is_dir():  # a link to another disk, as many have; what it holds is not followed round in a circle
            files = (path for path in entry.iterdir() if path.suffix.lower() in MODEL_SUFFIXES)
            yield from ((path, path.stat().st_size) for path in sorted(files) if path.is_file())


# ComfyUI


def comfyui_nearby(named: str | None) -> Iterator[Finding]:
    """The ComfyUI that COMFYUI_PATH names, or in whose custom_nodes the pack sits."""
    above = PACK.parent.parent if PACK.parent.name == "custom_nodes" else None
    checkout = Path(named) if named else above
    if checkout is None:
        advice = "Not needed for the command. To look at one, set COMFYUI_PATH to its folder."
        yield Finding("ComfyUI", "nearby", "none", "note", advice)
        return
    version = _comfyui_version(checkout)
    if version is None:
        advice = "Set COMFYUI_PATH to the folder that holds ComfyUI's main.py."
        yield Finding("ComfyUI", "folder", f"{checkout} holds no ComfyUI", "missing", advice)
        return
    yield Finding("ComfyUI", "folder", str(checkout))
    yield _judged("ComfyUI", version)
    links = [entry for entry in (checkout / "custom_nodes").glob("*") if entry.resolve() == PACK]
    if links:
        yield Finding("ComfyUI", "this pack", f"in custom_nodes as {links[0].name}")
    else:
        advice = f"To have the nodes there, put {PACK} into its custom_nodes."
        yield Finding("ComfyUI", "this pack", "not in its custom_nodes", "note", advice)


def _comfyui_version(checkout: Path) -> str | None:
    try:
        text = (checkout / "comfyui_version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r"""__version__\s*=\s*["']([^"']+)""", text)
    return match[1] if match and (checkout / "main.py").is_file() else None


def _judged(section: str, version: str) -> Finding:
    if _numbers(version) < OLDEST_COMFYUI:
        oldest = ".".join(map(str, OLDEST_COMFYUI))
        return Finding(section, "version", f"{version}, older than {oldest}", "missing", "Update ComfyUI.")
    return Finding(section, "version", version)


def server_found(address: str) -> Iterator[Finding]:
    """What a server says of itself, and whether it has our nodes."""
    from .server import ServerError

    try:
        shown, facts, definitions = asyncio.run(_ask(address))
    except ServerError as error:
        yield Finding("Server", address, "no answer that helps", "missing", str(error))
        return
    yield Finding("Server", "address", shown)
    yield _judged("Server", facts.version)
    runs_on = ", ".join(facts.devices) or "no device"
    yield Finding("Server", "runs on", f"{runs_on}; Python {facts.python}, PyTorch {facts.torch}")
    ours = _our_nodes()
    absent = [node for node in ours if node not in definitions]
    if absent:
        advice = "Put this pack, in this version, into its custom_nodes, and restart it; its log says what went wrong."
        yield Finding("Server", "our nodes", f"it lacks {', '.join(absent)}", "missing", advice)
    else:
        yield Finding("Server", "our nodes", f"all {len(ours)}")


async def _ask(address: str) -> tuple[str, Any, dict[str, Any]]:
    from .server import ComfyServer

    async with ComfyServer(address) as server:
        facts = await server.facts()
        return str(server.address), facts, await server.node_definitions()


def _our_nodes() -> list[str]:
    from ..nodes import NODES

    return [node.GET_SCHEMA().node_id for node in NODES]
