"""What CLIP finds in frames and in prompts, in batches, each frame but once.

A frame is what a file of it would hold, 8 bits a channel, so that a clip in memory and the same clip on disk tell the
same, and frames are known again by their content.

Axes: f frames, n texts, h height, w width, c channels, d CLIP channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..host import clip as host_clip
from ..host.work import out_of_memory_errors
from ..media.pictures import Pixels, check_pixels, content_digest
from ..models import clip as clip_models
from ..models.clip import ClipModel
from .errors import EvaluationError

OnFrames = Callable[[int], None]
"""Told after each batch how many frames are done; to cancel, it raises."""


def nobody_listens(done: int) -> None:
    """For work whose progress nobody wants to see."""


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    batch: int = 16  # frames at a time; more is faster on a graphics card, and takes more of its memory
    known_frames: int = 20_000  # whose features are kept, to be found again; a frame takes about 4 KB

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise EvaluationError(
                f"batch is {self.batch}. CLIP sees 1 or more frames at a time; 16 suits most machines."
            )
        if self.known_frames < 0:
            raise EvaluationError(f"known_frames is {self.known_frames}. Give a number of frames, or 0 to keep none.")


@dataclass(frozen=True)
class Read:
    """What prompts say, and what did not fit."""

    features: Tensor  # (n d) of length 1
    left_out: tuple[int, ...]  # of each prompt, the tokens behind the last that fitted


class _Seer(Protocol):
    """Sees frames, and perhaps reads."""

    name: str

    def see(self, frames: Sequence[Pixels]) -> Tensor:
        """(f d)"""

    def read(self, texts: Sequence[str]) -> tuple[Tensor, list[int]]:
        """(n d), and how many tokens of each did not fit"""


class ClipEncoder:
    """CLIP of whatever origin.

    encoder = ClipEncoder(load_clip("builtin", dtype=torch.float32, device="cpu"))
    similarity = encoder.frames(to_bytes(clip)) @ encoder.texts(["a red circle moves right"]).features.T
    """

    def __init__(self, model: Any, options: EncodingOptions = EncodingOptions()) -> None:
        """`model` is what `load_clip` gives, or ComfyUI's CLIP_VISION, which cannot read prompts."""
        self.options = options
        self._model = model
        self._seer: _Seer = _OfOurs(model) if isinstance(model, ClipModel) else _OfComfyUI(model)
        self._batch = options.batch  # becomes less where memory does not hold it
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()

    @property
    def name(self) -> str:
        """The model with its precision, for reports: what two models tell is not comparable."""
        return self._seer.name

    @property
    def patcher(self) -> Any:
        """For ComfyUI, which looks here to know a model among the results that it keeps of nodes; else None."""
        return getattr(self._model, "patcher", None)

    def frames(self, frames: Iterable[Pixels], on_frames: OnFrames = nobody_listens) -> Tensor:
        """What is seen (f d) in (h w c) frames, each of length 1, on the CPU.

        Frames may come from a generator, which is drawn a batch at a time.
        """
        features: list[Tensor] = []
        for batch in _batches(frames, self.options.batch):
            features += self._seen(batch)
            on_frames(len(features))
        if not features:
            raise EvaluationError("There is no frame for CLIP to see. Give a clip with one or more.")
        return torch.stack(features)

    def texts(self, texts: Sequence[str]) -> Read:
        """What is read in prompts."""
        empty = [text for text in texts if not text.strip()]
        if empty or not texts:
            raise EvaluationError("A prompt is empty, so nothing can be like it. Write what the clip shows.")
        features, left_out = self._seer.read(texts)
        return Read(self._unit(features), tuple(left_out))

    def _seen(self, batch: list[Pixels]) -> list[Tensor]:
        keys = [content_digest([pixels]) for pixels in batch]
        found = {key: self._known[key] for key in keys if key in self._known}
        new = {key: pixels for key, pixels in zip(keys, batch, strict=True) if key not in found}
        if new:
            found.update(zip(new, self._unit(self._in_memory(list(new.values()))), strict=True))
        for key in keys:
            self._known[key] = found[key]
            self._known.move_to_end(key)
        while len(self._known) > self.options.known_frames:
            self._known.popitem(last=False)
        return [found[key] for key in keys]

    def _in_memory(self, frames: list[Pixels]) -> Tensor:
        """(f d), in as many parts as memory asks for."""
        while True:
            try:
                parts = [frames[first : first + self._batch] for first in range(0, len(frames), self._batch)]
                return torch.cat([self._seer.see(part) for part in parts])
            except out_of_memory_errors:
                if self._batch == 1:
                    raise
                self._batch = (self._batch + 1) // 2

    def _unit(self, features: Tensor) -> Tensor:
        if not features.isfinite().all():
            raise EvaluationError(
                f"{self.name} gives numbers that are not finite. Its weights are damaged, or too large for their "
                "precision: load it in float32."
            )
        return F.normalize(features, dim=-1)


class _OfOurs:
    """CLIP that we loaded."""

    def __init__(self, model: ClipModel) -> None:
        self._model = model
        self.name = model.name

    def see(self, frames: Sequence[Pixels]) -> Tensor:
        return clip_models.see(self._model, clip_models.prepared(frames, self._model.preprocessing))

    def read(self, texts: Sequence[str]) -> tuple[Tensor, list[int]]:
        return clip_models.read(self._model, texts)


class _OfComfyUI:
    """A CLIP_VISION."""

    def __init__(self, clip_vision: Any) -> None:
        if not host_clip.is_clip_vision(clip_vision):
            raise EvaluationError(
                f"CLIP is wanted, and this is {type(clip_vision).__name__}. Connect Load CLIP Zoetrope or Load CLIP "
                "Vision."
            )
        self._clip_vision = clip_vision
        self.name = host_clip.name_of(clip_vision)

    def see(self, frames: Sequence[Pixels]) -> Tensor:
        sizes = {pixels.shape for pixels in frames}
        if len(sizes) > 1:
            return torch.cat([self.see([pixels]) for pixels in frames])
        return host_clip.see(self._clip_vision, torch.stack([torch.from_numpy(each).float() / 255 for each in frames]))

    def read(self, texts: Sequence[str]) -> tuple[Tensor, list[int]]:
        raise EvaluationError(
            f"{self.name} sees pictures and cannot read a prompt. Use Load CLIP Zoetrope, or leave the prompt out."
        )


def _batches(frames: Iterable[Pixels], size: int) -> Iterator[list[Pixels]]:
    frames = iter(frames)
    while batch := [_coloured(pixels) for pixels in islice(frames, size)]:
        yield batch


def _coloured(pixels: Pixels) -> Pixels:
    check_pixels(pixels)
    return pixels[..., :3]
