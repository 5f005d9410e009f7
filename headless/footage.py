"""`zoetrope footage`: from raw video to a training set, without a script."""

from __future__ import annotations

import argparse
from importlib import import_module

# What each subcommand needs is only imported when the command is `footage`; the modules import no torch themselves.
SUBCOMMANDS = {
    "extract": ("footage_extract", "take frames out of videos, into a folder of pictures for each"),
    "choose": ("footage_choose", "take some videos of each class of an action data set"),
    "split": ("footage_split", "say which clips are for training, for validation and for testing"),
    "caption": ("footage_caption", "caption clips by their names, a template, or a model"),
    "pairs": ("footage_pairs", "write frames to see and frames to give as two folders"),
    "zip": ("footage_zip", "put the clips into one zip file"),
    "unzip": ("footage_unzip", "take the clips out of a zip file"),
    "report": ("footage_report", "tell what the clips are like, and what is worth fixing"),
}
EXAMPLES = """\
a training set, step by step:
  zoetrope footage extract videos --out set --every 10 --size 1024x576 --fit cover
  zoetrope footage report set
  zoetrope footage split set --train 0.8 --validation 0.1 --test 0.1
  zoetrope footage caption set --from-names
  zoetrope footage zip set --out finetuning.zip

further:
  zoetrope footage choose UCF-101 --per-class 5 --out videos
  zoetrope footage pairs set --out pairs --step 1
  zoetrope footage unzip finetuning.zip --out set

Each command tells more: zoetrope footage extract --help
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Footage is a folder with a folder of pictures for each clip, ROOT/<video>/<video>_frame_<n>.png, as "
        "fine-tuning scripts read it, and a manifest, footage.jsonl, that says where each clip came from."
    )
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    subcommands = parser.add_subparsers(metavar="WHAT", required=True)
    for name, (module_name, summary) in SUBCOMMANDS.items():
        module = import_module(f".{module_name}", __package__)
        subcommand = subcommands.add_parser(
            name,
            help=summary,
            description=f"{summary.capitalize()}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subcommand)
        # Here too, so that it may stand at the end of the line; where it does not, what stood before holds.
        subcommand.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        subcommand.set_defaults(subcommand=module.main)


def main(arguments: argparse.Namespace) -> int:
    """Run the subcommand; gives the exit code."""
    return arguments.subcommand(arguments)
