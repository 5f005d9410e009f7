"""LPIPS: how different two pictures are to a network that was fitted to people's judgement (Zhang et al. 2018).

The networks are not ours to ship: the trunk, torchvision's AlexNet or VGG16, and LPIPS' own linear weights of a few
kilobytes lie in a folder of the user's.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..host.weights import Weights, stationary
from ..models.checkpoints import open_checkpoint
from ..models.errors import CheckpointError
from .errors import EvaluationError

Trunk = Literal["alex", "vgg"]
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours in -1..1, LPIPS' own
PAIRS_AT_A_TIME = 8
SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class _Layer:
    """A convolution of a trunk."""

    index: int  # in torchvision's list
    stride: int = 1
    padding: int = 1
    pooled: tuple[int, int] | None = None  # the window and the step of what is pooled before it
    told: bool = False  # whether LPIPS compares what it gives


def _vgg(index: int, *, first: bool, last: bool) -> _Layer:
    return _Layer(index, pooled=(2, 2) if first and index else None, told=last)


LAYERS: dict[str, tuple[_Layer, ...]] = {
    "alex": (
        _Layer(0, stride=4, padding=2, told=True),
        _Layer(3, padding=2, pooled=(3, 2), told=True),
        _Layer(6, pooled=(3, 2), told=True),
        _Layer(8, told=True),
        _Layer(10, told=True),
    ),
    "vgg": tuple(
        _vgg(index, first=index == level[0], last=index == level[-1])
        for level in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
        for index in level
    ),
}
FIRST_SHAPES = {"alex": (64, 3, 11, 11), "vgg": (64, 3, 3, 3)}
CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
SMALLEST_SIDE = {"alex": 32, "vgg": 16}
WHERE = {
    "alex": "torchvision's alexnet-owt-7be5be79.pth (233 MB, https://download.pytorch.org/models/) and LPIPS' alex.pth "
    "(6 KB, lpips/weights/v0.1 of https://github.com/richzhang/PerceptualSimilarity)",
    "vgg": "torchvision's vgg16-397923af.pth (528 MB, https://download.pytorch.org/models/) and LPIPS' vgg.pth (7 KB, "
    "lpips/weights/v0.1 of https://github.com/richzhang/PerceptualSimilarity)",
}


class _Network(nn.Module):
    """A trunk and the linear weights behind its layers."""

    def __init__(self, trunk: Trunk, tensors: Mapping[str, Tensor], linear: list[Tensor]) -> None:
        super().__init__()
        self.trunk = trunk
        self.weights = nn.ParameterList(_still(tensors[f"features.{layer.index}.weight"]) for layer in LAYERS[trunk])
        self.biases = nn.ParameterList(_still(tensors[f"features.{layer.index}.bias"]) for layer in LAYERS[trunk])
        self.linear = nn.ParameterList(_still(each) for each in linear)

    def told(self, pictures: Tensor) -> list[Tensor]:
        """What layers tell (f c h w) of (f 3 H W) pictures in 0..1, each place's channels of length 1."""
        shift, scale = (pictures.new_tensor(numbers)[:, None, None] for numbers in (SHIFT, SCALE))
        seen = (pictures * 2 - 1 - shift) / scale
        told = []
        for layer, weight, bias in zip(LAYERS[self.trunk], self.weights, self.biases, strict=True):
            if layer.pooled:
                seen = F.max_pool2d(seen, *layer.pooled)
            seen = F.relu(F.conv2d(seen, weight, bias, layer.stride, layer.padding))
            if layer.told:
                told.append(seen / (seen.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return told

    def forward(self, pictures: Tensor, others: Tensor) -> Tensor:
        """How different (f) are (f 3 H W) pictures and others."""
        pairs = zip(self.told(pictures), self.told(others), self.linear, strict=True)
        return sum(F.conv2d((one - other).square(), weight).mean((1, 2, 3)) for one, other, weight in pairs)  # type: ignore[return-value]


def _still(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.float().clone(), requires_grad=False)


@dataclass(frozen=True)
class Perceptual:
    """LPIPS, loaded."""

    trunk: Trunk
    network: Weights[Any]

    @property
    def name(self) -> str:
        return f"LPIPS ({self.trunk} v0.1)"

    @property
    def smallest_side(self) -> int:
        """In pixels; of smaller pictures the trunk sees nothing."""
        return SMALLEST_SIDE[self.trunk]

    def __call__(self, clip: Tensor, truth: Tensor) -> Tensor:
        """How different (f) the frames of (f h w c) clips in 0..1 are; 0 is the same."""
        height, width = clip.shape[1:3]
        if min(height, width) < self.smallest_side:
            raise EvaluationError(
                f"The clip is {width}x{height} pixels, and LPIPS with {self.trunk} sees none below "
                f"{self.smallest_side}. Compare larger clips, or leave LPIPS out."
            )
        device = self.network.ready(PAIRS_AT_A_TIME * height * width * 64 * 4 * 4)
        different = []
        with torch.no_grad():
            for one, other in zip(clip.split(PAIRS_AT_A_TIME), truth.split(PAIRS_AT_A_TIME), strict=True):
                pictures, others = (each[..., :3].permute(0, 3, 1, 2).float().to(device) for each in (one, other))
                different.append(self.network.module(pictures, others).cpu())
        return torch.cat(different)


def load_perceptual(folder: str | Path, trunk: Trunk = "alex", *, place: Any = stationary) -> Perceptual:
    """Load LPIPS from a folder that holds the trunk's file and that of the linear weights, whatever they are called."""
    if trunk not in LAYERS:
        raise EvaluationError(f"trunk is {trunk!r}. LPIPS has alex and vgg.")
    folder = Path(folder)
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES) if folder.is_dir() else []
    found: dict[str, Tensor] = {}
    for path in paths:
        tensors = _tensors_in(path)
        if _is_trunk(tensors, trunk):
            found |= {key: value for key, value in tensors.items() if key.startswith("features.")}
        elif (linear := _linear_in(tensors, trunk)) is not None:
            found |= {f"linear.{index}": each for index, each in enumerate(linear)}
    wanted = [f"features.{layer.index}.{kind}" for layer in LAYERS[trunk] for kind in ("weight", "bias")]
    if not all(name in found for name in [*wanted, "linear.0"]):
        raise EvaluationError(
            f"LPIPS with {trunk} is not complete in {folder}. Put two files there: {WHERE[trunk]}. Or leave LPIPS out."
        )
    network = _Network(trunk, found, [found[f"linear.{index}"] for index in range(len(CHANNELS[trunk]))])
    return Perceptual(trunk, place(network.eval()))


def _tensors_in(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        checkpoint = open_checkpoint(path)
        with checkpoint.reading() as reader:
            return {key: reader.read(key, torch.float32) for key in checkpoint.tensors}
    try:
        # Numbers alone are read: a file that would run something is refused.
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file fails in any way that its bytes ask for
        raise CheckpointError(
            f"{path} holds no weights that can be read safely: {error}. Download it again."
        ) from error
    if not isinstance(tensors, dict):
        raise CheckpointError(f"{path} is no file of weights. Download it again, or move it out of the folder.")
    return {str(key): value for key, value in tensors.items() if isinstance(value, Tensor)}


def _is_trunk(tensors: Mapping[str, Tensor], trunk: Trunk) -> bool:
    first = tensors.get("features.0.weight")
    return first is not None and tuple(first.shape) == FIRST_SHAPES[trunk]


def _linear_in(tensors: Mapping[str, Tensor], trunk: Trunk) -> list[Tensor] | None:
    found = [tensors.get(f"lin{index}.model.1.weight") for index in range(len(CHANNELS[trunk]))]
    if any(each is None for each in found):
        return None
    linear = [each for each in found if each is not None]
    shapes = [tuple(each.shape) for each in linear]
    return linear if shapes == [(1, channels, 1, 1) for channels in CHANNELS[trunk]] else None
