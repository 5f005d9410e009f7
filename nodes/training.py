"""Training as nodes: a run that goes on with every queue, and a look at it."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ..clips.footage import Footage
from ..host import folders, io, work
from ..media.files import written_beside
from ..media.pictures import as_images
from ..models.svd import SVDModel
from ..trainers.learner import DTYPES
from ..trainers.processes import Processes
from ..trainers.run_folder import RunFolder, is_run
from ..trainers.run_picture import (
    STEPS_SIDE_BY_SIDE,
    History,
    below_each_other,
    draw_curves,
    draw_words,
    samples_of,
)
from ..trainers.states import newest_step
from ..trainers.svd import SVDTraining, plan_svd, refuse_another, train_svd
from ..trainers.svd_method import exported_at
from ..trainers.svd_plan import measured_flops_per_second
from . import previews
from .footage import FootageType
from .svd import SVDType
from .training_inputs import RUNS, advanced_inputs, run_inputs, size_inputs
from .watching_training import RunWatch, summary_of, title_of

LORAS = "loras"  # in the output folder, where ComfyUI looks for LoRAs beside models/loras
OURS = "zoetrope"  # in there
REPORT_SIDE = 1280  # pixels


@dataclass(frozen=True)
class Here:
    """What this program has done of a run since it started."""

    queues: int = 0  # that trained, so that a run that is removed and begun anew is told from the one before
    finished_at: int | None = None  # step
    stood: str = ""  # under which fingerprint it was finished


# Were ComfyUI told that a finished run has moved on since, the next queue would make all again that comes after it.
DONE_HERE: dict[Path, Here] = {}


class TrainSVDLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeTrainSVDLoRA",
            display_name="Train SVD LoRA",
            category="Zoetrope/training",
            description="Trains a LoRA for Stable Video Diffusion on footage. Each queue goes on with the run where it "
            "stands, until all steps are done; a cancel saves after the step that it is at. The LoRA is at once among "
            "those that loaders offer.",
            search_aliases=["svd lora training", "fine-tune svd", "motion lora", "train lora", "finetune video model"],
            inputs=[
                SVDType.Input(
                    "model", tooltip="An SVD model, from Load SVD. It stays as it is, and can be used beside this."
                ),
                FootageType.Input(
                    "footage",
                    tooltip="The clips, some of them set aside for validation: connect the first output of Split "
                    "Footage.",
                ),
                *run_inputs(),
                *size_inputs(),
                *advanced_inputs(),
            ],
            outputs=[
                io.LoraModel.Output(
                    display_name="lora", tooltip="What is trained so far, for Compare Before And After or Save LoRA."
                ),
                io.LossMap.Output(display_name="loss", tooltip="The loss of every step, for core's Plot Loss Graph."),
                io.Int.Output(display_name="steps", tooltip="How many steps are done."),
                # Of any type, because loaders take a choice from a list, which a text cannot be linked to.
                io.AnyType.Output(
                    display_name="lora_name",
                    tooltip="The file of the LoRA, by the name that loaders know it by: connect it to lora of Load "
                    "LoRA.",
                ),
                io.String.Output(display_name="run", tooltip="The run, for Training Report."),
                io.String.Output(
                    display_name="summary", tooltip="What was planned, what changed since the last queue, what came."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, run: str | None = None) -> bool | str:
        return _is_name_of_run(run)

    @classmethod
    def fingerprint_inputs(cls, run: str | None = None, **others: Any) -> str:
        """Where the run stands: while steps remain another one after every queue."""
        return str(time.time_ns()) if run is None else _stand_of(_place_of(run))

    @classmethod
    def execute(
        cls,
        model: SVDModel,
        footage: Footage,
        run: str,
        steps_per_queue: int,
        validate_every: int = 0,
        **settings: Any,
    ) -> io.NodeOutput:
        validated: dict[str, Any] = {"validate_at": (0,)} if validate_every else {}
        wanted = SVDTraining(
            model=Path(model.name),
            footage=footage.root,
            run=_place_of(run),
            session_steps=steps_per_queue,
            validate_every=validate_every,
            **settings,
            **validated,
        )
        stood = _stand_of(wanted.run)
        summary = _gone_on(model, footage, wanted)
        step = newest_step(wanted.run)
        assert step is not None, "a session ends with a state"
        file = exported_at(wanted.run / "exports", wanted.run, step)
        name = _published(file, wanted.run)
        work.raise_if_cancelled()  # which has made the run pause
        finished_at = step if step >= wanted.steps else None
        DONE_HERE[wanted.run] = Here(_done_here(wanted.run).queues + 1, finished_at, stood)
        losses = [loss for _, loss in History.of(RunFolder(wanted.run).entries()).losses]
        # Nothing is shown at the end: the last picture of the run stays on the node, and would stand there twice.
        return io.NodeOutput(load_file(file), {"loss": losses}, step, name, run, summary)


class TrainingReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeTrainingReport",
            display_name="Training Report",
            category="Zoetrope/training",
            description="Shows a run of training: its losses as curves, and the clips that it made at some of its "
            "steps, with the same noise, playing side by side.",
            search_aliases=["loss curve", "plot loss", "validation samples", "training progress", "loss graph"],
            inputs=[
                io.String.Input(
                    "run",
                    default="my_lora",
                    tooltip=f"The name of a run, from Train SVD LoRA, or of a folder in {RUNS} in the output folder. "
                    "The run may still be at work elsewhere.",
                ),
                io.Int.Input(
                    "steps_shown",
                    default=STEPS_SIDE_BY_SIDE,
                    min=1,
                    max=20,
                    tooltip="Clips of at most so many steps are shown, the first and the last among them.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="curves", tooltip="The loss while training, and on the clips that are held out."
                ),
                io.Image.Output(
                    display_name="samples",
                    tooltip="A clip of the clips that were made: a column for each step, a row for each held-out clip.",
                ),
                io.Float.Output(
                    display_name="frames_per_second", tooltip="The rate of the samples, for the node that saves them."
                ),
                io.String.Output(display_name="summary", tooltip="How far the run is, and its losses in numbers."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, run: str | None = None) -> bool | str:
        return _is_name_of_run(run)

    @classmethod
    def fingerprint_inputs(cls, run: str | None = None, **others: Any) -> str:
        metrics = None if run is None else _place_of(run) / "metrics.jsonl"
        return f"{metrics.stat().st_mtime_ns}" if metrics and metrics.is_file() else ""

    @classmethod
    def execute(cls, run: str, steps_shown: int) -> io.NodeOutput:
        folder = RunFolder(_existing(run))
        history = History.of(folder.entries())
        curves = draw_curves(title_of(folder.path, history.step), history)
        made = samples_of(folder, steps_shown)
        if made is None:
            nothing = draw_words("no clips are made yet")
            shown, clip, rate = previews.still(curves), as_images(nothing), 1.0
        else:
            clip, rate = made
            shown = previews.animated(below_each_other(curves, clip), rate, longest_side=REPORT_SIDE)
        return io.NodeOutput(as_images(curves), clip, rate, summary_of(folder), ui=shown)


def _gone_on(model: SVDModel, footage: Footage, settings: SVDTraining) -> str:
    """Train as much as a queue is to; gives what there is to say of it."""
    refuse_another(RunFolder(settings.run), settings)
    step = newest_step(settings.run)
    there = step is not None and exported_at(settings.run / "exports", settings.run, step).is_file()
    if step is not None and step >= settings.steps and there:
        return f"The run has its {step} steps already. Set steps to more to go on."
    device = work.device()
    settings = settings.on(device, model.dtype)
    plan = plan_svd(
        settings,
        lambda: measured_flops_per_second(device, DTYPES[settings.precision]),
        device,
        model=model,
        footage=footage,
    )
    watch = RunWatch(settings, plan.text())
    try:
        steps = train_svd(
            settings,
            plan=plan,
            model=model,
            processes=Processes(device),
            asked_to_stop=work.is_cancelled,
            on_progress=watch.prepare,
            note=watch.note,
        )
        with closing(steps):
            for done in steps:
                watch.show(done)
    finally:
        work.give_back_memory()
    return watch.told()


def _place_of(run: str) -> Path:
    """The folder of a run of that name, whether there is one or not."""
    place, root = folders.output_place(run, below=RUNS), folders.output_folder() / RUNS
    for around in place.parents:
        if around != root and around.is_relative_to(root) and is_run(around):
            raise ValueError(
                f"{run!r} lies inside the run {around.relative_to(root).as_posix()}, which keeps and removes its own "
                "files there. Choose another name."
            )
    return place


def _is_name_of_run(run: str | None) -> bool | str:
    """True, or why a name can be none; it is not known yet where it is linked."""
    try:
        _ = run is None or _place_of(run)
    except ValueError as error:
        return str(error)
    return True


def _existing(run: str) -> Path:
    place = _place_of(run)
    if not (place / "metrics.jsonl").is_file():
        root = folders.output_folder() / RUNS
        there = sorted(path.parent.relative_to(root).as_posix() for path in root.glob("**/metrics.jsonl"))
        near = get_close_matches(run, there, 1)
        meant = f" Did you mean {near[0]}?" if near else f" There are {', '.join(there)}." if there else ""
        raise ValueError(f"There is no run called {run!r} in {root}.{meant} Train SVD LoRA makes one.")
    return place


def _stand_of(run: Path) -> str:
    """Tells one state of a run from another, but for what finished it while the program was running."""
    step, here = newest_step(run), _done_here(run)
    if step is not None and step == here.finished_at and _file_for_loaders(exported_at(run, run, step), run).is_file():
        return here.stood
    return f"step {step} after {here.queues} queues"


def _done_here(run: Path) -> Here:
    return DONE_HERE.get(run, Here())


def _file_for_loaders(file: Path, run: Path) -> Path:
    """Where the result of a run lies, of that file name, for loaders of LoRAs."""
    inside = run.relative_to(folders.output_folder() / RUNS)
    return folders.output_folder() / LORAS / OURS / inside.parent / file.name


def _published(file: Path, run: Path) -> str:
    """Copy a result to where loaders of LoRAs find it; gives the name by which they do."""
    target = _file_for_loaders(file, run)
    with written_beside(target) as draft:
        shutil.copyfile(file, draft)
    return str(target.relative_to(folders.output_folder() / LORAS))
