"""Safetensors files: what is in them without reading it, then tensor by tensor, and writing them the same way.

Tensors are read from the file into memory of their own, never mapped: a model that is being loaded takes the memory of
its weights and of one tensor more, whatever the file's precision.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..media.files import written_beside
from .errors import CheckpointError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
LARGEST_HEADER_BYTES = 100_000_000  # as the format says
# How files begin that are often saved under the wrong name, and what to say of them.
BEGINNINGS = (
    (
        re.compile(rb"(\xef\xbb\xbf)?\s*(<!doctype|<!--|<html|<\?xml|<head|<script)", re.IGNORECASE),
        "is a web page, not a model: the download saved the page of the file instead of the file. Download it again "
        "with the page's download button, signed in where the model asks for that.",
    ),
    (
        re.compile(rb"version https://git-lfs"),
        "is a Git LFS pointer, a text of a few lines that stands for the model. Run `git lfs pull` where it came from, "
        "or download the file itself.",
    ),
    (
        re.compile(rb"PK\x03\x04|\x80[\x02-\x05]"),
        "is a pickle file (.ckpt, .pt, .bin), which can run code when it is opened. Download the .safetensors version.",
    ),
    (re.compile(rb"GGUF"), "is a GGUF file, which holds quantised weights. Download the .safetensors version."),
    (
        re.compile(rb"\s*[{\[]"),
        "is a text file, not a model: perhaps an index, a configuration or an error message of the server that it came "
        "from. Download the .safetensors file itself.",
    ),
)


@dataclass(frozen=True)
class Stored:
    """A tensor in a file."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int  # bytes from the beginning of the file
    bytes: int


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one safetensors file, or of several that belong together, by their keys."""

    path: Path
    tensors: Mapping[str, Stored]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stamp(self) -> tuple[object, ...]:
        """Equal for as long as the files are the same."""
        files = sorted({stored.path for stored in self.tensors.values()} | {self.path})
        # The inode tells a file from another that was put in its place with the old one's time, as rsync does.
        states = [(file, file.stat()) for file in files]
        return tuple((str(file.resolve()), state.st_size, state.st_mtime_ns, state.st_ino) for file, state in states)

    def reading(self) -> Reader:
        return Reader(self)


class Reader:
    """Reads tensors of a checkpoint; use it as a context."""

    def __init__(self, checkpoint: Checkpoint):
        self._tensors = checkpoint.tensors
        self._files: dict[Path, BinaryIO] = {}
        self._open = ExitStack()
        # One place for all that is only passing through: memory that is taken and given back for each tensor stays
        # lost between those that remain, up to a tenth of a model.
        self._passing = torch.empty(0, dtype=torch.uint8)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def read(self, key: str, dtype: torch.dtype | None = None, *, share: int = 0, shares: int = 1) -> Tensor:
        """A tensor in memory of its own, cast to `dtype`: the whole, or one of `shares` equal runs of its rows."""
        stored = self._tensors[key]
        shape = (stored.shape[0] // shares, *stored.shape[1:]) if shares > 1 else stored.shape
        count = stored.bytes // shares
        if dtype in (None, stored.dtype):
            raw = torch.empty(count, dtype=torch.uint8)
        else:
            if len(self._passing) < count:
                self._passing = torch.empty(count, dtype=torch.uint8)
            raw = self._passing[:count]
        self._fill(raw, stored, share * count)
        tensor = raw.view(stored.dtype).reshape(shape)
        return tensor if dtype in (None, stored.dtype) else tensor.to(dtype)

    def _fill(self, raw: Tensor, stored: Stored, skipped_bytes: int) -> None:
        file = self._file(stored.path)
        file.seek(stored.start + skipped_bytes)
        view, done = _bytes_of(raw), 0
        while done < len(raw):
            count = file.readinto(view[done:])  # type: ignore[attr-defined]  # raw files read into buffers
            if not count:
                raise CheckpointError(f"{stored.path.name} became shorter while it was read. Load it again.")
            done += count

    def _file(self, path: Path) -> BinaryIO:
        if path not in self._files:
            # Without a buffer the bytes go from the system straight to where they belong.
            self._files[path] = self._open.enter_context(path.open("rb", buffering=0))
        return self._files[path]


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    raw: Any = tensor.reshape(-1).view(torch.uint8).numpy()  # buffers are known to type checkers from Python 3.12
    return memoryview(raw)


def open_checkpoint(path: Path) -> Checkpoint:
    """Read what a safetensors file holds, but not the tensors; a file that is something else is told for what it is."""
    if path.is_dir():
        raise CheckpointError(f"{path.name} is a folder, and a file is wanted here. Choose a .safetensors file.")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist. Check the name and the folder.")
    try:
        header, data_start, file_bytes = _header_of(path)
    except PermissionError as error:
        raise CheckpointError(f"{path.name} may not be read by this user. Change the file's permissions.") from error
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise _damaged(path, "its metadata make no sense")
    tensors = {key: _stored(path, key, entry, data_start) for key, entry in header.items()}
    end = max((stored.start + stored.bytes for stored in tensors.values()), default=data_start)
    if end > file_bytes:
        raise _truncated(path, file_bytes, end)
    if not tensors:
        raise CheckpointError(f"{path.name} holds no tensors. Make, copy or download it again.")
    return Checkpoint(path, tensors, {str(key): str(value) for key, value in metadata.items()})


def open_shards(index: Path) -> Checkpoint:
    """Read what a model in several files holds, from the index that lists them."""
    try:
        shard_of: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        # An index is somebody else's word: its files lie beside it, whatever it says.
        paths = {shard: index.parent / Path(shard).name for shard in sorted(set(shard_of.values()))}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is not an index of a model in several files. Download it again.") from error
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing:
        raise CheckpointError(
            f"{index.parent} lacks {', '.join(missing)}, which {index.name} names. Download the missing files."
        )
    shards = {shard: open_checkpoint(path) for shard, path in paths.items()}
    absent = [key for key, shard in shard_of.items() if key not in shards[shard].tensors]
    if absent:
        raise CheckpointError(f"{shard_of[absent[0]]} lacks {listed(absent)}, which {index.name} names in it.")
    return Checkpoint(index, {key: shards[shard].tensors[key] for key, shard in shard_of.items()})


def _header_of(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header, where the data begins, and how long the file is, in bytes."""
    file_bytes = path.stat().st_size
    if not file_bytes:
        raise CheckpointError(f"{path.name} is an empty file. Download or copy it again.")
    with path.open("rb") as file:
        beginning = file.read(512)
        # A length comes first, whose bytes may be any: only what cannot be a length is looked at as something else.
        (header_bytes,) = struct.unpack("<Q", beginning[:8].ljust(8, b"\xff"))
        if header_bytes > LARGEST_HEADER_BYTES or beginning[8:9] != b"{":
            raise CheckpointError(f"{path.name} {_what_begins(beginning)}")
        if 8 + header_bytes > file_bytes:
            raise _truncated(path, file_bytes, 8 + header_bytes)
        file.seek(8)
        text = file.read(header_bytes)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its list of tensors cannot be read") from error
    return header, 8 + header_bytes, file_bytes


