"""`zoetrope toyworld train`: make the small models that ship with the pack, or one's own in their place."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from .progress import ProgressDisplay

OK = 0
ALL = "all"
NAMES = ("vae", "clip", "svd", "svd-moon-lora", "sv3d_p", "sv3d_u")  # as toyworld.recipes has them
EXAMPLES = """\
examples:
  Each model, one after the other; hours on a processor, and it can be interrupted at any time:
    zoetrope toyworld train all --out toyworld-models
  Only the LoRA that makes the moon wane, on the model that ships:
    zoetrope toyworld train svd-moon-lora --out toyworld-models
  For twenty minutes now, and later on from there with the same command:
    zoetrope toyworld train svd --out toyworld-models --minutes 20
  Whether all of it works, in a few steps:
    zoetrope toyworld train all --out trial --share 0.002

Each recipe draws what it trains on, trains, writes the model into the folder, measures it on what it has not seen, and
tells all of that in a card beside it. What a recipe needs of another is taken from the folder, else from what ships.
Footage and runs are kept below DIR/work; a run shows itself in its report.html.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("name", choices=(*NAMES, ALL), metavar="|".join((*NAMES, ALL)), help="which model")
    parser.add_argument(
        "--out", type=Path, default=Path("toyworld-models"), metavar="DIR", help="for the models (toyworld-models)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another one gives another model (0)")
    parser.add_argument(
        "--minutes", type=float, default=0.0, metavar="M", help="pause a run of training after so many; 0 is never (0)"
    )
    parser.add_argument("--share", type=float, default=1.0, metavar="X", help="of the recipe's training steps (1)")


def main(arguments: argparse.Namespace) -> int:
    from ..toyworld.recipes import RECIPES, Paused, Workshop, follow, recipe_of, refuse_work_on_other_parts

    names = list(RECIPES) if arguments.name == ALL else [arguments.name]
    recipes = [recipe_of(name) for name in names]
    refuse_work_on_other_parts(recipes, arguments.out)
    with ProgressDisplay() as display:
        workshop = Workshop(
            out=arguments.out,
            name=names[0],
            seed=arguments.seed,
            session_minutes=arguments.minutes,
            share=arguments.share,
            on_progress=display.show,
            note=display.say,
        )
        for recipe in recipes:
            try:
                card = follow(recipe, replace(workshop, name=recipe.name))
            except Paused as pause:
                display.say(str(pause))
                return OK
            sys.stdout.write(f"{arguments.out / recipe.file}\n{card}\n")
    return OK
