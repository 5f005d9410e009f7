"""What a recipe is, the workshop that it works in, and the card that tells of what came out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...clips.footage import Footage, read_footage, update_manifest
from ...media.files import written_beside
from ...models.builtin_models import BUILTIN
from ...trainers.errors import clear_writing_errors
from ...trainers.loop import TrainingStep
from ...trainers.run_folder import RunFolder, nobody_reads
from ...trainers.states import Note
from ..footage import RenderingOptions, render_footage

WORK = "work"  # where footage and runs are kept, below the folder of results
WARM_UP_STEPS = 100
VALIDATED_EVERY = 20  # clips, of which the last is set aside
# Where the parts of built-in models are that have no file of their own.
WITHIN = {"vae": "svd.safetensors", "vae_image": "sv3d_p.safetensors"}
FILES = {
    "vae": "vae.safetensors",
    "vae_image": "vae_image.safetensors",
    "clip": "clip",
    "svd": "svd.safetensors",
    "sv3d_p": "sv3d_p.safetensors",
}
LICENCE = (
    "Apache-2.0, as the pack. All that it was trained on was drawn by the pack's own code from seeds; no picture, text "
    "or weight of anybody else went in."
)

OnProgress = Callable[[str, int, int, str], None]
"""Told what is being done, how much of it is, of how much, and a note; to cancel, raise from it."""


class Paused(Exception):
    """The session came to its limit; the same command goes on from here."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a recipe tells of what it made; the rest of the card is read from the runs."""

    data: str  # what it was trained on
    runs: tuple[Path, ...]  # the folders of its training, in their order
    numbers: Mapping[str, float]  # measured on what was held out
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    name: str
    file: str  # or folder, below the folder of results
    what: str  # in a few words
    needs: tuple[str, ...] = ()  # other recipes whose results go in
    make: Callable[[Workshop], Made]  # writes the file


