"""Pairs of frames for training: what a model sees, and the frame that it should give.

A pair of frame t is the `context` frames that end with t, `spacing` apart, and the target t + `step`:

    context 3, spacing 2, step 4:    t-4 . t-2 . t . . . t+4

Frames are counted by their place in the clip, from 0. No pair reaches across a cut.

Axes: f frames, h height, w width, c channels.
"""

from __future__ import annotations

import operator
import os
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path, PurePosixPath
from typing import overload

import torch
from torch import Tensor

from ..media.files import folder_written_beside
from ..media.pictures import read_picture
from .cuts import find_cuts
from .footage import ALL_IN_ONE, Clip, Footage, FootageError, picture_size
from .naming import comparable

Cuts = Mapping[str, Sequence[int]]
"""By a clip's name, the places of the frames at which another scene begins."""
OnStep = Callable[[int, int], None]
"""Told how much is done, of how much; to cancel, it raises."""


def nobody_listens(done: int, total: int) -> None:
    """What `on_step` is where nobody asks."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    step: int = 1  # the target is so many frames after t
    stride: int = 1  # from one t to the next
    context: int = 1  # how many frames a model sees, t the last of them
    spacing: int = 1  # from one of these to the next

    def __post_init__(self) -> None:
        for name in ("step", "stride", "context", "spacing"):
            if (value := getattr(self, name)) < 1:
                raise FootageError(f"{name} is {value}. It counts frames and is 1 or more.")

    @property
    def before(self) -> int:
        """How far the first frame of the context is before t."""
        return (self.context - 1) * self.spacing


@dataclass(frozen=True)
class Pair:
    """A context and its target, as places in a clip and as files."""

    clip: str
    places: tuple[int, ...]  # of the context, rising; the last is t
    target: int
    paths: tuple[Path, ...]
    target_path: Path


@dataclass(frozen=True)
class LoadedPair:
    """The pixels of a pair, in 0..1."""

    context: Tensor  # (f h w c)
    target: Tensor  # (1 h w c)


class FramePairs(Sequence[Pair]):
    """All pairs of footage, each made when it is asked for.

    What is kept is one entry a scene, so a million frames cost what their names cost. It may be shared by threads and
    sent to other processes.
    """

    def __init__(self, footage: Footage, options: PairOptions = PairOptions(), cuts: Cuts | None = None) -> None:
        self.footage, self.options = footage, options
        scenes = [
            (number, start, pairs)
            for number, clip in enumerate(footage.clips)
            for start, end in pairwise(_borders(clip, (cuts or {}).get(clip.name, ())))
            if (pairs := self._pairs_within(end - start))
        ]
        _refuse_unknown(footage, cuts or {})
        self._clips = [number for number, _, _ in scenes]
        self._starts = [start for _, start, _ in scenes]
        self._ends = list(accumulate(pairs for _, _, pairs in scenes))  # how many pairs there are up to a scene's end

    def _pairs_within(self, frames: int) -> int:
        spare = frames - self.options.before - self.options.step - 1
        return spare // self.options.stride + 1 if spare >= 0 else 0

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"There are {len(self)} pairs, and number {place} is asked for.")
        return self._pair(place % len(self))

    def _pair(self, place: int) -> Pair:
        scene = bisect_right(self._ends, place)
        within = place - (self._ends[scene - 1] if scene else 0)
        first = self._starts[scene] + within * self.options.stride
        places = tuple(range(first, first + self.options.before + 1, self.options.spacing))
        clip = self.footage.clips[self._clips[scene]]
        folder, target = self.footage.folder(clip), places[-1] + self.options.step
        paths = tuple(folder / clip.frames[each] for each in places)
        return Pair(clip.name, places, target, paths, folder / clip.frames[target])

    def load(self, index: int) -> LoadedPair:
        """Read the pixels of a pair; grey and transparent pictures become red, green and blue."""
        pair = self[index]
        pictures = [read_picture(path) for path in (*pair.paths, pair.target_path)]
        _refuse_mixed(pair, [(picture.shape[1], picture.shape[0]) for picture in pictures])
        pixels = torch.stack([torch.from_numpy(picture) for picture in pictures]).float().div_(255)
        return LoadedPair(pixels[:-1], pixels[-1:])


def _borders(clip: Clip, cuts: Iterable[int]) -> list[int]:
    """Where the scenes of a clip begin, and where the last one ends."""
    frames = len(clip.frames)
    places = sorted(set(cuts))
    if places and not 0 <= places[0] <= places[-1] < frames:
        outside = places[0] if places[0] < 0 else places[-1]
        raise FootageError(
            f"A cut at frame {outside} of {clip.name} is named, which has {frames} frames, counted from 0. "
            "Give the places of frames in the clip, not their numbers in the video."
        )
    return [0, *(place for place in places if place), frames]


def _refuse_unknown(footage: Footage, cuts: Cuts) -> None:
    unknown = cuts.keys() - {clip.name for clip in footage.clips}
    if unknown:
        raise FootageError(f"Cuts are named of {min(unknown)!r}, which is no clip of this footage. Check the name.")


def _refuse_mixed(pair: Pair, sizes: Sequence[tuple[int, int]]) -> None:
    for size, path in zip(sizes, (*pair.paths, pair.target_path), strict=True):
        if size != sizes[0]:
            raise FootageError(
                f"{path.name} of {pair.clip} is {size[0]}x{size[1]}, and {pair.paths[0].name} is "
                f"{sizes[0][0]}x{sizes[0][1]}. The frames of a pair have one size: extract them again with a size, "
                "or resize them."
            )


def cuts_of(footage: Footage, on_clip: OnStep = nobody_listens) -> dict[str, list[int]]:
    """Look at every frame for where the scenes of the clips begin."""
    cuts = {}
    for done, clip in enumerate(footage.clips):
        on_clip(done, len(footage.clips))
        cuts[clip.name] = list(find_cuts(read_picture(path) for path in footage.paths(clip)))
    on_clip(len(footage.clips), len(footage.clips))
    return cuts


# Written out


def write_pairs(
    pairs: FramePairs, out: str | Path, *, link: bool = True, on_pair: OnStep = nobody_listens
) -> dict[str, Path]:
    """Write pairs as files of equal names in `input/` (frame t) and `target/`, in a new folder that appears whole.

    With a longer context `input-1/` holds the frames one spacing before t, `input-2/` those before them, and so on.
    With `link` a frame that several pairs share takes its room on the disk once, where the disk can do that. Gives the
    folders.
    """
    if not len(pairs):
        raise FootageError(
            f"There is no pair: no scene has the {pairs.options.before + pairs.options.step + 1} frames that one "
            "needs. Take a smaller step or context, or longer clips."
        )
    out = Path(out)
    folders = [*reversed(["input", *(f"input-{back}" for back in range(1, pairs.options.context))]), "target"]
    names = dict(_flat_names(pairs.footage))
    of_unknown_size = {clip.name for clip in pairs.footage.clips if not clip.width}
    with folder_written_beside(out) as draft:
        for folder in folders:
            (draft / folder).mkdir()
        for done, pair in enumerate(pairs):
            on_pair(done, len(pairs))
            sources = (*pair.paths, pair.target_path)
            if pair.clip in of_unknown_size:
                _refuse_mixed(pair, [picture_size(path) for path in sources])
            name = f"{names[pair.clip]}_{pair.places[-1]:06}{_shared_suffix(pair)}"
            for folder, source in zip(folders, sources, strict=True):
                _place(source, draft / folder / name, link=link)
    on_pair(len(pairs), len(pairs))
    return {folder: out / folder for folder in sorted(folders)}


def _flat_names(footage: Footage) -> Iterator[tuple[str, str]]:
    """(a clip's name, one without folders) of each clip; no two are alike on any system."""
    taken: set[str] = set()
    for clip in footage.clips:
        name = footage.root.resolve().name if clip.name == ALL_IN_ONE else clip.name.replace("/", "_")
        flat, number = name, 1
        while comparable(flat) in taken:
            number += 1
            flat = f"{name}-{number}"
        taken.add(comparable(flat))
        yield clip.name, flat


def _shared_suffix(pair: Pair) -> str:
    suffixes = {PurePosixPath(path.name).suffix.lower() for path in (*pair.paths, pair.target_path)}
    if len(suffixes) > 1:
        raise FootageError(
            f"{pair.clip} holds {' and '.join(sorted(suffixes))} files, and those of a pair are called alike. "
            "Extract the clip again, or convert its pictures to one format."
        )
    return suffixes.pop()


def _place(source: Path, target: Path, *, link: bool) -> None:
    if link:
        with suppress(OSError):  # another disk, a disk that knows no links, or too many of one file
            os.link(source.resolve(), target)
            return
    if not source.is_file():
        raise FootageError(f"{source} is not there any more. Read the footage again, and then write the pairs.")
    shutil.copyfile(source, target)
