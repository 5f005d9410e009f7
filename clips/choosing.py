"""Choosing clips: some of each class of a set of videos, and which clips are for training, validation and testing.

Chance is a hash of the seed and the names, and no random generator: the same seed chooses the same on every system and
version of Python, in whatever order the clips come.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Literal

from ..media.files import written_beside
from .footage import SPLITS, Clip, Footage, FootageError, natural_order, path_order, read_manifest, some_of
from .naming import class_of, comparable, group_of, parse_action
from .sources import VIDEO_SUFFIXES, Video, find_videos

LARGEST_DENOMINATOR = 10**6  # ratios are taken as people write them, 0.1 as a tenth
SAME_TIME_SECONDS = 2  # FAT counts in steps of that
NO_CLASS = "(no class)"

OnFile = Callable[[int, int], None]
"""Told how many files are done, of how many; to cancel, it raises."""


def nobody_listens(done: int, total: int) -> None:
    """What `on_file` is where nobody asks."""


def drawn_number(seed: int, *names: str) -> str:
    """What stands for a thing in a draw: the same on every system, and unrelated for another seed or name."""
    text = "\0".join([str(seed), *(comparable(name) for name in names)])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# K videos of each class


@dataclass(frozen=True)
class ActionVideo:
    """A video of an action data set, which is laid out class/v_Class_g01_c02.avi."""

    path: Path
    action: str  # its class, as its folder is called

    @property
    def below(self) -> str:
        """Where it goes in a folder of chosen videos."""
        return f"{self.action}/{self.path.name}"


def find_actions(source: str | Path, out: str | Path | None = None) -> tuple[list[ActionVideo], list[str]]:
    """The videos below a folder by class, and what is odd about them; what lies in `out` is left out.

    The class is the folder that a video lies in. One that lies in no class's folder is of the class in its name.
    """
    found: dict[str, list[str]] = defaultdict(list)
    spelling: dict[str, str] = {}
    videos = []
    for video in find_videos(source, source if out is None else out):
        action = _action_of(video, found)
        if action:
            # Folders that differ in case are one class, as they are on Windows: the first of them names it.
            action = spelling.setdefault(comparable(action), action)
            videos.append(ActionVideo(video.path, action))
    if not videos:
        raise FootageError(
            f"No video in {source} tells its class. Put each into a folder of its class, as archery/one.avi, or call "
            "it like v_Archery_g01_c02.avi."
        )
    return videos, [sentence.format(which=some_of(names)) for sentence, names in found.items()]


def _action_of(video: Video, found: Mapping[str, list[str]]) -> str:
    *folders, file = video.below.split("/")
    named = parse_action(file.rpartition(".")[0])
    if not folders:
        if not named:
            found["Left out, because neither a folder nor the name tells the class of these: {which}."].append(file)
        return named.action if named else ""
    if not named:
        found["These are not called like v_Class_g01_c02, so each is a group of its own: {which}."].append(video.below)
    elif _letters(named.action) != _letters(folders[-1]):
        found["Their folder and not their name is taken for the class of these: {which}."].append(video.below)
    return folders[-1]


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, comparable(name)))


def choose_per_class(
    videos: Sequence[ActionVideo], per_class: int, *, seed: int = 0, classes: Sequence[str] = ()
) -> tuple[list[ActionVideo], list[str]]:
    """Draw so many videos of each class, of some classes only where they are named; and say which have too few."""
    if per_class < 1:
        raise FootageError(f"{per_class} clips of each class are asked for. Ask for 1 or more.")
    by_class: dict[str, list[ActionVideo]] = defaultdict(list)
    for video in videos:
        by_class[video.action].append(video)
    chosen, short = [], []
    for action in _wanted(sorted(by_class, key=natural_order), classes):
        drawn = sorted(by_class[action], key=lambda video: (drawn_number(seed, video.below), str(video.path)))
        chosen += sorted(drawn[:per_class], key=lambda video: path_order(video.below))
        if len(drawn) < per_class:
            short.append(f"{action} ({len(drawn)})")
    notes = (
        [f"All that there is was taken of the classes with fewer than {per_class}: {some_of(short)}."] if short else []
    )
    _refuse_equal_names(chosen)
    return chosen, notes


def _wanted(there: Sequence[str], classes: Sequence[str]) -> list[str]:
    known = {comparable(action): action for action in there}
    for wanted in classes:
        if comparable(wanted) not in known:
            close = difflib.get_close_matches(comparable(wanted), known, n=1)
            hint = f" Did you mean {known[close[0]]}?" if close else f" There are {some_of(list(there))}."
            raise FootageError(f"There is no class {wanted!r} among the {len(there)}.{hint}")
    return list(dict.fromkeys(known[comparable(wanted)] for wanted in classes)) or list(there)


def _refuse_equal_names(videos: Iterable[ActionVideo]) -> None:
    taken: dict[str, Path] = {}
    for video in videos:
        other = taken.setdefault(comparable(video.below), video.path)
        if other != video.path:
            raise FootageError(f"{other} and {video.path} would both become {video.below}. Rename one of them.")


def copy_videos(videos: Sequence[ActionVideo], out: str | Path, on_file: OnFile = nobody_listens) -> list[Path]:
    """Copy videos to out/<class>/<file>, each of them whole or not at all. A copy that is there already is not redone.

    Gives the files that were copied now.
    """
    copied = []
    for done, video in enumerate(videos):
        on_file(done, len(videos))
        target = Path(out) / video.below
        if not _is_copy(target, video.path):
            if not video.path.is_file() or not os.access(video.path, os.R_OK):
                raise FootageError(
                    f"{video.path} cannot be copied: this user may not read it, or it is a link to nothing. Change its "
                    "permissions, or remove it."
                )
            with written_beside(target) as draft:
                shutil.copyfile(video.path, draft)
                _keep_time(video.path, draft)
            copied.append(target)
    on_file(len(videos), len(videos))
    return copied


def others_in(out: str | Path, videos: Iterable[ActionVideo]) -> list[str]:
    """The videos in a folder of chosen ones that are not among these, as those of an earlier choice."""
    chosen = {comparable(video.below) for video in videos}
    there = Path(out).glob("*/*") if Path(out).is_dir() else []
    names = (path.relative_to(out).as_posix() for path in there if path.suffix.lower() in VIDEO_SUFFIXES)
    return sorted((name for name in names if comparable(name) not in chosen), key=path_order)


def _is_copy(target: Path, source: Path) -> bool:
    if not target.is_file():
        return False
    there, original = target.stat(), source.stat()
    return there.st_size == original.st_size and abs(there.st_mtime - original.st_mtime) <= SAME_TIME_SECONDS


def _keep_time(source: Path, target: Path) -> None:
    stat = source.stat()
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))


# Train, validation and test


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1
    by: Literal["group", "clip"] = "group"  # groups are never on two sides
    across_classes: bool = False  # whether g01 of one class and g01 of another are the same group
    seed: int = 0

    def __post_init__(self) -> None:
        for name in SPLITS:
            if not (math.isfinite(ratio := getattr(self, name)) and 0 <= ratio <= 1):
                raise FootageError(f"The share of {name} is {ratio:g}. It goes from 0, for none, to 1, for all.")
        if sum(self.ratios.values()) != 1:
            raise FootageError(
                f"The shares of train, validation and test are {self.train:g}, {self.validation:g} and {self.test:g}, "
                f"which is {float(sum(self.ratios.values())):g} in all. Make it 1, as 0.8, 0.1 and 0.1."
            )
        if self.by not in ("group", "clip"):
            raise FootageError(f"Clips are split by {self.by!r}. Choose group or clip.")
        if self.across_classes and self.by == "clip":
            raise FootageError("Groups across classes only mean something when clips are split by group.")

    @property
    def ratios(self) -> dict[str, Fraction]:
        """The exact share of each split, as it was written."""
        return {name: Fraction(getattr(self, name)).limit_denominator(LARGEST_DENOMINATOR) for name in SPLITS}


_Kind = tuple[tuple[str, ...], int, str]  # what makes units alike: their classes, their size, their split


@dataclass(frozen=True)
class _Unit:
    """Clips that stay together."""

    key: str
    clips: tuple[Clip, ...]

    @property
    def classes(self) -> list[str]:
        return sorted({comparable(class_of(clip)) for clip in self.clips})


def split_footage(footage: Footage, options: SplitOptions = SplitOptions()) -> Footage:
    """Give each clip its split: each class in every split where it has enough groups, the ratios as near as they allow.

    Clips of one video, recognized by its hash, stay together like those of one group. Clips that a name tells no group
    of are groups of their own.
    """
    units = {unit.key: unit for unit in _units(footage.clips, options)}
    # Classes that share a group or a video cannot be shared out one after the other.
    strata = _connected({key: unit.classes for key, unit in units.items()})
    split_of: dict[str, str] = {}
    owed = dict.fromkeys(SPLITS, Fraction(0))
    for stratum in sorted(strata, key=lambda keys: drawn_number(options.seed, "class", *units[keys[0]].classes)):
        drawn = sorted(stratum, key=lambda key: drawn_number(options.seed, "unit", key))
        sides = _shared_out([units[key] for key in drawn], options.ratios, owed)
        _swap_towards_ratios(sides, [units[key] for key in drawn], owed)
        split_of.update((clip.name, split) for key, split in sides.items() for clip in units[key].clips)
    return footage.with_clips(replace(clip, split=split_of[clip.name]) for clip in footage.clips)


def _shared_out(units: Sequence[_Unit], ratios: Mapping[str, Fraction], owed: dict[str, Fraction]) -> dict[str, str]:
    """Give each unit, by its key, to the split that lacks most, and change `owed`, what each split lacks so far.

    What one class could not share out evenly is carried over to the next. A unit that brings a class to a split which
    would otherwise get none of it goes there.
    """
    clips = sum(len(unit.clips) for unit in units)
    for split in owed:
        owed[split] += ratios[split] * clips
    remaining = Counter(action for unit in units for action in unit.classes)
    lacking = {action: [split for split in SPLITS if ratios[split]] for action in remaining}
    # A class with fewer units than there are splits cannot be in all of them, so nothing is reserved for it.
    reserved = {action for action, count in remaining.items() if count >= len(lacking[action])}
    sides = {}
    for unit in units:
        urgent = [
            split
            for action in unit.classes
            if action in reserved and remaining[action] <= len(lacking[action])
            for split in lacking[action]
        ]
        choices = urgent or [split for split in SPLITS if ratios[split]]
        split = max(choices, key=lambda name: (owed[name], -SPLITS.index(name)))
        owed[split] -= len(unit.clips)
        for action in unit.classes:
            remaining[action] -= 1
            lacking[action] = [name for name in lacking[action] if name != split]
        sides[unit.key] = split
    return sides


def _swap_towards_ratios(sides: dict[str, str], units: Sequence[_Unit], owed: dict[str, Fraction]) -> None:
    """Swap units of different size between splits as long as that brings the splits nearer to what they should have.

    Only units of the same classes are swapped, so no class leaves a split.
    """
    alike: dict[_Kind, list[str]] = defaultdict(list)
    for unit in units:
        alike[tuple(unit.classes), len(unit.clips), sides[unit.key]].append(unit.key)
    while True:
        best = min(_swaps(alike, owed), default=None)
        if best is None or best[0] >= 0:
            return
        _, one, other = best
        (classes, size, split), (_, other_size, other_split) = one, other
        key, other_key = alike[one].pop(0), alike[other].pop(0)
        sides[key], sides[other_key] = other_split, split
        alike[classes, size, other_split].append(key)
        alike[classes, other_size, split].append(other_key)
        owed[split] += size - other_size
        owed[other_split] += other_size - size


def _swaps(
    alike: Mapping[_Kind, Sequence[str]], owed: Mapping[str, Fraction]
) -> Iterator[tuple[Fraction, _Kind, _Kind]]:
    """(by how much it changes half the sum of the squares of what is owed, the one kind, the other) of each swap."""
    for one, other in combinations(sorted(kind for kind, keys in alike.items() if keys), 2):
        if one[0] == other[0] and one[1] != other[1] and one[2] != other[2]:
            gain = one[1] - other[1]  # what the first one's split then lacks more
            yield gain * (owed[one[2]] - owed[other[2]] + gain), one, other


def _units(clips: Iterable[Clip], options: SplitOptions) -> list[_Unit]:
    members: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.name):
        members[_unit_key(clip, options)].append(clip)
    if options.by == "clip":
        return [_Unit(key, tuple(clips)) for key, clips in members.items()]
    videos = {key: {clip.sha256 for clip in clips} - {""} for key, clips in members.items()}
    return [_Unit(keys[0], tuple(clip for key in keys for clip in members[key])) for keys in _connected(videos)]


def _unit_key(clip: Clip, options: SplitOptions) -> str:
    group = group_of(clip) if options.by == "group" else ""
    if not group:
        return f"clip\0{comparable(clip.name)}\0{clip.name}"
    return f"group\0{group}" if options.across_classes else f"group\0{comparable(class_of(clip))}\0{group}"


def _connected(tokens: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Gather the keys that share a token, directly or through others."""
    holders: dict[str, list[str]] = defaultdict(list)
    for key, its_tokens in tokens.items():
        for token in its_tokens:
            holders[token].append(key)
    seen: set[str] = set()
    parts = []
    for start in sorted(tokens):
        part, waiting = [], [start]
        while waiting:
            key = waiting.pop()
            if key not in seen:
                seen.add(key)
                part.append(key)
                waiting += [other for token in tokens[key] for other in holders.pop(token, ())]
        if part:
            parts.append(sorted(part))
    return parts


