"""`zoetrope footage choose`: some videos of each class of an action data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .progress import ProgressDisplay

OK = 0
EXAMPLES = """\
examples:
  Which 5 videos of each class of UCF101 would be taken:
    zoetrope footage choose UCF-101 --per-class 5
  Copy them:
    zoetrope footage choose UCF-101 --per-class 5 --out chosen
  Other ones, and of two classes only:
    zoetrope footage choose UCF-101 --per-class 5 --seed 1 --classes Archery,YoYo --out chosen

SOURCE is laid out like UCF50 and UCF101, class/v_Class_g01_c02.avi; the folder says the class, and case does not count.
The same seed takes the same videos on every system, and more of a class are the same and some others. Run it again
after an interruption: what has been copied is not copied again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a folder with a folder of videos for each class")
    parser.add_argument("--per-class", type=int, required=True, metavar="K", help="so many videos of each class")
    parser.add_argument("--out", type=Path, metavar="DIR", help="copy them here; without it they are only listed")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another number takes other videos (0)")
    parser.add_argument("--classes", metavar="A,B", help="only of these classes (all)")


def main(arguments: argparse.Namespace) -> int:
    from ..clips.choosing import choose_per_class, copy_videos, find_actions, others_in

    videos, notes = find_actions(arguments.source, arguments.out)
    classes = [name.strip() for name in (arguments.classes or "").split(",") if name.strip()]
    chosen, short = choose_per_class(videos, arguments.per_class, seed=arguments.seed, classes=classes)
    with ProgressDisplay() as display:
        for note in (*notes, *short):
            display.say(note)
        if arguments.out is None:
            sys.stdout.writelines(f"{video.path}\n" for video in chosen)
            return OK
        copied = copy_videos(chosen, arguments.out, lambda done, total: display.show("Copying videos", done, total))
        if others := others_in(arguments.out, chosen):
            display.say(f"{arguments.out} holds {len(others)} other videos too, which this choice did not take.")
    classes_chosen = len({video.action for video in chosen})
    there = f", {len(chosen) - len(copied)} of them were there already" if len(copied) < len(chosen) else ""
    sys.stdout.write(
        f"{arguments.out}: {len(chosen)} video{'s' * (len(chosen) != 1)} of {classes_chosen} "
        f"class{'es' * (classes_chosen != 1)}{there}.\n"
    )
    return OK
