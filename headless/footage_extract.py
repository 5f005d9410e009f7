"""`zoetrope footage extract`: frames out of videos."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import ProgressDisplay, readable_duration

if TYPE_CHECKING:  # torch comes with them, and `--help` should not wait for it
    from ..clips.extracting import Extracted, ExtractingOptions, ExtractingStep, Rule
    from ..media.resizing import ResizeOptions
    from ..media.selection import Extent

OK, SOME_FAILED = 0, 2
RULES = ("every", "rate", "count", "most_different", "scenes", "all")
EXAMPLES = """\
examples:
  Every 10th frame of every video below a folder, as fine-tuning scripts expect it:
    zoetrope footage extract videos --out frames
  8 frames a second, cropped to 1024x576 and averaged where they shrink:
    zoetrope footage extract videos --out frames --rate 8 --size 1024x576 --fit cover --filter area
  16 frames spread over the first 5 seconds, fitted into a square on white:
    zoetrope footage extract videos --out frames --count 16 --seconds :5 --size 512x512 --pad white
  The 30 frames of the first 3 seconds that differ most from the frame before, none next to another:
    zoetrope footage extract videos --out frames --most-different 30 --window 3 --minimum-distance 2
  The middle frame of each scene, as JPEG:
    zoetrope footage extract film.mkv --out scenes --scenes --format jpg

Run it again after an interruption, or with more videos: what is done and unchanged is not done again. A video that
cannot be read is told at the end, and the exit code is 2 then.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="a video, or a folder with videos in it and below it"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="ROOT", help="the folder that gets a folder a video")
    _add_rules(parser.add_argument_group("which frames (one of these; every 10th without any)"))
    _add_ranges(parser.add_argument_group("of which part of each video"))
    _add_sizes(parser.add_argument_group("their size"))
    _add_files(parser.add_argument_group("files"))


def _add_rules(group: argparse._ArgumentGroup) -> None:
    rules = group.add_mutually_exclusive_group()
    rules.add_argument(
        "--every", type=int, metavar="N", help="every N-th frame; frame N is the first (see --count-from)"
    )
    rules.add_argument("--rate", type=float, metavar="FPS", help="those on screen at so many frames per second")
    rules.add_argument("--count", type=int, metavar="N", help="N frames spread evenly")
    rules.add_argument("--most-different", type=int, metavar="N", help="the N that differ most from the frame before")
    rules.add_argument("--scenes", action="store_true", help="one frame of each scene")
    rules.add_argument("--all", action="store_true", help="every frame")
    group.add_argument(
        "--window", type=float, metavar="SECONDS", help="with --most-different: look at so much (3; 0: all)"
    )
    group.add_argument(
        "--minimum-distance", type=int, metavar="FRAMES", help="with --most-different: between chosen frames (1)"
    )
    group.add_argument("--threshold", type=float, metavar="X", help="with --scenes: the least that ends one (20)")
    group.add_argument("--shortest-scene", type=float, metavar="SECONDS", help="with --scenes: shorter is none (0.5)")
    group.add_argument("--take", choices=("middle", "first"), help="with --scenes: which frame of it (middle)")


