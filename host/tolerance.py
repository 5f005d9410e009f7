"""Lets nodes be written for the newest ComfyUI and load in older ones.

An older ComfyUI raises TypeError for a keyword that it does not know yet, and the whole pack is gone. So every
schema, input and output is made through this door, which leaves out what that ComfyUI is too old for. A keyword that
our stand-in does not know either is no matter of age but a slip of ours, and is passed on to be refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any


class TolerantIo:
    """ComfyUI's `io`, with constructors that accept every keyword the newest `io` knows."""

    def __init__(self, genuine: Any, newest: Any):
        self._genuine = genuine
        self._newest = newest

    def __getattr__(self, name: str) -> Any:
        genuine = getattr(self._genuine, name)
        newest = getattr(self._newest, name)  # a node that uses what the stand-in lacks would not run without ComfyUI
        if name == "Custom":
            return lambda io_type: TolerantType(genuine(io_type), newest(io_type))
        if name == "Schema":
            return tolerant(genuine, newest)
        return TolerantType(genuine, newest) if hasattr(genuine, "io_type") else genuine


class TolerantType:
    """One of ComfyUI's types of socket, such as `io.Int`, with tolerant `Input`, `Output` and `Option`."""

    def __init__(self, genuine: Any, newest: Any):
        self._genuine = genuine
        self._newest = newest

    def __getattr__(self, name: str) -> Any:
        part = getattr(self._genuine, name)
        return tolerant(part, getattr(self._newest, name)) if name in ("Input", "Output", "Option") else part


def tolerant(genuine: Callable[..., Any], newest: Callable[..., Any]) -> Callable[..., Any]:
    """A constructor that leaves out the keywords that `newest` knows and `genuine` does not."""

    def construct(*args: Any, **settings: Any) -> Any:
        too_new = _keywords(newest) - _keywords(genuine)
        return genuine(*args, **{name: value for name, value in settings.items() if name not in too_new})

    return construct


@cache
def _keywords(constructor: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(constructor).parameters)
