"""Sampling a clip with SVD's network: one loop for all its kinds, guided frame by frame.

Axes: b clips of a batch, f frames, c latent channels, h height, w width (of the latent).
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ..diffusion.guidance import SCALES, GuidanceKind, guide, scales_of
from ..diffusion.samplers import SAMPLERS, Level, SamplerName, sample
from ..diffusion.schedules import karras_sigmas, v_prediction
from ..host import work
from ..models.svd import SVDModel
from .activations import dtype_of, unet_bytes
from .conditioning import Condition
from .previewing import LatentColours

Options = TypeVar("Options", bound="SamplingOptions")


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """What clips of every kind are sampled with. Where 0 or None may stand, it is the model's own number."""

    frames: int = 0
    steps: int = 0
    cond_aug: float = 0.02  # how much noise the picture is given before it is encoded
    min_guidance: float | None = None
    max_guidance: float | None = None
    # Between the two: from the first frame to the last, to the middle and back, or all frames by max_guidance.
    guidance: GuidanceKind = "linear"
    # The part of the steps in which guidance acts; the others take half the time, and change the clip.
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    sampler: SamplerName = "euler"
    seed: int = 23
    decoding_t: int = 14  # frames that are decoded at a time
    seams: bool = True  # decode those on their own, as the reference does; False decodes the clip as one
    lean: bool = True  # the network in less time and memory, its result the same up to rounding
    cache_interval: int = 1  # above 1, deep layers are computed in every so many steps only, and change the clip
    cache_branch: int = 0  # how many layers in the deep ones begin

    def __post_init__(self) -> None:
        self._make_whole("frames", "steps", "seed", "decoding_t", "cache_interval", "cache_branch")
        for name in ("frames", "steps"):
            if (count := getattr(self, name)) < 0:
                raise ValueError(f"{name} is {count}. Choose at least 1, or 0 for the model's own number.")
        self._check_numbers("cond_aug", "guidance_start", "guidance_end")
        self._check_numbers(*(name for name in ("min_guidance", "max_guidance") if getattr(self, name) is not None))
        if self.cond_aug < 0:
            raise ValueError(f"cond_aug is {self.cond_aug}. It is an amount of noise: 0 for none, 0.02 as in training.")
        if not 0 <= self.guidance_start < self.guidance_end <= 1:
            raise ValueError(
                f"Guidance goes from {self.guidance_start} to {self.guidance_end}. Choose shares of the steps, from 0 "
                "to 1 and the start before the end; for no guidance at all, set max_guidance and min_guidance to 1."
            )
        for name, choices in (("guidance", SCALES), ("sampler", SAMPLERS)):
            if (choice := getattr(self, name)) not in choices:
                raise ValueError(f"{name} is {choice!r}. Choose one of {', '.join(choices)}.")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed is {self.seed}. It goes from 0 to 2**64 - 1.")
        if self.decoding_t < 1:
            raise ValueError(f"decoding_t is {self.decoding_t}. At least 1 frame has to be decoded at a time.")
        if self.cache_interval < 1 or self.cache_branch < 0:
            raise ValueError(
                f"cache_interval is {self.cache_interval} and cache_branch is {self.cache_branch}. The interval is at "
                "least 1, which computes every step in full, and the branch at least 0, the outermost."
            )
        if self.cache_interval > 1 and not self.lean:
            raise ValueError(
                "cache_interval is above 1, which only the lean network can. Set lean, or the interval to 1."
            )

    def completed(self: Options, model: SVDModel) -> Options:
        """The same options, the model's own numbers put in."""
        return self

    def _make_whole(self, *names: str) -> None:
        """Turn whole numbers of any library into Python's, which all of PyTorch takes."""
        for name in names:
            try:
                object.__setattr__(self, name, operator.index(getattr(self, name)))
            except TypeError as error:
                raise ValueError(f"{name} is {getattr(self, name)!r}. Choose a whole number.") from error

    def _check_numbers(self, *names: str) -> None:
        for name in names:
            number = getattr(self, name)
            if not isinstance(number, numbers.Real) or not math.isfinite(number):
                raise ValueError(f"{name} is {number!r}, which is no number to compute with.")


def side_multiple(model: SVDModel) -> int:
    """Of which the sides of pictures are multiples, as VAE and UNet halve them: 64 for all released models."""
    levels = (len(part.module.config.block_out_channels) for part in (model.vae, model.unet))
    return 2 ** sum(count - 1 for count in levels)


@dataclass(frozen=True)
class SamplingStep:
    """A step that is done but for the noise that it takes away."""

    index: int  # from 0
    steps: int
    sigma: float
    denoised: Tensor  # (f c h w) the clip as the network sees it now
    colours: LatentColours

    def preview(self) -> Tensor:
        """Small pictures (f h w rgb) in 0..1 of the clip as it forms."""
        return self.colours.show(self.denoised)


OnStep = Callable[[SamplingStep], None]


