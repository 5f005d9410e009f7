"""`zoetrope toyworld render`: clips of the toy world as footage."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import ProgressDisplay

if TYPE_CHECKING:
    from ..toyworld.clip import ClipOptions

OK = 0
KINDS = ("moons", "shapes", "objects")
# The arguments that only some scenes have.
OF_SCENES = ("phases", "tilt_degrees", "speed", "shapes", "paths", "kind", "orbit")
EXAMPLES = """\
examples:
  100 moons that wane from full to new, 14 frames of 64x64 pixels at 7 a second:
    zoetrope toyworld render moons --out moons --clips 100 --frames 14 --fps 7 --size 64x64
  Moons that drift and never change:
    zoetrope toyworld render moons --out drifting --clips 100 --phases steady --speed 0.1
  One shape in each clip, moving slowly; and one that stands at a place with a name:
    zoetrope toyworld render shapes --out slow --shapes 1 --speed 0.15
    zoetrope toyworld render shapes --out places --shapes 1 --speed 0
  Mugs, seen from a camera that goes round unevenly:
    zoetrope toyworld render objects --out mugs --kind mug --orbit wander

Each clip is a folder of PNG pictures with a caption in the manifest, footage.jsonl, as `zoetrope footage` reads it.
Beside its frames, truth.json says what is true of it: lit fractions, places or angles, frame by frame. A clip is there
whole or not at all; what is there already, drawn in the same way, is not drawn again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("scene", choices=KINDS, metavar="|".join(KINDS), help="what is drawn")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the footage")
    parser.add_argument("--clips", type=int, metavar="N", help="how many (8)")
    parser.add_argument("--seed", type=int, metavar="S", help="of the first clip; the next one's is one more (0)")
    parser.add_argument("--frames", type=int, default=14, metavar="N", help="of each clip (14)")
    parser.add_argument("--fps", type=float, default=7.0, metavar="X", help="frames a second (7)")
    parser.add_argument("--size", default="256x256", metavar="WxH", help="of the pictures (256x256)")
    moons = parser.add_argument_group("moons")
    moons.add_argument("--phases", metavar="HOW", help="wane, wax, month (new to new), or steady (wane)")
    moons.add_argument("--tilt", type=float, dest="tilt_degrees", metavar="DEG", help="of the axis, at most (25)")
    both = parser.add_argument_group("moons and shapes")
    both.add_argument("--speed", type=float, metavar="X", help="shorter sides of the picture a second; 0 stands still")
    shapes = parser.add_argument_group("shapes")
    shapes.add_argument("--shapes", type=int, metavar="N", help="how many in a clip (3)")
    shapes.add_argument("--paths", metavar="HOW", help="any: also round, to and fro and in hops; straight (any)")
    objects = parser.add_argument_group("objects")
    objects.add_argument("--kind", metavar="KIND", help="cube, house, mug, letter, car, bird, chair, or any (any)")
    objects.add_argument(
        "--orbit",
        metavar="HOW",
        help="turn: once round; wander: unevenly, up and down; views: each frame from anywhere (turn)",
    )


def main(arguments: argparse.Namespace) -> int:
    from ..toyworld.footage import RenderingOptions, render_footage

    clip = clip_options(arguments)
    options = RenderingOptions(clip=clip, **({} if arguments.clips is None else {"clips": arguments.clips}))
    with ProgressDisplay() as display:
        rendered = render_footage(
            arguments.out, options, lambda done, total: display.show(f"Drawing {arguments.scene}", done, total)
        )
    kept = options.clips - rendered.made
    there = f", {kept} of them were there already" if kept else ""
    sys.stdout.write(f"{arguments.out}: {options.clips} clip{'' if options.clips == 1 else 's'}{there}.\n")
    return OK


def clip_options(arguments: argparse.Namespace) -> ClipOptions:
    """What the arguments say of each clip. What was not given is left to the options, which know the defaults."""
    from ..toyworld.clip import seconds_of
    from ..toyworld.scenes import SCENES

    options_of = SCENES[arguments.scene]
    known = {field.name for field in fields(options_of)}
    given = {name: value for name in (*OF_SCENES, "seed") if (value := getattr(arguments, name)) is not None}
    for name in given:
        if name not in known:
            option = "tilt" if name == "tilt_degrees" else name
            raise ValueError(f"--{option} is not for {arguments.scene}. Leave it out, or draw another scene.")
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", arguments.size.strip())
    if not match:
        raise ValueError(f'--size is "{arguments.size}". Write width and height as 64x64.')
    return options_of(
        seconds=seconds_of(arguments.frames, arguments.fps),
        frames_per_second=arguments.fps,
        width=int(match[1]),
        height=int(match[2]),
        **given,
    )
