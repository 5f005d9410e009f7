"""`zoetrope footage zip`: a set of clips as one file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .progress import ProgressDisplay

OK = 0
EXAMPLES = """\
examples:
  frames as finetuning.zip, which holds finetuning/<video>/<frame>:
    zoetrope footage zip frames --out finetuning.zip
  The same with another folder in the zip:
    zoetrope footage zip frames --out walks.zip --name walks

The frames, the manifest and the captions go in, and what else lies in ROOT stays out. The same footage gives the same
bytes. zoetrope footage unzip brings it back as it was.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("root", type=Path, metavar="ROOT", help="a folder of clips, each of them a folder of pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.zip", help="the zip; an old one is replaced")
    parser.add_argument("--name", metavar="NAME", help="the folder in the zip that everything lies in (finetuning)")


def main(arguments: argparse.Namespace) -> int:
    from ..clips.archives import TOP_FOLDER, zip_footage
    from ..clips.footage import read_footage

    footage, notes = read_footage(arguments.root)
    name = TOP_FOLDER if arguments.name is None else arguments.name
    with ProgressDisplay() as display:
        for note in notes:
            display.say(note)
        path = zip_footage(footage, arguments.out, name, lambda done, total: display.show("Zipping", done, total))
    sys.stdout.write(f"{path}\n")
    return OK