def groups_on_two_sides(footage: Footage, *, across_classes: bool = False) -> list[str]:
    """The groups whose clips are in more than one split, by the name of their first clip: what no split should have."""
    units = _units(footage.clips, SplitOptions(across_classes=across_classes))
    return [unit.clips[0].name for unit in units if len({clip.split for clip in unit.clips} - {""}) > 1]


# Telling


def count_table(footage: Footage) -> str:
    """How many clips of each class are in each split, as a table of text; and the frames and shares of the splits."""
    columns = [split for split in (*SPLITS, "") if split in {clip.split for clip in footage.clips} or split in SPLITS]
    classes: dict[str, str] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for clip in footage.clips:
        action = class_of(clip) or NO_CLASS
        counts[classes.setdefault(comparable(action), action), clip.split] += 1
    frames: Counter[str] = Counter()
    for clip in footage.clips:
        frames[clip.split] += len(clip.frames)
    clips = Counter(clip.split for clip in footage.clips)
    rows = [["class", *(split or "none" for split in columns), "all"]]
    for action in sorted(classes.values(), key=natural_order):
        rows.append(_row(action, [counts[action, split] for split in columns]))
    rows.append(_row("clips", [clips[split] for split in columns]))
    rows.append(_row("frames", [frames[split] for split in columns]))
    total = max(1, len(footage.clips))
    rows.append(["share", *(f"{100 * clips[split] / total:.1f} %" for split in columns), ""])
    return _aligned(rows, rules_before={1, len(rows) - 3})


