"""Small nodes to run workflows of in tests, and a way to write such workflows."""

import weakref
from typing import Any, ClassVar

from zoetrope.host import io, ui, work


class Parcel:
    """A value of which one can ask whether anybody still holds it."""

    alive: ClassVar["weakref.WeakSet[Parcel]"] = weakref.WeakSet()

    def __init__(self, number: int):
        self.number = number
        Parcel.alive.add(self)


PARCEL = io.Custom("PARCEL")


class Make(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Make",
            display_name="Make a Parcel",
            inputs=[io.Int.Input("number", default=0, min=0, max=100)],
            outputs=[PARCEL.Output()],
        )

    @classmethod
    def execute(cls, number):
        return io.NodeOutput(Parcel(number))


class MakeList(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MakeList",
            inputs=[io.Int.Input("count", default=3)],
            outputs=[io.Int.Output(is_output_list=True), io.Int.Output()],
        )

    @classmethod
    def execute(cls, count):
        return io.NodeOutput(list(range(count)), count)


class Add(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Add",
            inputs=[io.Int.Input("one"), io.Int.Input("other", optional=True)],
            outputs=[io.Int.Output()],
        )

    @classmethod
    def execute(cls, one, other=1000):
        return io.NodeOutput(one + other)


class Together(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Together", inputs=[io.Int.Input("numbers")], outputs=[io.String.Output()], is_input_list=True
        )

    @classmethod
    def execute(cls, numbers):
        return io.NodeOutput(f"{numbers}")


class Weigh(io.ComfyNode):
    """Passes a parcel on and says how many there are."""

    seen: ClassVar[list[int]] = []

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Weigh",
            display_name="Weigh",
            inputs=[PARCEL.Input("parcel"), io.Float.Input("factor", default=1.0, min=0.5, max=2.0)],
            outputs=[PARCEL.Output()],
        )

    @classmethod
    def execute(cls, parcel, factor):
        cls.seen.append(len(Parcel.alive))
        return io.NodeOutput(Parcel(parcel.number + 1))


class Show(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Show",
            display_name="Show",
            inputs=[io.AnyType.Input("value"), io.String.Input("label", default="", optional=True)],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, value, label=""):
        return io.NodeOutput(ui={"shown": (value.number if isinstance(value, Parcel) else value,), "id": (label,)})


class Choose(io.ComfyNode):
    """Has a choice within a choice."""

    @classmethod
    def define_schema(cls):
        speed = io.DynamicCombo.Input(
            "speed",
            options=[
                io.DynamicCombo.Option("slow", []),
                io.DynamicCombo.Option("fast", [io.Float.Input("factor", default=2.0, max=9.0)]),
            ],
        )
        return io.Schema(
            node_id="Choose",
            display_name="Choose",
            inputs=[
                io.DynamicCombo.Input(
                    "mode",
                    options=[
                        io.DynamicCombo.Option("count", [io.Int.Input("n", default=4, min=1, max=9)]),
                        io.DynamicCombo.Option("run", [speed]),
                    ],
                ),
                io.Combo.Input("color", options=["red", "green", "blue"]),
                io.Boolean.Input("loud", default=False),
            ],
            outputs=[io.AnyType.Output()],
        )

    @classmethod
    def execute(cls, mode, color, loud):
        return io.NodeOutput({"mode": mode, "color": color, "loud": loud})


class Patient(io.ComfyNode):
    """Works asynchronously, in steps."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Patient",
            display_name="Patient",
            inputs=[io.Int.Input("steps", default=2)],
            outputs=[io.Int.Output()],
        )

    @classmethod
    async def execute(cls, steps):
        progress = work.Progress(steps)
        for step in range(steps):
            progress.update(step + 1)
        return io.NodeOutput(steps)


class Fail(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="Fail", display_name="Fail", inputs=[io.String.Input("how")], is_output_node=True)

    @classmethod
    def execute(cls, how):
        raise {"sentence": ValueError("there is no tea. Make some."), "slip": KeyError("tea")}[how]


class Picky(io.ComfyNode):
    """Checks its inputs itself, the number even beyond its range."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Picky",
            inputs=[io.Int.Input("number", max=3), io.String.Input("text", default="")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, number):
        if number is None or number in (2, 7):
            return True
        return f"{number} is neither 2 nor 7."

    @classmethod
    def execute(cls, number, text):
        return io.NodeOutput(ui=ui.PreviewText(f"{number}"))


NODES = [Make, MakeList, Add, Together, Weigh, Show, Choose, Patient, Fail, Picky]


def node(kind: str, title: str | None = None, **inputs: Any) -> dict[str, Any]:
    """A node in API format; `mode__n` stands for the input "mode.n"."""
    entry = {"class_type": kind, "inputs": {name.replace("__", "."): value for name, value in inputs.items()}}
    return entry | ({"_meta": {"title": title}} if title else {})
