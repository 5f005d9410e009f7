"""Bringing a prompt's results here. Their names come from the server, so they are not trusted."""

from __future__ import annotations

import asyncio
import filecmp
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..media.files import claimed
from .server import ComfyServer, ConnectionLost, RemoteFile, ServerError

AT_ONCE = 4  # enough to hide the way to a far server, few enough not to disturb it
LONGEST_NAME_BYTES = 200  # file systems take 255; a number and the marks of an unfinished file need some of it
# What Windows does not take in a name, everywhere, so that results can be moved between systems.
NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


class OutputError(ValueError):
    """A result cannot be kept here."""


def result_files(outputs: dict[str, Any], *, previews: bool) -> list[RemoteFile]:
    """The files that the nodes say they made, each once; with `previews` also those in the temp folder."""
    kinds = ("output", "temp") if previews else ("output",)
    return list(dict.fromkeys(file for file in _entries(outputs) if file.kind in kinds))


def _entries(outputs: dict[str, Any]) -> Iterator[RemoteFile]:
    for shown in outputs.values():
        for items in shown.values() if isinstance(shown, dict) else ():
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict) and isinstance(item.get("filename"), str) and item["filename"]:
                    subfolder, kind = item.get("subfolder") or "", item.get("type") or "output"
                    yield RemoteFile(item["filename"], str(subfolder), str(kind))


def local_path(folder: Path, remote: RemoteFile) -> Path:
    """Where a result belongs below `folder`; raises for a name that leads out of it."""
    # Servers on Windows write backslashes.
    parts = [*re.split(r"[\\/]", remote.subfolder), remote.filename]
    refusal = OutputError(
        f"The server calls a result {str(remote)!r}, which leads out of {folder}. It was not fetched: only names "
        "inside that folder are safe to write."
    )
    is_rooted = re.match(r"[\\/]|[A-Za-z]:[\\/]", remote.subfolder) or re.search(r"[\\/]", remote.filename)
    if is_rooted or ".." in parts:
        raise refusal
    path = folder.joinpath(*(_safe_name(part) for part in parts if part not in ("", ".")))
    if path == folder or not path.resolve().is_relative_to(folder.resolve()):  # a link below it may lead elsewhere
        raise refusal
    return path


def _safe_name(name: str) -> str:
    name = NOT_IN_NAMES.sub("_", name).encode("utf-8", "replace").decode()
    if name.startswith("."):  # hidden files steer shells and tools
        name = "_" + name.lstrip(".")
    name = name[:-1] + "_" if name.endswith((" ", ".")) else name
    if DEVICES.match(name):
        name = f"_{name}"
    if len(name.encode()) > LONGEST_NAME_BYTES:
        suffix = Path(name).suffix[:20]
        keep = name.encode()[: LONGEST_NAME_BYTES - len(suffix.encode())]
        name = keep.decode("utf-8", "ignore") + suffix
    return name


async def fetch(
    server: ComfyServer,
    files: list[RemoteFile],
    folder: Path,
    on_done: Callable[[int, int], None],
    on_message: Callable[[str], None],
) -> tuple[list[Path], list[str]]:
    """Bring `files` below `folder`; gives where they are, and a sentence for each that could not be had."""
    gate = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def one(remote: RemoteFile) -> Path | str:
        nonlocal done
        async with gate:
            try:
                path = await _fetch_one(server, remote, local_path(folder, remote), on_message)
            except (OutputError, ServerError) as error:
                return str(error)
            except OSError as error:
                return (
                    f"{remote} could not be written below {folder}: {error.strerror or error}. Make room, or choose "
                    "another --output; the file is still on the server."
                )
            done += 1
            on_done(done, len(files))
            return path

    results = await asyncio.gather(*(one(remote) for remote in files))
    return (
        [result for result in results if isinstance(result, Path)],
        [result for result in results if isinstance(result, str)],
    )


async def _fetch_one(server: ComfyServer, remote: RemoteFile, wanted: Path, on_message: Callable[[str], None]) -> Path:
    wanted.parent.mkdir(parents=True, exist_ok=True)
    draft = wanted.with_name(f".zoetrope-{secrets.token_hex(8)}{wanted.suffix}")
    try:
        await _download(server, remote, draft)
        path = place(draft, wanted)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    if path != wanted:
        on_message(f"{wanted} is another file, so the result is {path.name}.")
    return path


async def _download(server: ComfyServer, remote: RemoteFile, draft: Path) -> None:
    pauses = iter(server.patience.retries())
    while True:
        try:
            return await server.download(remote, draft)
        except ConnectionLost:
            pause = next(pauses, None)
            if pause is None:
                raise
            await asyncio.sleep(pause)


def place(draft: Path, wanted: Path) -> Path:
    """Give `draft` the name `wanted`, or a numbered one where that is another file; gives the name.

    A file with the same contents is left as it is.
    """
    for path in _candidates(wanted):
        if claimed(draft, path):
            return path
        if path.is_file() and filecmp.cmp(draft, path, shallow=False):
            return path
    raise AssertionError("the numbers have no end")


def _candidates(wanted: Path) -> Iterator[Path]:
    yield wanted
    number = 1
    while True:
        yield wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
        number += 1
