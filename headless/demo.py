"""`zoetrope demo`: one picture in, video out, before and after a LoRA, with a report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import ProgressDisplay

if TYPE_CHECKING:
    from ..media.files import NumberedName

OK = 0
EXAMPLES = """\
examples:
  zoetrope demo
  zoetrope demo --out moon --moon 7
  zoetrope demo --lora runs/moon/exports/moon.safetensors

It writes picture.png, before.mp4, after.mp4, side_by_side.gif (the truth, before and after), phases.png and report.html
into a new folder, downloads nothing and opens nothing.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draws a moon that no model has seen, makes a clip of its first frame with a small video model, without a LoRA "
        "and with the one that was trained on waning moons, and compares both with the truth."
    )
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="a new folder (output/zoetrope/demo_00001, or the next)"
    )
    parser.add_argument("--moon", type=int, metavar="N", help="another of the moons that no model has seen, from 0")
    parser.add_argument("--seed", type=int, metavar="N", help="another noise (23)")
    parser.add_argument("--steps", type=int, metavar="N", help="of sampling (the model's own number)")
    parser.add_argument("--model", metavar="FILE", help="this model of the toy world in place of the shipped one")
    parser.add_argument("--lora", metavar="FILE", help="this LoRA in place of the shipped one, such as your own")
    parser.add_argument("--device", metavar="DEVICE", help="as cuda (cpu)")


def main(arguments: argparse.Namespace) -> int:
    from ..media.files import folder_written_beside
    from ..toyworld.demo import DemoOptions, run_demo, write_demo

    given = {name: getattr(arguments, name) for name in ("moon", "seed", "steps", "model", "lora", "device")}
    options = DemoOptions(**{name: value for name, value in given.items() if value is not None})
    target = _next_folder() if arguments.out is None else arguments.out
    # The folder is begun first, so that one that cannot be written to is told before anything is computed.
    with ProgressDisplay() as display, folder_written_beside(target) as draft:
        demo = run_demo(options, display.show)
        written = write_demo(draft, demo)
    names = [path.name for path in written]
    sys.stdout.write(f"{Path(target)}: {', '.join(names[:-1])} and {names[-1]}.\n")
    sys.stdout.write("".join(f"{sentence}\n" for sentence in demo.sentences()))
    return OK


def _next_folder() -> NumberedName:
    from ..media.files import NumberedName

    return NumberedName(lambda number: Path("output") / "zoetrope" / f"demo_{number:05}", 1)
