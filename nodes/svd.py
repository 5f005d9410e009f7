"""Stable Video Diffusion: a clip that starts from a picture."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..host import io, work
from ..host.weights import managed
from ..models.svd import SVDModel, load_svd, recognise
from ..pipelines.svd import LONG, MOST_MOTION, SVDOptions, image_to_video
from .choosing_models import OF_THE_CHECKPOINT, changed, checkpoint_names, find_checkpoint, find_part, part_names
from .forming import clips_of
from .sampling_inputs import (
    MOST_FRAMES,
    OWN,
    advanced_inputs,
    clip_outputs,
    cond_aug_input,
    decoding_input,
    guidance_input,
    guidance_of,
    seams_input,
    seed_input,
    steps_input,
    tiny_decoder_of,
)

SVDType = io.Custom("ZOETROPE_SVD")
AUTO = "auto"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
MULTIPLE = 64  # of which the sides of a clip are one, for every released model
LARGEST_SIDE = 8192


class LoadSVD(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeLoadSVD",
            display_name="Load SVD",
            category="Zoetrope/svd",
            description="Loads a Stable Video Diffusion or SV3D checkpoint: a single file as it was released, or a "
            "folder as diffusers writes it. ComfyUI moves it to the GPU when it is used, and away when others need "
            "the room.",
            search_aliases=["svd checkpoint", "stable video diffusion", "sv3d", "load video model", "img2vid"],
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=checkpoint_names(),
                    tooltip="A file in models/checkpoints, or a folder in models/diffusers. Which model it is, and "
                    "which decoder it has, is found in the file. The page of this node tells where to get them.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=[AUTO, *DTYPES],
                    default=AUTO,
                    tooltip="The precision of the weights. auto is what ComfyUI takes for other models: fp16 on most "
                    "GPUs, 3.1 GB for the UNet; fp32 on a processor. The VAE has its own, below.",
                ),
                _part_input("vae", "vae", "The decoder that turns latents into frames."),
                _part_input("image_encoder", "clip_vision", "The CLIP that sees the picture."),
                io.Combo.Input(
                    "vae_dtype",
                    options=list(DTYPES),
                    default="fp32",
                    optional=True,
                    advanced=True,
                    tooltip="The precision of the VAE: fp32, as the reference decodes. bf16 and fp16 take half the "
                    "memory for decoding, and colours come out a little coarser.",
                ),
                _width_input("head_channels", "64 as in every released UNet"),
                _width_input("clip_head_channels", "80 as in every released image encoder"),
            ],
            outputs=[
                SVDType.Output(
                    display_name="model", tooltip="The model, for SVD Image To Video, SVD Chain or SV3D Orbit."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, checkpoint: str | None = None) -> bool | str:
        # ComfyUI tells what is said here once for each input that is named, so only the one that misses most is.
        try:
            _ = checkpoint is None or find_checkpoint(checkpoint)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(
        cls,
        checkpoint: str | None = None,
        vae: str = OF_THE_CHECKPOINT,
        image_encoder: str = OF_THE_CHECKPOINT,
        **others: Any,
    ) -> str:
        found = None if checkpoint is None else find_checkpoint(checkpoint)
        return changed(found, find_part("vae", vae), find_part("clip_vision", image_encoder))

    @classmethod
    def execute(
        cls,
        checkpoint: str,
        dtype: str,
        vae: str = OF_THE_CHECKPOINT,
        image_encoder: str = OF_THE_CHECKPOINT,
        vae_dtype: str = "fp32",
        head_channels: int = 0,
        clip_head_channels: int = 0,
    ) -> io.NodeOutput:
        source = find_checkpoint(checkpoint)
        model = load_svd(
            source,
            dtype=work.sampling_dtype(recognise(source).parameters) if dtype == AUTO else DTYPES[dtype],
            device="cpu",
            head_channels=head_channels or None,
            clip_head_channels=clip_head_channels or None,
            vae=find_part("vae", vae),
            image_encoder=find_part("clip_vision", image_encoder),
            vae_dtype=DTYPES[vae_dtype],
            place=managed,
        )
        return io.NodeOutput(model)


class SVDImageToVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = SVDOptions()
        return io.Schema(
            node_id="ZoetropeSVDImageToVideo",
            display_name="SVD Image To Video",
            category="Zoetrope/svd",
            description="Makes a clip that starts from a picture, with Stable Video Diffusion. With the same seed and "
            "numbers it is the clip of Stability AI's own script. A batch of pictures gives a batch of clips.",
            search_aliases=["stable video diffusion", "image to video", "img2vid", "i2v", "animate picture", "svd xt"],
            inputs=[
                SVDType.Input("model", tooltip="An SVD model, from Load SVD."),
                io.Image.Input(
                    "image",
                    tooltip="The picture that the clip starts from. Of a batch, each picture gets a clip, all with the "
                    "same seed. Transparency is left out.",
                ),
                *clip_inputs(default),
            ],
            outputs=[
                *clip_outputs(),
                io.Float.Output(
                    display_name="frames_per_second",
                    tooltip="The rate for which the clip was made, fps_id and one: connect it to the node that saves.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: SVDModel,
        image: Tensor,
        guidance: dict[str, Any] | None = None,
        decoder: str = OWN,
        **settings: Any,
    ) -> io.NodeOutput:
        options = SVDOptions(**settings, **guidance_of(guidance)).completed(model)
        make = partial(
            image_to_video,
            model,
            options=options,
            device=work.intermediate_device(),
            tiny_decoder=tiny_decoder_of(decoder, model),
        )
        images = clips_of(image, options.steps, make)
        return io.NodeOutput(images, options.frames, len(image), float(options.fps_id + 1))


def clip_inputs(default: SVDOptions) -> list[Any]:
    """All that says which clip it will be; the names are those of SVDOptions."""
    return [
        io.Int.Input(
            "frames",
            default=default.frames,
            min=0,
            max=MOST_FRAMES,
            tooltip="How many frames the clip has. 0 is what the model was trained on: 14 for svd, 25 for "
            "svd_xt. Other numbers work less well; SVD Chain makes longer clips.",
        ),
        steps_input(default, "0 is the version's own: 25 for svd, 30 for svd_xt."),
        *(_side_input(side, getattr(default, side)) for side in ("width", "height")),
        io.Int.Input(
            "fps_id",
            default=int(default.fps_id),
            min=1,
            max=1000,
            tooltip="The number that the model is told as the rate, as in Stability AI's script. In training "
            "it was the rate less one, so 6 is a clip for 7 frames per second. Made for 5 to 30. Core's "
            "SVD node and diffusers take one off themselves, so their 7 is 6 here.",
        ),
        io.Int.Input(
            "motion_bucket_id",
            default=int(default.motion_bucket_id),
            min=0,
            max=MOST_MOTION,
            tooltip="How much shall move, 1 to 255: low is stiller, high is wilder, though not evenly, and "
            "the seed matters as much. svd_xt_1_1 was trained on 127 alone.",
        ),
        cond_aug_input(default),
        seed_input(default),
        guidance_input(default, LONG.min_guidance, LONG.max_guidance),
        decoding_input(default),
        seams_input(default),
        *advanced_inputs(default),
    ]


def _part_input(name: str, kind: str, what: str) -> io.Combo.Input:
    return io.Combo.Input(
        name,
        options=part_names(kind),
        default=OF_THE_CHECKPOINT,
        optional=True,
        advanced=True,
        tooltip=f"{what} Another one may come from a file in models/{kind}.",
    )


def _width_input(name: str, usual: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=0,
        min=0,
        max=4096,
        optional=True,
        advanced=True,
        tooltip=f"How wide each attention head is, which no tensor tells. 0 is what the file says, else {usual}.",
    )


def _side_input(side: str, default: int) -> io.Int.Input:
    return io.Int.Input(
        side,
        default=default,
        min=0,
        max=LARGEST_SIDE,
        step=MULTIPLE,
        tooltip=f"The clip's {side} in pixels, a multiple of {MULTIPLE}: the picture is scaled and cropped to it. 0 "
        "follows the other side, and both 0 keep the picture's size. SVD was trained on 1024 x 576.",
    )
