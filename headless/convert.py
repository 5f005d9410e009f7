"""From the format that ComfyUI saves a graph in to the one that its API runs, as ComfyUI's own frontend converts it.

What is drawn but not run disappears on the way: notes, reroutes, primitives, muted and bypassed nodes. A widget's
value is found by its place, so the order in which the frontend makes widgets is told here once more.
"""

from __future__ import annotations

import difflib
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .definitions import DYNAMIC_COMBO, Definition, Definitions, InputDefinition, declared_inputs
from .errors import WorkflowError

MUTED, BYPASSED = 2, 4
VIRTUAL = ("Reroute", "PrimitiveNode", "Note", "MarkdownNote")
UPLOADS = ("image_upload", "video_upload", "animated_image_upload")
EXPORT = "Open it in ComfyUI, choose Export (API), and give that file."

# The widgets of these nodes called filename_prefix have dates and other widgets' values filled in.
NAMING_NODES = {
    "SaveImage", "SaveImageAdvanced", "SaveSVGNode", "SaveVideo", "SaveAnimatedWEBP", "SaveWEBM", "SaveAudio",
    "SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced", "SaveGLB", "Save3DAdvanced", "SaveGaussianSplat",
    "SavePointCloud", "SaveAnimatedPNG", "CLIPSave", "VAESave", "ModelSave", "LoraSave", "SaveLatent",
}  # fmt: skip


def to_prompt(graph: Mapping[str, Any], definitions: Definitions) -> dict[str, dict[str, Any]]:
    """Turn a saved graph into API format."""
    return _Graph(graph, definitions).prompt()


@dataclass(frozen=True)
class _Link:
    id: Any
    origin: str
    origin_slot: int
    target: str
    target_slot: int


@dataclass(frozen=True)
class _Slot:
    """An input of a node as it is drawn: it can be linked, whether it has a widget or not."""

    name: str
    type: str
    link: Any


