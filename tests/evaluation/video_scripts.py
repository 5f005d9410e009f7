"""Tiny TorchScript networks that are called as FVD's I3D is."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn


class Pooled(nn.Module):
    """Colours and their changes, in the mean over the frames: 6 features, of 10 frames or more."""

    def __init__(self, fewest: int = 10):
        super().__init__()
        self.fewest = fewest
        self.mixing = nn.Parameter(torch.eye(6) + torch.linspace(-1, 1, 36).reshape(6, 6), requires_grad=False)

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        if rescale or resize or x.shape[2] < self.fewest or x.shape[3] != 224 or x.shape[4] != 224:
            raise ValueError("not as wanted")
        colours = x.mean((3, 4))
        both = torch.cat([colours.mean(2), (colours[:, :, 1:] - colours[:, :, :-1]).abs().mean(2)], 1)
        features = both @ self.mixing
        return features if return_features else features.softmax(1)


class Pictures(nn.Module):
    """Gives what is no row of features."""

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        return x


class Plain(nn.Module):
    """Is called otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3, 4))


def write_script(path: Path, network: nn.Module) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch wants to be rid of TorchScript; FVD's file is one
        torch.jit.script(network).save(str(path))
    return path
