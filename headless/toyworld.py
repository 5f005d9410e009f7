"""`zoetrope toyworld`: the small world whose truth is known."""

from __future__ import annotations

import argparse
from importlib import import_module

# What each subcommand needs is only imported when the command is `toyworld`; the modules import no torch themselves.
SUBCOMMANDS = {
    "render": ("toyworld_render", "draw clips into a folder of footage, with what is true of them"),
    "train": ("toyworld_train", "make the small models that ship, or one's own in their place"),
    "measure": (
        "toyworld_measure",
        "ask a small model whether it does what it is for, on clips that it has never seen",
    ),
}
EXAMPLES = """\
examples:
  zoetrope toyworld render moons --out moons --clips 100 --frames 14 --fps 7 --size 64x64
  zoetrope footage report moons
  zoetrope toyworld measure svd-moon-lora --seeds 20
  zoetrope toyworld train svd-moon-lora --out models

The command tells more: zoetrope toyworld render --help
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "The toy world is drawn by code: moons that go through their phases, coloured shapes that move, and solid "
        "objects seen from all around. A seed always gives the same clip, and what is true of it is known exactly."
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
