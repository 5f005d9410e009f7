"""Checking a workflow before anything of it runs, and telling all that is wrong with it at once."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .definitions import DYNAMIC_COMBO, Definitions, InputDefinition, live_inputs, nested
from .errors import WorkflowError
from .graph import Prompt, is_link, needed_in_order

ANY = "*"
LISTED = 8  # more options than these are counted, not told

OwnCheck = Callable[..., Any]
"""A node's own `validate_inputs`: says True, or what is wrong."""


class InvalidWorkflow(WorkflowError):
    """Everything that is wrong with a workflow, a sentence each."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        listed = problems[0] if len(problems) == 1 else "".join(f"\n- {problem}" for problem in problems)
        super().__init__(f"The workflow cannot run, because of {count}: {listed}")


def require_valid(
    prompt: Prompt, definitions: Definitions, own_checks: Mapping[str, OwnCheck] | None = None
) -> list[str]:
    """Refuse a workflow that cannot run; else give the ids of its output nodes."""
    checker = _Checker(prompt, definitions, own_checks or {})
    if problems := checker.problems():
        raise InvalidWorkflow(problems)
    return checker.outputs


def described(id: str, prompt: Prompt, definitions: Definitions) -> str:
    """A node as a person knows it: by its number, title and kind."""
    kind, title = prompt[id]["class_type"], title_of(id, prompt, definitions)
    return f"Node {id} ({kind})" if title == kind else f"Node {id} ({title}, {kind})"


def title_of(id: str, prompt: Prompt, definitions: Definitions) -> str:
    """What a node is called on screen."""
    node = prompt[id]
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else None
    return str(title or definitions.get(node["class_type"], {}).get("display_name") or node["class_type"])


def nearest(word: Any, words: Iterable[Any]) -> str:
    """A suggestion, as a sentence with a space before it, where one of the words is close."""
    near = difflib.get_close_matches(str(word), [str(one) for one in words], n=1)
    return f" Did you mean {near[0]}?" if near else ""


class _Checker:
    def __init__(self, prompt: Prompt, definitions: Definitions, own_checks: Mapping[str, OwnCheck]):
        self._prompt = prompt
        self._definitions = definitions
        self._own_checks = own_checks
        self.outputs = [id for id, node in prompt.items() if self._known(node).get("output_node")]

    def problems(self) -> list[str]:
        unknown = list(self._unknown_nodes())
        if not self.outputs and not unknown:
            return ["it has no node that saves or shows anything. Add one, such as Save Image."]
        try:
            ids = needed_in_order(self._prompt, self.outputs)
        except WorkflowError as circle:
            return [*unknown, str(circle)]
        return unknown + [problem for id in ids if self._known(self._prompt[id]) for problem in self._of_node(id)]

    def _known(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._definitions.get(node["class_type"], {})

    def _unknown_nodes(self) -> Iterator[str]:
        for id, node in self._prompt.items():
            if not self._known(node):
                kind = node["class_type"]
                hint = nearest(kind, self._definitions) or " Install the pack that brings it."
                yield f"{described(id, self._prompt, self._definitions)}: there is no node called {kind} here.{hint}"

    def _of_node(self, id: str) -> Iterator[str]:
        node = self._prompt[id]
        values = node.get("inputs", {})
        live = live_inputs(self._known(node), values)
        own_check = self._own_checks.get(node["class_type"])
        trusted = _named_by(own_check) if own_check else lambda name: False
        wrong: list[str] = []
        for name, item in live.items():
            if name not in values:
                wrong += [f"input {name} is missing. {_wanted(item)}"] if item.required else []
            elif is_link(values[name]):
                wrong += self._of_link(item, values[name])
            else:
                wrong += _of_value(item, values[name], in_range=not trusted(name))
        wrong += _of_unknown_inputs(values, live)
        if own_check and not wrong:
            wrong += _of_own_check(own_check, nested(_written(values), self._known(node)))
        yield from (f"{described(id, self._prompt, self._definitions)}: {what}" for what in wrong)

    def _of_link(self, item: InputDefinition, link: list[Any]) -> Iterator[str]:
        source, slot = str(link[0]), link[1]
        if source not in self._prompt:
            yield f"input {item.name} is linked to node {source}, which does not exist. Link it to another node."
            return
        known = self._known(self._prompt[source])
        if not known:  # told already
            return
        origin = described(source, self._prompt, self._definitions)
        outputs = known["output"]
        if not 0 <= slot < len(outputs):
            has = f"only has outputs 0 to {len(outputs) - 1}" if outputs else "has no outputs"
            yield f"input {item.name} is linked to output {slot} of {origin}, which {has}."
        elif not _fits(outputs[slot], item.type):
            given = outputs[slot] if isinstance(outputs[slot], str) else "COMBO"
            yield f"input {item.name} takes {item.type}, but output {slot} of {origin} gives {given}."


def _of_unknown_inputs(values: Mapping[str, Any], live: Mapping[str, InputDefinition]) -> Iterator[str]:
    for name in values:
        parent = live.get(name.rpartition(".")[0])
        if name in live:
            continue
        if parent is None:
            yield f"it has no input {name}.{nearest(name, live)}"
        elif values[parent.name] in parent.options:  # what belongs to no option at all is told of with the option
            yield f"it has no input {name} while {parent.name} is {values[parent.name]}."


def _fits(given: Any, wanted: str) -> bool:
    if not isinstance(given, str):
        return wanted == "COMBO"
    given_types, wanted_types = ({part.strip() for part in kind.split(",")} for kind in (given, wanted))
    return bool(given_types & wanted_types) or ANY in given_types | wanted_types


def _of_value(item: InputDefinition, value: Any, in_range: bool) -> list[str]:
    """What is wrong with a value that was written down, and not linked."""
    try:
        value = converted(item, value)
    except ValueError:
        return [f"input {item.name} is {_shown(value)}. {_wanted(item)}"]
    if not in_range and item.type != DYNAMIC_COMBO:
        return []
    if item.type in ("COMBO", DYNAMIC_COMBO) and value not in item.options:
        hint = nearest(value, item.options)
        return [f"input {item.name} is {_shown(value)}, which is not among its options.{hint} {_wanted(item)}"]
    if item.type in ("INT", "FLOAT") and not _in_range(item, value):
        return [f"input {item.name} is {value}. {_wanted(item)}"]
    return []


def _in_range(item: InputDefinition, number: float) -> bool:
    low, high = item.settings.get("min"), item.settings.get("max")
    return (low is None or number >= low) and (high is None or number <= high)


def converted(item: InputDefinition, value: Any) -> Any:
    """A written value as the input's type has it; ValueError where it is none."""
    if isinstance(value, Mapping) and "__value__" in value:
        return value["__value__"]
    convert = CONVERSIONS.get(item.type)
    if convert:
        return convert(value)
    if item.type not in ("COMBO", DYNAMIC_COMBO) and not item.has_widget and item.type != ANY:
        raise ValueError("only a link will do")
    return value


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("not a whole number")
    if not isinstance(value, int | float | str):
        raise ValueError("not a number")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


