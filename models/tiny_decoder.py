"""TAESD's decoder: pictures from latents with a twentieth of the work, a little blurred.

The latents of SVD and SV3D are those of Stable Diffusion 1, so its tiny decoder fits: `taesd_decoder.safetensors` as
its author gives it (github.com/madebyollin/taesd, 5 MB), or diffusers' `diffusion_pytorch_model.safetensors` of it.
SDXL's has the same layers and cannot be told from it, but shows wrong colours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..host.weights import Weights, stationary
from .checkpoints import Checkpoint, listed, open_checkpoint
from .errors import CheckpointError

BLOCKS = (3, 3, 3, 1)
# How files number the layers. The author's counts a layer without weights before the first of diffusers'.
LAYER = re.compile(r"(?:(decoder\.layers)|taesd_decoder|decoder)?\.?(\d+)\.(.+)")


def load_tiny_decoder(
    source: str | Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    place: Callable[[Any], Weights[Any]] = stationary,
) -> Weights[Any]:
    """Load the decoder from a file that may hold its encoder too. It takes latents as they are sampled; gives -1..1."""
    from diffusers.models.autoencoders.vae import DecoderTiny

    checkpoint = open_checkpoint(Path(source))
    keys = _keys_by_name(checkpoint)
    first = keys.get("layers.0.weight")
    if first is None or len(shape := checkpoint.tensors[first].shape) != 4 or shape[1] != 4:
        raise CheckpointError(
            f"{checkpoint.name} is not the tiny decoder of Stable Diffusion 1's latents. Choose "
            "taesd_decoder.safetensors; its siblings for SD3 and FLUX are of other latents."
        )
    with torch.device("meta"):
        decoder = DecoderTiny(4, 3, BLOCKS, (shape[0],) * len(BLOCKS), 2, "relu", "nearest")
    expected = decoder.state_dict()
    wrong = expected.keys() ^ keys.keys()
    common = expected.keys() & keys.keys()
    wrong |= {name for name in common if expected[name].shape != checkpoint.tensors[keys[name]].shape}
    if wrong:
        raise CheckpointError(
            f"{checkpoint.name} is not a whole TAESD decoder: {listed(sorted(wrong))} are missing, too many or of "
            "another shape. Download taesd_decoder.safetensors again."
        )
    with checkpoint.reading() as reader:
        weights = {name: reader.read(key, dtype).to(device) for name, key in keys.items()}
    decoder.load_state_dict(weights, assign=True)
    return place(decoder.eval().requires_grad_(False))


def _keys_by_name(checkpoint: Checkpoint) -> dict[str, str]:
    """The file's keys by diffusers' names; an encoder's are left out."""
    names = {}
    for key in checkpoint.tensors:
        if match := LAYER.fullmatch(key):
            diffusers, number, rest = match.groups()
            names[f"layers.{int(number) - (not diffusers)}.{rest}"] = key
    return names
