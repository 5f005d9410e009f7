"""What a run would do and take, told before it begins: from the names and shapes in the model's file, no weights read.

What cannot work is refused here, in a sentence.
"""

from __future__ import annotations

import copy
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..clips.footage import Footage
from ..models.lora import add_lora, lora_targets
from ..models.svd import SVDFacts, SVDModel, empty_network, facts_of, recognise
from ..pipelines.sampling import side_multiple
from .errors import TrainingError
from .svd_checkpointing import KeptBytes, checkpointed_unet
from .svd_footage import ChosenClips, choose_clips
from .svd_kinds import SVD, Kind
from .svd_method import exported_at
from .svd_settings import ClipTraining
from .svd_trained import is_lora, own_weights

FLOAT_BYTES = 4
COPIES_IN_STATE = 3  # a trained weight and the optimizer's two memories of it
COPIES_IN_TRAINING = 4  # and its gradient
ENCODER_BYTES = 630_000_000 * 2 + 100_000_000 * FLOAT_BYTES  # CLIP in half precision, the VAE in float32
RECOMPUTED, GRADIENT_OF_INPUTS = 1, 1  # forward passes' worth of work that a backward pass takes
SHARE_IN_HALF_PRECISION = 0.6  # 0.5 on a processor; on a GPU more layers compute in float32 whatever is asked for
LONGEST_NAME = 255  # bytes, on nearly all disks
SPARE_DISK = 200 * 2**20  # for samples, metrics and the report
# A step takes the time of its arithmetic, at this share of a device's speed in large matrix products, and of starting
# each operation. On one core of a processor that says 1.47 s for a step of a model of a fifth of SVD's width that takes
# 1.50 s, and 2.19 for 2.10 with checkpointing; for a tiny one 0.16 for 0.13, and 0.24 for 0.26. No GPU was at hand.
EFFICIENCY = 0.55
SECONDS_PER_OPERATION = 1e-5
GIB = 2**30
SURE = "good to a third on a processor, and a rough guess on a GPU"

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
Counts = tuple[int, int, int]  # bytes, floating point operations, calls
MOST_KNOWN = 32
_KNOWN: dict[tuple[Any, ...], Counts] = {}  # of networks that were counted in this process


@dataclass(frozen=True, kw_only=True)
class SVDPlan:
    """What a run would do and take."""

    settings: ClipTraining
    facts: SVDFacts
    clips: ChosenClips
    frames: int
    processes: int
    trained_parameters: int
    activation_bytes: int  # for one clip
    memory_bytes: int  # on the device, all together
    disk_bytes: int  # that the run folder will take
    free_disk_bytes: int
    step_flops: float
    step_operations: float  # how often a step calls one of PyTorch's
    seconds_per_step: float | None  # None where nobody measured how fast the device is

    @property
    def clips_per_step(self) -> int:
        return self.settings.batch * self.settings.accumulation * self.processes

    @property
    def steps_per_epoch(self) -> float:
        return len(self.clips.trained) / self.clips_per_step

    def text(self) -> str:
        """For people, a line each."""
        settings, facts = self.settings, self.facts
        name = facts.version or settings.model.name
        how = f"LoRA of rank {settings.rank}" if is_lora(settings.preset) else "weights in float32"
        lines = [
            f"model      {name}, {facts.parameters / 1e6:.1f} M parameters",
            f"trained    {settings.preset}: {self.trained_parameters / 1e6:.2f} M parameters, as {how}",
            f"clips      {len(self.clips.trained)} to train on, {len(self.clips.held_out)} held out; "
            f"{self.frames} frames of {settings.width}x{settings.height} each",
            f"steps      {settings.steps}, each of {self.clips_per_step} clip{'s' * (self.clips_per_step > 1)}; "
            f"an epoch is {self.steps_per_epoch:.1f} steps",
            f"memory     about {_size(self.memory_bytes)}, of which one clip takes {_size(self.activation_bytes)}, "
            "good to a fifth",
            f"disk       about {_size(self.disk_bytes)} of the {_size(self.free_disk_bytes)} that are free",
        ]
        if self.seconds_per_step is not None:
            seconds = self.seconds_per_step * settings.steps
            lines.append(f"time       about {readable_duration(seconds)}, {self.seconds_per_step:.2f} s a step; {SURE}")
        return "\n".join([*lines, *(f"note       {note}" for note in self.clips.notes)])


