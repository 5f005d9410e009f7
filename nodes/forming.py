"""From a batch of pictures to a batch of clips: one after another, watched as they form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..pipelines.previewing import contact_sheet
from ..pipelines.sampling import OnStep, SamplingStep
from .watching import watch


def clips_of(images: Tensor, steps: int, make: Callable[..., Tensor]) -> Tensor:
    """Make a clip (f h w c) of each of the (b h w c) images, and join them: (b*f h w c).

    `make` is handed the picture, and as `on_step` the callback that shows the clip as it forms.
    """
    count, steps_and_decoding = len(images), steps + 1
    watching = watch(count * steps_and_decoding)
    joined: Tensor | None = None
    for index, image in enumerate(images):
        clip = make(image, on_step=_on_step(watching, index * steps_and_decoding))
        watching((index + 1) * steps_and_decoding, None)
        if count == 1:
            return clip
        if joined is None:  # all at once, or joining them would take the memory twice
            joined = torch.empty(count * len(clip), *clip.shape[1:], dtype=clip.dtype, device=clip.device)
        joined[index * len(clip) : (index + 1) * len(clip)] = clip
    if joined is None:
        raise ValueError("There is no picture to start from: the batch of images is empty.")
    return joined


def _on_step(watching: Callable[..., None], done: int) -> OnStep:
    def on_step(step: SamplingStep) -> None:
        watching(done + step.index + 1, lambda: contact_sheet(step.preview()))

    return on_step
