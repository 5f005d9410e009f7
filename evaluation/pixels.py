"""What pixels alone tell: how near a clip is to the true one, how sharp its frames are, what flickers and drifts.

Colours go from 0 to 1.

Axes: f frames, h height, w width, c channels (red, green, blue).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import EvaluationError

HIGHEST_PSNR = 100.0  # decibels, of frames that are equal or as good as
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels, as in Wang, Bovik, Sheikh and Simoncelli 2004
SSIM_CONSTANTS = 0.01**2, 0.03**2
LUMA = (0.299, 0.587, 0.114)  # of BT.601, as OpenCV makes grey of colours
# sRGB's colours in the daylight D65, and the bend of CIELAB near black.
XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
LAB_BEND = 0.008856


def psnr(clip: Tensor, truth: Tensor) -> Tensor:
    """The peak signal-to-noise ratio (f) of (f h w c) clips in decibels, at most 100. Higher is nearer."""
    error = (clip.double() - truth.double()).square().mean((1, 2, 3))
    return (-10 * torch.log10(error.clamp(min=1e-10))).clamp(max=HIGHEST_PSNR)


def ssim(clip: Tensor, truth: Tensor) -> Tensor:
    """The structural similarity (f) of (f h w c) clips; 1 is equal.

    The windows are Gaussian and lie wholly in the picture; channels are averaged.
    """
    if min(clip.shape[1:3]) < SSIM_WINDOW:
        raise EvaluationError(
            f"The clip is {clip.shape[2]}x{clip.shape[1]} pixels, and SSIM looks through windows of {SSIM_WINDOW}. "
            "Compare larger clips, or leave SSIM out."
        )
    reach = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    window = torch.exp(-(reach**2) / (2 * SSIM_SIGMA**2))
    window = (window / window.sum()).to(clip.device)
    return torch.stack([_ssim_of(one, other, window) for one, other in zip(clip, truth, strict=True)])


def _ssim_of(frame: Tensor, truth: Tensor, window: Tensor) -> Tensor:
    """Of two (h w c) frames."""
    one, other = (each.permute(2, 0, 1)[:, None].double() for each in (frame, truth))
    first, second = _seen_through(one, window), _seen_through(other, window)
    spread = _seen_through(one * one, window) - first**2
    other_spread = _seen_through(other * other, window) - second**2
    together = _seen_through(one * other, window) - first * second
    low, high = SSIM_CONSTANTS
    likeness = (2 * first * second + low) * (2 * together + high)
    return (likeness / ((first**2 + second**2 + low) * (spread + other_spread + high))).mean()


def _seen_through(planes: Tensor, window: Tensor) -> Tensor:
    """(c 1 h w) planes averaged over each window."""
    return F.conv2d(F.conv2d(planes, window[None, None, None]), window[None, None, :, None])


def luma(clip: Tensor) -> Tensor:
    """Grey (f h w) of a (f h w c) clip."""
    return clip @ clip.new_tensor(LUMA)


def sharpness(clip: Tensor) -> Tensor:
    """The variance of the Laplacian (f) of grey frames whose white is 255, as with OpenCV. Blur lowers it."""
    grey = luma(clip.double())[:, None] * 255
    around = grey.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    reflected = F.pad(grey, (1, 1, 1, 1), mode="reflect") if min(grey.shape[2:]) > 1 else F.pad(grey, (1, 1, 1, 1))
    return F.conv2d(reflected, around).flatten(1).var(1, correction=0)


def steadiness(clip: Tensor) -> Tensor:
    """VBench's number for flicker, by steps (f-1): 1 less the mean difference of neighbours. A frozen clip has 1."""
    return 1 - (clip[1:] - clip[:-1]).abs().double().mean((1, 2, 3))


def jitter(clip: Tensor) -> Tensor:
    """The mean second difference of pixels, by frames between others (f-2). What comes and goes raises it."""
    return _second_difference(clip.double()).mean((1, 2, 3))


def brightness_flicker(clip: Tensor) -> Tensor:
    """The second difference of the mean brightness, by frames between others (f-2). Motion hardly raises it."""
    return _second_difference(luma(clip.double()).mean((1, 2)))


