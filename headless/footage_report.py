"""`zoetrope footage report`: what a training set is like, and what is worth fixing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import ProgressDisplay

if TYPE_CHECKING:  # torch comes with it, and `--help` should not wait for it
    from ..clips.report import Report

OK, SOME_FAILED = 0, 2
TEXT, DATA, PICTURE = "report.txt", "report.json", "report.png"
EXAMPLES = f"""\
examples:
  What is worth fixing in a set, and a table of its clips:
    zoetrope footage report frames
  The same as files, with a picture of all clips, the stillest first:
    zoetrope footage report frames --out report
  Keep the motion of each clip in the manifest, for training:
    zoetrope footage report frames --write

Motion is how far what is seen goes on average, as a share of the picture's diagonal per second. By its place among the
clips each one gets a motion bucket from 1 to 255, as Stable Video Diffusion wants it. --out writes {TEXT}, {DATA}
and {PICTURE}. A clip that cannot be read is told, and the exit code is 2 then.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("root", type=Path, metavar="ROOT", help="a folder of clips, each of them a folder of pictures")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="also write the report and its picture into this folder"
    )
    parser.add_argument("--write", action="store_true", help="write the motion of each clip into the manifest")


def main(arguments: argparse.Namespace) -> int:
    """Report; gives 0 where every clip could be read, else 2."""
    from ..clips.captions import load_footage
    from ..clips.footage import update_manifest
    from ..clips.report import as_text, examine

    footage, notes = load_footage(arguments.root)
    with ProgressDisplay() as display:
        report = examine(footage, notes, lambda done, total: display.show("Measuring clips", done, total))
    sys.stdout.write(as_text(report))
    written = write_report(report, arguments.out) if arguments.out else []
    if arguments.write:
        written.append(update_manifest(report.with_motion(), "motion"))
    for path in written:
        sys.stdout.write(f"{path}\n")
    return SOME_FAILED if report.failed else OK


def write_report(report: Report, out: Path) -> list[Path]:
    """Write the report as text, as JSON and as a picture."""
    from ..clips.report import as_json, as_text
    from ..clips.report_picture import draw_report
    from ..media.files import written_beside
    from ..media.pictures import encode_png

    contents = {
        TEXT: as_text(report).encode(),
        DATA: f"{as_json(report)}\n".encode(),
        PICTURE: encode_png(draw_report(report)),
    }
    for name, content in contents.items():
        with written_beside(out / name) as draft:
            draft.write_bytes(content)
    return [out / name for name in contents]