@torch.no_grad()
def sample_latents(
    model: SVDModel,
    condition: Condition,
    noise: Tensor,
    options: SamplingOptions,
    *,
    on_step: OnStep | None = None,
    adjust: Callable[[Tensor], Tensor] = lambda denoised: denoised,
) -> Tensor:
    """Turn unit noise (f c h w) into the latents (f c h w) of a clip; float32, where the network is.

    `adjust` may change the clip (f c h w) that the network sees in each step. To cancel, raise from `on_step`.
    """
    options = options.completed(model)
    if (rows := len(condition.vector)) != len(noise):
        raise ValueError(
            f"The condition is of {rows} frames, and the noise of {len(noise)}. Make both for the same clip."
        )
    sigmas = karras_sigmas(options.steps)
    unet = model.unet.module
    denoiser = GuidedDenoiser(model, condition, tuple(noise.shape), options, sigmas)

    def tell(index: int, level: Level) -> None:
        if not level.denoised.isfinite().all():
            raise ValueError(
                f"The network makes NaN or infinity of the clip in step {index + 1}, computed in {dtype_of(unet)}. "
                "Load the model in bfloat16 or float32, whose numbers reach further; if that does not help, its "
                "weights are damaged."
            )
        if on_step is not None:
            on_step(SamplingStep(index, options.steps, level.sigma.item(), level.denoised, condition.colours))

    start = noise.to(denoiser.device, torch.float32) * (1 + sigmas[0] ** 2) ** 0.5
    return sample(lambda noisy, sigma: adjust(denoiser(noisy, sigma)), start, sigmas, options.sampler, tell)


Network = Callable[[Tensor, Tensor], Tensor]  # (b f c h w) and (1) to (b f c h w)

# What the network is told, as rows of a batch of nothing and the condition.
NOTHING, CONDITION, BOTH = (0,), (1,), (0, 1)


class GuidedDenoiser:
    """The clip (f c h w) that the network sees in a noisy one: told nothing, told its condition, and pushed between."""

    def __init__(
        self, model: SVDModel, condition: Condition, shape: tuple[int, ...], options: SamplingOptions, sigmas: Tensor
    ) -> None:
        assert options.min_guidance is not None and options.max_guidance is not None  # they are completed
        self._unet, self._options = model.unet.module, options
        both_at_once = unet_bytes(self._unet, shape, clips=2, lean=options.lean)
        self.device, self._dtype = model.unet.ready(both_at_once), dtype_of(self._unet)
        # The lean network computes clips one after another by itself.
        pays_off = not options.lean and _pays_off(self.device)
        self._together = pays_off and work.available_bytes(self.device) >= both_at_once

        self._scales = scales_of(options.guidance, shape[0], options.min_guidance, options.max_guidance).to(self.device)
        self._guided = _guided_sigmas(sigmas, options) if (self._scales != 1).any() else None
        latent = condition.latent.to(self.device, self._dtype).expand(shape[0], -1, -1, -1)
        self._latents = torch.stack([torch.zeros_like(latent), latent])
        token = condition.context.to(self.device, self._dtype)
        self._contexts = torch.cat([torch.zeros_like(token), token])
        self._vectors = condition.vector.to(self.device, self._dtype).expand(2, -1, -1)
        self._networks: dict[tuple[int, ...], Network] = {}

    def __call__(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        scaling = v_prediction(sigma)
        pictures = (scaling.c_in * noisy).to(self._dtype)
        noise_level = scaling.c_noise.to(self.device)[None]

        def denoised(predicted: Tensor) -> Tensor:
            return scaling.c_skip * noisy + scaling.c_out * predicted.float()

        if self._guided is None or not self._guided[0] <= sigma <= self._guided[1]:
            return denoised(self._predict(CONDITION, pictures, noise_level)[0])
        free, conditioned = self._predict_both(pictures, noise_level)
        return guide(denoised(free), denoised(conditioned), self._scales)

    def _predict_both(self, pictures: Tensor, noise_level: Tensor) -> tuple[Tensor, Tensor]:
        """Both predictions (f c h w), in one batch for as long as memory is enough for it."""
        if self._together:
            try:
                free, conditioned = self._predict(BOTH, pictures, noise_level)
                return free, conditioned
            except work.out_of_memory_errors:
                self._together = False
                self._networks.clear()
        return self._predict(NOTHING, pictures, noise_level)[0], self._predict(CONDITION, pictures, noise_level)[0]

    def _predict(self, told: tuple[int, ...], pictures: Tensor, noise_level: Tensor) -> Tensor:
        """What the network makes of (f c h w) pictures for each (b) that it is told: (b f c h w)."""
        batch = torch.stack([torch.cat([pictures, self._latents[row]], dim=1) for row in told])
        return self._network(told)(batch, noise_level)

    def _network(self, told: tuple[int, ...]) -> Network:
        """The network with what it is told. It is made once: the lean one keeps what is the same in each step."""
        from ..models.lean_unet import LeanUNet, PlainUNet

        if told not in self._networks:
            rows = list(told)
            conditions = (self._unet, self._contexts[rows], self._vectors[rows])
            interval, branch = self._options.cache_interval, self._options.cache_branch
            self._networks[told] = (
                LeanUNet(*conditions, cache_interval=interval, cache_branch=branch)
                if self._options.lean
                else PlainUNet(*conditions)
            )
        return self._networks[told]


def _pays_off(device: torch.device) -> bool:
    """Whether two clips at once are computed faster than one after the other: a CPU is busy with one."""
    return device.type != "cpu"


def _guided_sigmas(sigmas: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor] | None:
    """The lowest and the highest of the (steps + 1) noise levels at which guidance acts."""
    first, end = (round(share * options.steps) for share in (options.guidance_start, options.guidance_end))
    return (sigmas[end - 1], sigmas[first]) if first < end else None