def _row(title: str, numbers: Sequence[int]) -> list[str]:
    return [title, *map(str, numbers), str(sum(numbers))]


def _aligned(rows: Sequence[Sequence[str]], rules_before: set[int]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        if number in rules_before:
            lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def notes_on_split(footage: Footage, options: SplitOptions) -> list[str]:
    """Say what a split could not do, and what is wrong between these clips and others of their manifest."""
    notes = missing_classes(footage, options)
    names = {clip.name for clip in footage.clips}
    others = [clip for clip in read_manifest(footage.root) if clip.name not in names]
    if options.by == "group":
        together = footage.with_clips([*footage.clips, *others])
        notes += told_of_groups(groups_on_two_sides(together, across_classes=options.across_classes))
    return notes


def told_of_groups(torn: Sequence[str]) -> list[str]:
    """A sentence on groups that are in more than one split, by the names of their first clips; none of none."""
    if not torn:
        return []
    return [
        f"Clips of one group or video are in more than one split, so a test on them says little: {some_of(list(torn))} "
        "and what belongs together with it. Split all clips of the folder at once."
    ]


def missing_classes(footage: Footage, options: SplitOptions) -> list[str]:
    """Say which splits have no clip at all, or none of some class, because there are too few groups."""
    present: dict[str, set[str]] = defaultdict(set)
    named: dict[str, str] = {}
    for clip in footage.clips:
        if class_of(clip):
            action = named.setdefault(comparable(class_of(clip)), class_of(clip))
            present[action].add(clip.split)
    notes = []
    for split in (split for split in SPLITS if options.ratios[split]):
        if footage.clips and not footage.select(split).clips:
            notes.append(f"No clip is left for {split}: there are too few clips, or too few groups.")
            continue
        absent = sorted((action for action in present if split not in present[action]), key=natural_order)
        if absent:
            notes.append(f"No clip is left for {split} of the classes with too few groups: {some_of(absent)}.")
    return notes
