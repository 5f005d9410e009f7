"""Fine-tuning SVD and SV3D, as a method of the training loop.

Axes: b clips, f frames, c channels, h height, w width (of the latent), d width of CLIP's token, v of the vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..diffusion.schedules import v_prediction
from ..host.weights import ready_together
from ..models.lora import describe_lora, save_lora
from ..models.svd import SVDModel
from ..models.svd_saving import save_svd
from ..pipelines.activations import vae_bytes
from .method import Sample, Validation, spread
from .randomness import Chance, item_of
from .svd_checkpointing import checkpointed_unet
from .svd_footage import CachedFootage, TrainingClip, start_of
from .svd_kinds import SVD, Kind
from .svd_loss import Kept, noise_level, noised, velocity_loss, what_is_kept
from .svd_settings import ClipTraining, SVDTraining
from .svd_trained import make_trainable
from .svd_validation import Trial, losses, trials

BOTH = Kept(token=True, latent=True)
FEW_PIXELS = 256  # of a latent


@dataclass(frozen=True)
class Batch:
    """Noised clips and all that the network is told of them."""

    clips: Tensor  # (b f c h w) as they are sampled
    noise: Tensor  # (b f c h w)
    levels: Tensor  # (b) of noise
    pictures: Tensor  # (b c h w) latents, not scaled, of what it is shown; 0 where left out
    tokens: Tensor  # (b 1 d); 0 where left out
    vectors: Tensor  # (b f v)


@dataclass(frozen=True)
class Facts:
    """What is written into the files that a run makes."""

    base: str  # the version or name of the model
    stored: torch.dtype  # in which its weights came, and full weights are saved
    data_hash: str


class SVDMethod:
    """Fine-tunes a model on clips; the model that is given stays as it is."""

    def __init__(
        self,
        model: SVDModel,
        settings: ClipTraining,
        cached: CachedFootage,
        trained: Sequence[TrainingClip],
        held_out: Sequence[TrainingClip],
        facts: Facts,
        activation_bytes: int = 0,
        kind: Kind = SVD,
    ) -> None:
        self._settings, self._cached, self._facts, self._kind = settings, cached, facts, kind
        self._clips, self._held_out = list(trained), list(held_out)
        self._activation_bytes = activation_bytes
        alpha = settings.alpha or float(settings.rank)
        self._trained = make_trainable(model, settings.preset, settings.rank, alpha, settings.seed)

    @property
    def name(self) -> str:
        return self._kind.method

    @property
    def model(self) -> SVDModel:
        """With what is trained on it; it goes on to change with every step."""
        return self._trained.model

    @property
    def items(self) -> int:
        return len(self._clips)

    def trained(self) -> Mapping[str, nn.Parameter]:
        # The loop asks for them before it makes their averages, or reads the optimizer's memory of them, where they are
        # then; and to encode the footage may have put them away.
        self.model.unet.ready()
        return self._trained.weights

    @property
    def lora(self) -> Any:
        """What is trained, where that is a LoRA; else None."""
        return self._trained.lora

    def fill_cache(self, numbers: Iterable[int], on_frame: Callable[[int, int], None]) -> None:
        """Compute what samples of these numbers, and validation, take of the footage, so that steps only train."""
        settings = self._settings
        frames: dict[Path, None] = {}
        pictures: dict[Path, None] = {}
        windows = [(clip, 0) for clip in spread(self._held_out, settings.validation_clips)]
        for number in numbers:
            clip = self._clips[item_of(settings.seed, number, self.items)]
            windows.append((clip, self._start(clip, Chance(settings.seed, number))))
        for clip, start in dict.fromkeys(windows):
            frames.update(dict.fromkeys(clip.window(start)))
            pictures[clip.picture(start)] = None
        total = len(frames) + len(pictures)
        for done, path in enumerate(pictures, 1):  # first, so that CLIP can leave the device
            self._cached.token(path)
            on_frame(done, total)
        for done, path in enumerate(frames, len(pictures) + 1):
            self._cached.latents([path])
            on_frame(done, total)

    @torch.no_grad()
    def batch(self, samples: Sequence[Sample]) -> Batch:
        return self._joined([self._row(self._clips[sample.item], sample.chance) for sample in samples])

    def loss(self, batch: Batch) -> Tensor:
        return self._losses(batch).mean()

    def validate(self) -> Validation:
        numbers = losses(trials(self._held_out, self._settings), self._tried)
        # Sampled as it will be by who uses the result: autocast would also reach the VAE, which wants float32.
        with torch.autocast(self.model.unet.device.type, enabled=False):
            made = self._kind.samples(self.model, self._held_out, self._cached, self._settings)
        return Validation(
            numbers={**numbers, **made.numbers}, clips=made.clips, frames_per_second=made.frames_per_second
        )

    def export(self, folder: Path, step: int) -> Path:
        path = exported_at(folder, self._settings.run, step)
        settings = {name: value for name, value in asdict(self._settings).items() if name in TOLD}
        metadata = describe_lora(
            base=self._facts.base,
            trigger=self._settings.caption,
            steps=step,
            data_hash=self._facts.data_hash,
            settings=settings,
        )
        if self._trained.lora is not None:
            save_lora(path, self._trained.lora, metadata)
        else:
            save_svd(self.model, path, metadata, dtype=self._facts.stored)
        return path

    def _start(self, clip: TrainingClip, chance: Chance) -> int:
        return start_of(clip, chance, random_start=self._settings.random_start)

    def _row(self, clip: TrainingClip, chance: Chance) -> Batch:
        settings, start = self._settings, self._start(clip, chance)
        kept = what_is_kept(chance, settings.dropout, parity=settings.parity)
        level = noise_level(chance, parity=settings.parity)
        of_picture = self._chance_of_picture(clip.picture(start), chance)
        drawn = self._kind.picture_level
        picture_level = drawn(of_picture) if drawn else self._kind.usual_picture_level
        return self._told(clip, start, chance, of_picture, level, picture_level, kept)

    @property
    def _noised_pictures(self) -> int:
        return self._settings.noised_pictures if isinstance(self._settings, SVDTraining) else 0

    def _chance_of_picture(self, path: Path, chance: Chance) -> Chance:
        """What draws the noise on a picture: the sample's own chance, or one of those that the picture keeps."""
        count = self._noised_pictures
        if not count:
            return chance
        own = int(self._cached.hash_of([path]), 16)
        return Chance(self._settings.seed, own + chance.below("noised picture", count))

    def _told(
        self,
        clip: TrainingClip,
        start: int,
        chance: Chance,
        of_picture: Chance,
        level: float,
        picture_level: float,
        kept: Kept,
    ) -> Batch:
        """A batch of one."""
        latents = self._cached.latents(clip.window(start))
        shown = clip.picture(start)
        token = self._cached.token(shown)
        told = self._picture_latent(shown, of_picture, picture_level) if kept.latent else torch.zeros_like(latents[:1])
        return Batch(
            clips=latents[None],
            noise=chance.normal("noise", latents.shape)[None],
            levels=torch.tensor([level]),
            pictures=told,
            tokens=token[None] if kept.token else torch.zeros_like(token[None]),
            vectors=clip.vector(start, picture_level)[None],
        )

    def _picture_latent(self, path: Path, chance: Chance, level: float) -> Tensor:
        if self._kind.picture_level is None:
            return self._cached.picture_latent(path)
        return self._cached.noised_latent(path, level, chance, keep=bool(self._noised_pictures))

    def _joined(self, rows: Sequence[Batch]) -> Batch:
        unet, vae = self.model.unet, self.model.vae
        needed = self._activation_bytes * len(rows)
        ready_together([unet, vae], needed + vae_bytes(vae.module, 1, self._settings.height, self._settings.width))
        parts = {name: [getattr(row, name).to(unet.device) for row in rows] for name in Batch.__dataclass_fields__}
        return Batch(**{name: torch.cat(tensors) for name, tensors in parts.items()})

    def _losses(self, batch: Batch) -> Tensor:
        """The loss (b) of each clip."""
        scaling = v_prediction(batch.levels)
        noisy = noised(batch.clips, batch.noise, batch.levels) * scaling.c_in.view(-1, 1, 1, 1, 1)
        beside = batch.pictures[:, None].expand(-1, noisy.shape[1], -1, -1, -1)
        given = (torch.cat([noisy, beside], dim=2), scaling.c_noise, batch.tokens, batch.vectors)
        unet = self.model.unet.module
        if self._settings.checkpointing and torch.is_grad_enabled():
            # What is computed once more, on the way back, is so outside of any block here: it has to be computed alike.
            predicted = checkpointed_unet(unet, *given)
        else:
            with _attention_for(noisy):
                predicted = unet(*given)
        return velocity_loss(predicted, batch.clips, batch.noise, batch.levels)

    def _tried(self, trial: Trial) -> float:
        level = self._kind.usual_picture_level
        batch = self._joined([self._told(trial.clip, 0, trial.chance, trial.chance, trial.level, level, BOTH)])
        return self._losses(batch).item()


def _attention_for(clips: Tensor) -> AbstractContextManager[object]:
    """How attention is computed on noised (b f c h w) clips.

    On a CPU, torch's fused attention is slow on the way back where rows are short: plain products take a third of its
    time. They hold a number for each pair of pixels, so that large pictures are left to it.
    """
    if clips.device.type == "cpu" and clips.shape[-2:].numel() <= FEW_PIXELS:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def exported_at(folder: Path, run: Path, step: int) -> Path:
    """The file of a run's result as it was at a step."""
    return folder / f"{run.resolve().name}-{step}.safetensors"


# Of the settings, what tells how a file came about and nothing of whose computer it was.
TOLD = (
    "preset", "rank", "alpha", "frames", "frame_step", "width", "height", "fit", "motion_bucket", "frames_per_second",
    "learning_rate", "schedule", "warm_up_steps", "optimizer", "batch", "accumulation", "steps", "seed", "dropout",
    "parity", "noised_pictures", "precision", "average_decay",
)  # fmt: skip
