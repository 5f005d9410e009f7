"""What `comfy_api.latest.io` offers to our nodes, for where ComfyUI is absent.

A node described with these classes gives the same `/object_info` as ComfyUI 0.33 does, key for key, so that the
workflows, the frontend and the headless runner all read one description. Only what our nodes use is here; the
constructors' parameters stand in ComfyUI's order, and are the newest set that we write nodes for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar


class FolderType(str, Enum):
    input = "input"
    output = "output"
    temp = "temp"


class UploadType(str, Enum):
    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"
    model = "file_upload"


class NumberDisplay(str, Enum):
    number = "number"
    slider = "slider"
    gradient_slider = "gradientslider"


class ControlAfterGenerate(str, Enum):
    fixed = "fixed"
    increment = "increment"
    decrement = "decrement"
    randomize = "randomize"


class Hidden(str, Enum):
    """What a node may ask to know about its run; the answers are attributes of `cls.hidden`."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"
    auth_token_comfy_org = "AUTH_TOKEN_COMFY_ORG"
    api_key_comfy_org = "API_KEY_COMFY_ORG"
    comfy_usage_source = "COMFY_USAGE_SOURCE"


def _given(**settings: Any) -> dict[str, Any]:
    """Those of the settings that were given: ComfyUI's frontend takes a key that is absent for its own default."""
    return {name: value for name, value in settings.items() if value is not None}


class Input:
    """An input of a node: a socket."""

    io_type: ClassVar[str]

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        extra_dict: dict[str, Any] | None = None,
        raw_link: bool | None = None,
        advanced: bool | None = None,
    ):
        self.id = id
        self.display_name = display_name
        self.optional = optional
        self.tooltip = tooltip
        self.lazy = lazy
        self.extra_dict = extra_dict or {}
        self.raw_link = raw_link
        self.advanced = advanced

    def described(self) -> dict[str, Any]:
        """The second half of the input's entry in `/object_info`."""
        common = _given(
            display_name=self.display_name,
            tooltip=self.tooltip,
            lazy=self.lazy,
            rawLink=self.raw_link,
            advanced=self.advanced,
        )
        return common | _given(**self.extra_dict)


class WidgetInput(Input):
    """An input of a node that a person can also set on the node itself."""

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: Any = None,
        socketless: bool | None = None,
        force_input: bool | None = None,
        extra_dict: dict[str, Any] | None = None,
        raw_link: bool | None = None,
        advanced: bool | None = None,
    ):
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
        self.default = default
        self.socketless = socketless
        self.force_input = force_input

    def described(self) -> dict[str, Any]:
        widget = _given(default=self.default, socketless=self.socketless, forceInput=self.force_input)
        return super().described() | widget


class Output:
    """An output of a node."""

    io_type: ClassVar[str]

    def __init__(
        self,
        id: str | None = None,
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ):
        self.id = id
        self.display_name = display_name or id
        self.tooltip = tooltip
        self.is_output_list = is_output_list


class ComfyType:
    """A type of socket: `Input` and `Output` make a node's inputs and outputs of it."""

    io_type: ClassVar[str]
    Type: ClassVar[Any] = Any
    Input: ClassVar[Any] = Input
    Output: ClassVar[Any] = Output

    def __init_subclass__(cls, io_type: str):
        cls.io_type = io_type
        cls.Input = type("Input", (cls.Input,), {"io_type": io_type})
        cls.Output = type("Output", (cls.Output,), {"io_type": io_type})


def Custom(io_type: str) -> type[ComfyType]:
    """A type of socket that has no class here."""

    class CustomType(ComfyType, io_type=io_type):
        pass

    return CustomType


class Boolean(ComfyType, io_type="BOOLEAN"):
    Type = bool

    class Input(WidgetInput):
        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            default: bool | None = None,
            label_on: str | None = None,
            label_off: str | None = None,
            socketless: bool | None = None,
            force_input: bool | None = None,
            extra_dict: dict[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ):
            super().__init__(
                id,
                display_name,
                optional,
                tooltip,
                lazy,
                default,
                socketless,
                force_input,
                extra_dict,
                raw_link,
                advanced,
            )
            self.label_on = label_on
            self.label_off = label_off

        def described(self) -> dict[str, Any]:
            return super().described() | _given(label_on=self.label_on, label_off=self.label_off)


class Int(ComfyType, io_type="INT"):
    Type = int

    class Input(WidgetInput):
        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            default: int | None = None,
            min: int | None = None,
            max: int | None = None,
            step: int | None = None,
            control_after_generate: bool | ControlAfterGenerate | None = None,
            display_mode: NumberDisplay | None = None,
            socketless: bool | None = None,
            force_input: bool | None = None,
            extra_dict: dict[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ):
            super().__init__(
                id,
                display_name,
                optional,
                tooltip,
                lazy,
                default,
                socketless,
                force_input,
                extra_dict,
                raw_link,
                advanced,
            )
            self.min = min
            self.max = max
            self.step = step
            self.control_after_generate = control_after_generate
            self.display_mode = display_mode

        def described(self) -> dict[str, Any]:
            return super().described() | _given(
                min=self.min,
                max=self.max,
                step=self.step,
                control_after_generate=self.control_after_generate,
                display=self.display_mode,
            )


