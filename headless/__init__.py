"""Run a workflow without ComfyUI, queue one on a ComfyUI server, and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runner import RunResult as RunResult
    from .runner import run_workflow as run_workflow


def __getattr__(name: str) -> Any:
    # The runner brings torch, which `zoetrope --help` need not wait for.
    if name in ("RunResult", "run_workflow"):
        from . import runner

        return getattr(runner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
