"""`zoetrope footage pairs`: frames to see and frames to give, as two folders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .progress import ProgressDisplay

OK = 0
EXAMPLES = """\
examples:
  Each frame and the one after it, as input/ and target/ with matching names:
    zoetrope footage pairs frames --out pairs --step 1
  Every 5th frame and the one 10 later, of the clips for training only:
    zoetrope footage pairs frames --out pairs --step 10 --stride 5 --split train
  Three frames to see, two apart, and the fourth to give:
    zoetrope footage pairs frames --out pairs --step 2 --context 3 --spacing 2

A pair of frame t is t and, with a longer context, the frames before it: input/ holds t, input-1/ the frame one spacing
before, and so on; target/ holds frame t + step. Frames are counted as they lie in the clip's folder. No pair reaches
across a cut; to find the cuts every frame is looked at, which --no-cuts spares where there are none.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("root", type=Path, metavar="ROOT", help="a folder of clips, each of them a folder of pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that is new, or empty")
    parser.add_argument("--step", type=int, required=True, metavar="K", help="the target is K frames after frame t")
    parser.add_argument("--stride", type=int, metavar="S", help="from one t to the next (1)")
    parser.add_argument("--context", type=int, metavar="C", help="how many frames to see, t the last of them (1)")
    parser.add_argument("--spacing", type=int, metavar="N", help="from one of these to the next (1)")
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), help="only of the clips of this split (all)"
    )
    parser.add_argument("--no-cuts", action="store_true", help="take each clip for a single scene")
    parser.add_argument(
        "--copy", action="store_true", help="copy the files; without it they share their room with those in ROOT"
    )


def main(arguments: argparse.Namespace) -> int:
    from ..clips.footage import FootageError, read_footage
    from ..clips.pairs import FramePairs, PairOptions, cuts_of, write_pairs
    from ..media.files import refuse_taken

    wishes = {name: getattr(arguments, name) for name in ("step", "stride", "context", "spacing")}
    options = PairOptions(**{name: value for name, value in wishes.items() if value is not None})
    refuse_taken(arguments.out)
    footage, notes = read_footage(arguments.root)
    if arguments.split:
        footage = footage.select(arguments.split)
        if not footage.clips:
            raise FootageError(
                f"No clip in {arguments.root} is for {arguments.split}. Split it first: zoetrope footage split."
            )
    with ProgressDisplay() as display:
        for note in notes:
            display.say(note)
        cuts = {}
        if not arguments.no_cuts:
            cuts = cuts_of(footage, lambda done, total: display.show("Looking for cuts", done, total))
        pairs = FramePairs(footage, options, cuts)
        folders = write_pairs(
            pairs,
            arguments.out,
            link=not arguments.copy,
            on_pair=lambda done, total: display.show("Writing pairs", done, total),
        )
    found = sum(map(len, cuts.values()))
    counts = {"pair": len(pairs), "clip": len(footage.clips), "cut": found}
    told = {thing: f"{count} {thing}{'s' * (count != 1)}" for thing, count in counts.items()}
    sys.stdout.write(f"{told['pair']} of {told['clip']}, {told['cut']} in them.\n")
    sys.stdout.writelines(f"{folder}\n" for folder in folders.values())
    return OK