def plan_svd(
    settings: ClipTraining,
    flops_per_second: Callable[[], float] | None = None,
    device: torch.device = torch.device("cpu"),
    *,
    model: SVDModel | None = None,
    footage: Footage | None = None,
    processes: int = 1,
    kind: Kind = SVD,
) -> SVDPlan:
    """Look at the model, the footage and the disk, and say what the run would take on a device.

    `model` and `footage` are those that are loaded already, in place of what the settings name. Of several processes
    each has a device, does a step's work and takes the memory; together they share the disk.
    """
    kind.check_settings(settings)
    settings = settings.on(device, model.dtype if model else torch.float32)
    facts = facts_of(model) if model else recognise(settings.model)
    kind.check_model(facts, settings.model.name)
    unet, multiple = (_emptied(model.unet.module), side_multiple(model)) if model else empty_network(settings.model)
    _check_size(settings, multiple)
    _check_name(settings)
    frames = settings.frames or facts.frames
    clips = choose_clips(settings, frames, footage)
    kind.check(clips, settings, facts.family, frames)
    free = _free_bytes(settings.run)
    trained = _mark_trained(unet, settings)
    parameters = sum(parameter.numel() for parameter in trained.parameters() if parameter.requires_grad)
    activations, flops, operations = _measured(trained, settings, frames, multiple)
    disk = _disk_bytes(settings, clips, parameters, frames, processes)
    if disk > free:
        raise TrainingError(
            f"The run would take about {_size(disk)}, and the disk of {settings.run} has {_size(free)} free. Free "
            "some space, choose a run folder on another disk, or set keep_states to less."
        )
    in_half = settings.precision != "fp32" and is_lora(settings.preset)  # see load_for_training
    weights = model.unet.bytes if model else facts.parameters * (2 if in_half else FLOAT_BYTES)
    return SVDPlan(
        settings=settings,
        facts=facts,
        clips=clips,
        frames=frames,
        processes=processes,
        trained_parameters=parameters,
        activation_bytes=activations,
        memory_bytes=weights
        + min(ENCODER_BYTES, weights)
        + parameters * FLOAT_BYTES * (COPIES_IN_TRAINING + bool(settings.average_decay))
        + activations * settings.batch,
        disk_bytes=disk,
        free_disk_bytes=free,
        step_flops=flops,
        step_operations=operations,
        seconds_per_step=flops / (EFFICIENCY * flops_per_second()) + operations * SECONDS_PER_OPERATION
        if flops_per_second
        else None,
    )


