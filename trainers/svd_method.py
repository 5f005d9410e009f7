"""Fine-tuning SVD, as a method of the training loop.

Axes: b clips, f frames, c channels, h height, w width (of the latent), d width of CLIP's token, v of the vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..diffusion.schedules import v_prediction
from ..host.weights import ready_together
from ..models.lora import describe_lora, save_lora
from ..models.svd import SVDModel
from ..models.svd_saving import save_svd
from ..pipelines.activations import vae_bytes
from ..pipelines.conditioning import encode_pictures, svd_vector
from .method import Sample, Validation
from .randomness import Chance, item_of
from .svd_checkpointing import checkpointed_unet
from .svd_footage import CachedFootage, TrainingClip, start_of
from .svd_loss import Kept, noise_level, noised, picture_noise_level, velocity_loss, what_is_kept
from .svd_settings import SVDTraining
from .svd_trained import make_trainable
from .svd_validation import AUGMENTATION, Trial, losses, made_clips, trials

BOTH = Kept(token=True, latent=True)


@dataclass(frozen=True)
class Batch:
    """Noised clips and all that the network is told of them."""

    clips: Tensor  # (b f c h w) as they are sampled
    noise: Tensor  # (b f c h w)
    levels: Tensor  # (b) of noise
    pictures: Tensor  # (b c h w) latents, not scaled, of the noised first frames; 0 where left out
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

    name = "svd"

    def __init__(
        self,
        model: SVDModel,
        settings: SVDTraining,
        cached: CachedFootage,
        trained: Sequence[TrainingClip],
        held_out: Sequence[TrainingClip],
        facts: Facts,
        activation_bytes: int = 0,
    ) -> None:
        self._settings, self._cached, self._facts = settings, cached, facts
        self._clips, self._held_out = list(trained), list(held_out)
        self._activation_bytes = activation_bytes
        alpha = settings.alpha or float(settings.rank)
        self._trained = make_trainable(model, settings.preset, settings.rank, alpha, settings.seed)

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
        starts: dict[Path, None] = {}
        windows = [clip.window(0) for clip in self._held_out[: settings.validation_clips]]
        for number in numbers:
            clip = self._clips[item_of(settings.seed, number, self.items)]
            windows.append(clip.window(self._start(clip, Chance(settings.seed, number))))
        for window in windows:
            frames.update(dict.fromkeys(window))
            starts[window[0]] = None
        total = len(frames) + len(starts)
        for done, path in enumerate(starts, 1):  # first, so that CLIP can leave the device
            self._cached.token(path)
            on_frame(done, total)
        for done, path in enumerate(frames, len(starts) + 1):
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
            made = made_clips(self.model, self._held_out, self._cached, self._settings)
        return Validation(
            numbers={**numbers, **made.numbers}, clips=made.clips, frames_per_second=made.frames_per_second
        )

    def export(self, folder: Path, step: int) -> Path:
        path = exported_at(folder, self._settings.run, step)
        settings = {name: getattr(self._settings, name) for name in TOLD}
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
        settings = self._settings
        kept = what_is_kept(chance, settings.dropout, parity=settings.parity)
        level = noise_level(chance, parity=settings.parity)
        return self._told(clip, self._start(clip, chance), chance, level, picture_noise_level(chance), kept)

    def _told(
        self, clip: TrainingClip, start: int, chance: Chance, level: float, picture_level: float, kept: Kept
    ) -> Batch:
        """A batch of one."""
        window = clip.window(start)
        latents = self._cached.latents(window)
        picture = self._cached.picture(window[0])
        noisy = picture + picture_level * chance.normal("noise on the picture", picture.shape)
        told = encode_pictures(self.model.vae, noisy) if kept.latent else torch.zeros_like(latents[:1])
        token = self._cached.token(window[0])
        vector = svd_vector(
            clip.frames, fps_id=clip.fps_id, motion_bucket_id=clip.motion_bucket, cond_aug=picture_level
        )
        return Batch(
            clips=latents[None],
            noise=chance.normal("noise", latents.shape)[None],
            levels=torch.tensor([level]),
            pictures=told,
            tokens=token[None] if kept.token else torch.zeros_like(token[None]),
            vectors=vector[None],
        )

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
        recomputes = self._settings.checkpointing and torch.is_grad_enabled()
        predicted = checkpointed_unet(unet, *given) if recomputes else unet(*given)
        return velocity_loss(predicted, batch.clips, batch.noise, batch.levels)

    def _tried(self, trial: Trial) -> float:
        batch = self._joined([self._told(trial.clip, 0, trial.chance, trial.level, AUGMENTATION, BOTH)])
        return self._losses(batch).item()


def exported_at(folder: Path, run: Path, step: int) -> Path:
    """The file of a run's result as it was at a step."""
    return folder / f"{run.resolve().name}-{step}.safetensors"


# Of the settings, what tells how a file came about and nothing of whose computer it was.
TOLD = (
    "preset", "rank", "alpha", "frames", "frame_step", "width", "height", "fit", "motion_bucket", "frames_per_second",
    "learning_rate", "schedule", "warm_up_steps", "optimizer", "batch", "accumulation", "steps", "seed", "dropout",
    "parity", "precision", "average_decay",
)  # fmt: skip
