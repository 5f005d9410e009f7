"""`zoetrope footage unzip`: a zip of clips as a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .progress import ProgressDisplay

OK = 0
EXAMPLES = """\
example:
  zoetrope footage unzip finetuning.zip --out frames

The folder that all footage in the zip lies in is taken off: finetuning/<video> becomes frames/<video>. A zip with names
that lead out of the folder, with links, or with far more in it than its size tells is refused, and leaves nothing.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("file", type=Path, metavar="FILE.zip", help="a zip of clips, each of them a folder of pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that is new, or empty")


def main(arguments: argparse.Namespace) -> int:
    from ..clips.archives import unzip_footage

    with ProgressDisplay() as display:
        unzipped = unzip_footage(
            arguments.file, arguments.out, lambda done, total: display.show("Unzipping", done, total)
        )
        if unzipped.left_out:
            display.say(f"{len(unzipped.left_out)} files of the system that made the zip were left out.")
    sys.stdout.write(f"{unzipped.root}: {unzipped.files} files.\n")
    return OK
