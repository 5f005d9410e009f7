"""Checkpoints to test with: tiny ones whose results the reference computed, and random ones of the full size.

As a command it writes one of the full size, in float16 and the original layout:

    python tests/random_checkpoints.py svd_xt /somewhere/svd_xt.safetensors
"""

import argparse
import gzip
import json
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from zoetrope.models.checkpoints import Checkpoint, ToWrite, open_checkpoint, write_checkpoint

GOLDEN = Path(__file__).parent / "golden" / "svd"
# Which goldens together make a whole checkpoint of a kind.
TINY = {
    "svd": ("svd", "vae_svd", "clip"),
    "svd_deep": ("svd_deep", "vae_svd", "clip"),
    "svd_image_decoder": ("svd", "vae_svd_image_decoder", "clip"),
    "sv3d_u": ("sv3d_u", "vae_sv3d", "clip"),
    "sv3d_p": ("sv3d_p", "vae_sv3d", "clip"),
}
TINY_HEAD_CHANNELS = 16
FULL_SIZE = {
    "svd": "svd",
    "svd_xt": "svd",
    "svd_xt_1_1": "svd",
    "svd_image_decoder": "svd_image_decoder",
    "svd_xt_image_decoder": "svd_image_decoder",
    "sv3d_u": "sv3d_u",
    "sv3d_p": "sv3d_p",
}


def tiny_tensors(kind: str) -> dict[str, Tensor]:
    """The weights of a tiny checkpoint, by the original keys, in float16."""
    tensors: dict[str, Tensor] = {}
    for folder in TINY[kind]:
        checkpoint = open_checkpoint(GOLDEN / folder / "weights.safetensors")
        tensors |= read_all(checkpoint)
    return tensors


def read_all(checkpoint: Checkpoint) -> dict[str, Tensor]:
    with checkpoint.reading() as reader:
        return {key: reader.read(key) for key in checkpoint.tensors}


def golden_io(fixture: str) -> dict[str, Tensor]:
    """What the reference was given and what it said, as tests/golden/svd/README.md lists it."""
    return read_all(open_checkpoint(GOLDEN / fixture / "io.safetensors"))


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    wanted = {key: ToWrite(each.dtype, tuple(each.shape), lambda each=each: each) for key, each in tensors.items()}
    write_checkpoint(path, wanted, metadata or {})
    return path


def write_tiny(kind: str, path: Path, *, head_widths: bool = True) -> Path:
    """Write a tiny checkpoint, made for small pictures, with the widths of its attention heads or without."""
    size = {"zoetrope.width": "64", "zoetrope.height": "64"}
    widths = {"zoetrope.head_channels": "16", "zoetrope.clip_head_channels": "16"}
    return write_tensors(path, tiny_tensors(kind), size | widths if head_widths else size)


def manifest(kind: str) -> dict[str, tuple[int, ...]]:
    """Every key of a released checkpoint, with its shape."""
    with gzip.open(GOLDEN / f"manifest_{FULL_SIZE[kind]}.json.gz", "rt", encoding="utf-8") as file:
        return {key: tuple(shape) for key, shape in json.load(file)["shapes"].items()}


def write_headers(shapes: dict[str, tuple[int, ...]], path: Path) -> Path:
    """Write a checkpoint that says it has these tensors, in float16, with a hole in the place of their values."""
    end, header = 0, {}
    for key, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


def random_weights(key: str, shape: tuple[int, ...]) -> Tensor:
    """Weights that keep activations about as large as they come in, seeded by the key."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    if "norm" in key or ".ln_" in key or len(shape) < 2:
        centre = 1.0 if key.endswith(".weight") else 0.0
        return centre + 0.02 * torch.randn(shape, generator=generator)
    inputs = math.prod(shape[1:])
    return torch.randn(shape, generator=generator) / math.sqrt(inputs)


def write_full_size(kind: str, path: Path, dtype: torch.dtype = torch.float16) -> Path:
    """Write a random checkpoint with all keys and shapes of a released one; one tensor is in memory at a time."""
    shapes = manifest(kind)
    tensors = {
        key: ToWrite(dtype, shape, lambda key=key, shape=shape: random_weights(key, shape))
        for key, shape in shapes.items()
    }
    write_checkpoint(path, tensors, {})
    return path


def _arguments() -> Iterator[str | Path]:
    parser = argparse.ArgumentParser(description="Write a random checkpoint of the full size, about 4.8 GB.")
    parser.add_argument("kind", choices=sorted(FULL_SIZE))
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    yield arguments.kind
    yield arguments.path


if __name__ == "__main__":
    write_full_size(*_arguments())  # type: ignore[arg-type]
