"""Run a workflow without ComfyUI, queue one on a ComfyUI server, and the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .queue import QueueResult as QueueResult
    from .queue import queue_workflow as queue_workflow
    from .runner import RunResult as RunResult
    from .runner import run_workflow as run_workflow

# The runner brings torch, which `zoetrope --help` need not wait for.
MODULE_OF = {"RunResult": "runner", "run_workflow": "runner", "QueueResult": "queue", "queue_workflow": "queue"}


def __getattr__(name: str) -> Any:
    if name in MODULE_OF:
        return getattr(import_module(f".{MODULE_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