def _second_difference(values: Tensor) -> Tensor:
    return (values[2:] - 2 * values[1:-1] + values[:-2]).abs()


def mean_lab(clip: Tensor) -> Tensor:
    """The mean colour (f 3) of each frame in CIELAB: lightness 0 to 100, then green to red and blue to yellow."""
    return torch.stack([_lab(frame.double()).mean((0, 1)) for frame in clip])


def _lab(frame: Tensor) -> Tensor:
    linear = torch.where(frame > 0.04045, ((frame.clamp(min=0) + 0.055) / 1.055) ** 2.4, frame / 12.92)
    xyz = linear @ frame.new_tensor(XYZ_OF_RGB).T / frame.new_tensor(WHITE)
    bent = torch.where(xyz > LAB_BEND, xyz.clamp(min=0) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = bent.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def colour_drift(lab: Tensor) -> Tensor:
    """How far (f) the mean colour is from the first frame's, as eyes tell colours apart: about 2 is just seen."""
    return (lab - lab[:1]).norm(dim=1)


def colour_error(lab: Tensor, true_lab: Tensor) -> Tensor:
    """How far (f) the mean colour is from the true frame's."""
    return (lab - true_lab).norm(dim=1)


SMALL_SIDE = 24  # pixels of the pictures in which it is told whether a clip goes on
ENOUGH_CHANGE = 1e-3  # of colour on average; below it a clip is too still to tell


def progression(clip: Tensor) -> float:
    """Whether neighbours in time are nearer to each other than any two frames: 1 is gradual, 0 is chance.

    A shuffled clip has about 0, and one that alternates less than that; one that is played backwards goes on as well.
    Of a clip that stands still it cannot be told, and is NaN.
    """
    apart = _apart(_small(clip).flatten(1))
    frames = len(clip)
    if frames < 3:
        return math.nan
    any_two = apart.sum().item() / (frames * (frames - 1))
    neighbours = apart.diagonal(1).mean().item()
    return 1 - neighbours / any_two if any_two > ENOUGH_CHANGE else math.nan


LEAST_ALIKE = 0.2  # how much nearer a frame must be to the nearest than to any other, for their order to be told
TURN = 0.95  # the ends of three frames are nearer to each other than this share of a step between them: a turn


def turns(clip: Tensor) -> float:
    """The share of frames at which the clip turns back: 0 where it goes on, about a half where frames are shuffled.

    It is the share of three frames in a row whose first and last are nearer to each other than to the one between them.
    One turn is for nothing, as a clip may be played to and fro; and brightness and contrast are left out, as they may
    flicker. NaN where it cannot be told: of a clip that stands still, and of one so fast that no frame is like any.
    """
    small = _small(clip)
    small = small - small.mean(2, keepdim=True)
    spread = small.std(2, keepdim=True).clamp(min=ENOUGH_CHANGE)
    apart = _apart((small / spread * spread.mean()).flatten(1))
    frames = len(clip)
    if frames < 3:
        return math.nan
    any_two = apart.sum().item() / (frames * (frames - 1))
    nearest = apart.clone().fill_diagonal_(math.inf).min(1).values
    if any_two <= ENOUGH_CHANGE or 1 - nearest.mean().item() / any_two < LEAST_ALIKE:
        return math.nan
    steps, ends = apart.diagonal(1), apart.diagonal(2)
    longer = torch.maximum(steps[1:], steps[:-1])
    turned = int(((longer > ENOUGH_CHANGE) & (ends < TURN * longer)).sum())
    return turned / len(ends) if turned > 1 else 0.0


def _small(clip: Tensor) -> Tensor:
    """(f c p) pictures in which it is told whether a clip goes on, p pixels."""
    return F.adaptive_avg_pool2d(clip.permute(0, 3, 1, 2).float(), SMALL_SIDE).flatten(2)


def _apart(pictures: Tensor) -> Tensor:
    """The mean difference (f f) of any two of (f p) pictures."""
    return torch.cdist(pictures, pictures, p=1) / pictures.shape[1]
