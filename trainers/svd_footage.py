"""Footage as SVD is trained on it: which clips and frames, what the network is told of them, and their latents.

Axes: f frames, c channels, h height, w width (of pictures or latents), d width of CLIP's token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..clips.footage import Clip, Footage, read_footage, some_of
from ..clips.motion import measure_pictures, motion_buckets
from ..media.pictures import as_images, read_picture
from ..media.resizing import ResizeOptions, resize
from ..models.svd import SVDModel
from ..pipelines.conditioning import embed_picture, encode_pictures
from ..pipelines.svd import as_network_picture
from .caching import CacheKey, TensorCache, Tensors, hash_of_files, hash_of_tensors
from .errors import TrainingError
from .randomness import Chance
from .svd_settings import SVDTraining

ASSUMED_RATE = 7.0  # frames per second, where nobody tells: SVD's own examples
CODE = 1  # raised with each change of what is computed here and kept


@dataclass(frozen=True)
class ChosenClips:
    """The clips of a run, by what they are for."""

    footage: Footage
    trained: tuple[Clip, ...]
    held_out: tuple[Clip, ...]  # for validation, never trained on
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TrainingClip:
    """A clip and what the network is told of it."""

    name: str
    paths: tuple[Path, ...]  # of all its frames
    frames: int  # that are taken at a time
    step: int  # from each of them to the next
    frames_per_second: float  # at which what is taken keeps the clip's time
    motion_bucket: int

    @property
    def fps_id(self) -> int:
        """The rate as SVD is told it, in training and in sampling: one less than it is."""
        return max(0, round(self.frames_per_second) - 1)

    @property
    def starts(self) -> int:
        """At how many frames what is taken may begin."""
        return len(self.paths) - span(self.frames, self.step) + 1

    def window(self, start: int) -> tuple[Path, ...]:
        return self.paths[start : start + span(self.frames, self.step) : self.step]


def span(frames: int, step: int) -> int:
    """How many frames a clip must have."""
    return (frames - 1) * step + 1


def choose_clips(settings: SVDTraining, frames: int, footage: Footage | None = None) -> ChosenClips:
    """Read which clips there are, unless they are given, and refuse what could not be trained on."""
    footage, notes = (footage, []) if footage else read_footage(settings.footage)
    trained, held_out = footage.select("train").clips, footage.select("validation").clips
    if not held_out:
        raise TrainingError(
            f"{settings.footage} has no clip set aside for validation among its {len(footage.clips)}, so nothing would "
            "tell whether the model learns. Set some aside with the node Split Footage, or: zoetrope footage split "
            f"{settings.footage}"
        )
    if not trained:
        raise TrainingError(f"{settings.footage} has no clip to train on: none is in the split train.")
    needed = span(frames, settings.frame_step)
    short = [clip.name for clip in (*trained, *held_out) if len(clip.frames) < needed]
    if short:
        apart = f" that {frames} frames, each {settings.frame_step} apart, take" if settings.frame_step > 1 else ""
        raise TrainingError(
            f"{len(short)} of the clips in {settings.footage} are shorter than the {needed} frames{apart}: "
            f"{some_of(short)}. Leave them out of the footage, or set frames to less."
        )
    return ChosenClips(footage, trained, held_out, tuple(notes))


def rate_of(clip: Clip, settings: SVDTraining) -> float:
    """The frames per second of what is trained."""
    if settings.frames_per_second:
        return settings.frames_per_second
    return clip.frames_per_second / settings.frame_step if clip.frames_per_second else ASSUMED_RATE


def start_of(clip: TrainingClip, chance: Chance, *, random_start: bool) -> int:
    """The frame at which what a sample takes of a clip begins."""
    return chance.below("first frame", clip.starts) if random_start else 0


class CachedFootage:
    """What is computed from the footage: once, and then read from the run's cache."""

    def __init__(self, model: SVDModel, settings: SVDTraining, cache: TensorCache) -> None:
        self._model, self._cache = model, cache
        # With the filter that sampling uses.
        self._size = ResizeOptions(width=settings.width, height=settings.height, fit=settings.fit, filter="lanczos")
        vae: Any = model.vae.module
        self._vae_hash = hash_of_tensors(
            {name: each for name, each in vae.state_dict().items() if not name.startswith("decoder.")}
        )
        self._encoder_hash = hash_of_tensors(model.image_encoder.module.state_dict())
        self._hashes: dict[tuple[Path, int, int], str] = {}

    @property
    def model_hashes(self) -> dict[str, str]:
        return {"vae": self._vae_hash, "image_encoder": self._encoder_hash}

    def latents(self, paths: Sequence[Path]) -> Tensor:
        """The likeliest latents (f c h w) of frames, scaled as they are sampled."""
        return torch.cat([self._latent(path) for path in paths])

    def token(self, path: Path) -> Tensor:
        """What CLIP makes of a frame: (1 d). It is shown the crop that the network is, as when sampling."""

        def make() -> Tensors:
            return {"token": embed_picture(self._model.image_encoder, self.picture(path))[0]}

        return self._cache.get(self._key(path, "token", self._encoder_hash), make)["token"]

    def picture(self, path: Path) -> Tensor:
        """A frame (1 3 h w) in -1..1, at the size that is trained."""
        return as_network_picture(resize(as_images(read_picture(path)), self._size)[0][0])

    def motion(self, paths: Sequence[Path], frames_per_second: float) -> float:
        """How much moves in a clip, see clips/motion.py."""
        source = self.hash_of(paths)
        key = CacheKey(source=source, view={"what": "motion", "rate": frames_per_second}, model="", code=CODE)

        def make() -> Tensors:
            return {"motion": torch.tensor(measure_pictures(paths, frames_per_second).motion, dtype=torch.float64)}

        return self._cache.get(key, make)["motion"].item()

    def hash_of(self, paths: Sequence[Path]) -> str:
        return _joined(self._hash(path) for path in paths)

    def _latent(self, path: Path) -> Tensor:
        def make() -> Tensors:
            scale = self._model.vae.module.config.scaling_factor
            return {"latent": encode_pictures(self._model.vae, self.picture(path)) * scale}

        return self._cache.get(self._key(path, "latent", self._vae_hash), make)["latent"]

    def _key(self, path: Path, what: str, model: str) -> CacheKey:
        return CacheKey(source=self._hash(path), view={"what": what, **asdict(self._size)}, model=model, code=CODE)

    def _hash(self, path: Path) -> str:
        """Of a file's bytes, read again only where its size or time has changed."""
        with _clear_if_gone(path):
            facts = path.stat()
            stamp = (path, facts.st_size, facts.st_mtime_ns)
            if stamp not in self._hashes:
                self._hashes[stamp] = hash_of_files([path])
        return self._hashes[stamp]


