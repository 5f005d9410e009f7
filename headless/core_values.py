"""ComfyUI's own nodes for plain values: a number, a text, a yes or no, and a node that shows anything as text."""

from __future__ import annotations

import json
import sys
from typing import Any

from ..host import io, ui


class _Primitive(io.ComfyNode):
    """A node that gives what its one widget says."""

    @classmethod
    def execute(cls, value: Any) -> io.NodeOutput:
        return io.NodeOutput(value)


class PrimitiveString(_Primitive):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PrimitiveString",
            display_name="Text",
            category="utilities/primitive",
            inputs=[io.String.Input("value")],
            outputs=[io.String.Output()],
        )


class PrimitiveStringMultiline(_Primitive):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PrimitiveStringMultiline",
            display_name="Text (Multiline)",
            category="utilities/primitive",
            inputs=[io.String.Input("value", multiline=True)],
            outputs=[io.String.Output()],
        )


class PrimitiveInt(_Primitive):
    @classmethod
    def define_schema(cls) -> io.Schema:
        fixed = io.ControlAfterGenerate.fixed
        value = io.Int.Input("value", min=-sys.maxsize, max=sys.maxsize, control_after_generate=fixed)
        return io.Schema(
            node_id="PrimitiveInt",
            display_name="Int",
            category="utilities/primitive",
            inputs=[value],
            outputs=[io.Int.Output()],
        )


class PrimitiveFloat(_Primitive):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PrimitiveFloat",
            display_name="Float",
            category="utilities/primitive",
            inputs=[io.Float.Input("value", min=-sys.maxsize, max=sys.maxsize, step=0.1)],
            outputs=[io.Float.Output()],
        )


class PrimitiveBoolean(_Primitive):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PrimitiveBoolean",
            display_name="Boolean",
            category="utilities/primitive",
            inputs=[io.Boolean.Input("value")],
            outputs=[io.Boolean.Output()],
        )


class PreviewAny(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewAny",
            display_name="Preview as Text",
            category="utilities",
            inputs=[io.AnyType.Input("source")],
            outputs=[io.String.Output()],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, source: Any) -> io.NodeOutput:
        text = in_words(source)
        return io.NodeOutput(text, ui=ui.PreviewText(text))


def in_words(value: Any) -> str:
    """Anything as text: a text as it is, what JSON can say as JSON, and the rest as Python prints it."""
    if isinstance(value, str) or value is None:
        return str(value)
    if isinstance(value, bool | int | float):
        return str(value)
    try:
        return json.dumps(value, indent=4, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


NODES: list[type[io.ComfyNode]] = [
    PrimitiveString, PrimitiveStringMultiline, PrimitiveInt, PrimitiveFloat, PrimitiveBoolean, PreviewAny,
]  # fmt: skip
