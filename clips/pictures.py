"""Pictures on disk: which there are in a folder and below it."""

import os
from collections import Counter
from pathlib import Path

from .footage import FootageError, is_picture, path_order


def find_pictures(place: str | Path) -> dict[str, Path]:
    """A picture, or those in a folder and below it in natural order, by their names below it without the suffix.

    Two that differ in the suffix alone keep it in their names.
    """
    place = Path(place)
    if place.is_dir():
        below = [path.relative_to(place).as_posix() for path in _pictures_below(place)]
        if not below:
            raise FootageError(f"There is no picture in {place} or in the folders below it. Check the folder's name.")
        below.sort(key=path_order)
    elif place.exists():
        place, below = place.parent, [place.name]
    else:
        raise FootageError(f"{place} does not exist. Give a picture, or a folder with pictures in it or below it.")
    stems = [name.removesuffix(Path(name).suffix) for name in below]
    times = Counter(stems)
    names = [name if times[stem] > 1 else stem for name, stem in zip(below, stems, strict=True)]
    return {name: place / path for name, path in zip(names, below, strict=True)}


def _pictures_below(root: Path) -> list[Path]:
    found, seen = [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        here = Path(folder).resolve()
        if here in seen:  # links may lead in a circle
            subfolders.clear()
            continue
        seen.add(here)
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in files if is_picture(name)]
    return found
