"""Clips on disk that can be measured: videos, folders of frames, and folders of these.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..clips.footage import is_picture, natural_order
from ..clips.sources import VIDEO_SUFFIXES
from ..media.errors import MediaError
from ..media.memory import room_for_clip
from ..media.pictures import read_picture
from ..media.reading import load_frames, probe
from .errors import EvaluationError


@dataclass(frozen=True)
class ClipOnDisk:
    """A video, or a folder whose pictures are the frames."""

    path: Path
    name: str  # the file's name without its suffix, or the folder's

    @property
    def load(self) -> Callable[[], Tensor]:
        """Reads the clip as (f h w c) in 0..1 when it is called."""
        return partial(_load_folder if self.path.is_dir() else _load_video, self.path)

    @property
    def rate(self) -> float | None:
        """Frames per second; None where nothing tells, as of a folder, or of a file that loading will refuse."""
        if self.path.is_dir():
            return None
        try:
            return float(probe(self.path).frames_per_second)
        except ValueError:
            return None


@dataclass(frozen=True)
class Found:
    """What a path names."""

    clips: list[ClipOnDisk]
    is_folder: bool  # of clips, and no clip itself
    note: str = ""  # on what was passed over


def find_clips(place: str | Path) -> Found:
    """The clips that a path names. A folder in which there are clips is one of clips, whatever else lies in it."""
    place = Path(place)
    if not place.exists():
        raise EvaluationError(f"{place} does not exist. Give a video, a folder of frames, or a folder of clips.")
    if not place.is_dir():
        return Found([ClipOnDisk(place, place.stem)], is_folder=False)
    entries = sorted(place.iterdir(), key=lambda path: natural_order(path.name))
    clips = [ClipOnDisk(path, path.stem if path.is_file() else path.name) for path in entries if _is_clip(path)]
    pictures = _pictures_in(place)
    if clips:  # programs that save videos put a picture beside each
        return Found(clips, is_folder=True, note=_passed_over(place, clips, pictures))
    if pictures:
        return Found([ClipOnDisk(place, place.resolve().name)], is_folder=False)
    raise EvaluationError(
        f"There is no clip in {place}: no picture, no video and no folder of pictures. Check the folder's name."
    )


def _passed_over(folder: Path, clips: list[ClipOnDisk], pictures: list[Path]) -> str:
    if not pictures:
        return ""
    which = pictures[0].name if len(pictures) == 1 else f"{pictures[0].name} to {pictures[-1].name}"
    were = "1 picture is" if len(pictures) == 1 else f"{len(pictures)} pictures are"
    return (
        f"{folder} is a folder of clips, as {clips[0].path.name} is one, so {were} passed over in it: {which}. Frames "
        "of a clip belong into a folder that holds nothing else."
    )


def _is_clip(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return bool(_pictures_in(path)) if path.is_dir() else path.suffix.lower() in VIDEO_SUFFIXES


def _pictures_in(folder: Path) -> list[Path]:
    pictures = [path for path in folder.iterdir() if is_picture(path.name) and path.is_file()]
    return sorted(pictures, key=lambda path: natural_order(path.name))


def _load_video(path: Path) -> Tensor:
    facts = probe(path)
    return load_frames(path, range(facts.frames), facts)


def _load_folder(folder: Path) -> Tensor:
    paths = _pictures_in(folder)
    first = read_picture(paths[0])
    clip = room_for_clip(len(paths), *first.shape[:2], remedy="Measure fewer or smaller frames.")
    for number, path in enumerate(paths):
        pixels = read_picture(path)
        if pixels.shape != first.shape:
            raise MediaError(
                f"{path} is {pixels.shape[1]}x{pixels.shape[0]}, and the first frame beside it is "
                f"{first.shape[1]}x{first.shape[0]}. Bring all frames of a clip to one size."
            )
        torch.div(torch.from_numpy(pixels), 255, out=clip[number])
    return clip
