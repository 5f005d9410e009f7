"""SV3D: views around an object, from a picture of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from ..host import io, work
from ..media.pictures import as_images
from ..models.svd import SVDModel
from ..pipelines.camera import (
    EASINGS,
    MOST_FRAMES,
    SV3D_FRAMES,
    CameraPath,
    dynamic_orbit,
    keyframes,
    listed,
    parse_keyframes,
    static_orbit,
)
from ..pipelines.camera_picture import picture_of
from ..pipelines.sv3d import SV3DOptions, orbit
from . import previews
from .forming import clips_of
from .frames import chosen
from .sampling_inputs import (
    OWN,
    advanced_inputs,
    clip_outputs,
    cond_aug_input,
    decoding_input,
    guidance_input,
    guidance_of,
    seed_input,
    steps_input,
    tiny_decoder_of,
)
from .svd import LARGEST_SIDE, MULTIPLE, SVDType

CameraPathType = io.Custom("ZOETROPE_CAMERA_PATH")
MOST_VIEWS = 1024
LARGEST_SEED = 2**32 - 1  # of numpy's generator, from which the demo's paths come


class SV3DOrbit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = SV3DOptions()
        return io.Schema(
            node_id="ZoetropeSV3DOrbit",
            display_name="SV3D Orbit",
            category="Zoetrope/svd",
            description="Looks around an object in a picture with SV3D: a clip in which the camera goes once around "
            "it, or along a camera path. With the same seed and numbers it is the clip of Stability AI's own script.",
            search_aliases=["sv3d", "turntable", "novel views", "360", "multi view", "orbit video", "3d from image"],
            inputs=[
                SVDType.Input("model", tooltip="An SV3D model, from Load SVD: sv3d_u, or sv3d_p for camera paths."),
                io.Image.Input(
                    "image",
                    tooltip="The object in the middle of a square white picture: connect Prepare Object. Of a batch, "
                    "each picture gets an orbit, all with the same seed.",
                ),
                io.Int.Input(
                    "frames",
                    default=default.frames,
                    min=0,
                    max=MOST_VIEWS,
                    tooltip="How many views, 21 as in training. 0 is as many as the camera path has, else the model's "
                    "own number.",
                ),
                steps_input(default, "50 is the reference's."),
                cond_aug_input(default),
                seed_input(default),
                guidance_input(default, default.min_guidance or 1.0, default.max_guidance or 1.0),
                decoding_input(default),
                io.Boolean.Input(
                    "replace_last",
                    default=default.replace_last,
                    tooltip="On: the last frame, which shows what the picture shows, is the picture itself, as the "
                    "reference has it. Off: it is what the model made of it.",
                ),
                CameraPathType.Input(
                    "camera_path",
                    optional=True,
                    tooltip="Where the camera is in each frame, for sv3d_p. Without one it goes once around, 10 "
                    "degrees above the object; sv3d_u always goes around at the height of the picture.",
                ),
                *advanced_inputs(default),
                io.Int.Input(
                    "side",
                    default=default.side,
                    min=0,
                    max=LARGEST_SIDE,
                    step=MULTIPLE,
                    optional=True,
                    advanced=True,
                    tooltip=f"Width and height of the views, a multiple of {MULTIPLE}. 0 is what the model was trained "
                    "on, 576 for SV3D; the picture is made as large.",
                ),
            ],
            outputs=clip_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: SVDModel,
        image: Tensor,
        guidance: dict[str, Any] | None = None,
        camera_path: CameraPath | None = None,
        decoder: str = OWN,
        **settings: Any,
    ) -> io.NodeOutput:
        settings |= guidance_of(guidance) | _angles(camera_path, settings["frames"])
        options = SV3DOptions(**settings).completed(model)
        make = partial(
            orbit,
            model,
            options=options,
            device=work.intermediate_device(),
            tiny_decoder=tiny_decoder_of(decoder, model),
        )
        images = clips_of(image, options.steps, make)
        return io.NodeOutput(images, options.frames, len(image))


def _angles(path: CameraPath | None, frames: int) -> dict[str, Any]:
    """The options that a camera path sets."""
    if path is None:
        return {}
    return {
        "frames": frames or len(path),
        "elevations_deg": path.elevations_deg,
        "azimuths_deg": path.azimuths_deg,
    }


class MakeCameraPath(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeCameraPath",
            display_name="Camera Path",
            category="Zoetrope/svd",
            description="Says where the camera is in each frame of an orbit, and draws it: once around at one height, "
            "up and down by chance, from lists of angles, or from keyframes. For SV3D Orbit with sv3d_p.",
            search_aliases=["camera trajectory", "camera motion", "azimuth", "elevation", "dynamic orbit", "keyframes"],
            inputs=[
                io.Int.Input(
                    "frames",
                    default=SV3D_FRAMES,
                    min=1,
                    max=MOST_FRAMES,
                    tooltip="How many views. SV3D was trained on 21.",
                ),
                io.DynamicCombo.Input(
                    "path",
                    options=[
                        io.DynamicCombo.Option("static orbit", [_elevation(10.0)]),
                        io.DynamicCombo.Option("dynamic orbit", [_elevation(5.0), *_chance()]),
                        io.DynamicCombo.Option("lists", _lists()),
                        io.DynamicCombo.Option("keyframes", _keys()),
                    ],
                    tooltip="How the path is given. The last frame always shows what the picture shows: azimuths count "
                    "from there.",
                ),
            ],
            outputs=[
                CameraPathType.Output(display_name="camera_path", tooltip="The path, for SV3D Orbit."),
                io.Image.Output(display_name="picture", tooltip="The path drawn: seen from above, and its height."),
            ],
        )

    @classmethod
    def execute(cls, frames: int, path: dict[str, Any] | None = None) -> io.NodeOutput:
        camera_path = chosen("path", PATHS, path)(frames)
        pixels = picture_of(camera_path)
        return io.NodeOutput(camera_path, as_images(pixels), ui=previews.still(pixels))


Maker = Callable[[int], CameraPath]
"""Makes a path of so many frames."""

PATHS: dict[str, Callable[..., Maker]] = {
    "static orbit": lambda elevation_deg: lambda frames: static_orbit(frames, elevation_deg),
    "dynamic orbit": lambda elevation_deg, **chance: lambda frames: dynamic_orbit(frames, elevation_deg, **chance),
    "lists": lambda elevations, azimuths: lambda frames: listed(elevations, azimuths, frames),
    "keyframes": lambda keys, easing: lambda frames: keyframes(parse_keyframes(keys), frames, easing),
}


def _elevation(default: float) -> io.Float.Input:
    return io.Float.Input(
        "elevation_deg",
        default=default,
        min=-90.0,
        max=90.0,
        step=1.0,
        tooltip="How high the camera is, in degrees: 0 is level with the object, 90 straight above it.",
    )


def _chance() -> list[Any]:
    return [
        io.Float.Input(
            "sway",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip="How much it rises and sinks: 1 as in Stability AI's demo, 0 not at all.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=LARGEST_SEED,
            # Said outright, or the frontend would draw a new path with every run.
            control_after_generate=False,
            tooltip="Another number is another path.",
        ),
    ]


def _lists() -> list[Any]:
    return [
        io.String.Input(
            "elevations",
            default="10",
            tooltip='One number of degrees for each frame, or one for all: "10", "0, 5, 10, ... 100".',
        ),
        io.String.Input(
            "azimuths",
            default="",
            tooltip='How far around each frame is, in degrees: "0, 15, ... 300" goes on in that step. Empty is once '
            "around in equal steps.",
        ),
    ]


def _keys() -> list[Any]:
    return [
        io.String.Input(
            "keys",
            default="1: 10, 0\n11: 40, 170\n21: 10, 340",
            multiline=True,
            tooltip="A line for each keyframe: its number, counted from 1, then elevation and azimuth in degrees, as "
            '"11: 40, 170". 0 to 360 is once around, 0 to -90 a quarter clockwise.',
        ),
        io.Combo.Input(
            "easing",
            options=list(EASINGS),
            default="smooth",
            tooltip="smooth flows through the keyframes, ease rests at each, linear changes its speed there.",
        ),
    ]