def _what_begins(beginning: bytes) -> str:
    """What a file is that begins so, and is not in safetensors format."""
    for pattern, what in BEGINNINGS:
        if pattern.match(beginning):
            return what
    return "is not a safetensors file, or it is damaged. Download it again, in .safetensors format."


def _stored(path: Path, key: str, entry: Any, data_start: int) -> Stored:
    try:
        dtype = str(entry["dtype"])
        shape = tuple(int(size) for size in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"what it says of {key} makes no sense") from error
    if dtype not in DTYPES:
        raise CheckpointError(
            f"{path.name} stores {key} as {dtype}, which cannot be read here. Choose a file in float32, float16 or "
            "bfloat16."
        )
    if begin < 0 or min(shape, default=0) < 0 or end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
        raise _damaged(path, f"the size of {key} does not fit its shape")
    return Stored(path, DTYPES[dtype], shape, data_start + begin, end - begin)


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path.name} is damaged: {why}. Download or copy it again.")


def _truncated(path: Path, file_bytes: int, wanted_bytes: int) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is cut short: it has {_size(file_bytes)} and should have at least {_size(wanted_bytes)}. The "
        "download or copy did not finish: repeat it."
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count:,} bytes"


def listed(names: Iterable[str], most: int = 4) -> str:
    """The first of many names, and how many more there are."""
    names = sorted(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True)
class ToWrite:
    """A tensor of a file that is to be written; `tensor` makes it when its turn has come."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    tensor: Callable[[], Tensor]


def write_checkpoint(path: Path, tensors: Mapping[str, ToWrite], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, one tensor in memory at a time."""
    # Wider numbers first, so that each lies where a program that maps the file can use it in place.
    order = sorted(tensors, key=lambda key: -tensors[key].dtype.itemsize)
    with written_beside(path) as draft, draft.open("wb") as file:
        file.write(_header(tensors, order, metadata))
        for key in order:
            wanted = tensors[key]
            tensor = wanted.tensor().detach().to("cpu", wanted.dtype).contiguous()
            assert tuple(tensor.shape) == wanted.shape, key
            file.write(_bytes_of(tensor))


def _header(tensors: Mapping[str, ToWrite], order: Iterable[str], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    begin = 0
    for key in order:
        wanted = tensors[key]
        end = begin + math.prod(wanted.shape) * wanted.dtype.itemsize
        header[key] = {"dtype": NAMES[wanted.dtype], "shape": list(wanted.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the data begins at a multiple of 8
    return struct.pack("<Q", len(text)) + text


def in_file_order(checkpoint: Checkpoint, keys: Iterable[str]) -> Iterator[str]:
    """Keys as their tensors follow each other in the files, which disks are fastest at."""
    yield from sorted(keys, key=lambda key: (checkpoint.tensors[key].path, checkpoint.tensors[key].start))
