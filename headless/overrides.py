"""Setting inputs of a workflow from outside, as `--set 3.frames=8` or `--set "Sampler.seed=7"`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from .definitions import DYNAMIC_COMBO, Definitions, InputDefinition, live_inputs
from .errors import WorkflowError
from .graph import Prompt
from .validate import converted, described, nearest, title_of

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def parse(settings: Iterable[str]) -> dict[str, str]:
    """Split "NODE.INPUT=VALUE" texts at the first "="."""
    overrides = {}
    for setting in settings:
        target, equals, value = setting.partition("=")
        if not equals or "." not in target.strip("."):
            raise WorkflowError(f"--set {setting!r} is not of the form NODE.INPUT=VALUE, such as 3.frames=8.")
        overrides[target.strip()] = value
    return overrides


def apply(prompt: Prompt, overrides: Mapping[str, Any], definitions: Definitions) -> dict[str, dict[str, Any]]:
    """A copy of the prompt with the overrides in it; a text is read as the type of input that it is for."""
    changed = {id: {**node, "inputs": dict(node.get("inputs", {}))} for id, node in copy.deepcopy(dict(prompt)).items()}
    # The choice of an option decides which inputs there are, so it comes before them: "3.mode" before "3.mode.n".
    for target in sorted(overrides, key=lambda target: target.count(".")):
        id, name = _found(target, prompt, definitions)
        inputs = changed[id]["inputs"]
        item = _input(id, name, changed, definitions)
        if item is None:
            inputs[name] = overrides[target]
        else:
            if item.type == DYNAMIC_COMBO:
                _forget_other_options(item, overrides[target], inputs)
            inputs[name] = _read(overrides[target], item, target)
    return changed


def _found(target: str, prompt: Prompt, definitions: Definitions) -> tuple[str, str]:
    """The node's id and the input that "3.frames" or "Sampler.seed" names; a title may hold dots itself."""
    for dot in (index for index, letter in enumerate(target) if letter == "."):
        if target[:dot] in prompt:
            return target[:dot], target[dot + 1 :]
    titles = {id: title_of(id, prompt, definitions) for id in prompt}
    matches = {id: title for id, title in titles.items() if target.startswith(f"{title}.")}
    longest = max(map(len, matches.values()), default=0)
    ids = [id for id, title in matches.items() if len(title) == longest]
    if len(ids) > 1:
        raise WorkflowError(f"--set {target}: nodes {', '.join(ids)} are all called {titles[ids[0]]}. Use the number.")
    if not ids:
        name = target.rpartition(".")[0]
        listed = ", ".join(f"{id} ({title})" for id, title in titles.items())
        raise WorkflowError(
            f"--set {target}: the workflow has no node {name}.{nearest(name, titles.values())} It has {listed}."
        )
    return ids[0], target[longest + 1 :]


def _input(id: str, name: str, prompt: Prompt, definitions: Definitions) -> InputDefinition | None:
    node = prompt[id]
    definition = definitions.get(node["class_type"])
    if definition is None or "input" not in definition:  # it is for validation to tell that the node is unknown
        return None
    live = live_inputs(definition, node["inputs"])
    if name not in live and name not in node["inputs"]:
        who = described(id, prompt, definitions)
        raise WorkflowError(f"--set {id}.{name}: {who} has no input {name}.{nearest(name, live)}")
    return live.get(name)


def _forget_other_options(item: InputDefinition, chosen: Any, inputs: dict[str, Any]) -> None:
    """Drop the inputs of the option chosen before, and give those of the new one their defaults."""
    if inputs.get(item.name) == chosen:
        return
    for name in [name for name in inputs if name.startswith(f"{item.name}.")]:
        del inputs[name]
    waiting = item.children(chosen)
    while waiting:
        child = waiting.pop(0)
        if child.has_widget:
            inputs[child.name] = child.default
            waiting[:0] = child.children(child.default)


def _read(value: Any, item: InputDefinition, target: str) -> Any:
    if not isinstance(value, str):
        return value
    if item.type == "BOOLEAN" and value.strip().lower() in (*TRUE, *FALSE):
        return value.strip().lower() in TRUE
    if item.type in ("COMBO", DYNAMIC_COMBO):
        return next((option for option in item.options if str(option) == value), value)
    if item.type in ("INT", "FLOAT", "BOOLEAN"):
        words = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false"}
        try:
            return converted(item, None if item.type == "BOOLEAN" else value)
        except ValueError:
            raise WorkflowError(f"--set {target}: {value!r} is not {words[item.type]}.") from None
    return value
