"""Fine-tuning SVD on footage: a LoRA, or weights of its own, with the one training loop.

    settings = SVDTraining(model=Path("svd.safetensors"), footage=Path("moons"), run=Path("runs/moon"))
    for step in train_svd(settings):
        print(step.step, step.loss)

A run that was interrupted goes on where its newest saved state stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ..models.lora_layers import LoraLayer
from ..models.svd import SVDModel, load_svd
from .caching import TensorCache, hash_of_tensors
from .config import BUILT_IN, plain
from .errors import TrainingError
from .learner import DTYPES
from .loop import TrainingStep, nobody_asks, train
from .processes import Processes
from .run_folder import RunFolder, nobody_reads, opened_run
from .states import Note, newest_step
from .svd_footage import CachedFootage, training_clips
from .svd_method import Facts, SVDMethod
from .svd_plan import SVDPlan, plan_svd
from .svd_record import changes_since, record_of, write_record
from .svd_settings import SVDTraining, check_settings
from .svd_trained import is_lora

__all__ = ["SVDMethod", "SVDPlan", "SVDTraining", "load_for_training", "plan_svd", "train_svd"]

CHECKPOINT_SUFFIX = re.compile(r"\.(safetensors|sft)$")

OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and of how much; to cancel, it raises."""


def nobody_watches(title: str, done: int, total: int) -> None:
    """For callers that show no progress."""


def load_for_training(settings: SVDTraining, device: torch.device) -> SVDModel:
    """The model in the precision that it is trained in; weights that are trained themselves need float32."""
    dtype = DTYPES[settings.on(device).precision] if is_lora(settings.preset) else torch.float32
    return load_svd(settings.model, dtype=dtype, device=device)


@torch.inference_mode(False)  # ComfyUI runs nodes in it
def train_svd(
    settings: SVDTraining,
    *,
    plan: SVDPlan | None = None,
    model: SVDModel | None = None,
    processes: Processes = Processes(torch.device("cpu")),
    asked_to_stop: Callable[[], bool] = nobody_asks,
    on_progress: OnProgress = nobody_watches,
    note: Note = nobody_reads,
) -> Generator[TrainingStep, None, None]:
    """Begin a run or go on with it, and yield after every step.

    What cannot work is refused before anything is loaded or written. `model` is one that is loaded already; it stays as
    it is.
    """
    check_settings(settings)
    settings = settings.on(processes.device, model.dtype if model else torch.float32)
    plan = plan or plan_svd(settings, device=processes.device, model=model, processes=processes.count)
    with _opened(settings, processes, note) as run:
        model = model or load_for_training(settings, processes.device)
        cached = CachedFootage(model, settings, TensorCache(run.cache, note))
        if not processes.is_first:
            processes.wait()  # until what follows is computed and kept by the first
        trained, held_out = training_clips(
            plan.clips, cached, settings, plan.frames, lambda done, total: on_progress("Measuring motion", done, total)
        )
        hashes = {"footage": cached.hash_of([path for clip in (*trained, *held_out) for path in clip.paths])}
        facts = Facts(plan.facts.version or model.name, plan.facts.dtype, hashes["footage"])
        method = SVDMethod(model, settings, cached, trained, held_out, facts, plan.activation_bytes)
        if processes.is_first:
            hashes |= cached.model_hashes | {"unet": _hash_of_unet(model)}
            refuse_another(run, settings)
            _refuse_other_weights(run, settings, hashes["unet"])
            record = record_of(settings, cached, trained, held_out)
            if changes := changes_since(run.path, record):
                note(changes)
            run.describe(method.name, plain(settings), hashes)
            write_record(run.path, record)
            method.fill_cache(
                _numbers(settings, run, processes), lambda done, total: on_progress("Encoding footage", done, total)
            )
            processes.wait()
        yield from train(method, settings, run, processes, asked_to_stop)


def _opened(settings: SVDTraining, processes: Processes, note: Note) -> AbstractContextManager[RunFolder]:
    """The run's folder, which the first process holds for all."""
    return opened_run(settings.run, note) if processes.is_first else nullcontext(RunFolder(settings.run, note))


def refuse_another(run: RunFolder, settings: SVDTraining) -> None:
    """Refuse to go on with what was trained on another model, or as another LoRA.

    All else may change on the way: what is trained so far is still of use, and the run tells what has changed.
    """
    run.refuse_another_method(SVDMethod.name)
    before = run.description().get("settings", {})
    if newest_step(run.path) is None or not before:
        return
    was, now = _what_is_trained(before), _what_is_trained(plain(settings))
    for name in was:
        if was[name] != now[name]:
            raise TrainingError(
                f"The run in {run.path} is trained with {name} {was[name]}, and this asks for {now[name]}, for which "
                "what was trained so far is of no use. Set it as it was, or choose another run."
            )


def _what_is_trained(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings of a run, in run.yaml's words, those without which its states mean nothing."""
    model, preset, rank = (settings.get(name) for name in ("model", "preset", "rank"))
    same = {"model": CHECKPOINT_SUFFIX.sub("", Path(str(model)).name.removeprefix(BUILT_IN)), "preset": preset}
    if is_lora(str(preset)):
        same |= {"rank": rank, "alpha": float(settings.get("alpha") or rank or 0)}
    return same


def _refuse_other_weights(run: RunFolder, settings: SVDTraining, unet: str) -> None:
    """Refuse where another model has come in the place of the run's under the same name."""
    known = run.description().get("hashes", {}).get("unet")
    if newest_step(run.path) is None or known is None:
        return
    precision, now = known.partition(" ")[0], unet.partition(" ")[0]
    if precision == now and known != unet:  # in another precision the same model has other numbers
        raise TrainingError(
            f"{settings.model} holds other weights than when the run in {run.path} was there last, and what was "
            "trained on those is of no use on these. Put the model back, or choose another run."
        )


def _hash_of_unet(model: SVDModel) -> str:
    """With the precision in which it was loaded before it, and how strong each LoRA is that is on it."""
    unet = model.unet.module
    on_it = {name: layer for name, layer in unet.named_modules() if isinstance(layer, LoraLayer)}
    strengths = {f"{name}.scale": torch.tensor(layer.scale) for name, layer in on_it.items()}
    return f"{str(model.dtype).removeprefix('torch.')} {hash_of_tensors(unet.state_dict() | strengths)}"


def _numbers(settings: SVDTraining, run: RunFolder, processes: Processes) -> range:
    """Of the samples that this session draws."""
    state = run.newest_state()
    step = state.progress["step"] if state else 0
    first = state.progress["samples"] if state else 0
    steps = settings.steps - step
    if settings.session_steps:
        steps = min(steps, settings.session_steps)
    return range(first, first + steps * settings.batch * settings.accumulation * processes.count)
