"""Training an autoencoder from nothing, or parts of one, on footage: pictures into latents and back.

    settings = AutoencoderTraining(footage=Path("moons"), run=Path("runs/vae"))
    for step in train_autoencoder(settings):
        print(step.step, step.loss)

Axes: b clips, f frames, c channels, h height, w width (of pictures, or of latents).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..clips.footage import Footage, read_footage
from ..media.pictures import as_images, read_picture
from ..models.autoencoders import (
    SCALING,
    decoding_clips,
    is_temporal_layer,
    load_autoencoder,
    new_autoencoder,
    save_autoencoder,
    with_latents_scaled,
)
from .autoencoder_start import begin
from .caching import hash_of_files
from .config import plain
from .errors import TrainingError
from .loop import TrainingStep, train
from .method import Sample, Validation, spread
from .options import TrainingOptions
from .processes import Processes
from .run_folder import nobody_reads, opened_run
from .states import Note

FITTED = 300  # pictures to which a new one is fitted before it is trained
SHOWN = 12  # pictures beside which a validation shows what becomes of them
SMALLEST_ERROR = 1e-10  # below which a picture counts as the same; its noise ratio would be infinite


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining(TrainingOptions):
    """What to train on which pictures."""

    footage: Path  # all its pictures have one size
    run: Path
    start: Path | None = None  # an autoencoder to go on from; none is a new one
    # All of one that decodes pictures, its decoder alone, or only the layers of a clip's decoder that mix over time.
    trains: Literal["all", "decoder", "temporal layers"] = "all"

    widths: tuple[int, ...] = (96, 32, 64, 96)  # of a new one's levels, multiples of 32; 4 make sides 8 times less
    layers: int = 1  # residual blocks in each level
    frames: int = 1  # that are taken of a clip at a time
    kl_weight: float = 1e-4  # how much latents are held to deviate by 1
    square_weight: float = 10.0  # of squared errors, beside the absolute ones: what is wrong in the large counts most
    latent_noise: float = 0.0  # deviation of what is added to latents, theirs being 1: the errors of who makes latents
    validation_pictures: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layers", "frames", "validation_pictures"):
            self._check(name, getattr(self, name) >= 1, "It is at least 1.")
        for name in ("kl_weight", "square_weight", "latent_noise"):
            self._check(name, getattr(self, name) >= 0, "It is at least 0, which leaves it out.")
        self._check("widths", all(width % 32 == 0 < width for width in self.widths), "They are multiples of 32.")
        self._check("trains", (self.trains == "all") or self.start is not None, "Give an autoencoder to start from.")


@dataclass(frozen=True)
class Batch:
    clips: Tensor  # (b f c h w) in -1..1
    noise: Tensor  # (b f c h w) standard normal, of the latents
    more_noise: Tensor  # the same again


class AutoencoderMethod:
    """Learns to give back pictures."""

    name = "autoencoder"

    def __init__(self, vae: nn.Module, settings: AutoencoderTraining, footage: Footage) -> None:
        self._vae: Any = vae.requires_grad_(False)
        self._settings, self._footage = settings, footage
        self._clips = [clip for clip in footage.clips if clip.split == "train"]
        self._held_out = spread(_pictures(footage, "validation"), settings.validation_pictures)
        self._mixes_time = any(is_temporal_layer(name) for name, _ in vae.named_parameters())
        self._weights = {name: weight for name, weight in vae.named_parameters() if self._learns(name)}
        for weight in self._weights.values():
            weight.requires_grad_()

    @property
    def items(self) -> int:
        return len(self._clips)

    @property
    def autoencoder(self) -> Any:
        return self._vae

    def trained(self) -> Mapping[str, nn.Parameter]:
        return self._weights

    def batch(self, samples: Sequence[Sample]) -> Batch:
        clips = torch.stack([self._clip(sample) for sample in samples]).to(self._vae.device)
        frames, _, height, width = clips.shape[1:]
        shrink = 2 ** (len(self._vae.config["block_out_channels"]) - 1)
        shape = (frames, self._vae.config["latent_channels"], height // shrink, width // shrink)
        noises = (
            torch.stack([sample.chance.normal(stream, shape) for sample in samples]).to(clips)
            for stream in ("latent", "latent noise")
        )
        return Batch(clips, *noises)

    def loss(self, batch: Batch) -> Tensor:
        settings, frames = self._settings, batch.clips.shape[1]
        pictures = batch.clips.flatten(0, 1)
        with nullcontext() if settings.trains == "all" else torch.no_grad():
            latents = self._vae.encode(pictures).latent_dist
        # Only the first is scaled to deviate by 1, when the encoder's training is over.
        unit = 1.0 if settings.trains == "all" else 1 / SCALING
        drawn = latents.mean + latents.std * batch.noise.flatten(0, 1)
        drawn = drawn + settings.latent_noise * unit * batch.more_noise.flatten(0, 1)
        if not drawn.requires_grad:
            # PyTorch crashes where the weights of a group norm on the CPU want gradients, and what goes in does not.
            drawn.requires_grad_()
        error = self._decode(drawn, frames).float() - pictures
        loss = error.abs().mean() + settings.square_weight * error.square().mean()
        if settings.trains == "all" and settings.kl_weight:
            mean, log_variance = latents.mean.float(), latents.logvar.float()
            divergence = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
            loss = loss + settings.kl_weight * divergence
        return loss

    def validate(self) -> Validation:
        pictures = torch.cat([_read(path) for path in self._held_out]).to(self._vae.device)
        with torch.autocast(pictures.device.type, enabled=False):
            latents = encode(self._vae, pictures)
            decoded = self._decode(latents, 1).clamp(-1, 1)
        beside = torch.cat([pictures[:SHOWN], decoded[:SHOWN]], dim=2)  # (n c 2h w)
        row = beside.movedim(0, 2).flatten(2, 3)  # side by side
        return Validation(
            numbers={
                "noise ratio in decibels": noise_ratio(decoded, pictures).mean().item(),
                "deviation of latents": deviation(latents),
            },
            clips={"pictures and what becomes of them": ((row + 1) / 2).movedim(0, -1)[None].cpu()},
        )

    def export(self, folder: Path, step: int) -> Path:
        path = folder / f"{self._settings.run.resolve().name}-{step}.safetensors"
        vae = self._vae
        if self._settings.trains == "all":
            some = torch.cat([_read(path) for path in self._held_out]).to(vae.device)
            with torch.autocast(some.device.type, enabled=False):
                vae = with_latents_scaled(vae, 1 / (SCALING * deviation(encode(vae, some))))
        save_autoencoder(vae, path, {"zoetrope.steps": str(step)})
        return path

    def _learns(self, name: str) -> bool:
        kinds = {"all": True, "decoder": name.startswith("decoder."), "temporal layers": is_temporal_layer(name)}
        return kinds[self._settings.trains]

    def _decode(self, latents: Tensor, frames: int) -> Tensor:
        if self._mixes_time:
            return self._vae.decode(latents, num_frames=frames).sample
        return self._vae.decode(latents).sample

    def _clip(self, sample: Sample) -> Tensor:
        """(f c h w)."""
        clip, frames = self._clips[sample.item], self._settings.frames
        first = sample.chance.below("first frame", len(clip.frames) - frames + 1)
        return torch.cat([_read(path) for path in self._footage.paths(clip)[first : first + frames]])


def train_autoencoder(
    settings: AutoencoderTraining, *, processes: Processes = Processes(torch.device("cpu")), note: Note = nobody_reads
) -> Iterator[TrainingStep]:
    """Begin a run or go on with it, and yield after every step."""
    footage = _checked_footage(settings)
    with torch.inference_mode(False), opened_run(settings.run, note) as run:
        vae = _starting(settings, footage).to(processes.device)
        method = AutoencoderMethod(vae, settings, footage)
        paths = [path for clip in footage.clips for path in footage.paths(clip)]
        run.describe(method.name, plain(settings), {"footage": hash_of_files(paths)})
        yield from train(method, settings, run, processes)


def _starting(settings: AutoencoderTraining, footage: Footage) -> nn.Module:
    if settings.start is None:
        vae = new_autoencoder(settings.widths, settings.layers, settings.seed)
        begin(vae, torch.cat([_read(path) for path in spread(_pictures(footage, "train"), FITTED)]))
        return vae
    vae = load_autoencoder(settings.start)
    return decoding_clips(vae, settings.seed) if settings.trains == "temporal layers" else vae


def _checked_footage(settings: AutoencoderTraining) -> Footage:
    footage, _ = read_footage(settings.footage)
    for split in ("train", "validation"):
        if not footage.select(split).clips:
            raise TrainingError(
                f"{settings.footage} has no clip in the split {split}. Make the splits: zoetrope footage split "
                f"{settings.footage}"
            )
    sizes = {(clip.width, clip.height) for clip in footage.clips}
    if len(sizes) > 1:
        raise TrainingError(
            f"The pictures in {settings.footage} have {len(sizes)} sizes, and an autoencoder is trained on one. Bring "
            "them to one size first."
        )
    short = [clip.name for clip in footage.clips if len(clip.frames) < settings.frames]
    if short:
        raise TrainingError(f"{short[0]} has fewer than the {settings.frames} frames that are taken of a clip.")
    return footage


def _pictures(footage: Footage, split: str) -> list[Path]:
    return [path for clip in footage.clips if clip.split == split for path in footage.paths(clip)]


def _read(path: Path) -> Tensor:
    """(1 c h w) in -1..1."""
    return as_images(read_picture(path)).movedim(-1, 1) * 2 - 1


def encode(vae: Any, pictures: Tensor) -> Tensor:
    """The mean latents of (n c h w) pictures in -1..1."""
    return vae.encode(pictures).latent_dist.mean


def deviation(latents: Tensor) -> float:
    return latents.float().square().mean().sqrt().item()


def noise_ratio(decoded: Tensor, pictures: Tensor) -> Tensor:
    """The peak signal to noise ratio (n) in decibels of (n c h w) pictures in -1..1."""
    errors = ((decoded - pictures) / 2).square().mean(dim=(1, 2, 3)).clamp(min=SMALLEST_ERROR)
    return -10 * errors.log10()
