"""Which files a workflow loads by name, and bringing those that lie here to the server."""

from __future__ import annotations

import asyncio
import mimetypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from .definitions import Definitions, InputDefinition, live_inputs
from .graph import Prompt
from .queue_errors import node_name
from .server import ComfyServer, ConnectionLost

ON_THE_SERVER = re.compile(r" ?\[(output|temp)\]$")
FROM_INPUT = re.compile(r" ?\[input\]$")
MEDIA = ("image", "video", "audio")


class InputError(ValueError):
    """A file that the workflow needs is missing, or must not be sent."""


@dataclass(frozen=True)
class LoadedFile:
    """An input that names a file in ComfyUI's input folder."""

    node_id: str
    input_name: str
    name: str
    is_certain: bool  # the node says that it takes uploads; else it is guessed from a choice that ends like a picture
    is_listed: bool  # among the server's own choices


@dataclass(frozen=True)
class Upload:
    path: Path
    name: str


def loaded_files(prompt: Prompt, definitions: Definitions) -> list[LoadedFile]:
    """The files that a prompt takes from the input folder."""
    found = []
    for node_id, node in prompt.items():
        values = node.get("inputs", {})
        definition = definitions.get(node["class_type"])  # None where the server will refuse the node
        for name, item in (live_inputs(definition, values) if definition else {}).items():
            file = _loaded_file(node_id, item, values.get(name))
            if file:
                found.append(file)
    return found


def uploads(files: list[LoadedFile], folder: Path | None) -> list[Upload]:
    """What of `files` lies in `folder`, each once."""
    if folder is None:
        return []
    if not folder.is_dir():
        raise InputError(f"The input folder {folder} does not exist. Give --input the folder of the files to load.")
    found = {file.name: path for file in files if (path := _inside(folder, file)) is not None}
    return [Upload(path, name) for name, path in found.items()]


async def refuse_missing(
    server: ComfyServer, files: list[LoadedFile], sent: list[Upload], folder: Path | None, prompt: Prompt
) -> None:
    """Raise for files that are neither here nor there, before anything is sent or run."""
    here = {upload.name for upload in sent}
    missing = [
        file
        for file in files
        if file.is_certain and not file.is_listed and file.name not in here and not await server.has_input(file.name)
    ]
    if missing:
        place = f"in {folder} nor" if folder else "given with --input nor"
        raise InputError(
            "\n".join(
                f"{node_name(file.node_id, prompt)}: {file.input_name} is {file.name!r}, which is neither {place} on "
                "the server. Put the file there, or choose another with --set."
                for file in missing
            )
        )


async def send(
    server: ComfyServer,
    files: list[Upload],
    on_bytes: Callable[[int, int], None],
    on_message: Callable[[str], None],
) -> dict[str, str]:
    """Upload the files; gives the names that they got on the server. `on_bytes(sent, total)` follows it."""
    total = sum(upload.path.stat().st_size for upload in files)
    done, names = 0, {}
    for upload in files:
        names[upload.name] = await _send_one(server, upload, done, lambda sent: on_bytes(sent, total), on_message)
        done += upload.path.stat().st_size
        if names[upload.name] != upload.name:
            on_message(f"The server has another {upload.name}; ours is {names[upload.name]} there.")
    return names


async def _send_one(
    server: ComfyServer,
    upload: Upload,
    before: int,
    on_sent: Callable[[int], None],
    on_message: Callable[[str], None],
) -> str:
    pauses = iter(server.patience.retries())
    while True:
        sent = before

        def count(new: int) -> None:
            nonlocal sent
            sent += new
            on_sent(sent)

        try:
            # Sent twice, a file is kept once: the server compares the contents.
            return await server.upload(upload.path, upload.name, count)
        except ConnectionLost as error:
            pause = next(pauses, None)
            if pause is None:
                raise
            on_message(f"{error} Trying again to send {upload.name}.")
            await asyncio.sleep(pause)


def rename(prompt: dict[str, dict[str, Any]], files: list[LoadedFile], names: dict[str, str]) -> None:
    """Put the names on the server in the place of ours."""
    for file in files:
        if file.name in names and names[file.name] != file.name:
            prompt[file.node_id]["inputs"][file.input_name] = names[file.name]


def _loaded_file(node_id: str, item: InputDefinition, value: Any) -> LoadedFile | None:
    if not isinstance(value, str) or not value or ON_THE_SERVER.search(value):
        return None
    if item.settings.get("image_folder", "input") != "input":
        return None
    takes_uploads = any(name.endswith("_upload") and flag for name, flag in item.settings.items())
    is_combo = item.type == "COMBO"
    is_listed = is_combo and value in item.options
    name = FROM_INPUT.sub("", value)
    # Some packs add their upload button in the browser, so that the server's definition does not tell.
    looks_loaded = is_combo and not is_listed and (mimetypes.guess_type(name)[0] or "").split("/")[0] in MEDIA
    if not takes_uploads and not looks_loaded:
        return None
    return LoadedFile(node_id, item.name, name, is_certain=takes_uploads and is_combo, is_listed=is_listed)


def _inside(folder: Path, file: LoadedFile) -> Path | None:
    """The file in `folder`, None where it is not there. A workflow may be a stranger's: it gets nothing else sent."""
    if "\0" in file.name:
        raise InputError(f"The name {file.name!r} in node {file.node_id} holds a NUL character. Choose another file.")
    path = folder / file.name
    windows = PureWindowsPath(file.name)
    leaves = windows.drive or windows.root or not path.resolve().is_relative_to(folder.resolve())
    if leaves:
        raise InputError(
            f"{file.input_name} of node {file.node_id} is {file.name!r}, which leads out of the input folder {folder}. "
            "Only files inside it are sent: choose one of them."
        )
    return path if path.is_file() else None
