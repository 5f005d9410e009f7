"""Running a checked workflow in this process: each node once, after those that it needs."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from ..host import io, work
from .definitions import Definition, live_inputs, nested
from .errors import WorkflowError
from .graph import Prompt, is_link, needed_in_order, sources
from .validate import converted, described, title_of

Node = type[io.ComfyNode]
Values = list[list[Any]]
"""What a node gave: for each output the values, of which there is one unless lists are at work."""


class NodeError(WorkflowError):
    """A node failed; says which, and why."""

    def __init__(self, node: str, reason: str):
        super().__init__(f"{node}: {reason}")


@dataclass(frozen=True)
class Progress:
    """How far a run is: the node that runs, and its steps; the first report of a node says 0, the last all."""

    node_id: str
    title: str
    done: int
    total: int
    preview: Image.Image | None = None
    text: str = ""  # what the node last said of itself


OnProgress = Callable[[Progress], None]
"""Told how far a run is; raises to cancel it."""


class _Reporter:
    """Tells how far one node is."""

    def __init__(self, id: str, title: str, on_progress: OnProgress):
        self._id = id
        self._title = title
        self._on_progress = on_progress
        self._last = (0, 1)
        self._text = ""

    def __call__(self, done: int, total: int, preview: Image.Image | None) -> None:
        self._last = (done, total)
        self._on_progress(Progress(self._id, self._title, done, total, preview, self._text))

    def tell(self, text: str) -> None:
        self._text = text
        self(*self._last, None)

    def finish(self) -> None:
        done, total = self._last
        if done < total:
            self(total, total, None)


class Run:
    """One run of a workflow, of which only what `outputs` need is run."""

    def __init__(
        self,
        prompt: Prompt,
        nodes: Mapping[str, Node],
        extra_pnginfo: Mapping[str, Any] | None,
        on_progress: OnProgress,
    ):
        self._prompt = prompt
        self._nodes = nodes
        self._extra_pnginfo = extra_pnginfo
        self._on_progress = on_progress
        kinds = {node["class_type"] for node in prompt.values()}
        self._definitions = {kind: nodes[kind].GET_NODE_INFO_V1() for kind in kinds}
        self._values: dict[str, Values] = {}
        self.shown: dict[str, dict[str, Any]] = {}

    def execute(self, outputs: list[str]) -> dict[str, dict[str, Any]]:
        """Run, and give what each node shows, as the server would send it."""
        order = needed_in_order(self._prompt, outputs)
        takers = Counter(source for id in order for source in self._sources(id))
        for id in order:
            self._values[id] = self._run_node(id)
            for source in self._sources(id):
                takers[source] -= 1
            # A clip is large: whatever nobody needs any more goes before the next node asks for memory.
            for spent in [spent for spent in self._values if not takers[spent]]:
                del self._values[spent]
        return self.shown

    def _sources(self, id: str) -> set[str]:
        return {source for _, source, _ in sources(self._prompt[id])}

    def _run_node(self, id: str) -> Values:
        kind = self._prompt[id]["class_type"]
        report = _Reporter(id, title_of(id, self._prompt, self._definitions), self._on_progress)
        report(0, 1, None)
        try:
            with work.reporting_to(report, report.tell), torch.inference_mode():
                results = self._results(id, self._nodes[kind], self._definitions[kind])
        except WorkflowError:
            raise
        except Exception as error:
            raise NodeError(described(id, self._prompt, self._definitions), _reason(error)) from error
        report.finish()
        if shown := _merged([_as_dict(result.ui) for result in results if result.ui is not None]):
            self.shown[id] = shown
        return _by_output([result.args for result in results if result.args], self._definitions[kind])

    def _results(self, id: str, node: Node, definition: Definition) -> list[io.NodeOutput]:
        arguments = self._arguments(id, definition)
        running = node.running(**self._hidden(id, definition))
        if definition["is_input_list"]:
            return [self._call(running, nested(arguments, definition))]
        if empty := [name for name, values in arguments.items() if not values]:
            raise ValueError(f"input {empty[0]} got an empty list, so there is nothing to work on.")
        count = max((len(values) for values in arguments.values()), default=1)
        return [self._call(running, nested(_slice(arguments, index), definition)) for index in range(count)]

    def _arguments(self, id: str, definition: Definition) -> dict[str, list[Any]]:
        """The values of each input: a linked one has as many as its source gave, a written one has one."""
        values = self._prompt[id].get("inputs", {})
        live = live_inputs(definition, values)
        return {
            name: self._values[str(value[0])][value[1]] if is_link(value) else [converted(live[name], value)]
            for name, value in values.items()
        }

    def _hidden(self, id: str, definition: Definition) -> dict[str, Any]:
        known = {"unique_id": id, "prompt": self._prompt, "extra_pnginfo": self._extra_pnginfo}
        asked = definition["input"].get("hidden", {})
        return {name: value for name, value in known.items() if name in asked}

    def _call(self, running: Any, arguments: dict[str, Any]) -> io.NodeOutput:
        work.raise_if_cancelled()
        returned = running.execute(**arguments)
        return _normalized(finished(returned) if inspect.iscoroutine(returned) else returned)


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, also where the caller, such as a notebook, has a loop of its own running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def _slice(arguments: Mapping[str, list[Any]], index: int) -> dict[str, Any]:
    """One value of each input; a list that is shorter than the longest repeats its last."""
    return {name: values[min(index, len(values) - 1)] for name, values in arguments.items()}


def _normalized(returned: Any) -> io.NodeOutput:
    if isinstance(returned, io.NodeOutput):
        return returned
    if isinstance(returned, Mapping):
        return io.NodeOutput(*returned.get("result", ()), ui=returned.get("ui"))
    return io.NodeOutput(*(returned or ()))


def _as_dict(shown: Any) -> Mapping[str, Any]:
    return shown if isinstance(shown, Mapping) else shown.as_dict()


def _merged(shown: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What several calls of a node show, joined key by key."""
    keys = shown[0] if shown else ()
    return {key: [item for one in shown for item in one[key]] for key in keys}


def _by_output(results: list[tuple[Any, ...]], definition: Definition) -> Values:
    """The values of each output over all calls; an output that is a list itself is joined to one list."""
    return [
        [item for result in results for item in (result[index] if is_list else [result[index]])]
        for index, is_list in enumerate(definition["output_is_list"])
        if results
    ]


def _reason(error: Exception) -> str:
    """An error for its user: our own sentence, or what Python says with the name of what it is."""
    text = str(error).strip()
    if isinstance(error, ValueError) and text:
        return text
    return f"it failed with {type(error).__name__}: {text}" if text else f"it failed with {type(error).__name__}."
