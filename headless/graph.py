"""The graph that a prompt describes: who is linked to whom, and what to run first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .errors import WorkflowError

Prompt = Mapping[str, Mapping[str, Any]]
"""A workflow in API format: nodes by id, each with "class_type", "inputs", and a title in "_meta"."""


def is_link(value: Any) -> bool:
    """Whether an input's value stands for another node's output: its id and the place of the output."""
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
        and isinstance(value[1], int) and not isinstance(value[1], bool)
    )  # fmt: skip


def sources(node: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """A node's links: the input, and the id and output of the node that it comes from."""
    for name, value in node.get("inputs", {}).items():
        if is_link(value):
            yield name, str(value[0]), value[1]


def needed_in_order(prompt: Prompt, outputs: Iterable[str]) -> list[str]:
    """The nodes that some outputs need, each after those that it needs itself; a cycle is refused."""
    order: dict[str, None] = {}
    for output in outputs:
        _visit(prompt, output, order)
    return list(order)


def _visit(prompt: Prompt, first: str, order: dict[str, None]) -> None:
    # By hand and not by recursion, because a chain may be longer than Python's stack.
    path: dict[str, Iterator[str]] = {}

    def enter(id: str) -> None:
        path[id] = (source for _, source, _ in sources(prompt[id]) if source in prompt)

    if first not in order:
        enter(first)
    while path:
        id, waiting = next(reversed(path.items()))
        source = next(waiting, None)
        if source is None:
            del path[id]
            order[id] = None
        elif source in path:
            around = [*list(path)[list(path).index(source) :], source]
            raise WorkflowError(
                f"Nodes {' <- '.join(around)} are linked in a circle, so none of them can run first. Remove one of "
                "these links."
            )
        elif source not in order:
            enter(source)
