"""`zoetrope svd`: clips that start from pictures, with Stable Video Diffusion."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .clip_making import (
    add_file_arguments,
    add_model_arguments,
    add_sampling_arguments,
    flag,
    load_decoder,
    load_model,
    make_clips,
    sampling_settings,
    without_none,
)

if TYPE_CHECKING:  # torch comes with them, and `--help` should not wait for it
    from torch import Tensor

    from ..pipelines.sampling import OnStep
    from ..pipelines.svd import SVDOptions

VERSIONS = ("svd", "svd_xt", "svd_xt_1_1")
EXAMPLES = """\
examples:
  A clip of 25 frames from a picture, as Stability AI's script makes it:
    zoetrope svd picture.jpg --model svd_xt.safetensors --out output/clips
  Of every picture in a folder, at the size that the model was trained on, with little memory:
    zoetrope svd pictures --model svd_xt.safetensors --out output/clips --width 1024 --height 576 --decoding-t 2
  With a LoRA that `zoetrope train svd` made, at four fifths of its strength:
    zoetrope svd picture.jpg --model svd.safetensors --out output/clips --lora moon.safetensors --lora-strength 0.8
  Another motion, and the reference's invisible watermark:
    zoetrope svd picture.jpg --model svd_xt.safetensors --out output/clips --motion-bucket-id 180 --seed 7 --watermark

Each clip is saved as a video under the next free number, and the picture it was made of beside it. Every picture gets
the clip that it gets alone: the seed is the same for all of them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Makes a clip that starts from a picture, with Stable Video Diffusion."
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_model_arguments(parser, VERSIONS, "svd_xt.safetensors", "; what is transparent becomes white")
    add_sampling_arguments(parser, "14 for svd, 25 for svd_xt", "25 for svd, 30 for svd_xt", "0.02")
    group = parser.add_argument_group("motion and size")
    flag(group, "fps_id", type=int, metavar="N", help="the rate that the model is told, less one: 6 is 7 a second (6)")
    flag(group, "motion_bucket_id", type=int, metavar="N", help="how much moves, 1 to 255 (127)")
    group.add_argument("--width", type=int, metavar="PIXELS", help="a multiple of 64 (the picture's)")
    group.add_argument("--height", type=int, metavar="PIXELS", help="a multiple of 64 (the picture's)")
    add_file_arguments(parser, "fps_id and one")


def main(arguments: argparse.Namespace) -> int:
    """Make the clips; gives 0 where every picture has its clip, else 2."""
    options = options_of(arguments)
    _tell_of_motion(options.motion_bucket_id)
    model = load_model(arguments, "svd")
    decoder = load_decoder(arguments, model)
    rate = arguments.frames_per_second or options.fps_id + 1
    from ..pipelines.sampling import side_multiple
    from ..pipelines.svd import image_to_video, sized_picture

    def make(path: Path, before: Callable[[Tensor], None], on_step: OnStep) -> tuple[Tensor, Tensor]:
        picture = _read(path)
        sized = sized_picture(picture, options.width, options.height, side_multiple(model))
        seen = (sized[0].movedim(0, -1) + 1) / 2
        before(seen)
        return image_to_video(model, picture, options, on_step=on_step, tiny_decoder=decoder), seen

    return make_clips(arguments, make, rate)


def options_of(arguments: argparse.Namespace) -> SVDOptions:
    """What the arguments mean. What was not given is left to the options, which know the defaults."""
    from ..pipelines.svd import SVDOptions

    own = without_none(
        fps_id=arguments.fps_id,
        motion_bucket_id=arguments.motion_bucket_id,
        width=arguments.width,
        height=arguments.height,
    )
    return SVDOptions(**sampling_settings(arguments), **own)


def _tell_of_motion(bucket: float) -> None:
    from ..clips.motion import FEWEST_BUCKET, MOST_BUCKET

    if not FEWEST_BUCKET <= bucket <= MOST_BUCKET:
        sys.stderr.write(
            f"--motion-bucket-id is {bucket:g}, and SVD was trained on {FEWEST_BUCKET} to {MOST_BUCKET}: what becomes "
            "of others is a matter of luck.\n"
        )


def _read(path: Path) -> Tensor:
    """A picture (h w 3) in 0..1, on white where it is transparent: below that many files are black."""
    from ..media.pictures import as_images, read_picture

    picture = as_images(read_picture(path, keep_alpha=True))[0]
    colours, alpha = picture[..., :3], picture[..., 3:]
    return colours * alpha + (1 - alpha) if alpha.numel() else colours
