"""The inputs of the nodes that train; their names are those of the settings that they fill."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from ..host import io
from ..trainers.learning_rates import Schedule
from ..trainers.optimizers import OptimizerName
from ..trainers.options import Precision
from ..trainers.svd import SVDTraining
from ..trainers.svd_settings import MOST_BUCKET
from ..trainers.svd_trained import LORA_PRESETS
from .sampling_inputs import LARGEST_SEED, MOST_FRAMES, MOST_STEPS
from .svd import LARGEST_SIDE, MULTIPLE

RUNS = "zoetrope/runs"  # in the output folder
MOST_TRAINED = 10_000_000  # steps
DEFAULT = SVDTraining(model=Path(), footage=Path(), run=Path())


def run_inputs() -> list[Any]:
    return [
        io.String.Input(
            "run",
            default="my_lora",
            tooltip=f"The name of the run, and of its LoRA. All of it is kept in {RUNS} in the output folder; a name "
            "that is there already goes on with that run.",
        ),
        io.Combo.Input(
            "preset",
            options=list(LORA_PRESETS),
            default=DEFAULT.preset,
            tooltip="What is trained. motion: how things move, and not what they look like. motion and look: both. "
            "strong: more of both, for footage unlike all that the model knows.",
        ),
        _whole("steps", 1, MOST_TRAINED, "Steps of the whole run. More may be asked for when it is done."),
        io.Int.Input(
            "steps_per_queue",
            default=DEFAULT.session_steps,
            min=0,
            max=MOST_TRAINED,
            tooltip="So many steps each time that it is queued; the next queue goes on. 0 is all that remain.",
        ),
    ]


def size_inputs() -> list[Any]:
    return [
        *(
            io.Int.Input(
                side,
                default=getattr(DEFAULT, side),
                min=16,
                max=LARGEST_SIDE,
                step=MULTIPLE,
                tooltip=f"The clips' {side} as they are trained, a multiple of {MULTIPLE}. Larger takes more memory "
                "and time; the LoRA works at other sizes too.",
            )
            for side in ("width", "height")
        ),
        _whole(
            "frames",
            0,
            MOST_FRAMES,
            "So many frames are trained at a time. 0 is the model's own: 14, or 25 for svd_xt.",
        ),
        io.Int.Input(
            "seed",
            default=DEFAULT.seed,
            min=0,
            max=LARGEST_SEED,
            # Said outright, or the frontend would draw a new seed for every queue of one run.
            control_after_generate=False,
            tooltip="Another number is another order of the clips, with other noise. The same one is the same LoRA.",
        ),
    ]


def advanced_inputs() -> list[Any]:
    return [
        _whole("rank", 1, 1024, "How much the LoRA can hold. More takes a larger file and learns more by heart.", True),
        _number(
            "alpha",
            0,
            10_000,
            0.5,
            "The LoRA counts by alpha / rank. 0 is the rank, so that it counts as it was trained.",
        ),
        _number("learning_rate", 1e-8, 1, 1e-6, "How far each step goes. 1e-4 suits most; 1e-3 is much."),
        _choice("schedule", get_args(Schedule), "How the learning rate goes on from the warm-up to the run's end."),
        _whole("warm_up_steps", 0, MOST_TRAINED, "Steps in which the learning rate rises to what it is.", True),
        _whole("batch", 1, 256, "Clips that are computed at once. Each takes its own memory.", True),
        _whole("accumulation", 1, 1024, "So many batches make a step: as a larger batch, in less memory.", True),
        _choice(
            "precision",
            ("auto", *get_args(Precision)),
            "What is computed in. auto is bf16 on GPUs that know it, fp16 on others, and the model's own on a "
            "processor. What is trained is always fp32.",
        ),
        _choice("optimizer", get_args(OptimizerName), "adamw8bit takes less memory, and needs bitsandbytes."),
        _number(
            "average_decay",
            0,
            0.99999,
            0.0001,
            "Of a moving average that is used in place of the newest weights; 0.999 is usual, 0 is none.",
        ),
        _whole("save_every", 1, MOST_TRAINED, "Steps from one saved state to the next, for the case of a crash.", True),
        _whole(
            "validate_every",
            0,
            MOST_TRAINED,
            "Steps from one look at the clips held out to the next. 0 looks at steps 0, 1000, 2000, 3000, 5000 and the "
            "last.",
            True,
        ),
        _whole("validation_clips", 1, 1000, "So many clips are held against the model each time, at most.", True),
        _whole("samples", 0, 100, "So many clips are made each time, at most. 0 makes none, which saves time.", True),
        _whole("sample_steps", 0, MOST_STEPS, "Steps in which they are sampled. 0 is the model's own number.", True),
        _whole(
            "motion_bucket",
            0,
            MOST_BUCKET,
            "The model is told this for all clips. 0 tells it for each how much it moves.",
            True,
        ),
        _number(
            "frames_per_second", 0, 1000, 0.001, "The rate of the clips as they are trained; 0 is the footage's own."
        ),
        _whole("frame_step", 1, 1000, "Takes every so many frames of the footage, for faster motion.", True),
        _choice("fit", ("cover", "stretch"), "cover crops what is too much, evenly; stretch squashes it."),
        _number("dropout", 0, 1 / 3, 0.01, "In so many samples the picture is left out, which guidance needs."),
        io.String.Input(
            "caption",
            default=DEFAULT.caption,
            optional=True,
            advanced=True,
            tooltip="What the LoRA is for. It is written into the file, where managers of LoRAs show it.",
        ),
        _switch("checkpointing", "On: layers are computed twice, for less memory and a third more time. Off: once."),
        _switch(
            "parity",
            "On: noise and dropout are drawn as SVD_Xtend's script does. Off: evenly spread, with more of "
            "the high levels that decide on motion.",
        ),
    ]


def _whole(name: str, low: int, high: int, tooltip: str, advanced: bool = False) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=getattr(DEFAULT, name),
        min=low,
        max=high,
        optional=advanced,
        advanced=True if advanced else None,
        tooltip=tooltip,
    )


def _number(name: str, low: float, high: float, step: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=getattr(DEFAULT, name),
        min=float(low),
        max=float(high),
        step=step,
        optional=True,
        advanced=True,
        tooltip=tooltip,
    )


def _choice(name: str, options: tuple[str, ...], tooltip: str) -> io.Combo.Input:
    return io.Combo.Input(
        name, options=list(options), default=getattr(DEFAULT, name), optional=True, advanced=True, tooltip=tooltip
    )


def _switch(name: str, tooltip: str) -> io.Boolean.Input:
    return io.Boolean.Input(name, default=getattr(DEFAULT, name), optional=True, advanced=True, tooltip=tooltip)