class Float(ComfyType, io_type="FLOAT"):
    Type = float

    class Input(WidgetInput):
        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            default: float | None = None,
            min: float | None = None,
            max: float | None = None,
            step: float | None = None,
            round: float | None = None,
            display_mode: NumberDisplay | None = None,
            gradient_stops: list[dict[str, Any]] | None = None,
            socketless: bool | None = None,
            force_input: bool | None = None,
            extra_dict: dict[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ):
            super().__init__(
                id,
                display_name,
                optional,
                tooltip,
                lazy,
                default,
                socketless,
                force_input,
                extra_dict,
                raw_link,
                advanced,
            )
            self.min = min
            self.max = max
            self.step = step
            self.round = round
            self.display_mode = display_mode
            self.gradient_stops = gradient_stops

        def described(self) -> dict[str, Any]:
            return super().described() | _given(
                min=self.min,
                max=self.max,
                step=self.step,
                round=self.round,
                display=self.display_mode,
                gradient_stops=self.gradient_stops,
            )


class String(ComfyType, io_type="STRING"):
    Type = str

    class Input(WidgetInput):
        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            multiline: bool = False,
            placeholder: str | None = None,
            default: str | None = None,
            dynamic_prompts: bool | None = None,
            socketless: bool | None = None,
            force_input: bool | None = None,
            extra_dict: dict[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ):
            super().__init__(
                id,
                display_name,
                optional,
                tooltip,
                lazy,
                default,
                socketless,
                force_input,
                extra_dict,
                raw_link,
                advanced,
            )
            self.multiline = multiline
            self.placeholder = placeholder
            self.dynamic_prompts = dynamic_prompts

        def described(self) -> dict[str, Any]:
            return super().described() | _given(
                multiline=self.multiline, placeholder=self.placeholder, dynamicPrompts=self.dynamic_prompts
            )