def _yes_or_no(value: Any) -> bool:
    if value not in (True, False):  # a text such as "false" would count as true
        raise ValueError("neither true nor false")
    return bool(value)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a text")
    return str(value)


CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "INT": _whole_number, "FLOAT": _number, "BOOLEAN": _yes_or_no, "STRING": _text,
}  # fmt: skip


def _wanted(item: InputDefinition) -> str:
    """What would be right for an input, as a sentence."""
    if item.type in ("COMBO", DYNAMIC_COMBO):
        options = item.options
        if not options:
            return "There is nothing to choose from: put a file into the folder that it lists."
        listed = ", ".join(map(str, options[:LISTED]))
        return f"It is one of {listed}" + (f" and {len(options) - LISTED} more." if len(options) > LISTED else ".")
    words = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false", "STRING": "a text"}
    if item.type not in words:
        return f"It is a link to a node that gives {item.type}."
    low, high = item.settings.get("min"), item.settings.get("max")
    if low is not None and high is not None:
        return f"It is {words[item.type]} from {low} to {high}."
    bound = "" if low is None and high is None else f", {low} or more" if high is None else f", {high} or less"
    return f"It is {words[item.type]}{bound}."


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _named_by(own_check: OwnCheck) -> Callable[[str], bool]:
    parameters = inspect.signature(own_check).parameters
    takes_all = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    return lambda name: takes_all or name in parameters


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    """An input's values as a node may check them before anything has run: what is linked is not known yet."""
    return {name: None if is_link(value) else value for name, value in values.items()}


def _of_own_check(own_check: OwnCheck, values: Mapping[str, Any]) -> list[str]:
    named = _named_by(own_check)
    answer = own_check(**{name: value for name, value in values.items() if named(name)})
    if answer is True:
        return []
    return [answer if isinstance(answer, str) else "its inputs do not go together."]
