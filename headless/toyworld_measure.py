"""`zoetrope toyworld measure`: whether a small model does what it is for."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path

from .progress import ProgressDisplay

OK = 0
EXAMPLES = """\
examples:
  The LoRA that ships, on 100 moons that it has never seen:
    zoetrope toyworld measure svd-moon-lora
  One of your own, on fewer:
    zoetrope toyworld measure svd-moon-lora --lora runs/moon/exports/moon.safetensors --seeds 20
  How much moves by motion bucket:
    zoetrope toyworld measure svd

Each clip has a row, and below stand the numbers of all of them, with what they have to be. Recipes never draw the
clips that are measured on: toyworld/held_out.py tells which those are.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("name", metavar="NAME", help="svd-moon-lora, svd, or another model that ships")
    parser.add_argument("--seeds", type=int, default=0, metavar="N", help="how many clips (the measure's own number)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first of the held-out clips (0)")
    parser.add_argument("--model", default="", metavar="FILE", help="this model in place of the shipped one")
    parser.add_argument("--lora", default="", metavar="FILE", help="this LoRA in place of the shipped one")
    parser.add_argument("--steps", type=int, default=0, metavar="N", help="of sampling (the model's own number)")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="as cuda (cpu)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it into this file, too")


def main(arguments: argparse.Namespace) -> int:
    from ..media.files import written_beside
    from ..toyworld.measuring import MeasuringOptions, as_text, measure

    options = MeasuringOptions(
        seeds=arguments.seeds,
        first=arguments.first,
        model=arguments.model,
        lora=arguments.lora,
        steps=arguments.steps,
        device=arguments.device,
    )
    # The file is begun first, so that one that cannot be written is told before anything is measured.
    with nullcontext() if arguments.json is None else written_beside(arguments.json) as draft:
        with ProgressDisplay() as display:
            measurement = measure(arguments.name, options, display.show)
        if draft is not None:
            text = json.dumps(measurement.record(), indent=1, allow_nan=False)
            draft.write_text(text + "\n", encoding="utf-8", newline="\n")
    sys.stdout.write(as_text(measurement))
    return OK
