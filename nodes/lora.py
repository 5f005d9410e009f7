"""LoRA files on a loaded video model."""

from __future__ import annotations

from ..host import io
from ..models.lora import load_lora
from ..models.svd import SVDModel
from .choosing_models import changed, find_lora, lora_names
from .svd import SVDType

MOST = 4.0  # beyond which a LoRA makes noise


class LoadLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeLoadLoRA",
            display_name="Load LoRA",
            category="Zoetrope/svd",
            description="Puts a LoRA on an SVD or SV3D model: a small file that was trained on clips, and changes how "
            "the model moves things or what it makes them look like. The model that goes in stays as it is. Several of "
            "these nodes in a row put on several LoRAs.",
            search_aliases=["svd lora", "lora loader", "motion lora", "apply lora", "sv3d lora"],
            inputs=[
                SVDType.Input("model", tooltip="An SVD or SV3D model, from Load SVD or another Load LoRA."),
                io.Combo.Input(
                    "lora",
                    options=lora_names(),
                    tooltip="One that ships with the pack (builtin), or a file in models/loras, as our trainer, "
                    "kohya, diffusers or peft write it. It has to be trained for SVD or SV3D; others are told for what "
                    "they are.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-MOST,
                    max=MOST,
                    step=0.05,
                    tooltip="How much of the LoRA: 1 is as it was trained, 0 is the model without it, and below 0 it "
                    "does the opposite. Too much makes noise.",
                ),
            ],
            outputs=[
                SVDType.Output(
                    display_name="model",
                    tooltip="The model with the LoRA on it. It shares the memory of the one that went in.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, lora: str | None = None) -> bool | str:
        try:
            _ = lora is None or find_lora(lora)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, lora: str | None = None, **others: object) -> str:
        return changed(None if lora is None else find_lora(lora))

    @classmethod
    def execute(cls, model: SVDModel, lora: str, strength: float) -> io.NodeOutput:
        return io.NodeOutput(load_lora(model, find_lora(lora), strength))
