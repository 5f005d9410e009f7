"""`zoetrope footage caption`: captions of clips, from their names or by a model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import ProgressDisplay

if TYPE_CHECKING:  # torch comes with them, and `--help` should not wait for it
    from ..clips.footage import Clip, Footage

OK = 0
EXAMPLES = """\
examples:
  v_ApplyEyeMakeup_g01_c02 becomes "apply eye makeup":
    zoetrope footage caption frames --from-names
  A template, also for clips that have a caption:
    zoetrope footage caption frames --template "a video of {class}, {caption}" --overwrite
  BLIP, from a folder on this computer (needs: pip install transformers), looking at three frames of each clip:
    zoetrope footage caption frames --model models/blip-image-captioning-base --frames 3
  Take captions that were written by hand into the manifest:
    zoetrope footage caption frames

A caption is written into <clip>.txt beside the clip's folder, where trainers look for it, and into the manifest. A file
that is there comes before the manifest. A clip that has a caption keeps it, unless --overwrite says otherwise. A
template knows {class}, {words} (the name in words), {name}, {caption} (the one that is there), {source} and {split}.
"""
OF_THE_MODEL = ("frames", "prompt", "batch", "device")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("root", type=Path, metavar="ROOT", help="a folder of clips, each of them a folder of pictures")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--from-names", action="store_true", help="what the clip's name says, in words")
    ways.add_argument("--template", metavar="T", help='a text with places to fill in, as "a video of {class}"')
    ways.add_argument("--model", type=Path, metavar="DIR", help="a folder with BLIP; nothing is downloaded")
    parser.add_argument("--overwrite", action="store_true", help="caption the clips that have a caption too")
    parser.add_argument("--pictures", action="store_true", help="also write <picture>.txt beside each picture")
    model = parser.add_argument_group("with --model")
    model.add_argument("--frames", type=int, metavar="N", help="look at N frames spread over the clip (1, the middle)")
    model.add_argument("--prompt", metavar="TEXT", help="how every caption begins")
    model.add_argument("--batch", type=int, metavar="N", help="pictures at a time (8)")
    model.add_argument(
        "--device", metavar="DEVICE", help="as cpu, cuda or cuda:1 (the graphics card, where there is one)"
    )


def main(arguments: argparse.Namespace) -> int:
    from ..clips.captions import read_captions, write_caption, write_picture_captions
    from ..clips.footage import read_footage, update_manifest

    for name in OF_THE_MODEL:
        if getattr(arguments, name) is not None and arguments.model is None:
            raise ValueError(f"--{name} belongs to --model. Add that, or leave it out.")
    describe = _way(arguments)
    footage, notes = read_footage(arguments.root)
    footage = read_captions(footage)
    waiting = [clip for clip in footage.clips if describe and (arguments.overwrite or not clip.caption)]
    captions: dict[str, str] = {}
    with ProgressDisplay() as display:
        for note in notes:
            display.say(note)
        for clip, caption in describe(footage, waiting) if describe else ():
            # At once, so that an interruption loses nothing: what has its caption is not captioned again.
            write_caption(footage, replace(clip, caption=caption))
            captions[clip.name] = caption
            display.show("Captioning", len(captions), len(waiting))
    footage = footage.with_clips(
        replace(clip, caption=captions.get(clip.name) or clip.caption) for clip in footage.clips
    )
    if arguments.pictures:
        for clip in footage.clips:
            write_picture_captions(footage, clip, overwrite=arguments.overwrite)
    update_manifest(footage, "caption")
    new = sum(map(bool, captions.values()))
    captioned = sum(bool(clip.caption) for clip in footage.clips)
    sys.stdout.write(
        f"{arguments.root}: {captioned} of {len(footage.clips)} clips have a caption, {new} of them a new one.\n"
    )
    return OK


Describe = Callable[["Footage", Iterable["Clip"]], Iterator[tuple["Clip", str]]]


def _way(arguments: argparse.Namespace) -> Describe | None:
    """What gives clips with their captions; None where those that are there are only read."""
    from ..clips.captions import Template
    from ..clips.naming import words_of

    if arguments.from_names:
        return lambda footage, clips: ((clip, words_of(clip)) for clip in clips)
    if arguments.template is not None:
        template = Template(arguments.template)
        return lambda footage, clips: ((clip, template(clip)) for clip in clips)
    return None if arguments.model is None else _by_model(arguments)


def _by_model(arguments: argparse.Namespace) -> Describe:
    from ..clips.captioning import CaptioningOptions, load_captioner, look_at_clips
    from ..host import work

    wishes = {name: getattr(arguments, name) for name in ("frames", "prompt", "batch")}
    options = CaptioningOptions(**{name: value for name, value in wishes.items() if value is not None})
    captioner = load_captioner(arguments.model, arguments.device or work.device())
    return lambda footage, clips: look_at_clips(footage, clips, captioner, options)
