"""What is computed once from the footage, latents and embeddings, kept on disk and never taken for something else.

An entry's name is the hash of all that it follows from: the bytes of its files, how they were cut and sized, the
weights of the model, and the version of the code. Whatever changes, the name is another, so no entry is ever stale. Its
content is confirmed at every reading by a hash of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..media.files import written_beside
from .states import Note

CONFIRMED_BY = "zoetrope_hash"  # in an entry's metadata

Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class CacheKey:
    """All that an entry follows from."""

    source: str  # hash of the files' bytes, of `hash_of_files`
    view: Mapping[str, Any]  # which frames, crop, size and flip: what JSON can hold
    model: str  # hash of the weights, of `hash_of_tensors`, or of their file
    code: int  # raised by who changes what the code computes

    @property
    def name(self) -> str:
        return blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=20).hexdigest()


class TensorCache:
    """A folder of entries, one of which is in memory at a time."""

    def __init__(self, folder: Path, note: Note) -> None:
        self._folder = folder
        self._note = note

    def path_of(self, key: CacheKey) -> Path:
        name = key.name
        return self._folder / name[:2] / f"{name}.safetensors"

    def get(self, key: CacheKey, make: Callable[[], Tensors]) -> Tensors:
        """The tensors of a key, on the CPU; made, and kept, where they are not there or not sound."""
        path = self.path_of(key)
        if path.is_file():
            tensors = _read(path)
            if tensors is not None:
                return tensors
            self._note(f"{path} is damaged, so it is made again.")
        made = {name: tensor.detach().contiguous().cpu() for name, tensor in make().items()}
        with written_beside(path) as draft:  # as bytes: save_file has drafts of its own, which a kill would leave there
            draft.write_bytes(save(made, metadata={CONFIRMED_BY: hash_of_tensors(made)}))
        return made

    def fill(self, entries: Iterable[tuple[CacheKey, Callable[[], Tensors]]]) -> Iterator[CacheKey]:
        """Make what is not there, one entry after the other, and tell of each when it is there."""
        for key, make in entries:
            self.get(key, make)
            yield key


def hash_of_files(paths: Iterable[Path]) -> str:
    """Of their bytes and order, and of nothing that changes when they are moved or copied."""
    digest = blake2b(digest_size=20)
    for path in paths:
        digest.update(path.stat().st_size.to_bytes(8, "big"))
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def hash_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and values, such as those of a module's state_dict."""
    digest = blake2b(digest_size=20)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().contiguous().cpu().reshape(-1)
        if values.numel():
            digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(path: Path) -> Tensors | None:
    """An entry, unless it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
            expected = (file.metadata() or {}).get(CONFIRMED_BY)
    except SafetensorError:
        return None
    return tensors if hash_of_tensors(tensors) == expected else None
