"""The settings of a run that fine-tunes SVD, as they stand in its YAML file."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from .errors import TrainingError
from .options import Precision, TrainingOptions
from .svd_trained import Preset

MOST_BUCKET = 255


def check_settings(settings: object) -> None:
    """Refuse what is something else, for who uses the library."""
    if not isinstance(settings, SVDTraining):
        raise TrainingError(f"A run is described by settings of the class SVDTraining, and this is {settings!r}.")


HALF: dict[torch.dtype, Precision] = {torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True, kw_only=True)
class SVDTraining(TrainingOptions):
    """What to train on what, and how. 0 is, where it may stand, the model's or the footage's own number."""

    model: Path  # a checkpoint of one file, a folder of diffusers, or builtin:NAME
    footage: Path  # a folder of clips of which some are set aside for validation
    run: Path  # the folder in which all of the run is kept

    preset: Preset = "motion"
    rank: int = 32
    alpha: float = 0.0  # by how much the LoRA counts is alpha / rank; 0 is the rank

    frames: int = 0
    frame_step: int = 1  # every so many frames of the footage are taken
    width: int = 512
    height: int = 320
    fit: Literal["cover", "stretch"] = "cover"  # crop evenly what is too much, as when sampling, or squash
    random_start: bool = True  # take any part of a clip, not only its beginning
    frames_per_second: float = 0.0  # of the clips as they are trained; 7 where neither this nor the footage tells
    motion_bucket: int = 0  # 1 to 255 for all clips; 0 gives each its own, by how much moves in it

    dropout: float = 0.1  # in so many samples the picture is left out
    parity: bool = False  # draw noise levels and dropout as SVD_Xtend does
    checkpointing: bool = True  # compute layers twice rather than keep their insides; less memory, a third more time

    precision: Literal["auto", Precision] = "auto"  # type: ignore[assignment]  # resolved by `on` before the loop sees it

    caption: str = ""  # what the LoRA is for, or the word that goes with it; it is written into the file

    validation_clips: int = 4  # whose loss is measured, at most
    validation_levels: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # of noise, at which it is
    samples: int = 2  # clips that are made at each validation, at most
    sample_steps: int = 0

    def on(self, device: torch.device, weights: torch.dtype = torch.float32) -> SVDTraining:
        """The same settings with the precision that suits a device, unless one is asked for.

        `weights` is the precision of a model that is loaded already: what is half computes in half.
        """
        own = HALF.get(weights, "fp32")
        is_gpu = device.type == "cuda"
        # On a processor torch mixes half precision with float32 alone.
        if own != "fp32" and (self.precision == "fp32" or (self.precision not in ("auto", own) and not is_gpu)):
            raise TrainingError(
                f"precision is {self.precision}, but the model is loaded in {own}. Choose auto, or load it in fp32."
            )
        if self.precision != "auto":
            return self
        if not is_gpu:
            return replace(self, precision=own)
        # float16 has too small a range for what some layers make, so it is for cards that know nothing better.
        return replace(self, precision="bf16" if torch.cuda.is_bf16_supported() else "fp16")

    def __post_init__(self) -> None:
        if self.warm_up_steps == TrainingOptions.warm_up_steps >= self.steps:
            # The usual warm-up is too long for a short run; one that somebody asked for would be refused.
            object.__setattr__(self, "warm_up_steps", self.steps // 10)
        super().__post_init__()
        for name in ("rank", "frame_step", "width", "height", "validation_clips"):
            self._check(name, getattr(self, name) >= 1, "It is at least 1.")
        for name in ("alpha", "frames_per_second"):
            value = getattr(self, name)
            self._check(name, math.isfinite(value) and value >= 0, "It is at least 0, which leaves it open.")
        for name in ("frames", "samples", "sample_steps"):
            self._check(name, getattr(self, name) >= 0, "It is at least 0.")
        self._check("frames", self.frames != 1, "A clip has at least 2 frames; 14 and 25 are what SVD was made for.")
        self._check("motion_bucket", 0 <= self.motion_bucket <= MOST_BUCKET, "It goes from 1 to 255; 0 measures it.")
        self._check("dropout", 0 <= self.dropout <= 1 / 3, "It goes from 0 to 1/3; 0.1 is usual.")
        levels = self.validation_levels
        self._check("validation_levels", bool(levels) and min(levels) > 0, "They are one or more, and above 0.")
        if self.caption != self.caption.encode(errors="ignore").decode():
            raise TrainingError(f"caption is {self.caption!a}, with half a character that no file can hold. Mend it.")
