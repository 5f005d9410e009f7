"""Long work: progress with a preview, cancelling, devices and memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import psutil
import torch
from PIL import Image

from .presence import IN_COMFYUI

PREVIEW_PIXELS = 512
"""The longer side of the preview that a browser is sent while a node works."""

Report = Callable[[int, int, Image.Image | None], None]
"""Told how much is done, of how much, with a picture of it or None; raises to cancel."""
Tell = Callable[[str], None]
"""Told in words what a node is at; raises to cancel."""

if IN_COMFYUI:
    import comfy.model_management as memory  # type: ignore[import-not-found]
    import comfy.utils  # type: ignore[import-not-found]
    from comfy_execution.utils import get_executing_context  # type: ignore[import-not-found]

    Cancelled: type[BaseException] = memory.InterruptProcessingException
else:

    class Cancelled(BaseException):  # type: ignore[no-redef]
        """The user wants the work to end. Like KeyboardInterrupt it passes every `except Exception`."""


def _of_running_out() -> tuple[type[BaseException], ...]:
    # On a torch without an error of its own for this, ComfyUI names plain Exception, which would catch everything.
    if IN_COMFYUI and memory.OOM_EXCEPTION is not Exception:
        return (memory.OOM_EXCEPTION,)
    return (torch.cuda.OutOfMemoryError,)


out_of_memory_errors = _of_running_out()
"""What to catch around work that can be tried again in smaller pieces."""


def _report_to_nobody(done: int, total: int, preview: Image.Image | None) -> None:
    """For work that nobody watches."""


def _tell_nobody(text: str) -> None:
    """For words that nobody reads."""


_report: ContextVar[Report] = ContextVar("zoetrope_report", default=_report_to_nobody)
_tell: ContextVar[Tell] = ContextVar("zoetrope_tell", default=_tell_nobody)


@contextmanager
def reporting_to(report: Report, tell: Tell = _tell_nobody) -> Iterator[None]:
    """For the headless runner: progress made in this block is told to `report`, and in words to `tell`."""
    tokens = _report.set(report), _tell.set(tell)
    try:
        yield
    finally:
        _report.reset(tokens[0])
        _tell.reset(tokens[1])


class Progress:
    """How far a node is with its work."""

    def __init__(self, total: int):
        self.total = total
        self._done = 0
        self._bar = comfy.utils.ProgressBar(total) if IN_COMFYUI else None

    def update(self, done: int, preview: Image.Image | None = None) -> None:
        """Tell that `done` of `total` steps are done; raises when the user wants the work to end."""
        raise_if_cancelled()
        self._done = done
        if self._bar is None:
            _report.get()(done, self.total, preview)
        else:
            self._bar.update_absolute(done, self.total, preview and ("JPEG", preview, PREVIEW_PIXELS))


def say(text: str) -> None:
    """Show a text on the node that is at work, in place of the one before."""
    if not IN_COMFYUI:
        _tell.get()(text)
        return
    context = get_executing_context()
    server = sys.modules.get("server")  # which ComfyUI has loaded where there is one
    if context is not None and server is not None:
        lines = filter(None, text.splitlines())
        # Paragraphs, because to Vue nodes a single break is none.
        server.PromptServer.instance.send_progress_text("\n\n".join(lines), context.node_id)


def is_cancelled() -> bool:
    """Whether the user wants the work to end, for work that has something to put in order before it does.

    It is to call `raise_if_cancelled` then. Outside ComfyUI a cancel is told by `Progress.update` alone.
    """
    return IN_COMFYUI and bool(memory.processing_interrupted())


def raise_if_cancelled() -> None:
    """For loops that report no progress: raises when the user wants the work to end."""
    if IN_COMFYUI:
        memory.throw_exception_if_processing_interrupted()


def device() -> torch.device:
    """Where models run."""
    if IN_COMFYUI:
        return memory.get_torch_device()
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def intermediate_device() -> torch.device:
    """Where what nodes hand to each other is kept."""
    return memory.intermediate_device() if IN_COMFYUI else torch.device("cpu")


def free_memory(bytes_needed: int) -> None:
    """Ask for that much room on `device()`: ComfyUI puts away models that are not in use.

    Outside ComfyUI nobody else's models are there to be put away; torch itself gives back what it only holds in
    reserve when it runs short.
    """
    if IN_COMFYUI:
        memory.free_memory(bytes_needed, memory.get_torch_device())


def give_back_memory() -> None:
    """Let others have the memory of `device()` that torch only holds in reserve, after work that took much of it."""
    if IN_COMFYUI:
        memory.soft_empty_cache()
    elif torch.cuda.is_available():
        torch.cuda.empty_cache()


def available_bytes(device: torch.device) -> int:
    """The memory of a device that tensors can still take: what nobody has, and what torch only holds in reserve."""
    if IN_COMFYUI:
        return memory.get_free_memory(device)
    if device.type != "cuda":  # an accelerator without memory of its own takes the computer's
        return psutil.virtual_memory().available
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def sampling_dtype(parameters: int) -> torch.dtype:
    """The precision in which a diffusion model of that many parameters runs best on `device()`."""
    if not IN_COMFYUI:
        return torch.float32 if device().type == "cpu" else torch.float16
    known = [torch.float16, torch.bfloat16, torch.float32]
    dtype = memory.unet_dtype(device=device(), model_params=parameters, supported_dtypes=known)
    if dtype in known:
        return dtype
    # An option of ComfyUI asks for one in which its own layers keep weights, to compute in another: we take that one.
    return memory.unet_manual_cast(dtype, device(), known) or torch.float32