def _add_ranges(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--seconds", metavar="START:END", help="from START to before END; either may be left out")
    group.add_argument("--frames", metavar="FIRST:LAST", help="both included, by number; -1 is the last")
    group.add_argument(
        "--count-from", type=int, choices=(0, 1), help="the number of a video's first frame, also in names of files (1)"
    )


def _add_sizes(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--size", metavar="WxH", help="as 1024x576; with one side, as 1024x or x576, the aspect stays")
    group.add_argument("--fit", choices=("stretch", "cover", "pad"), help="fill it, crop to it, or show all (stretch)")
    group.add_argument(
        "--pad", metavar="GROUND", help="show all on white, black, #rrggbb, or blur, the picture's own blurred edges"
    )
    group.add_argument(
        "--anchor", choices=("center", "top", "bottom", "left", "right"), help="what cover keeps, where pad puts it"
    )
    group.add_argument("--multiple-of", type=int, metavar="N", help="make both sides multiples of N")
    group.add_argument(
        "--filter", choices=("lanczos", "bicubic", "bilinear", "area", "nearest"), help="how to resample (lanczos)"
    )


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--format", choices=("png", "jpg"), default="png", help="of the pictures (png)")
    group.add_argument("--quality", type=int, metavar="Q", help="of JPEG, 1 to 100 (95)")
    group.add_argument("--keep-folders", action="store_true", help="ROOT/a/b/ for a/b.mp4, where it would be ROOT/b/")
    group.add_argument("--jobs", type=int, metavar="N", help="read so many videos at a time (as suits the processor)")


def main(arguments: argparse.Namespace) -> int:
    """Extract; gives 0 where every video came out, else 2."""
    options = options_of(arguments)
    from ..clips.extracting import extract_footage

    with ProgressDisplay() as display:
        extracted = extract_footage(
            arguments.source,
            arguments.out,
            options,
            lambda step: display.show("Extracting frames", step.videos_done, step.videos, note_of(step)),
        )
    sys.stdout.write(f"{summary_of(extracted)}\n")
    for video, what in extracted.failed:
        sys.stderr.write(f"{video}: {what}\n")
    return SOME_FAILED if extracted.failed else OK


def note_of(step: ExtractingStep) -> str:
    """The rate, and the time that is left where it can be told."""
    left = f", {readable_duration(step.seconds_left)} left" if step.seconds_left and step.share < 1 else ""
    if not step.frames:
        return "nothing new yet"
    return f"{_counted(step.frames, 'frame')}, {step.frames_per_second:.0f} a second{left}"


def summary_of(extracted: Extracted) -> str:
    clips = extracted.footage.clips
    frames = sum(len(clip.frames) for clip in clips)
    parts = [f"{extracted.footage.root}: {_counted(frames, 'frame')} of {_counted(len(clips), 'video')}"]
    if extracted.kept:
        parts.append(f"{len(extracted.kept)} were there already")
    if extracted.failed:
        parts.append(f"{len(extracted.failed)} gave no frames")
    return ", ".join(parts) + "."


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def options_of(arguments: argparse.Namespace) -> ExtractingOptions:
    """What the arguments mean. What was not given is left to the options, which know the defaults."""
    from ..clips.extracting import ExtractingOptions

    given = {
        "rule": _rule(arguments),
        "extent": _extent(arguments),
        "count_from": arguments.count_from,
        "resize": _resize(arguments),
        "format": "jpeg" if arguments.format == "jpg" else arguments.format,
        "quality": arguments.quality,
        "keep_folders": arguments.keep_folders,
        "jobs": arguments.jobs,
    }
    if arguments.quality is not None and arguments.format == "png":
        raise ValueError("--quality is of JPEG, and the pictures are PNG. Add --format jpg, or leave it out.")
    return ExtractingOptions(**_without_none(given))


def _without_none(given: dict) -> dict:
    return {name: value for name, value in given.items() if value is not None}


def _rule(arguments: argparse.Namespace) -> Rule | None:
    from ..clips.different import MostDifferent, OnePerScene
    from ..media.selection import AtRate, EveryNth, Spread

    _check_companions(arguments)
    if arguments.all:
        return EveryNth(every=1)
    if arguments.scenes:
        settings = {
            "threshold": arguments.threshold,
            "shortest_seconds": arguments.shortest_scene,
            "take": arguments.take,
        }
        return OnePerScene(**_without_none(settings))
    if arguments.most_different is not None:
        settings = {"window_seconds": arguments.window, "minimum_distance": arguments.minimum_distance}
        return MostDifferent(count=arguments.most_different, **_without_none(settings))
    if arguments.rate is not None:
        return AtRate(frames_per_second=arguments.rate)
    if arguments.count is not None:
        return Spread(count=arguments.count)
    return None if arguments.every is None else EveryNth(every=arguments.every)


COMPANIONS = {
    "most_different": ("window", "minimum_distance"),
    "scenes": ("threshold", "shortest_scene", "take"),
}


def _check_companions(arguments: argparse.Namespace) -> None:
    """Refuse an option that would be ignored, because the rule that it belongs to was not asked for."""
    for rule, companions in COMPANIONS.items():
        for companion in companions:
            if getattr(arguments, companion) is not None and not getattr(arguments, rule):
                raise ValueError(f"{_flag(companion)} belongs to {_flag(rule)}. Add that, or leave it out.")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _extent(arguments: argparse.Namespace) -> Extent | None:
    from ..media.selection import FrameRange, SecondsRange

    if arguments.seconds is not None and arguments.frames is not None:
        raise ValueError("--seconds and --frames both say which part of a video counts. Give one of them.")
    if arguments.seconds is not None:
        start, end = _ends(arguments.seconds, "--seconds", r"\d+(?:\.\d*)?|\.\d+")
        return SecondsRange(start=float(start or 0), end=float(end or 0))
    if arguments.frames is not None:
        first, last = _ends(arguments.frames, "--frames", r"-?\d{1,15}")
        shift = 1 if arguments.count_from is None else arguments.count_from
        return FrameRange(first=_from_zero(first or str(shift), shift), last=_from_zero(last or "-1", shift))
    return None


def _ends(text: str, option: str, number: str) -> tuple[str | None, str | None]:
    match = re.fullmatch(rf"({number})?:({number})?", text.strip())
    if not match:
        raise ValueError(f'{option} is "{text}". Write a start and an end with a colon between, as 2:10, 2: or :10.')
    return match[1], match[2]


def _from_zero(number: str, shift: int) -> int:
    """A number as people count it, from `shift` on, as one that counts from 0; negative ones count from the end."""
    value = int(number)
    if number.startswith("-"):
        return value
    if value < shift:
        raise ValueError(f"Frame {value} is asked for, and frames are counted from {shift}. See --count-from.")
    return value - shift


def _resize(arguments: argparse.Namespace) -> ResizeOptions | None:
    from ..media.resizing import ResizeOptions

    if arguments.pad is not None and arguments.fit not in (None, "pad"):
        raise ValueError(f"--pad belongs to --fit pad, and --fit is {arguments.fit}. Leave one of them out.")
    if arguments.size is None:
        for name in ("fit", "pad", "anchor", "filter"):
            if getattr(arguments, name) is not None and arguments.multiple_of is None:
                raise ValueError(f"{_flag(name)} says how to reach a size, and there is none. Add --size, as 1024x576.")
    settings = {
        "fit": "pad" if arguments.pad is not None else arguments.fit,
        "ground": arguments.pad,
        "anchor": arguments.anchor,
        "multiple_of": arguments.multiple_of,
        "filter": arguments.filter,
    }
    width, height = _size(arguments.size) if arguments.size is not None else (0, 0)
    return ResizeOptions(width=width, height=height, **_without_none(settings))


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{0,6})[xX](\d{0,6})", text.strip())
    if not match or not (int(match[1] or 0) or int(match[2] or 0)):
        raise ValueError(f'--size is "{text}". Write width and height as 1024x576, or one of them as 1024x or x576.')
    return int(match[1] or 0), int(match[2] or 0)