def training_clips(
    chosen: ChosenClips,
    cached: CachedFootage,
    settings: SVDTraining,
    frames: int,
    on_clip: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[TrainingClip], list[TrainingClip]]:
    """The clips to train on and those to validate with, the motion measured where nobody has yet."""
    clips = [*chosen.trained, *chosen.held_out]
    buckets = [settings.motion_bucket] * len(clips)
    if not settings.motion_bucket:
        buckets = motion_buckets(_motions(clips, chosen.footage, cached, on_clip))
    made = [
        TrainingClip(
            name=clip.name,
            paths=tuple(chosen.footage.paths(clip)),
            frames=frames,
            step=settings.frame_step,
            frames_per_second=rate_of(clip, settings),
            motion_bucket=bucket,
        )
        for clip, bucket in zip(clips, buckets, strict=True)
    ]
    return made[: len(chosen.trained)], made[len(chosen.trained) :]


def _motions(
    clips: Sequence[Clip], footage: Footage, cached: CachedFootage, on_clip: Callable[[int, int], None]
) -> list[float]:
    """How much moves in each: what the manifest says, or else what is measured."""
    found = {clip.name: clip.motion for clip in clips if clip.motion is not None}
    unknown = [clip for clip in clips if clip.motion is None]
    for done, clip in enumerate(unknown, 1):
        found[clip.name] = cached.motion(footage.paths(clip), clip.frames_per_second or ASSUMED_RATE)
        on_clip(done, len(unknown))
    return [found[clip.name] for clip in clips]


def told_of(clip: TrainingClip, settings: SVDTraining) -> dict[str, Any]:
    """What was made of a clip, to be kept beside the run."""
    return {
        "clip": clip.name,
        "frames": len(clip.paths),
        "taken": clip.frames,
        "step": clip.step,
        "fps_id": clip.fps_id,
        "motion_bucket": clip.motion_bucket,
        "size": [settings.width, settings.height],
        "fit": settings.fit,
    }


def _joined(hashes: Iterable[str]) -> str:
    return blake2b("".join(hashes).encode(), digest_size=20).hexdigest()


@contextmanager
def _clear_if_gone(path: Path) -> Iterator[None]:
    """Say in a sentence that a frame is gone."""
    try:
        yield
    except FileNotFoundError as error:
        raise TrainingError(
            f"{path} is gone since the footage was read. Put it back, or take its clip out of the footage, and go on "
            "with the run: what was saved is still there."
        ) from error