class Combo(ComfyType, io_type="COMBO"):
    Type = str

    class Input(WidgetInput):
        def __init__(
            self,
            id: str,
            options: list[str] | list[int] | type[Enum] | None = None,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            default: str | int | Enum | None = None,
            control_after_generate: bool | ControlAfterGenerate | None = None,
            upload: UploadType | None = None,
            image_folder: FolderType | None = None,
            socketless: bool | None = None,
            extra_dict: dict[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ):
            default = default.value if isinstance(default, Enum) else default
            super().__init__(
                id, display_name, optional, tooltip, lazy, default, socketless, None, extra_dict, raw_link, advanced
            )
            self.options = [option.value for option in options] if isinstance(options, type) else options
            self.control_after_generate = control_after_generate
            self.upload = upload
            self.image_folder = image_folder

        def described(self) -> dict[str, Any]:
            upload = {} if self.upload is None else {self.upload.value: True}
            return super().described() | _given(
                multiselect=False,
                options=self.options,
                control_after_generate=self.control_after_generate,
                **upload,
                image_folder=self.image_folder,
            )

    class Output(Output):
        def __init__(
            self,
            id: str | None = None,
            display_name: str | None = None,
            options: list[str] | None = None,
            tooltip: str | None = None,
            is_output_list: bool = False,
        ):
            super().__init__(id, display_name, tooltip, is_output_list)
            self.options = options or []


class DynamicCombo(ComfyType, io_type="COMFY_DYNAMICCOMBO_V3"):
    """A choice whose options bring inputs of their own; the node gets it as `{id: key, input: value, ...}`."""

    Type = dict

    class Option:
        def __init__(self, key: str, inputs: list[Input]):
            self.key = key
            self.inputs = inputs

        def described(self) -> dict[str, Any]:
            return {"key": self.key, "inputs": described_inputs(self.inputs)}

    class Input(Input):
        def __init__(
            self,
            id: str,
            options: list[DynamicCombo.Option],
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            extra_dict: dict[str, Any] | None = None,
        ):
            super().__init__(id, display_name, optional, tooltip, lazy, extra_dict)
            self.options = options

        def described(self) -> dict[str, Any]:
            return super().described() | {"options": [option.described() for option in self.options]}


class AnyType(ComfyType, io_type="*"):
    pass


class Image(ComfyType, io_type="IMAGE"):
    pass


class Mask(ComfyType, io_type="MASK"):
    pass


class Latent(ComfyType, io_type="LATENT"):
    pass


class Audio(ComfyType, io_type="AUDIO"):
    pass


class Video(ComfyType, io_type="VIDEO"):
    pass


class Conditioning(ComfyType, io_type="CONDITIONING"):
    pass


class Model(ComfyType, io_type="MODEL"):
    pass


class Clip(ComfyType, io_type="CLIP"):
    pass


class Vae(ComfyType, io_type="VAE"):
    pass


class ClipVision(ComfyType, io_type="CLIP_VISION"):
    pass


class ClipVisionOutput(ComfyType, io_type="CLIP_VISION_OUTPUT"):
    pass


class LoraModel(ComfyType, io_type="LORA_MODEL"):
    pass


class LossMap(ComfyType, io_type="LOSS_MAP"):
    pass


def described_inputs(inputs: Iterable[Input]) -> dict[str, dict[str, tuple[str, dict[str, Any]]]]:
    """Inputs as `/object_info` lists them, by whether they are required."""
    described: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {"required": {}}
    for item in inputs:
        group = described.setdefault("optional" if item.optional else "required", {})
        group[item.id] = (item.io_type, item.described())
    return described


@dataclass
class Schema:
    """What a node is, takes and gives."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_dev_only: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    essentials_category: str | None = None
    has_intermediate_output: bool = False

    def __post_init__(self) -> None:
        if self.is_output_node:  # a node that writes files is told what to embed in them
            told = [Hidden.prompt, Hidden.extra_pnginfo]
            self.hidden = [*self.hidden, *(item for item in told if item not in self.hidden)]
        self._refuse_twins("input", [item.id for item in self.inputs if not isinstance(item, DynamicCombo.Input)])
        self._refuse_twins("output", [item.id for item in self.outputs if item.id is not None])

    def _refuse_twins(self, what: str, ids: list[str]) -> None:
        if twins := sorted({id for id in ids if ids.count(id) > 1}):
            raise ValueError(f"{self.node_id} has more than one {what} called {', '.join(twins)}.")

    def object_info(self, python_module: str | None) -> dict[str, Any]:
        inputs: dict[str, Any] = described_inputs(self.inputs)
        if self.hidden:
            inputs["hidden"] = {item.name: (item.value,) for item in self.hidden}
        return {
            "input": inputs,
            "input_order": {group: list(members) for group, members in inputs.items()},
            "is_input_list": self.is_input_list,
            "output": [output.io_type for output in self.outputs],
            "output_is_list": [output.is_output_list for output in self.outputs],
            "output_name": [output.display_name or output.io_type for output in self.outputs],
            "output_tooltips": [output.tooltip or None for output in self.outputs],
            "output_matchtypes": None,  # for sockets whose types must agree, which none of our nodes has
            "name": self.node_id,
            "display_name": self.display_name,
            "description": self.description,
            "python_module": python_module,
            "category": self.category,
            "output_node": self.is_output_node,
            "deprecated": self.is_deprecated,
            "experimental": self.is_experimental,
            "dev_only": self.is_dev_only,
            "api_node": self.is_api_node,
            "price_badge": None,  # for nodes that cost money
            "search_aliases": self.search_aliases or None,
            "essentials_category": self.essentials_category,
            "has_intermediate_output": self.has_intermediate_output,
        }


class HiddenHolder:
    """The answers to what a node asked for in `Schema.hidden`; what it did not ask for is None."""

    def __init__(self, **answers: Any):
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._answers.get(name)


class NodeOutput:
    """What a node's `execute` returns: its outputs in order, and what the node shows."""

    def __init__(self, *args: Any, ui: Any = None):
        self.args = args
        self.ui = ui

    @property
    def result(self) -> tuple[Any, ...] | None:
        return self.args or None

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class _Locked(type):
    """The type of a node class while it runs: ComfyUI refuses state on node classes, so the stand-in does too."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(
            f"{cls.__name__}.{name} cannot be set: a node keeps nothing between runs. Put it into the node's output."
        )


class ComfyNode:
    """A node: a class that describes itself and is never made into an object."""

    RELATIVE_PYTHON_MODULE: ClassVar[str | None] = None
    hidden: ClassVar[Any] = HiddenHolder()

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError(f"{cls.__name__} does not describe itself: it lacks define_schema.")

    execute: ClassVar[Any]

    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        if not hasattr(cls, "execute"):
            raise NotImplementedError(f"{cls.__name__} cannot run: it lacks execute.")
        return cls.define_schema()

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict[str, Any]:
        """The node's entry in `/object_info`."""
        return cls.GET_SCHEMA().object_info(cls.RELATIVE_PYTHON_MODULE)

    @classmethod
    def running(cls, **hidden: Any) -> Any:
        """The class to call `execute` on in one run: it knows what the node asked for, and holds no state."""
        return _Locked(cls.__name__, (cls,), {"__module__": cls.__module__, "hidden": HiddenHolder(**hidden)})


class ComfyExtension:
    """A pack of nodes, as ComfyUI asks for it."""

    async def on_load(self) -> None:
        """Called once, before the nodes are asked for."""

    async def get_node_list(self) -> list[type[ComfyNode]]:
        raise NotImplementedError(f"{type(self).__name__} does not list its nodes: it lacks get_node_list.")
