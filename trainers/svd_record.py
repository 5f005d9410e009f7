"""clips.json in a run's folder: what was made of each clip; and, when the run goes on, what has changed since.

The run goes on with footage that has changed, because clips are added and mended on purpose. But it says so: a clip
that is held out after it was trained on makes the validation look better than it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..clips.footage import some_of
from ..media.files import written_beside
from .svd_footage import CachedFootage, TrainingClip, told_of
from .svd_settings import SVDTraining

FILE = "clips.json"
TRAINED, HELD_OUT = "trained", "held out"

Record = dict[str, list[dict[str, Any]]]
"""The clips by what they are for."""


def record_of(
    settings: SVDTraining, cached: CachedFootage, trained: Sequence[TrainingClip], held_out: Sequence[TrainingClip]
) -> Record:
    def told(clips: Iterable[TrainingClip]) -> list[dict[str, Any]]:
        return [{**told_of(clip, settings), "hash": cached.hash_of(clip.paths)} for clip in clips]

    return {TRAINED: told(trained), HELD_OUT: told(held_out)}


def write_record(run: Path, record: Record) -> None:
    with written_beside(run / FILE) as draft:
        draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")


def changes_since(run: Path, record: Record) -> str:
    """What is other than the last session wrote, in a sentence or two; nothing where it is the same, or not known."""
    try:
        before, now = _clips_of(json.loads((run / FILE).read_text(encoding="utf-8"))), _clips_of(record)
    except (OSError, ValueError, TypeError, KeyError):  # there is none yet, or it is somebody's own
        return ""
    changes = "; ".join(_changes(before, now))
    return changes and f"The footage has changed since the run was there last: {changes}. The run goes on with it."


Clips = dict[str, tuple[str, str]]
"""What each is for and the hash of its frames, by name."""


def _clips_of(record: Record) -> Clips:
    return {clip["clip"]: (use, clip["hash"]) for use in (TRAINED, HELD_OUT) for clip in record[use]}


def _changes(before: Clips, now: Clips) -> Iterator[str]:
    both = [name for name in now if name in before]
    for words, names in (
        ("new", [name for name in now if name not in before]),
        ("gone", [name for name in before if name not in now]),
        ("of other frames", [name for name in both if before[name][1] != now[name][1]]),
        (
            "held out after being trained on, so validation shows less than it seems to",
            [name for name in both if before[name][0] == TRAINED and now[name][0] == HELD_OUT],
        ),
        (
            "trained on after being held out",
            [name for name in both if before[name][0] == HELD_OUT and now[name][0] == TRAINED],
        ),
    ):
        if names:
            yield f"{some_of(names)} {'is' if len(names) == 1 else 'are'} {words}"
