"""How good a model that is being trained is, measured on clips that it is never trained on.

The loss jumps from step to step, because noise levels differ far more in it than a better model does. So it is measured
here at fixed levels with fixed noise: a number that falls when the model learns. And as fine-tuned models tend to hold
still, the motion of the clips that they make is held against that of the footage.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..clips.motion import measure
from ..host import work
from ..media.pictures import to_bytes
from ..models.svd import SVDModel
from ..pipelines.svd import SVDOptions, image_to_video
from .method import Validation, spread
from .randomness import Chance
from .svd_footage import CachedFootage, SVDClip, TrainingClip
from .svd_settings import ClipTraining, SVDTraining

AUGMENTATION = 0.02  # noise on the picture, as when sampling


@dataclass(frozen=True)
class Trial:
    """A held-out clip at a fixed noise level."""

    clip: TrainingClip
    level: float
    chance: Chance


Loss = Callable[[Trial], float]


def trials(clips: Sequence[TrainingClip], settings: ClipTraining) -> list[Trial]:
    """What the loss is measured on, the same at each step of a run."""
    chosen = spread(clips, settings.validation_clips)
    return [
        Trial(clip, level, Chance(settings.seed, -1 - number))  # numbers that no sample of the training has
        for number, clip in enumerate(chosen)
        for level in settings.validation_levels
    ]


def losses(tried: Sequence[Trial], loss: Loss) -> dict[str, float]:
    """The mean loss, and the mean at each noise level."""
    found: dict[float, list[float]] = {}
    for trial in tried:
        work.raise_if_cancelled()
        found.setdefault(trial.level, []).append(loss(trial))
    means = {level: sum(each) / len(each) for level, each in found.items()}
    by_level = {f"loss at noise {level:g}": mean for level, mean in means.items()}
    return {"loss": sum(means.values()) / len(means), **by_level}


def made_clips(model: SVDModel, clips: Sequence[SVDClip], cached: CachedFootage, settings: SVDTraining) -> Validation:
    """Clips made from the first frames of held-out ones, with the same noise at each step, and how much they move."""
    made: dict[str, Tensor] = {}
    numbers: dict[str, float] = {}
    for clip in spread(clips, settings.samples):
        picture = (cached.picture(clip.paths[0])[0].movedim(0, -1) + 1) / 2
        options = SVDOptions(
            frames=clip.frames,
            steps=settings.sample_steps,
            width=settings.width,
            height=settings.height,
            fps_id=clip.fps_id,
            motion_bucket_id=clip.motion_bucket,
            cond_aug=AUGMENTATION,
            seed=settings.seed,
        )
        made[clip.name] = image_to_video(model, picture, options, on_step=lambda step: work.raise_if_cancelled())
    if made:
        rate = clips[0].frames_per_second
        numbers["motion of samples"] = _mean([_motion(frames, rate) for frames in made.values()])
        shown = [frames_of(clip, cached) for clip in clips[: len(made)]]
        numbers["motion of the footage"] = _mean([_motion(frames, rate) for frames in shown])
        if numbers["motion of the footage"]:
            numbers["motion, as a share of the footage's"] = (
                numbers["motion of samples"] / numbers["motion of the footage"]
            )
    return Validation(numbers=numbers, clips=made, frames_per_second=clips[0].frames_per_second)


def _motion(frames: Tensor, frames_per_second: float) -> float:
    return measure(to_bytes(frames), frames_per_second).motion


def frames_of(clip: TrainingClip, cached: CachedFootage) -> Tensor:
    """The frames (f h w c) in 0..1 that a clip made from one of them is held against."""
    pictures = torch.cat([cached.picture(path) for path in clip.window(0)])
    return ((pictures.movedim(1, -1) + 1) / 2).clamp(0, 1)


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
