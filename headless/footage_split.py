"""`zoetrope footage split`: which clips are for training, which for validation and which for testing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .progress import ProgressDisplay

OK = 0
EXAMPLES = """\
examples:
  80 % of the clips for training, 10 % for validation and 10 % for testing:
    zoetrope footage split frames
  Another draw, without a part for testing:
    zoetrope footage split frames --train 0.9 --validation 0.1 --test 0 --seed 1
  g01 of one class and g01 of another are of one person, and stay together too:
    zoetrope footage split frames --groups-across-classes

Clips of one group, as v_Archery_g01_c01 and v_Archery_g01_c02, and clips of one video never fall on two sides. Each
class is in every part where it has enough groups. The same seed gives the same split on every system. It is written
into the manifest, footage.jsonl; a split that was there is replaced.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("root", type=Path, metavar="ROOT", help="a folder of clips, each of them a folder of pictures")
    parser.add_argument("--train", type=float, metavar="SHARE", help="the share of the clips for training (0.8)")
    parser.add_argument("--validation", type=float, metavar="SHARE", help="the share for validation (0.1)")
    parser.add_argument("--test", type=float, metavar="SHARE", help="the share for testing (0.1)")
    parser.add_argument(
        "--by", choices=("group", "clip"), help="what stays together: clips of a group, or none (group)"
    )
    parser.add_argument(
        "--groups-across-classes",
        action="store_true",
        default=None,
        dest="across_classes",
        help="groups of one number are one, whatever the class",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="another number gives another split (0)")
    parser.add_argument("--show", action="store_true", help="only show the counts of the split that is there")


def main(arguments: argparse.Namespace) -> int:
    from ..clips.captions import load_footage
    from ..clips.choosing import SplitOptions, count_table, notes_on_split, split_footage
    from ..clips.footage import update_manifest

    names = ("train", "validation", "test", "by", "across_classes", "seed")
    wishes = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.show and wishes:
        raise ValueError("--show only shows the split that is there. Leave it out, or all other options.")
    options = SplitOptions(**wishes)
    footage, notes = load_footage(arguments.root)
    if not arguments.show:
        footage = split_footage(footage, options)
        update_manifest(footage, "split")
        notes += notes_on_split(footage, options)
    with ProgressDisplay() as display:
        for note in notes:
            display.say(note)
    sys.stdout.write(f"{count_table(footage)}\n")
    return OK
