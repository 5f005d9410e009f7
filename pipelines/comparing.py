"""What a LoRA changes: clips of the same picture and the same noise, without it and with it, held against each other.

    lora = read_lora("moon.safetensors", model.unet.module)
    for compared in compare(model, picture[None], variants_of({"moon": lora}, [0, 0.5, 1])):
        print(compared.label, compared.motion, compared.difference)

The clip of a variant is that of `image_to_video` with `load_lora` at its strength, bit for bit.

Axes: b pictures, f frames, h height, w width, c channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..clips.motion import measure
from ..host.weights import Weights
from ..media.labelling import LabelledClip, draw_sheet, in_rows, side_by_side
from ..media.pictures import Pixels, to_bytes
from ..models.lora import Lora, check_strength, load_lora
from ..models.svd import SVDModel
from .sampling import SamplingStep, side_multiple
from .svd import SVDOptions, image_to_video, sized_picture

BEFORE, TRUTH = "before", "true clip"
MOST_VARIANTS = 100
LETTERS_ACROSS = 40  # of the video, which is seen small on a node


@dataclass(frozen=True)
class Variant:
    """The model with a LoRA at a strength, or as it is."""

    label: str
    lora: Lora | None = None
    strength: float = 1.0

    def put_on(self, model: SVDModel) -> SVDModel:
        return model if self.lora is None else load_lora(model, self.lora, self.strength)


def variants_of(loras: Mapping[str, Lora], strengths: Sequence[float]) -> list[Variant]:
    """Each LoRA at each strength; first of all the model as it is, if one of the strengths is 0.

    The LoRAs go by what they shall be called.
    """
    for strength in strengths:
        check_strength(strength)
    plain = [Variant(BEFORE)] if 0 in strengths else []
    others = dict.fromkeys(filter(None, strengths))
    variants = plain + [
        Variant(f"{name} at {strength:g}", lora, strength) for name, lora in loras.items() for strength in others
    ]
    if others and not loras:
        raise ValueError("There is no LoRA to compare with. Name one, or leave 0 alone among the strengths.")
    if not variants:
        raise ValueError("There is nothing to compare. Name at least one strength, such as 0, 0.5, 1.")
    if len(variants) > MOST_VARIANTS:
        raise ValueError(
            f"{_counted(len(loras), 'LoRA')} at {len(strengths)} strengths make {len(variants)} clips of each picture. "
            f"Compare at most {MOST_VARIANTS} at a time."
        )
    return variants


@dataclass(frozen=True)
class ComparisonStep:
    """A step in making one of the clips."""

    clip: int  # from 0
    clips: int
    label: str
    step: SamplingStep


OnComparisonStep = Callable[[ComparisonStep], None]


@dataclass(frozen=True)
class Compared:
    """A clip, and how it differs. Distances are mean absolute differences of colours in 0..1."""

    picture: int  # which of the pictures it starts from, from 0
    label: str
    clip: Tensor  # (f h w 3) in 0..1
    motion: float  # how much moves, as clips/motion.py measures it
    from_first: float | None  # from the first variant of the same picture; None for that itself, and for the true clip
    from_truth: float | None  # from the true clip, where there is one


def compare(
    model: SVDModel,
    images: Tensor,
    variants: Sequence[Variant],
    options: SVDOptions = SVDOptions(),
    *,
    true_clips: Tensor | None = None,
    on_step: OnComparisonStep = lambda step: None,
    tiny_decoder: Weights[Any] | None = None,
    device: torch.device | str = "cpu",
) -> list[Compared]:
    """Make a clip of each of the (b h w c) images with each variant; those of a picture follow each other.

    `true_clips` are what really happened, (b*f h w c): one clip after another for all the pictures. Each comes after
    the variants of its picture. One LoRA is on the device at a time, and `model` stays as it is. To cancel, raise from
    `on_step`.
    """
    if not len(images):
        raise ValueError("There is no picture to start from: the batch of images is empty.")
    if not variants:
        raise ValueError("There is no variant to compare. Give at least one.")
    options = options.completed(model)
    truths = _true_clips(true_clips, images, model, options)
    clips: list[list[Tensor]] = [[] for _ in images]
    for number, variant in enumerate(variants):
        changed = variant.put_on(model)
        for picture, image in enumerate(images):
            tell = partial(_tell, on_step, number * len(images) + picture, len(variants) * len(images), variant.label)
            clip = image_to_video(changed, image, options, on_step=tell, tiny_decoder=tiny_decoder, device=device)
            clips[picture].append(clip)
        del changed  # the LoRA goes before the next one comes
    labels = [variant.label for variant in variants]
    rate = float(options.fps_id + 1)
    return [
        compared
        for picture, (made, truth) in enumerate(zip(clips, truths, strict=True))
        for compared in _compared(picture, labels, made, truth, rate)
    ]


def _tell(on_step: OnComparisonStep, clip: int, clips: int, label: str, step: SamplingStep) -> None:
    on_step(ComparisonStep(clip, clips, label, step))


def _true_clips(frames: Tensor | None, images: Tensor, model: SVDModel, options: SVDOptions) -> Sequence[Tensor | None]:
    """For each picture the frames (f h w 3) of its true clip, in the size and at most the length of those made."""
    if frames is None:
        return [None] * len(images)
    if not len(frames) or len(frames) % len(images):
        raise ValueError(
            f"The true clips have {_counted(len(frames), 'frame')} in all, for {_counted(len(images), 'picture')}. "
            "Give equally many frames for each picture, one clip after another."
        )
    multiple = side_multiple(model)
    height, width = sized_picture(images[0], options.width, options.height, multiple).shape[2:]

    def sized(frame: Tensor) -> Tensor:
        return (sized_picture(frame, width, height, multiple)[0].movedim(0, -1) / 2 + 0.5).clamp(0, 1)

    length = len(frames) // len(images)
    return [torch.stack([sized(frame) for frame in clip[: options.frames]]) for clip in frames.cpu().split(length)]


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _compared(
    picture: int, labels: Sequence[str], made: Sequence[Tensor], truth: Tensor | None, rate: float
) -> Iterator[Compared]:
    for label, clip in zip(labels, made, strict=True):
        yield Compared(
            picture=picture,
            label=label,
            clip=clip,
            motion=_motion(clip, rate),
            from_first=None if clip is made[0] else distance(clip, made[0]),
            from_truth=None if truth is None else distance(clip, truth),
        )
    if truth is not None:
        truth = truth.to(made[0].device)
        yield Compared(picture, TRUTH, truth, _motion(truth, rate), from_first=None, from_truth=None)


def _motion(clip: Tensor, rate: float) -> float:
    return measure(to_bytes(clip), rate).motion


def distance(one: Tensor, other: Tensor) -> float:
    """The mean absolute difference of two clips (f h w c), over the frames that both have."""
    frames = min(len(one), len(other))
    return (one[:frames].cpu() - other[:frames].cpu()).abs().mean().item()


# --- As pictures and words ------------------------------------------------------------------------------------------


def labelled(comparison: Sequence[Compared]) -> list[LabelledClip]:
    """The clips with their labels, and their numbers as notes."""
    several = comparison[-1].picture > 0 if comparison else False
    return [
        LabelledClip(
            f"{compared.picture + 1}: {compared.label}" if several else compared.label,
            compared.clip,
            ", ".join(_numbers(compared, digits=2)),
        )
        for compared in comparison
    ]


def comparison_sheet(comparison: Sequence[Compared], columns: int) -> Pixels:
    """A picture (h w 3) with a row for each clip, and so many of its frames in it."""
    return draw_sheet(labelled(comparison), columns)


def comparison_video(comparison: Sequence[Compared]) -> Tensor:
    """The clips beside each other (f h w 3): a row for each picture, or as many rows as one needs."""
    clips = labelled(comparison)
    rows: dict[int, list[LabelledClip]] = {}
    for compared, clip in zip(comparison, clips, strict=True):
        rows.setdefault(compared.picture, []).append(clip)
    return side_by_side(list(rows.values()) if len(rows) > 1 else in_rows(clips), LETTERS_ACROSS)


def told(comparison: Sequence[Compared]) -> str:
    """The numbers of each clip in a line, and what they mean."""
    labels = [clip.label for clip in labelled(comparison)]
    lines = [f"{label}: {', '.join(_numbers(each, digits=4))}" for label, each in zip(labels, comparison, strict=True)]
    return "\n".join([*lines, "", MEANING])


MEANING = (
    "Motion is how far things move in a second, as a share of the picture's diagonal. A distance is how much colours "
    "differ on average, from 0 for the same clip to 1 for white against black."
)


def _numbers(compared: Compared, digits: int) -> Iterator[str]:
    yield f"motion {compared.motion:.{digits}g}"
    if compared.from_first is not None:
        yield f"{compared.from_first:.{digits}g} from the first"
    if compared.from_truth is not None:
        yield f"{compared.from_truth:.{digits}g} from the {TRUTH}"
