"""Clips of the toy world as footage: pictures and a manifest, and beside the frames of each clip what is true of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..clips.cameras import with_camera
from ..clips.footage import Clip, Footage, update_manifest
from ..clips.ledger import MADE, Ledger, made_of, opened_ledger
from ..media.frame_folders import FramesOptions, write_frames
from ..media.pictures import to_bytes
from .clip import LARGEST_SEED, ClipOptions, ToyClip
from .objects import ObjectsClip
from .scenes import draw, scene_of
from .shapes import ShapesOptions

TRUTH = "truth.json"
LOOKS = "2"  # changes when the same options come to draw other pictures, so that clips are drawn again


@dataclass(frozen=True, kw_only=True)
class RenderingOptions:
    clips: int = 8
    clip: ClipOptions = field(default_factory=ShapesOptions)  # each one's seed is the one before's and 1

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise ValueError(f"clips is {self.clips}. Ask for 1 clip or more.")
        if self.clip.seed + self.clips - 1 > LARGEST_SEED:
            raise ValueError(f"The last clip's seed is above {LARGEST_SEED}. Choose a smaller seed.")

    @property
    def scene(self) -> str:
        return scene_of(self.clip)


@dataclass(frozen=True)
class Rendered:
    footage: Footage
    made: int  # so many of its clips are new; the others were there already


def render_footage(
    root: str | Path,
    options: RenderingOptions = RenderingOptions(),
    on_clip: Callable[[int, int], None] = lambda done, total: None,
) -> Rendered:
    """Draw clips into a folder, each whole or not at all; what is there already, drawn in the same way, stays.

    `on_clip` is told how many clips are done, of how many. To cancel, raise from it: what is finished by then stays.
    """
    footage, made = Footage(Path(root), ()), Footage(Path(root), ())
    try:
        with opened_ledger(footage.root) as ledger:
            for number in range(options.clips):
                clip = replace(options.clip, seed=options.clip.seed + number)
                name = f"{options.scene}_{clip.seed:05}"
                there = _unchanged(ledger, name, clip)
                if there is None:
                    there = _render(ledger, name, clip)
                    made = made.with_clips([*made.clips, there])
                footage = footage.with_clips([*footage.clips, there])
                on_clip(number + 1, options.clips)
    finally:
        if made.clips:
            _caption(made)
    return Rendered(footage, len(made.clips))


def _caption(made: Footage) -> None:
    """Write down the captions of new clips. A ledger keeps those that were there, but what they told of is gone."""
    update_manifest(made, "caption")


def _unchanged(ledger: Ledger, name: str, options: ClipOptions) -> Clip | None:
    """The clip that is there already, whole, drawn with these options."""
    clip = ledger.clips.get(name)
    made, folder = made_of(clip), ledger.root / name
    if clip is None or made is None:
        ledger.check_place(name)
        return None
    whole = folder.is_dir() and {entry.name for entry in os.scandir(folder)} >= {*clip.frames, TRUTH}
    return clip if whole and made.get("how") == _how_made(options) else None


def _render(ledger: Ledger, name: str, options: ClipOptions) -> Clip:
    toy_clip = draw(options)
    draft, before = ledger.draft(), ledger.clips.get(name)
    numbers = range(1, options.frames + 1)
    paths = write_frames(
        draft, to_bytes(toy_clip.images), FramesOptions(name=f"{name}_frame_{{n}}", numbers=list(numbers))
    )
    (draft / TRUTH).write_text(json.dumps(truth_record(toy_clip), indent=1) + "\n", encoding="utf-8", newline="\n")
    clip = Clip(
        name=name,
        frames=tuple(path.name for path in paths),
        indices=tuple(range(options.frames)),
        width=options.width,
        height=options.height,
        frames_per_second=options.frames_per_second,
        split=before.split if before else "",
        caption=toy_clip.caption,
        other=json.dumps({MADE: {"how": _how_made(options)}}, sort_keys=True),
    )
    if isinstance(toy_clip, ObjectsClip):
        clip = with_camera(clip, toy_clip.scene.elevations, toy_clip.scene.azimuths)
    ledger.commit(draft, clip)
    return clip


def truth_record(clip: ToyClip) -> dict[str, Any]:
    """What is true of a clip, as its truth.json holds it."""
    return {
        "caption": clip.caption,
        "seed": clip.options.seed,
        "frames": clip.options.frames,
        "frames_per_second": clip.options.frames_per_second,
        "width": clip.options.width,
        "height": clip.options.height,
        **clip.truth.record(),
    }


def _how_made(options: ClipOptions) -> dict[str, Any]:
    return {"scene": type(options).__name__, "looks": LOOKS, **asdict(options)}
