"""`zoetrope sv3d`: views around an object, from a picture of it, with SV3D."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .clip_making import (
    add_file_arguments,
    add_model_arguments,
    add_sampling_arguments,
    flag,
    load_decoder,
    load_model,
    make_clips,
    numbers_in,
    sampling_settings,
    without_none,
)

if TYPE_CHECKING:  # torch comes with them, and `--help` should not wait for it
    from torch import Tensor

    from ..pipelines.objects import ObjectOptions
    from ..pipelines.sampling import OnStep
    from ..pipelines.sv3d import SV3DOptions

VERSIONS = ("sv3d_u", "sv3d_p")
FRAMES_PER_SECOND = 10.0  # at which the reference's files play
EXAMPLES = """\
examples:
  Once around the object in a picture with a transparent ground:
    zoetrope sv3d shoe.png --model sv3d_u.safetensors --out output/orbits
  The same of a photo, its ground taken away by rembg:
    zoetrope sv3d shoe.jpg --model sv3d_u.safetensors --out output/orbits --rembg-model u2net.onnx
  From above, in even steps (sv3d_p alone):
    zoetrope sv3d shoe.png --model sv3d_p.safetensors --out output/orbits --elevations-deg 30
  At once, with the small model that ships, which knows the toy world's objects:
    zoetrope sv3d mug.png --model builtin:sv3d_p --out output/orbits --prepared
  A camera of your own, one angle for each of the 21 frames:
    zoetrope sv3d shoe.png --model sv3d_p.safetensors --out output/views --elevations-deg=-9,0,... --azimuths-deg 9,...

The last frame is the view of the picture; azimuths count from there. The equals sign is needed where a list begins
below zero. Each orbit is saved as a video under the next free number, and the picture as the model saw it beside it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Makes views around an object from a picture of it, with SV3D."
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_model_arguments(parser, VERSIONS, "sv3d_p.safetensors")
    _add_object_arguments(parser)
    _add_camera_arguments(parser)
    add_sampling_arguments(parser, "21", "50", "1e-5")
    add_file_arguments(parser, f"{FRAMES_PER_SECOND:g}")


def _add_object_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the object")
    flag(
        group,
        "image_frame_ratio",
        type=float,
        metavar="X",
        help="its longer side as a share of the picture (0.917); 0 keeps its size",
    )
    group.add_argument(
        "--rembg-model",
        type=Path,
        metavar="FILE",
        help="cut it out with this model of rembg's, as u2net.onnx, where the picture has no transparency",
    )
    group.add_argument("--prepared", action="store_true", help="take square pictures on white as they are")
    group.add_argument("--side", type=int, metavar="PIXELS", help="of the views, a multiple of 64 (the model's own)")


def _add_camera_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the camera, for sv3d_p")
    flag(group, "elevations_deg", nargs="+", metavar="DEG", help="how high it is: one number, or one a frame (10)")
    flag(group, "azimuths_deg", nargs="+", metavar="DEG", help="how far around, one a frame (even steps)")


def main(arguments: argparse.Namespace) -> int:
    """Make the orbits; gives 0 where every picture has its orbit, else 2."""
    options, preparing = options_of(arguments), object_options(arguments)
    model = load_model(arguments, "sv3d")
    options = options.completed(model)
    decoder = load_decoder(arguments, model)
    from ..pipelines.sampling import side_multiple
    from ..pipelines.sv3d import orbit, sized_object

    def make(path: Path, before: Callable[[Tensor], None], on_step: OnStep) -> tuple[Tensor, Tensor]:
        picture = sized_object(_prepared(path, arguments, preparing), options.side, side_multiple(model))
        before(picture)
        return orbit(model, picture, options, on_step=on_step, tiny_decoder=decoder), picture

    return make_clips(arguments, make, arguments.frames_per_second or FRAMES_PER_SECOND)


def options_of(arguments: argparse.Namespace) -> SV3DOptions:
    """What the arguments mean. What was not given is left to the options, which know the defaults."""
    from ..pipelines.sv3d import SV3DOptions

    elevations = numbers_in(arguments.elevations_deg, "--elevations-deg")
    azimuths = numbers_in(arguments.azimuths_deg, "--azimuths-deg")
    camera: dict[str, Any] = {"azimuths_deg": azimuths or None}
    if elevations:
        camera["elevations_deg"] = elevations[0] if len(elevations) == 1 else elevations
    return SV3DOptions(**sampling_settings(arguments), **camera, **without_none(side=arguments.side))


def object_options(arguments: argparse.Namespace) -> ObjectOptions:
    from ..pipelines.objects import ObjectOptions

    ratio = arguments.image_frame_ratio
    if arguments.prepared and (ratio is not None or arguments.rembg_model is not None):
        raise ValueError("--prepared takes pictures as they are. Leave out --image-frame-ratio and --rembg-model.")
    return ObjectOptions(frame_ratio=None) if ratio == 0 else ObjectOptions(**without_none(frame_ratio=ratio))


def _prepared(path: Path, arguments: argparse.Namespace, options: ObjectOptions) -> Tensor:
    """The picture as SV3D takes it (h w 3) in 0..1."""
    from ..media.pictures import as_images, read_picture
    from ..pipelines.objects import prepare_object

    if arguments.prepared:
        return as_images(read_picture(path))[0]
    picture = as_images(read_picture(path, keep_alpha=True))[0]
    has_alpha = picture.shape[-1] == 4
    if not has_alpha and arguments.rembg_model is None:
        raise ValueError(
            "The picture has no transparency that says where the object is. Give a PNG that has, --rembg-model FILE to "
            "cut it out, or --prepared where it is on white already."
        )
    prepared, _ = prepare_object(picture, options, rembg_model=None if has_alpha else arguments.rembg_model)
    return prepared
