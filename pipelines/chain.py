"""Longer than the model: clip after clip, each going on from the end of the one before.

A segment begins with frames that the one before it ends with. Its condition is the first of them: as a latent, without
the loss of decoding and encoding, and as the picture that CLIP is shown. While it is sampled, its first frames are held
to those they repeat, so that it goes on with their motion, and the frames of both are cross-faded.

What it cannot do: the model knows a few frames of the past and nothing of what was before them. What leaves the picture
or is hidden comes back different; a motion of one direction ends or turns at some seam; sharpness fades over many
segments, and colour is kept from drifting only as far as its mean and its contrast. Nothing tells a story.

Memory does not grow with the number of segments: frames are given as they come.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..host.weights import Weights
from ..models.svd import SVDModel
from .conditioning import Condition, draw_noise, embed_picture, encode_condition, seeded, svd_vector
from .decoding import decode_latents
from .sampling import SamplingStep, sample_latents, side_multiple
from .svd import SVDOptions, as_network_picture, sized_picture

HANDOFFS = ("latent", "picture")


@dataclass(frozen=True, kw_only=True)
class ChainOptions:
    segments: int = 3
    overlap: int = 3  # frames that two segments share
    # How far the colours of later segments are taken back to those of the first frame; 0 lets them drift.
    hold_colour: float = 1.0
    # What a segment starts from: the latent that the last one ended with, or the picture decoded and encoded again,
    # with noise on it as on the first.
    handoff: Literal["latent", "picture"] = "latent"
    steer: bool = True  # hold the shared frames while sampling; without it they are only cross-faded

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise ValueError(f"segments is {self.segments}. A chain has at least 1.")
        if self.overlap < 1:
            raise ValueError(
                f"overlap is {self.overlap}. At least 1 frame is shared: the one that a segment starts from."
            )
        if not 0 <= self.hold_colour <= 1:
            raise ValueError(f"hold_colour is {self.hold_colour}. It goes from 0 (drift) to 1 (the first frame's).")
        if self.handoff not in HANDOFFS:
            raise ValueError(f"handoff is {self.handoff!r}. Choose one of {', '.join(HANDOFFS)}.")

    def frames_in_all(self, frames_of_a_segment: int) -> int:
        return self.segments * (frames_of_a_segment - self.overlap) + self.overlap


@dataclass(frozen=True)
class ChainStep:
    segment: int  # from 0
    segments: int
    step: SamplingStep


def chain(
    model: SVDModel,
    image: Tensor,
    options: ChainOptions = ChainOptions(),
    clip: SVDOptions = SVDOptions(),
    *,
    on_step: Callable[[ChainStep], None] = lambda step: None,
    tiny_decoder: Weights[Any] | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """Give the frames (h w c) in 0..1, float32 on `device`, of a long clip that starts from a picture (h w c) in 0..1.

    Up to where it meets the second, the first segment is what `image_to_video` makes of the same picture and options.
    What is wrong with the arguments is said at once; the work is done as frames are asked for. To cancel, stop asking,
    or raise from `on_step`. A tiny decoder (models.tiny_decoder) shows the frames quickly and blurred.
    """
    if model.family != "svd":
        raise ValueError(
            f"{model.name} is an {model.family} model, which turns the camera around an object and does not go on. "
            "Choose an SVD checkpoint, such as svd_xt.safetensors."
        )
    clip = clip.completed(model)
    if options.segments > 1 and options.overlap >= clip.frames:
        raise ValueError(
            f"overlap is {options.overlap}, but a segment has {clip.frames} frames, so it would bring nothing new. "
            "Choose a smaller overlap, or more frames."
        )
    picture = sized_picture(image, clip.width, clip.height, side_multiple(model))
    return _frames(_Segments(model, picture, options, clip, on_step, tiny_decoder), options, device)


def _frames(segments: _Segments, options: ChainOptions, device: torch.device | str) -> Iterator[Tensor]:
    """Join the segments, the frames that two share cross-faded."""
    shared: Tensor | None = None
    for segment in range(options.segments):
        pictures = segments.next(device)
        if shared is not None:
            pictures[: options.overlap] = cross_fade(shared, pictures[: options.overlap])
        is_last = segment == options.segments - 1
        new = len(pictures) if is_last else len(pictures) - options.overlap
        # Copies, so that nobody who keeps a frame keeps the segment.
        yield from (picture.clone() for picture in pictures[:new])
        shared = pictures[new:].clone()
        del pictures


class _Segments:
    """Makes one segment after another, and keeps of each only what the next one starts from."""

    def __init__(
        self,
        model: SVDModel,
        picture: Tensor,
        options: ChainOptions,
        clip: SVDOptions,
        on_step: Callable[[ChainStep], None],
        tiny_decoder: Weights[Any] | None,
    ) -> None:
        self._model, self._picture, self._options, self._clip = model, picture, options, clip
        self._on_step, self._tiny_decoder = on_step, tiny_decoder
        self._generator = seeded(clip.seed)
        self._numbers = svd_vector(
            clip.frames, fps_id=clip.fps_id, motion_bucket_id=clip.motion_bucket_id, cond_aug=clip.cond_aug
        )
        self._made = 0
        self._condition: Condition | None = None
        self._known: Tensor | None = None  # (overlap c h w) latents with which the next segment begins
        self._first_frame: Tensor | None = None  # (1 c h w) latent whose colours all frames keep

    def next(self, device: torch.device | str) -> Tensor:
        """Sample and decode a segment: (f h w c)."""
        if self._condition is None:
            self._condition = self._encoded(self._picture)
        shape = (self._clip.frames, *self._condition.latent.shape[1:])
        noise = draw_noise(shape, self._generator)
        latents = sample_latents(
            self._model, self._condition, noise, self._clip, on_step=self._tell, adjust=self._held_to_known
        )
        if self._first_frame is None:
            self._first_frame = latents[:1].clone()
        else:
            latents = with_colours_of(self._first_frame, latents, self._options.hold_colour)
        pictures = decode_latents(
            self._model,
            latents,
            decoding_t=self._clip.decoding_t,
            seams=self._clip.seams,
            lean=self._clip.lean,
            tiny_decoder=self._tiny_decoder,
            device=device,
        )
        self._made += 1
        if self._made < self._options.segments:
            self._hand_over(latents, pictures)
        return pictures

    def _hand_over(self, latents: Tensor, pictures: Tensor) -> None:
        """Keep what the next segment starts from: the frames that it shares with this one."""
        assert self._first_frame is not None and self._condition is not None
        shared = latents[-self._options.overlap :].clone()
        self._known = with_colours_of(self._first_frame, shared, self._options.hold_colour)
        picture = as_network_picture(pictures[-self._options.overlap])
        if self._options.handoff == "picture":
            self._condition = self._encoded(picture)
            return
        scale = self._model.vae.module.config.scaling_factor  # of what is sampled, and not of conditions
        context = embed_picture(self._model.image_encoder, picture)
        self._condition = replace(self._condition, context=context, latent=self._known[:1] / scale)

    def _encoded(self, picture: Tensor) -> Condition:
        cond_aug = self._clip.cond_aug
        return encode_condition(self._model, picture, self._numbers, cond_aug=cond_aug, generator=self._generator)

    def _held_to_known(self, denoised: Tensor) -> Tensor:
        """Take the first frames of (f c h w) to what they repeat, the first one wholly and each later one less."""
        if self._known is None or not self._options.steer:
            return denoised
        overlap = len(self._known)
        hold = 1 - torch.arange(overlap, device=denoised.device)[:, None, None, None] / overlap
        return torch.cat([denoised[:overlap].lerp(self._known, hold), denoised[overlap:]])

    def _tell(self, step: SamplingStep) -> None:
        self._on_step(ChainStep(self._made, self._options.segments, step))


def cross_fade(ending: Tensor, beginning: Tensor) -> Tensor:
    """Go from one (f h w c) clip over to another of the same length."""
    share = torch.arange(1, len(ending) + 1, device=ending.device)[:, None, None, None] / (len(ending) + 1)
    return ending.lerp(beginning, share)


def with_colours_of(reference: Tensor, latents: Tensor, strength: float) -> Tensor:
    """Take the mean and the deviation of each channel of each of (f c h w) latents to those of one (1 c h w)."""
    if strength == 0:
        return latents
    deviation, mean = torch.std_mean(latents, dim=(2, 3), keepdim=True, correction=0)
    wanted_deviation, wanted_mean = torch.std_mean(reference, dim=(2, 3), keepdim=True, correction=0)
    held = (latents - mean) / deviation.clamp(min=1e-6) * wanted_deviation + wanted_mean
    return latents.lerp(held, strength)
