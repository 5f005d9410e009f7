"""Taking frames out of a video."""

from collections.abc import Callable, Mapping
from typing import Any

from ..host import folders, io
from ..host import video as host_video
from ..media.extraction import Extraction, extract_from_clip, extract_from_file
from ..media.rates import FASTEST, SLOWEST
from ..media.selection import AtRate, EveryNth, Extent, FrameRange, Listed, Rule, SecondsRange, Spread, WholeClip
from . import previews
from .watching import watch

NO_FILE = "none"
RULES = {"every nth": EveryNth, "rate": AtRate, "count": Spread, "list": Listed}
EXTENTS = {"whole clip": WholeClip, "frames": FrameRange, "seconds": SecondsRange}


class ExtractFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeExtractFrames",
            display_name="Extract Frames",
            category="Zoetrope/frames",
            description="Takes frames out of a video: every nth, at a rate, spread evenly, or by number. Only what is "
            "needed for them is decoded, so a few frames of a long film take seconds and little memory.",
            search_aliases=["video to frames", "video to images", "every nth frame", "select every nth", "frame rate"],
            inputs=[
                _rule_input(),
                extent_input(),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="The video to take frames from. Load Video and Trim Video are read lazily.",
                ),
                io.Combo.Input(
                    "file",
                    options=[NO_FILE, *folders.list_input("video")],
                    default=NO_FILE,
                    optional=True,
                    tooltip="A video of the input folder, used when no video is connected.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    tooltip="The chosen frames, upright, in the order chosen. Transparency is left out.",
                ),
                io.Float.Output(
                    display_name="frames_per_second",
                    tooltip="The rate at which these frames last as long as they did in the video: connect it to the "
                    "node that saves them. Where the video's own rate varies, only rate and count keep time "
                    "throughout.",
                ),
                io.Audio.Output(
                    display_name="audio",
                    tooltip="The sound of the span that the frames stand for. Nothing where the video has no sound.",
                ),
                io.String.Output(
                    display_name="indices", tooltip='The number of each frame in the video, such as "0, 10, 20".'
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, file: str | None = NO_FILE, choose: Any = None, range: Any = None
    ) -> bool | str:  # ComfyUI hands over every dynamic combo, whether it is wanted here or not
        try:
            if file not in (None, NO_FILE):
                folders.resolve_input(file)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str | None = NO_FILE, **others: Any) -> float | None:
        return None if file in (None, NO_FILE) else folders.resolve_input(file).stat().st_mtime

    @classmethod
    def execute(
        cls,
        choose: dict[str, Any] | None = None,
        range: dict[str, Any] | None = None,
        video: Any = None,
        file: str | None = NO_FILE,
    ) -> io.NodeOutput:
        found = _extract(video, file or NO_FILE, chosen("choose", RULES, choose), chosen("range", EXTENTS, range))
        return io.NodeOutput(
            found.images,
            float(found.frames_per_second),
            found.sound,
            ", ".join(map(str, found.numbers)),
            ui=previews.playing(found.images, float(found.frames_per_second)),
        )


def _extract(video: Any, file: str, rule: Rule, extent: Extent) -> Extraction:
    if video is None and file == NO_FILE:
        raise ValueError("There is no video to take frames from. Connect one to video, or choose a file.")
    source = host_video.source_of(video) if video is not None else host_video.Source(str(folders.resolve_input(file)))
    on_frame = watch(pictures=False)
    if source is None:
        clip = host_video.components_of(video)
        return extract_from_clip(clip.images, clip.frame_rate, clip.audio, rule, extent, on_frame=on_frame)
    return extract_from_file(
        source.file,
        rule,
        extent,
        start_seconds=source.start_seconds,
        duration_seconds=source.duration_seconds,
        on_frame=on_frame,
    )


def _rule_input() -> io.DynamicCombo.Input:
    every, rate, spread, listed = EveryNth(), AtRate(), Spread(), Listed()
    return io.DynamicCombo.Input(
        "choose",
        options=[
            io.DynamicCombo.Option(
                "every nth",
                [io.Int.Input("every", default=every.every, min=1, max=1_000_000, tooltip="1 takes every frame.")],
            ),
            io.DynamicCombo.Option(
                "rate",
                [
                    io.Float.Input(
                        "frames_per_second",
                        default=rate.frames_per_second,
                        min=float(SLOWEST),
                        max=float(FASTEST),
                        step=0.001,
                        tooltip="The frame on screen at each step of this rate; above the video's own rate, frames "
                        "repeat.",
                    )
                ],
            ),
            io.DynamicCombo.Option(
                "count",
                [
                    io.Int.Input(
                        "count",
                        default=spread.count,
                        min=1,
                        max=1_000_000,
                        tooltip="This many frames, spread evenly from the first to the last. One is the middle one.",
                    )
                ],
            ),
            io.DynamicCombo.Option(
                "list",
                [
                    io.String.Input(
                        "indices",
                        default=listed.indices,
                        tooltip='Numbers and ranges in the order wanted: "0, 5, 10-20, -1, 100-200:10". They count '
                        "from 0 at the start of the range; -1 is its last frame.",
                    )
                ],
            ),
        ],
        tooltip="How frames are chosen: every nth, at a steady rate, a number spread evenly, or by their numbers.",
    )


def extent_input() -> io.DynamicCombo.Input:
    frames, seconds = FrameRange(), SecondsRange()
    return io.DynamicCombo.Input(
        "range",
        options=[
            io.DynamicCombo.Option("whole clip", []),
            io.DynamicCombo.Option(
                "frames",
                [
                    io.Int.Input(
                        "first",
                        default=frames.first,
                        min=-10_000_000,
                        max=10_000_000,
                        tooltip="The first frame that counts, from 0. Negative numbers count from the end.",
                    ),
                    io.Int.Input(
                        "last",
                        default=frames.last,
                        min=-10_000_000,
                        max=10_000_000,
                        tooltip="The last frame that counts, itself included. -1 is the clip's last.",
                    ),
                ],
            ),
            io.DynamicCombo.Option(
                "seconds",
                [
                    io.Float.Input(
                        "start",
                        default=seconds.start,
                        min=0.0,
                        max=1_000_000.0,
                        step=0.001,
                        tooltip="Frames from this second on count.",
                    ),
                    io.Float.Input(
                        "end",
                        default=seconds.end,
                        min=0.0,
                        max=1_000_000.0,
                        step=0.001,
                        tooltip="Frames before this second count. 0 is the clip's end.",
                    ),
                ],
            ),
        ],
        tooltip="The part of the video that frames are taken from.",
    )


def chosen(name: str, kinds: Mapping[str, Callable[..., Any]], value: dict[str, Any] | None) -> Any:
    """The object that a dynamic combo's value describes: its key names the kind, its inputs are the fields."""
    fields = dict(value or {})
    key = fields.pop(name, None)
    if key not in kinds:  # ComfyUI passes on nothing where a prompt's key is unknown to it
        raise ValueError(f"{name} is not set to one of its options. Choose one of: {', '.join(kinds)}.")
    return kinds[key](**fields)
