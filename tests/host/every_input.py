"""A node with an input of every type that nodes of this pack may use, to compare descriptions of it."""

from typing import Any


def every_input_node(io: Any) -> Any:
    """The node, made of the classes of any `io`: ComfyUI's own, or the stand-in."""

    def choice(id: str, inner: list[Any], **settings: Any) -> Any:
        options = [io.DynamicCombo.Option("nothing", []), io.DynamicCombo.Option("something", inner)]
        return io.DynamicCombo.Input(id, options=options, **settings)

    class EveryInput(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> Any:
            return io.Schema(
                node_id="ZoetropeEveryInput",
                display_name="Every Input",
                category="Zoetrope/tests",
                description="Has an input of every type.",
                search_aliases=["all inputs"],
                inputs=[
                    io.Boolean.Input("boolean", default=True, label_on="yes", label_off="no", tooltip="A tooltip."),
                    io.Int.Input(
                        "seed",
                        default=3,
                        min=0,
                        max=2**53,
                        step=2,
                        control_after_generate=True,
                        display_mode=io.NumberDisplay.slider,
                    ),
                    io.Int.Input("fixed_seed", default=3, control_after_generate=io.ControlAfterGenerate.fixed),
                    io.Float.Input(
                        "float",
                        default=0.5,
                        min=0.0,
                        max=1.0,
                        step=0.01,
                        round=0.001,
                        display_mode=io.NumberDisplay.number,
                        advanced=True,
                    ),
                    io.String.Input(
                        "string", default="a", multiline=True, placeholder="here", dynamic_prompts=True, lazy=True
                    ),
                    io.String.Input("forced", force_input=True, optional=True),
                    io.Combo.Input("combo", options=["a", "b"], default="b", display_name="the combo"),
                    io.Combo.Input("numbers", options=[1, 2], control_after_generate=True, socketless=True),
                    io.Combo.Input(
                        "upload", options=["x.png"], upload=io.UploadType.image, image_folder=io.FolderType.output
                    ),
                    io.Combo.Input("enumerated", options=io.NumberDisplay, default=io.NumberDisplay.slider),
                    choice("choice", [io.Int.Input("count"), choice("inner", [io.Mask.Input("mask")], optional=True)]),
                    choice("late", [io.Image.Input("image", optional=True)], optional=True, tooltip="Later."),
                    io.Image.Input("image", extra_dict={"extra": 1, "absent": None}, raw_link=True),
                    io.Mask.Input("mask", optional=True),
                    io.Audio.Input("audio"),
                    io.Video.Input("video"),
                    io.Latent.Input("latent"),
                    io.AnyType.Input("anything"),
                    io.Conditioning.Input("conditioning"),
                    io.Model.Input("model"),
                    io.Clip.Input("clip"),
                    io.Vae.Input("vae"),
                    io.ClipVision.Input("clip_vision"),
                    io.ClipVisionOutput.Input("clip_vision_output"),
                    io.LoraModel.Input("lora"),
                    io.LossMap.Input("losses"),
                    io.Custom("ZOETROPE_THING").Input("thing"),
                ],
                outputs=[
                    io.Image.Output(display_name="images", tooltip="Pictures."),
                    io.Float.Output("rate"),
                    io.Custom("ZOETROPE_THING").Output(is_output_list=True),
                    io.Combo.Output(display_name="color", options=["red"]),
                ],
                hidden=[io.Hidden.unique_id],
                is_output_node=True,
                is_experimental=True,
                not_idempotent=True,
                has_intermediate_output=True,
                essentials_category="Basics",
            )

        @classmethod
        def execute(cls, **inputs: Any) -> Any:
            return io.NodeOutput()

    return EveryInput
