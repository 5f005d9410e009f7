"""Which of many clips are drawn: those of the first scenes, each by all models, so that nobody's are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeVar


class OfScene(Protocol):
    @property
    def model(self) -> str: ...

    @property
    def item(self) -> str: ...


ClipT = TypeVar("ClipT", bound=OfScene)


def first_scenes(clips: Sequence[ClipT], most: int) -> list[list[ClipT]]:
    """The clips by what they show, whole scenes as long as there are `most` clips or fewer; of the first at least some.

    A model has one clip of a scene: where it has several of an item, the second is of another scene.
    """
    times: Counter[tuple[str, str]] = Counter()
    scenes: dict[tuple[str, int], list[ClipT]] = {}
    for clip in clips:
        times[clip.item, clip.model] += 1
        scenes.setdefault((clip.item, times[clip.item, clip.model]), []).append(clip)
    first, *others = scenes.values()
    chosen, count = [first[:most]], len(first)
    for scene in others:
        count += len(scene)
        if count > most:  # a later one that fits would be chosen for nothing but its missing clips
            break
        chosen.append(scene)
    return chosen
