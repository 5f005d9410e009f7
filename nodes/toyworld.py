"""Clips from the toy world: something to work on where there is no video at hand."""

from __future__ import annotations

from torch import Tensor

from ..evaluation.measuring import checked
from ..host import folders, io, video
from ..media.rates import FASTEST, exact_rate
from ..toyworld.clip import LARGEST_SEED, SMALLEST_SIDE, ClipOptions
from ..toyworld.moon_phases import phases_in
from ..toyworld.scenes import SCENES, draw
from ..toyworld.shapes import ShapesOptions
from ..toyworld.sound import ticks
from ..toyworld.videos import VideosOptions, write_videos
from . import previews
from .watching import watch


class ToyWorldClip(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = ShapesOptions()
        return io.Schema(
            node_id="ZoetropeToyWorldClip",
            display_name="Toy World Clip",
            category="Zoetrope/toy world",
            description="Draws a short video with sound, to have something to work on without a download: coloured "
            "shapes that move over a ground, a moon that wanes, or an object seen from all around, and a tick each "
            "second. The same seed always gives the same clip.",
            search_aliases=[
                "test video",
                "sample video",
                "example clip",
                "demo video",
                "synthetic video",
                "shapes",
                "moon",
                "turntable",
            ],
            inputs=[
                io.Combo.Input(
                    "scene",
                    options=list(SCENES),
                    default="shapes",
                    tooltip="What is drawn. shapes: a circle, square, triangle or star, three of them, on their ways. "
                    "moons: a moon that wanes from full to new. objects: a car, a mug or another solid thing, seen "
                    "from a camera that goes once round it.",
                ),
                *_clip_inputs(default),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    tooltip="The clip with its sound. A tick starts exactly where each second begins, so that one can "
                    "hear whether sound and picture stay together.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, scene: str, seconds: float, frames_per_second: float, width: int, height: int, seed: int
    ) -> io.NodeOutput:
        rate = exact_rate(frames_per_second)
        options = SCENES[scene](
            seconds=seconds, frames_per_second=frames_per_second, width=width, height=height, seed=seed
        )
        clip = draw(options, watch(options.frames, pictures=False))
        sound = ticks(float(options.frames / rate))
        return io.NodeOutput(
            video.VideoFromComponents(clip.images, rate, sound), ui=previews.animated(clip.images, float(rate))
        )


class ToyWorldVideos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = VideosOptions()
        return io.Schema(
            node_id="ZoetropeToyWorldVideos",
            display_name="Toy World Videos",
            category="Zoetrope/toy world",
            description="Draws several short videos of the toy world into a folder for temporary files, to try out "
            "what turns videos into a training set. The same settings always give the same videos.",
            search_aliases=["test videos", "sample dataset", "example footage", "demo videos", "synthetic dataset"],
            inputs=[
                io.Int.Input("count", default=default.count, min=1, max=1000, tooltip="How many videos."),
                io.Int.Input(
                    "still",
                    default=default.still,
                    min=0,
                    max=1000,
                    tooltip="So many of them do not move, so that there is something to find for Footage Report.",
                ),
                *_clip_inputs(default.clip),
                io.Combo.Input(
                    "scene",
                    options=list(SCENES),
                    default="shapes",
                    optional=True,
                    tooltip="What is drawn: shapes on their ways, moons that wane from full to new, or objects seen "
                    "from a camera that goes once round them.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="folder", tooltip="Where they are: connect it to videos of Footage From Videos."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        count: int,
        still: int,
        seconds: float,
        frames_per_second: float,
        width: int,
        height: int,
        seed: int,
        scene: str = "shapes",
    ) -> io.NodeOutput:
        clip = SCENES[scene](
            seconds=seconds, frames_per_second=frames_per_second, width=width, height=height, seed=seed
        )
        options = VideosOptions(count=count, still=still, clip=clip)
        folder = folders.temp_folder() / "zoetrope" / f"toy_videos_{options.digest}"
        if not folder.is_dir():
            write_videos(folder, options, watch(pictures=False))
        return io.NodeOutput(folders.annotated(folder))


class MoonPhases(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeMoonPhases",
            display_name="Moon Phases",
            category="Zoetrope/toy world",
            description="Finds from the pixels how much of the moon is lit in each frame of a clip: 1 is a full moon, "
            "0 a new one. A measure of what the clip shows, to set beside CLIP's in Evaluate Video and Compare Videos.",
            search_aliases=["lit fraction", "moon phase", "custom metric", "series", "measure"],
            inputs=[
                io.Image.Input("images", tooltip="A clip of a moon that stays in its place."),
                io.Image.Input(
                    "full_moon",
                    optional=True,
                    tooltip="A picture of that moon, full; one of another size is brought to the clip's. Without one "
                    "it is the clip's first frame.",
                ),
            ],
            outputs=[
                io.Custom("FLOATS").Output(display_name="lit_fractions", tooltip="How much is lit in each frame."),
                io.Float.Output(display_name="mean", tooltip="Their mean."),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, full_moon: Tensor | None = None) -> io.NodeOutput:
        clip = checked(images)
        full = clip if full_moon is None else checked(full_moon[:1], "The full moon's picture")
        lit = phases_in(clip, full[0])
        return io.NodeOutput(lit, sum(lit) / len(lit))


def _clip_inputs(default: ClipOptions) -> list[io.Float.Input | io.Int.Input]:
    return [
        io.Float.Input(
            "seconds",
            default=default.seconds,
            min=0.05,
            max=3600.0,
            step=0.01,
            tooltip="How long the clip lasts. It is kept in memory: a minute at 256 x 256 and 24 frames per second "
            "takes 1.1 GB.",
        ),
        io.Float.Input(
            "frames_per_second",
            default=default.frames_per_second,
            min=1.0,
            max=float(FASTEST),
            step=0.001,
            tooltip="How many frames each second has.",
        ),
        io.Int.Input(
            "width", default=default.width, min=SMALLEST_SIDE, max=8192, tooltip="The picture's width in pixels."
        ),
        io.Int.Input(
            "height", default=default.height, min=SMALLEST_SIDE, max=8192, tooltip="The picture's height in pixels."
        ),
        io.Int.Input(
            "seed",
            default=default.seed,
            min=0,
            max=LARGEST_SEED,
            control_after_generate=True,
            tooltip="Another number is another scene: other things, in other colours, on other ways.",
        ),
    ]
