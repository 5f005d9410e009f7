"""Training a CLIP from nothing on pictures and their captions: each shall be likest to its own.

    settings = ClipTraining(run=Path("runs/clip"))
    for step in train_clip(settings, pictures, held_out):
        print(step.step, step.loss)

Axes: n pictures or captions, c channels, h height, w width, l pieces of words, d width of embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from ..evaluation.retrieval import retrieval
from ..models.new_clip import ClipSize, new_clip, save_clip
from ..models.word_pieces import Vocabulary, learn_vocabulary
from ..pipelines.conditioning import clip_pixels
from .caching import hash_of_tensors
from .config import plain
from .errors import TrainingError
from .loop import TrainingStep, train
from .method import Sample, Validation
from .options import TrainingOptions
from .processes import Processes
from .run_folder import nobody_reads, opened_run
from .states import Note

LARGEST_SCALE = 100.0  # of likenesses, as in CLIP
EMBEDDED_AT_ONCE = 250


@dataclass(frozen=True, kw_only=True)
class ClipTraining(TrainingOptions):
    """What to train and how. Each picture is told from those of its batch, so that has to be large."""

    run: Path
    batch: int = 128
    weight_decay: float = 0.05
    size: ClipSize = field(default_factory=ClipSize)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("batch", self.batch > 1, "A picture is told from others of its batch, so it takes at least 2.")


@dataclass(frozen=True, eq=False)
class Captioned:
    """Pictures of one size, and what each shows."""

    pictures: Tensor  # (n c h w) bytes
    captions: tuple[str, ...]  # (n)

    def __post_init__(self) -> None:
        if len(self.pictures) != len(self.captions) or not self.captions:
            raise TrainingError(
                f"There are {len(self.pictures)} pictures and {len(self.captions)} captions. Give one or more of each, "
                "and as many of the one as of the other."
            )


@dataclass(frozen=True)
class Batch:
    pixels: Tensor  # (n c h w) as the tower that looks takes them
    pieces: Tensor  # (n l)
    same: Tensor  # (n n) whether two captions of the batch say the same, an own one left out


class ClipMethod:
    """Learns to tell what a picture shows from what others show."""

    name = "clip"

    def __init__(self, settings: ClipTraining, trained: Captioned, held_out: Captioned, device: torch.device) -> None:
        self._settings, self._given, self._held_out, self._device = settings, trained, held_out, device
        self.vocabulary = learn_vocabulary(trained.captions)
        self.clip: Any = new_clip(settings.size, self.vocabulary, settings.seed).to(device)
        spell = Speller(self.vocabulary, settings.size.text_length)
        self._pieces = spell(trained.captions)
        self._held_out_pieces = spell(held_out.captions)

    @property
    def items(self) -> int:
        return len(self._given.captions)

    def trained(self) -> Mapping[str, nn.Parameter]:
        return dict(self.clip.named_parameters())

    def batch(self, samples: Sequence[Sample]) -> Batch:
        items = [sample.item for sample in samples]
        pieces = self._pieces[items].to(self._device)
        same = (pieces[:, None] == pieces).all(dim=-1)
        same.fill_diagonal_(False)
        return Batch(self._pixels(self._given.pictures[items]), pieces, same)

    def loss(self, batch: Batch) -> Tensor:
        pictures = normalize(picture_embeddings(self.clip, batch.pixels).float(), dim=-1)
        captions = normalize(caption_embeddings(self.clip, batch.pieces).float(), dim=-1)
        likeness = self.clip.logit_scale.exp().clamp(max=LARGEST_SCALE) * pictures @ captions.T
        # What says the same is no wrong answer.
        likeness = likeness.masked_fill(batch.same, float("-inf"))
        own = torch.arange(len(likeness), device=likeness.device)
        return (cross_entropy(likeness, own) + cross_entropy(likeness.T, own)) / 2

    def validate(self) -> Validation:
        with torch.autocast(self._device.type, enabled=False):
            pictures = [
                picture_embeddings(self.clip, self._pixels(some))
                for some in self._held_out.pictures.split(EMBEDDED_AT_ONCE)
            ]
            captions = [
                caption_embeddings(self.clip, some.to(self._device))
                for some in self._held_out_pieces.split(EMBEDDED_AT_ONCE)
            ]
        found = retrieval(torch.cat(pictures), torch.cat(captions))
        return Validation(
            numbers={
                "captions of pictures found first": found.captions_of_pictures,
                "pictures of captions found first": found.pictures_of_captions,
            }
        )

    def export(self, folder: Path, step: int) -> Path:
        path = folder / f"{self._settings.run.resolve().name}-{step}"
        if not path.exists():  # of a run that was killed while it finished, whose weights are the same
            save_clip(self.clip, self.vocabulary, path)
        return path

    def _pixels(self, pictures: Tensor) -> Tensor:
        return clip_pixels(pictures.to(self._device).float() / 127.5 - 1, self._settings.size.side)


class Speller:
    """Captions as rows of the numbers of pieces, as CLIPTokenizer makes them."""

    def __init__(self, vocabulary: Vocabulary, length: int) -> None:
        self._vocabulary, self._length = vocabulary, length
        self._known: dict[str, list[int]] = {}

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """(n l); what is too long is cut, and what is short filled up with the end."""
        return torch.tensor([self._row(caption) for caption in captions])

    def _row(self, caption: str) -> list[int]:
        if caption not in self._known:
            inner = self._vocabulary.numbers(caption)[: self._length - 2]
            ends = [self._vocabulary.end] * (self._length - 1 - len(inner))
            self._known[caption] = [self._vocabulary.start, *inner, *ends]
        return self._known[caption]


def picture_embeddings(clip: Any, pixels: Tensor) -> Tensor:
    """(n d), not of length 1."""
    return clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output)


def caption_embeddings(clip: Any, pieces: Tensor) -> Tensor:
    """(n d), not of length 1."""
    return clip.text_projection(clip.text_model(input_ids=pieces).pooler_output)


def train_clip(
    settings: ClipTraining,
    trained: Captioned,
    held_out: Captioned,
    *,
    processes: Processes = Processes(torch.device("cpu")),
    note: Note = nobody_reads,
) -> Iterator[TrainingStep]:
    """Begin a run or go on with it, and yield after every step."""
    with torch.inference_mode(False), opened_run(settings.run, note) as run:
        method = ClipMethod(settings, trained, held_out, processes.device)
        run.describe(method.name, plain(settings), {"pictures": hash_of_tensors({"pictures": trained.pictures})})
        yield from train(method, settings, run, processes)
