"""What a network that knows video finds in a whole clip, motion included; with I3D, FVD (Unterthiner et al. 2018).

The network is not ours to ship: it is a TorchScript file of the user's, called as the `i3d_torchscript.pt` of FVD is.
Such a file is a program, which runs; so it is loaded from where the user says, and from nowhere else.

Axes: f frames, h height, w width, c channels, d features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..host.weights import Weights, stationary
from ..host.work import out_of_memory_errors
from .errors import EvaluationError

SIDE = 224  # of what the network sees
FEWEST_FRAMES = (10, 16)  # I3D halves time until fewer than 10 are none; other networks are made for 16
SUFFIXES = (".pt", ".pth", ".ts", ".torchscript")
BYTES_A_FRAME = 3 * SIDE * SIDE * 4 * 16  # of what I3D's first layers make of one
WANTED = (
    "FVD's i3d_torchscript.pt (about 50 MB; https://github.com/universome/fvd-comparison links to it), or a network "
    "that is called as it is: with a clip (b c t h w) in -1..1 and rescale, resize and return_features, for (b d) "
    "features"
)


@dataclass(frozen=True)
class VideoNetwork:
    """A network of somebody else's, loaded."""

    name: str  # with how many features it gives: what two networks tell is not comparable
    fewest: int  # frames that it takes
    network: Weights[Any]

    def __call__(self, clip: Tensor) -> Tensor:
        """What it finds (d) in a (f h w c) clip in 0..1."""
        device = self.network.ready(len(clip) * BYTES_A_FRAME)
        try:
            features = self.network.module(prepared(clip).to(device)).float().cpu()[0]
        except out_of_memory_errors:
            raise
        except RuntimeError as error:
            raise EvaluationError(
                f"{self.name} cannot take a clip of {len(clip)} frames: {_last_line(error)}"
            ) from error
        if not features.isfinite().all():
            raise EvaluationError(
                f"{self.name} gives numbers that are not finite, so its file is damaged. Get it again."
            )
        return features


class _Network(nn.Module):
    """Calls a network in the way of FVD's."""

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)  # tells where a network without weights is

    def forward(self, clip: Tensor) -> Tensor:
        """(b d) of (b c f h w) in -1..1"""
        with torch.no_grad():
            # What the file would do to the size and the values is done here, so that it is known.
            return self.script(clip, rescale=False, resize=False, return_features=True)


def prepared(clip: Tensor) -> Tensor:
    """A (f h w c) clip in 0..1 as a network sees it: (1 3 f 224 224) in -1..1, the middle of it.

    The pictures are resized as FVD's own programs do it, without a filter against aliasing, so that numbers compare.
    """
    frames = clip[..., :3].permute(0, 3, 1, 2).float()
    height, width = frames.shape[2:]
    scale = SIDE / min(height, width)
    size = max(SIDE, round(height * scale)), max(SIDE, round(width * scale))
    if size != (height, width):
        frames = F.interpolate(frames, size=size, mode="bilinear", align_corners=False)
    top, left = (math.floor((side - SIDE) / 2) for side in size)
    seen = frames[..., top : top + SIDE, left : left + SIDE]
    return (seen * 2 - 1).permute(1, 0, 2, 3)[None]


def load_video_network(path: str | Path, *, place: Any = stationary) -> VideoNetwork:
    """Load a TorchScript network, and try whether it gives features of a clip."""
    path = Path(path)
    if not path.is_file():
        raise EvaluationError(f"{path} is no file, and a video network is wanted: {WANTED}.")
    try:
        # This reads no pickle of Python's: what is in the file can only be run by TorchScript.
        script = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # a file of anything fails in any way that its bytes ask for
        raise EvaluationError(
            f"{path} is no TorchScript, or a damaged one: {_last_line(error)} Wanted is {WANTED}."
        ) from error
    weightless = next(script.parameters(), None) is None  # frozen ones are constants, which stay where they are
    network = _Network(script)
    fewest, features = _tried(path, network)
    here = stationary if weightless else place
    return VideoNetwork(f"{path.name} ({features} features)", fewest, here(network))


def _tried(path: Path, network: _Network) -> tuple[int, int]:
    """How many frames it takes, and how many features it gives of them."""
    fault = ""
    for frames in FEWEST_FRAMES:
        grey = torch.full((frames, SIDE, SIDE, 3), 0.5)
        try:
            found = network(prepared(grey))
        except Exception as error:  # whatever the file holds
            fault = f"it fails with {_last_line(error)}"
            continue
        if not isinstance(found, Tensor):
            fault = f"it gives {type(found).__name__}."
        elif found.dim() != 2 or len(found) != 1 or not found.is_floating_point():
            fault = f"it gives {found.dtype} {tuple(found.shape)}."
        else:
            return frames, found.shape[1]
    raise EvaluationError(
        f"{path} gives no features of a clip of {FEWEST_FRAMES[-1]} frames: {fault} Wanted is {WANTED}."
    )


def _last_line(error: Exception) -> str:
    """What TorchScript says is wrong, without the program around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if "Error" in line), lines[0] if lines else type(error).__name__)
    return told if told.endswith(".") else f"{told}."