class _Graph:
    def __init__(self, graph: Mapping[str, Any], definitions: Definitions):
        self._definitions = definitions
        self._nodes = {str(node["id"]): node for node in map(_checked_node, graph["nodes"])}
        self._links = {link.id: link for link in map(_checked_link, _links_of(graph))}
        self._refuse_groups(graph)
        self._refuse_unknown()
        self._widgets = {id: self._widgets_of(node) for id, node in self._nodes.items()}
        self._apply_primitives()

    def prompt(self) -> dict[str, dict[str, Any]]:
        prompt = {id: self._converted(id, node) for id, node in self._nodes.items() if _runs(node)}
        for node in prompt.values():
            node["inputs"] = {
                name: value
                for name, value in node["inputs"].items()
                if not (isinstance(value, list) and value[0] not in prompt)
            }
        return prompt

    def _converted(self, id: str, node: Mapping[str, Any]) -> dict[str, Any]:
        inputs = {name: self._queued(node, name, value) for name, value in self._widgets[id].items()}
        for slot in self._slots_of(node):
            if origin := self._origin_of(slot.link, slot.type, set()):
                inputs[slot.name] = list(origin)
        definition = self._definitions[node["type"]]
        title = node.get("title") or definition.get("display_name") or node["type"]
        return {"inputs": inputs, "class_type": node["type"], "_meta": {"title": title}}

    def _queued(self, node: Mapping[str, Any], name: str, value: Any) -> Any:
        """A widget's value as it is sent: with what a person may have it say in other words filled in."""
        if isinstance(value, list):
            return {"__value__": value}  # a bare list would be read as a link
        if not isinstance(value, str):
            return value
        if name == "filename_prefix" and node["type"] in NAMING_NODES:
            return self._filled_in(value)
        settings = next((item.settings for item in self._live(node) if item.name == name), {})
        return one_of_the_choices(value) if settings.get("dynamicPrompts") else value

    # Links

    def _origin_of(self, link_id: Any, wanted: str, seen: set[tuple[str, int]]) -> tuple[str, int] | None:
        """The output that a link leads back to, through everything that does not run itself."""
        link = self._links.get(link_id) if link_id is not None else None
        node = self._nodes.get(link.origin) if link else None
        if link is None or node is None:
            return None
        if (link.origin, link.origin_slot) in seen:
            raise WorkflowError(f"{_described(node)} is linked to itself. Remove one of the links on that way round.")
        seen.add((link.origin, link.origin_slot))
        if node.get("mode") == MUTED:
            return None
        slots = self._slots_of(node)
        if node.get("mode") == BYPASSED:
            index = _bypass(slots, self._output_types(node), link.origin_slot, wanted)
            return None if index is None else self._origin_of(slots[index].link, slots[index].type, seen)
        if node["type"] in VIRTUAL:
            inner = slots[link.origin_slot].link if link.origin_slot < len(slots) else None
            return self._origin_of(inner, wanted, seen)
        return link.origin, link.origin_slot

    def _output_types(self, node: Mapping[str, Any]) -> list[str]:
        known = self._definitions.get(node["type"])
        if known and node["type"] not in VIRTUAL:
            return [kind if isinstance(kind, str) else "COMBO" for kind in known["output"]]
        return [str(output.get("type", "*")) for output in node.get("outputs") or []]

    def _slots_of(self, node: Mapping[str, Any]) -> list[_Slot]:
        """A node's inputs as the frontend lays them out: sockets first, then those that also have a widget."""
        saved = {slot["name"]: slot for slot in node.get("inputs") or []}
        declared = self._live(node)
        # The sockets of a dynamic combo's option stay with the combo, among the widgets.
        below = [item for item in declared if item.has_widget or "." in item.name]
        ordered = [item for item in declared if item not in below] + below
        slots = [_Slot(item.name, item.type, saved.get(item.name, {}).get("link")) for item in ordered]
        known = {slot.name for slot in slots}
        extra = [name for name in saved if name not in known]
        return slots + [_Slot(name, str(saved[name].get("type", "*")), saved[name].get("link")) for name in extra]

    # Widgets

    def _declared(self, node: Mapping[str, Any]) -> list[InputDefinition]:
        definition = self._definitions.get(node["type"])
        return declared_inputs(definition) if definition and node["type"] not in VIRTUAL else []

    def _live(self, node: Mapping[str, Any]) -> list[InputDefinition]:
        live: list[InputDefinition] = []
        waiting = self._declared(node)
        values = self._widgets[str(node["id"])]
        while waiting:
            item = waiting.pop(0)
            live.append(item)
            waiting[:0] = item.children(values.get(item.name))
        return live

    def _widgets_of(self, node: Mapping[str, Any]) -> dict[str, Any]:
        definition = self._definitions.get(node["type"])
        if definition is None or node["type"] in VIRTUAL:
            return {}
        return widget_values(definition, node.get("widgets_values"), node.get("widgets_values_named"))

    def _apply_primitives(self) -> None:
        """A primitive node writes its value into the widgets that it is linked to."""
        for id, node in self._nodes.items():
            saved = node.get("widgets_values")
            if node["type"] != "PrimitiveNode" or not isinstance(saved, list) or not saved:
                continue
            value = saved[0]
            if isinstance(value, str) and (node.get("properties") or {}).get("Run widget replace on values"):
                value = self._filled_in(value)
            for link in self._links.values():
                if link.origin == id and link.target in self._nodes:
                    self._set_widget(link, value)

    def _set_widget(self, link: _Link, value: Any) -> None:
        slots = self._nodes[link.target].get("inputs") or []
        name = next((slot["name"] for slot in slots if slot.get("link") == link.id), None)
        if name in self._widgets[link.target]:
            self._widgets[link.target][name] = value

    # Names with values filled in

    def _filled_in(self, text: str) -> str:
        """Fill in %date:yyyy-MM-dd% and, as %Sampler.seed%, what the widget of another node says."""

        def written(match: re.Match[str]) -> str:
            from ..host.folders import dated  # here, because beside ComfyUI it brings ComfyUI

            parts = match[1].split(".")
            if len(parts) == 2:
                return self._widget_in_name(*parts) or match[0]
            return dated(match[1][5:], time.localtime()) if match[1].startswith("date:") else match[0]

        return re.sub(r"%([^%]+)%", written, text)

    def _widget_in_name(self, node_name: str, widget: str) -> str | None:
        named = [id for id, node in self._nodes.items() if _replacement_name(node) == node_name]
        titled = [id for id, node in self._nodes.items() if self._title(node) == node_name]
        for id in (named or titled)[:1]:
            if widget in self._widgets[id]:
                return re.sub(r'[/?<>\\:*|"\x00-\x1f\x7f]', "_", _as_javascript(self._widgets[id][widget]))
        return None

    def _title(self, node: Mapping[str, Any]) -> str:
        return node.get("title") or self._definitions.get(node["type"], {}).get("display_name") or node["type"]

    # What cannot be converted

    def _refuse_groups(self, graph: Mapping[str, Any]) -> None:
        subgraphs = (graph.get("definitions") or {}).get("subgraphs") or []
        names = {str(item.get("id")): item.get("name") for item in subgraphs if isinstance(item, Mapping)}
        for node in self._nodes.values():
            if node["type"] in names or re.match(r"workflow[/>]", node["type"]):
                name = node.get("title") or names.get(node["type"]) or node["type"]
                raise WorkflowError(f"Node {node['id']} ({name}) is a subgraph, which only ComfyUI unfolds. {EXPORT}")

    def _refuse_unknown(self) -> None:
        unknown = [n for n in self._nodes.values() if _runs(n) and n["type"] not in self._definitions]
        if unknown:
            listed = "; ".join(f"{_described(node)}{_nearest(node['type'], self._definitions)}" for node in unknown)
            raise WorkflowError(
                f"The workflow needs nodes that are not here: {listed}. Install the pack that brings them, or run the "
                "workflow with `zoetrope queue` on a ComfyUI that has it."
            )


