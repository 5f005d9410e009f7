"""Reading the description of a node as `/object_info` gives it: which inputs there are, of which type, in which order.

Both our own nodes and those of a server are described so, and so one reader serves running, queueing and converting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Definition = Mapping[str, Any]
"""A node's entry in `/object_info`."""

Definitions = Mapping[str, Definition]
"""All entries, by the node's class."""

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
WIDGETS = {
    "INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", "MARKDOWN", "COLOR", "COLORS", "BOUNDING_BOX", "BOUNDING_BOXES",
    "CHART", "GALLERIA", "PAINTER", "COMPOSITOR", "TEXTAREA", "CURVE", "RANGE", "VIDEO_EDIT", "IMAGECOMPARE",
    "WEBCAM", DYNAMIC_COMBO,
}  # fmt: skip


@dataclass(frozen=True)
class InputDefinition:
    """An input of a node; `name` is dotted where it belongs to an option of a dynamic combo."""

    name: str
    type: str
    required: bool
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_widget(self) -> bool:
        return str(self.settings.get("widgetType", self.type)) in WIDGETS and not self.settings.get("forceInput")

    @property
    def options(self) -> list[Any]:
        """What can be chosen of a combo; for a dynamic one, the keys of its options."""
        options = self.settings.get("options") or []
        return [option["key"] for option in options] if self.type == DYNAMIC_COMBO else list(options)

    @property
    def default(self) -> Any:
        """What the frontend fills in where nothing was said."""
        if "default" in self.settings:
            return self.settings["default"]
        if self.type in ("COMBO", DYNAMIC_COMBO):
            return self.options[0] if self.options else None
        return {"INT": 0, "FLOAT": 0, "STRING": "", "BOOLEAN": False}.get(self.type)

    def children(self, chosen: Any) -> list[InputDefinition]:
        """The inputs that come with the chosen option of a dynamic combo."""
        if self.type != DYNAMIC_COMBO:
            return []
        inputs = [option["inputs"] for option in self.settings["options"] if option["key"] == chosen]
        return list(_read(inputs[0], {}, prefix=f"{self.name}.")) if inputs else []


def declared_inputs(definition: Definition) -> list[InputDefinition]:
    """The inputs that a node always has: the required ones first, each group in its order."""
    return list(_read(definition["input"], definition.get("input_order") or {}))


def live_inputs(definition: Definition, values: Mapping[str, Any]) -> dict[str, InputDefinition]:
    """The inputs that a node has while its dynamic combos are set as `values` says, by dotted name."""
    live: dict[str, InputDefinition] = {}
    waiting = declared_inputs(definition)
    while waiting:
        item = waiting.pop(0)
        live[item.name] = item
        waiting[:0] = item.children(values.get(item.name))
    return live


def nested(values: Mapping[str, Any], definition: Definition) -> dict[str, Any]:
    """Values by dotted name, as a node takes them: a dynamic combo with its inputs is one dict."""
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        item = live_inputs(definition, values).get(name)
        *outer, own = name.split(".")
        group = arguments
        for part in outer:
            group = group.setdefault(part, {})
        if item is not None and item.type == DYNAMIC_COMBO:
            group.setdefault(own, {})[own] = value
        else:
            group[own] = value
    return arguments


def _read(inputs: Mapping[str, Any], order: Mapping[str, Any], prefix: str = "") -> Iterator[InputDefinition]:
    for group in ("required", "optional"):
        members = inputs.get(group) or {}
        names = [name for name in order.get(group, members) if name in members]
        for name in [*names, *(name for name in members if name not in names)]:
            yield _read_one(prefix + name, members[name], group == "required")


def _read_one(name: str, entry: Any, required: bool) -> InputDefinition:
    kind, settings = entry[0], dict(entry[1]) if len(entry) > 1 and entry[1] else {}
    if isinstance(kind, list):  # the older way to write a combo
        return InputDefinition(name, "COMBO", required, settings | {"options": kind})
    return InputDefinition(name, str(kind), required, settings)