def _nobody_watches(title: str, done: int, total: int, note: str) -> None:
    """For callers that show no progress."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where a recipe works: its folders, its seed, its limits, and who watches."""

    out: Path  # for results
    name: str  # of the recipe
    seed: int = 0
    session_minutes: float = 0.0  # until training pauses, to be continued by the same call; 0 for no limit
    share: float = 1.0  # of the recipe's training steps; less makes a worse model sooner
    on_progress: OnProgress = _nobody_watches
    note: Note = nobody_reads

    def __post_init__(self) -> None:
        for name, value in (("session_minutes", self.session_minutes), ("share", self.share)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}. Give a number of at least 0.")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}. Give a whole number from 0 on.")

    def show(self, title: str, done: int, total: int) -> None:
        self.on_progress(title, done, total, "")

    def folder(self, name: str) -> Path:
        """A folder for footage or a run, which stays until the user removes it."""
        return self.out / WORK / self.name / name

    def length(self, steps: int) -> dict[str, Any]:
        """How long a run of so many steps trains here, as settings."""
        steps = max(1, round(steps * self.share))
        return {"steps": steps, "warm_up_steps": min(WARM_UP_STEPS, steps // 10)}

    @property
    def limits(self) -> dict[str, Any]:
        """What every run of training is told."""
        return {"session_minutes": self.session_minutes, "seed": self.seed}

    def part(self, name: str) -> Path:
        """What another recipe made: the result of this folder, with its card, else what ships."""
        recipe = "vae" if name == "vae_image" else name
        own, shipped = self.out / FILES[name], BUILTIN / WITHIN.get(name, FILES[name])
        if own.exists() and _card(self.out, recipe).exists():
            return own
        if shipped.exists():
            return shipped
        raise ValueError(
            f"{self.name} needs {name}, which is not in {self.out} yet. Make it first: zoetrope toyworld train "
            f"{recipe} --out {self.out}"
        )

    def render(self, root: Path, *options: RenderingOptions) -> Footage:
        """Draw footage of one or more kinds into a folder, with its last clips of every twenty set aside."""
        for each in options:
            render_footage(root, each, partial(self.show, f"Drawing {each.scene}"))
        footage = read_footage(root)[0]
        clips = [
            replace(clip, split="validation" if number % VALIDATED_EVERY == VALIDATED_EVERY - 1 else "train")
            for number, clip in enumerate(footage.clips)
        ]
        footage = footage.with_clips(clips)
        update_manifest(footage, "split")
        return footage

    def train(self, title: str, steps: Iterator[TrainingStep]) -> None:
        """Train to the end; raises `Paused` where the session ends before."""
        last = None
        for last in steps:
            self.on_progress(title, last.step, last.steps, f"loss {last.loss:.4f}, {last.seconds:.2f} s a step")
        if last is not None and last.ending == "paused":
            raise Paused(f"{title} stands at step {last.step} of {last.steps}. The same command goes on with it.")

    def result(self, run: Path) -> Path:
        """What a finished run has exported."""
        exports = sorted(
            (run / "exports").iterdir(), key=lambda path: int(path.name.removesuffix(path.suffix).rpartition("-")[2])
        )
        return exports[-1]


def _card(out: Path, name: str) -> Path:
    """Where a recipe's card is; it is written last, so a result that has one is whole."""
    return out / f"{name}.md"


def follow(recipe: Recipe, workshop: Workshop) -> Path:
    """Make a model and its card; returns the card's path."""
    _refuse_the_work_of_others(recipe, workshop)
    with clear_writing_errors(workshop.out):
        workshop.out.mkdir(parents=True, exist_ok=True)
    made = recipe.make(workshop)
    card = _card(workshop.out, recipe.name)
    with written_beside(card) as draft:
        draft.write_text(card_of(recipe, made, workshop), encoding="utf-8", newline="\n")
    return card


def refuse_work_on_other_parts(recipes: Sequence[Recipe], out: Path) -> None:
    """Of several recipes to follow, none may have been begun on what ships where the folder is to get its own."""
    to_make = {recipe.name for recipe in recipes if not _card(out, recipe.name).exists()}
    for recipe in recipes:
        own = [need for need in recipe.needs if need in to_make]
        if own and (out / WORK / recipe.name).exists():
            raise ValueError(
                f"{out} holds {recipe.name}, which was begun with the {own[0]} that ships, and {own[0]} would now be "
                "made there before it. Choose another folder with --out, in which each is made from the others."
            )


def _refuse_the_work_of_others(recipe: Recipe, workshop: Workshop) -> None:
    """What another hand or another seed has made is not written over, and not gone on with."""
    result, work = workshop.out / recipe.file, workshop.out / WORK / recipe.name
    if result.exists() and not work.exists() and not _card(workshop.out, recipe.name).exists():
        raise ValueError(
            f"{result} is there already, and this recipe did not make it. Choose another folder with --out; nothing is "
            "replaced."
        )
    for described in work.glob("*/run.yaml"):
        begun = RunFolder(described.parent).description().get("settings", {}).get("seed", workshop.seed)
        if begun != workshop.seed:
            raise ValueError(
                f"{described.parent} was begun with seed {begun}, and this is seed {workshop.seed}. Go on with --seed "
                f"{begun}, or choose another folder with --out."
            )


def card_of(recipe: Recipe, made: Made, workshop: Workshop) -> str:
    """The card as Markdown."""
    result = workshop.out / recipe.file
    lines = [
        f"# {recipe.name}",
        "",
        f"{recipe.what} Toy-world numbers are stated below; they say nothing of the released models.",
        "",
        f"- File: `{recipe.file}`, {size_of(result) / 1e6:.1f} MB",
        f"- Data: {made.data}",
        f"- Seed: {workshop.seed}",
        f"- Time: {_time(made.runs)}",
        f"- Made by: `zoetrope toyworld train {recipe.name}{_arguments(workshop)}`",
        f"- Licence: {LICENCE}",
        *(["", made.notes] if made.notes else []),
        "",
        "## Numbers",
        "",
        "On what it was not trained on:",
        "",
        *_table(("what", "value"), [(name, f"{value:.4g}") for name, value in made.numbers.items()]),
    ]
    for run in made.runs:
        description = RunFolder(run).description()
        settings = {name: value for name, value in description.get("settings", {}).items() if name not in _WITH_PATHS}
        versions = ", ".join(f"{name} {version}" for name, version in description.get("versions", {}).items())
        lines += [
            "",
            f"## Training: {run.name}",
            "",
            *_table(("setting", "value"), settings.items()),
            "",
            f"With {versions}.",
        ]
    return "\n".join([*lines, ""])


# Of a run's settings, those that tell where things lay on somebody's disk, or when he stopped for the night.
_WITH_PATHS = {"footage", "run", "start", "model", "session_minutes", "session_steps", "vae", "clip", "image_encoder"}


def size_of(path: Path) -> int:
    """In bytes, of a file or of all in a folder."""
    return sum(each.stat().st_size for each in ([path] if path.is_file() else path.rglob("*")) if each.is_file())


def training_seconds(run: Path) -> float:
    return sum(entry.get("seconds", 0) for entry in RunFolder(run).entries())


def _time(runs: Sequence[Path]) -> str:
    import torch

    minutes = sum(map(training_seconds, runs)) / 60
    threads = torch.get_num_threads()
    return f"{minutes:.0f} minutes of training with {threads} thread{'' if threads == 1 else 's'} of a processor"


def _arguments(workshop: Workshop) -> str:
    seed = f" --seed {workshop.seed}" if workshop.seed else ""
    return seed + (f" --share {workshop.share:g}" if workshop.share != 1 else "")


def _table(head: tuple[str, str], rows: Any) -> list[str]:
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