def _runs(node: Mapping[str, Any]) -> bool:
    return node["type"] not in VIRTUAL and node.get("mode") not in (MUTED, BYPASSED)


def _described(node: Mapping[str, Any]) -> str:
    title = node.get("title")
    return f"node {node['id']} ({title}, {node['type']})" if title else f"node {node['id']} ({node['type']})"


def _nearest(name: str, definitions: Definitions) -> str:
    near = difflib.get_close_matches(name, definitions, n=1)
    return f", did you mean {near[0]}?" if near else ""


def _checked_node(node: Any) -> Mapping[str, Any]:
    if not isinstance(node, Mapping) or "id" not in node or not isinstance(node.get("type"), str):
        raise WorkflowError("The workflow has a node without an id or a type, so the file is damaged. Save it anew.")
    inputs = node.get("inputs") or []
    if not isinstance(inputs, list) or not all(isinstance(slot, Mapping) and "name" in slot for slot in inputs):
        raise WorkflowError(f"Node {node['id']} ({node['type']}) has damaged inputs. Save the workflow anew.")
    return node


def _links_of(graph: Mapping[str, Any]) -> Sequence[Any]:
    links = graph.get("links") or []
    return list(links.values()) if isinstance(links, Mapping) else links


def _checked_link(link: Any) -> _Link:
    try:
        if isinstance(link, Mapping):
            id, *ends = (link[key] for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot"))
        else:
            id, *ends = link[:5]
        origin, origin_slot, target, target_slot = ends
        return _Link(id, str(origin), int(origin_slot), str(target), int(target_slot))
    except (KeyError, TypeError, ValueError):
        what = f"The link {link!r} of the workflow is damaged"
        raise WorkflowError(f"{what}. Open it in ComfyUI and save it anew.") from None


def _bypass(slots: list[_Slot], output_types: list[str], output: int, wanted: str) -> int | None:
    """The input that a bypassed node passes on as an output: the one in the same place if it fits, else the first."""
    if wanted in ("*", ""):
        return None if not slots else output if output < len(slots) else 0
    own = output_types[output] if output < len(output_types) else "*"
    fits = [_connectable(slot.type, own) and _connectable(slot.type, wanted) for slot in slots]
    if output < len(slots) and fits[output]:
        return output
    exact = [index for index, slot in enumerate(slots) if slot.type == wanted]
    return next(iter(exact or [index for index, fit in enumerate(fits) if fit]), None)


def _connectable(one: str, other: str) -> bool:
    if {one, other} & {"*", "", "0"}:
        return True
    return bool(set(one.lower().split(",")) & set(other.lower().split(",")))


def widget_values(definition: Definition, saved: Any, named: Any = None) -> dict[str, Any]:
    """What a node's widgets say, by dotted name, given what was saved of them: a list by place, or a dict by name.

    What was not saved has the widget's default.
    """
    if isinstance(saved, list):
        take = _by_place(_without_forced(definition, saved))
    else:
        by_name = saved if isinstance(saved, Mapping) else named if isinstance(named, Mapping) else {}
        take = by_name.get
    return dict(_read_widgets(declared_inputs(definition), take))


def _by_place(saved: Sequence[Any]) -> Callable[[str, Any], Any]:
    values = iter(saved)
    return lambda name, default: next(values, default)


def _read_widgets(inputs: Sequence[InputDefinition], take: Callable[[str, Any], Any]) -> Iterator[tuple[str, Any]]:
    for item in inputs:
        if not item.has_widget:
            continue
        value = take(item.name, item.default)
        yield item.name, value
        if item.type == DYNAMIC_COMBO:
            yield from _read_widgets(item.children(value), take)
        for companion in _companions(item):
            take(companion, None)


def _companions(item: InputDefinition) -> list[str]:
    """The widgets that come after one and are saved, but never sent."""
    controlled = item.settings.get("control_after_generate")
    if item.type == "INT" and controlled is None:
        controlled = item.name.split(".")[-1] in ("seed", "noise_seed")
    if not controlled:
        return []
    return ["control_after_generate"] + (["control_filter_list"] if item.type == "COMBO" else [])


def _without_forced(definition: Definition, saved: list[Any]) -> list[Any]:
    """Older files also hold a value for an input that has no widget of its own; drop it where the count says so."""
    places = []
    for item in declared_inputs(definition):
        if item.has_widget or item.settings.get("forceInput"):
            places.append(bool(item.settings.get("forceInput")))
            places += [False] if item.settings.get("control_after_generate") else []
    places += [False] * _has_upload_button(definition)
    if len(places) != len(saved):
        return saved
    return [value for value, forced in zip(saved, places, strict=True) if not forced]


def _has_upload_button(definition: Definition) -> bool:
    return any(item.required and any(map(item.settings.get, UPLOADS)) for item in declared_inputs(definition))


def one_of_the_choices(text: str) -> str:
    """A prompt such as "a {red|green} ball // note", with a choice made at random and the comments gone."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    innermost = re.compile(r"(?<!\\)\{((?:\\.|[^{}\\])*)(?<!\\)\}")
    while match := innermost.search(text):
        chosen = random.choice(re.split(r"(?<!\\)\|", match[1]))
        text = text[: match.start()] + chosen + text[match.end() :]
    return re.sub(r"\\([{}|])", r"\1", text)


def _replacement_name(node: Mapping[str, Any]) -> str | None:
    default = None if node["type"] in NAMING_NODES else node["type"]
    return (node.get("properties") or {}).get("Node name for S&R", default)


def _as_javascript(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