def measured_flops_per_second(device: torch.device, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """How fast a device multiplies matrices; takes a moment."""
    side = 4096 if device.type == "cuda" else 768
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    (matrix @ matrix).sum().item()
    count, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        (matrix @ matrix).sum().item()  # which waits for the device
        count += 1
    return 2 * side**3 * count / taken


def _check_size(settings: ClipTraining, multiple: int) -> None:
    for name in ("width", "height"):
        side = getattr(settings, name)
        if side % multiple:
            below = side // multiple * multiple
            nearest = f"{below} or {below + multiple}" if below else str(multiple)
            raise TrainingError(f"{name} is {side}, but this model makes multiples of {multiple}. Choose {nearest}.")


def _check_name(settings: ClipTraining) -> None:
    """Refuse a run that could be trained, but not exported under its name."""
    name = exported_at(settings.run, settings.run, settings.steps).name
    if (over := len(os.fsencode(name)) - LONGEST_NAME) > 0:
        raise TrainingError(
            f"The run's name is {over} letters too long: what is trained would be written as {name}, and a file's name "
            f"has at most {LONGEST_NAME}. Choose a shorter one."
        )


def _free_bytes(run: Path) -> int:
    """What is free where the run's folder is or will be; refused where it cannot be written."""
    there = next(path for path in (run.absolute(), *run.absolute().parents) if path.exists())
    if not there.is_dir():
        raise TrainingError(f"{there} is a file, so the run cannot be kept in {run}. Choose another run folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise TrainingError(
            f"This user may not write into {there}, so the run cannot be kept in {run}. Change the folder's "
            "permissions, or choose another run folder."
        )
    return shutil.disk_usage(there).free


@torch.inference_mode(False)
def _emptied(unet: nn.Module) -> nn.Module:
    """A copy of a network, with all that is on it, that has shapes and no values."""
    copies: dict[int, Any] = {id(each): torch.empty_like(each, device="meta") for each in unet.buffers()}
    for weight in unet.parameters():
        copies[id(weight)] = nn.Parameter(torch.empty(weight.shape, device="meta"), requires_grad=False)
    return copy.deepcopy(unet, copies)


def _mark_trained(unet: Any, settings: ClipTraining) -> nn.Module:
    """The network with gradients where the run has them."""
    unet.requires_grad_(False)
    if is_lora(settings.preset):
        return add_lora(unet, lora_targets(unet, settings.preset), settings.rank, float(settings.rank), 0).unet
    own = set(own_weights(unet, settings.preset))
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(name in own)
    return unet


def _measured(unet: Any, settings: ClipTraining, frames: int, multiple: int) -> tuple[int, float, float]:
    """The bytes that one clip takes on the way there and back, and a step's arithmetic and calls."""
    levels = len(unet.config["block_out_channels"]) - 1
    pixels = multiple // 2**levels  # of a picture, along a latent's pixel
    shape = (1, frames, unet.config["in_channels"], settings.height // pixels, settings.width // pixels)
    weights = tuple((name, weight.shape, weight.requires_grad) for name, weight in unet.named_parameters())
    # A node plans with every queue, and each time for the same network.
    key = (type(unet), str(unet.config), weights, shape, settings.checkpointing)
    if key not in _KNOWN:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = _counted(unet, shape, settings.checkpointing)
    kept, flops, calls = _KNOWN[key]
    passes = 1 + GRADIENT_OF_INPUTS + RECOMPUTED * settings.checkpointing + (not is_lora(settings.preset))
    share = 1.0 if settings.precision == "fp32" else SHARE_IN_HALF_PRECISION
    step_flops = flops * passes * settings.batch * settings.accumulation
    return round(kept * share), step_flops, calls * passes * settings.accumulation


@torch.inference_mode(False)
@torch.enable_grad()
def _counted(unet: Any, shape: tuple[int, ...], checkpointing: bool) -> Counts:
    """What a pass through a network keeps, computes and calls, with latents of a shape."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    widths = unet.config["cross_attention_dim"], unet.config["projection_class_embeddings_input_dim"]
    with torch.device("meta"):
        given = (torch.empty(shape), torch.empty(1), torch.empty(1, 1, widths[0]), torch.empty(1, shape[1], widths[1]))

    class Calls(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += 1
            return call(*args, **(kwargs or {}))

    with FlopCounterMode(display=False) as counter, Calls() as calls:
        kept = _recomputed_bytes(unet, given) if checkpointing else _kept_bytes(unet, given)
    return kept, counter.get_total_flops(), calls.count


def _kept_bytes(unet: Any, given: Inputs) -> int:
    """What all layers keep for the way back."""
    with KeptBytes(unet) as kept:
        unet(*given)
    return kept.bytes


def _recomputed_bytes(unet: Any, given: Inputs) -> int:
    """What the layers hand to each other, and what the one that keeps most keeps while it is computed again."""
    between = most = 0

    def through(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        nonlocal between, most
        with KeptBytes(unet) as inside:
            result = function(*arguments)
        between += result.untyped_storage().nbytes()
        most = max(most, inside.bytes)
        return result

    checkpointed_unet(unet, *given, through=through)
    return between + most


def _disk_bytes(settings: ClipTraining, clips: ChosenClips, parameters: int, frames: int, processes: int) -> int:
    states = (settings.keep_states + 1 + len(settings.milestones)) * parameters * FLOAT_BYTES * COPIES_IN_STATE
    held = sum(len(clip.frames) for clip in (*clips.trained, *clips.held_out))
    drawn = settings.steps * settings.batch * settings.accumulation * processes * frames
    latent = settings.width * settings.height // 64 * 4 * FLOAT_BYTES + 4096
    noised = getattr(settings, "noised_pictures", 0) * min(held, drawn // frames)
    return states + parameters * FLOAT_BYTES + (min(held, drawn) + noised) * latent + SPARE_DISK


def _size(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.1f} MiB"


def readable_duration(seconds: float) -> str:
    """A time in hours and minutes, or in seconds."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
