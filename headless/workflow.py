"""Reading a workflow file: the format that ComfyUI saves, or the one that it exports for its API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .convert import to_prompt
from .definitions import Definitions
from .errors import WorkflowError

Prompt = dict[str, dict[str, Any]]
"""A workflow in API format: nodes by id, each with "class_type", "inputs", and a title in "_meta"."""


@dataclass(frozen=True)
class Workflow:
    """A workflow to run, and the graph that it was drawn as, where that is known, to embed in what it makes."""

    prompt: Prompt
    graph: dict[str, Any] | None

    @property
    def extra_pnginfo(self) -> dict[str, Any] | None:
        return None if self.graph is None else {"workflow": self.graph}


def load_workflow(source: Path | str | Mapping[str, Any], definitions: Definitions) -> Workflow:
    """Read a workflow of either format."""
    content, name = (source, "The workflow") if isinstance(source, Mapping) else (_parsed(Path(source)), str(source))
    if not isinstance(content, Mapping) or not content:
        raise WorkflowError(f"{name} is no workflow: it holds {_in_words(content)}. {HOW_TO_GET_ONE}")
    if isinstance(content.get("nodes"), list):
        graph = json.loads(json.dumps(content))
        return Workflow(to_prompt(graph, definitions), graph)
    if isinstance(content.get("prompt"), Mapping) and "class_type" not in content["prompt"]:
        content = content["prompt"]  # as it is posted to a server
    _require_api_format(content, name)
    return Workflow({str(id): dict(node) for id, node in content.items()}, None)


HOW_TO_GET_ONE = "In ComfyUI, choose Save, or Export (API), and give the file that it writes."


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise WorkflowError(f"{path} does not exist. Give the path of a workflow file.") from None
    except IsADirectoryError:
        raise WorkflowError(f"{path} is a folder. Give the path of a workflow file in it.") from None
    except UnicodeDecodeError:
        raise WorkflowError(f"{path} is no text, so it is no workflow. {HOW_TO_GET_ONE}") from None
    except OSError as error:
        raise WorkflowError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not text.strip():
        raise WorkflowError(f"{path} is empty. {HOW_TO_GET_ONE}")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise WorkflowError(f"{path} is broken JSON at {where}: {error.msg}. {HOW_TO_GET_ONE}") from None
    except RecursionError:
        raise WorkflowError(f"{path} is nested too deeply to be a workflow. {HOW_TO_GET_ONE}") from None


def _in_words(content: Any) -> str:
    if content in ({}, []):
        return "nothing"
    names = {list: "a list", str: "a text", bool: "a yes or no", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(content), "no nodes")


def _require_api_format(content: Mapping[str, Any], name: str) -> None:
    for id, node in content.items():
        if not isinstance(node, Mapping) or not isinstance(node.get("class_type"), str):
            raise WorkflowError(f"{name} is no workflow: {id!r} in it is no node with a class_type. {HOW_TO_GET_ONE}")
        if not isinstance(node.get("inputs", {}), Mapping):
            raise WorkflowError(f"{name} is no workflow: the inputs of node {id} are not by name. {HOW_TO_GET_ONE}")
