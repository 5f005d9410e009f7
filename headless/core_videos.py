"""ComfyUI's own nodes for video: the same inputs, and frames equal to those of ComfyUI 0.33."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from torch import Tensor

from ..host import folders, io, metadata, standin_video, standin_video_saving, ui
from ..media.files import NumberedName, written_beside
from .core_pictures import check_file

Video = standin_video.Video


class LoadVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadVideo",
            display_name="Load Video",
            category="video",
            inputs=[io.Combo.Input("file", options=folders.list_input("video"), upload=io.UploadType.video)],
            outputs=[io.Video.Output()],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(standin_video.VideoFromFile(str(folders.resolve_input(file))))

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        return check_file(file)


class GetVideoComponents(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GetVideoComponents",
            display_name="Get Video Components",
            category="video",
            inputs=[io.Video.Input("video")],
            outputs=[
                io.Image.Output(display_name="images"),
                io.Audio.Output(display_name="audio"),
                io.Float.Output(display_name="fps"),
                io.Int.Output(display_name="bit_depth"),
                io.Combo.Output(display_name="color_space"),
            ],
        )

    @classmethod
    def execute(cls, video: Video) -> io.NodeOutput:
        clip = video.get_components()
        return io.NodeOutput(
            clip.images, clip.audio, float(clip.frame_rate), video.get_bit_depth(), video.get_color_space()
        )


class CreateVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CreateVideo",
            display_name="Create Video",
            category="video",
            inputs=[
                io.Image.Input("images"),
                io.Float.Input("fps", default=30.0, min=1.0, max=120.0, step=1.0),
                io.Audio.Input("audio", optional=True),
                io.Int.Input(
                    "bit_depth", default=8, min=8, max=10, step=2, optional=True, display_mode=io.NumberDisplay.number
                ),
            ],
            outputs=[io.Video.Output()],
        )

    @classmethod
    def execute(
        cls, images: Tensor, fps: float, audio: dict[str, Any] | None = None, bit_depth: int = 8
    ) -> io.NodeOutput:
        components = standin_video.VideoComponents(images, Fraction(fps), audio)
        return io.NodeOutput(standin_video.VideoFromComponents(components, bit_depth))


class VideoSlice(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Video Slice",
            display_name="Trim Video",
            category="video",
            inputs=[
                io.Video.Input("video"),
                io.Float.Input("start_time", default=0.0, min=-1e5, max=1e5, step=0.001),
                io.Float.Input("duration", default=0.0, min=0.0, step=0.001),
                io.Boolean.Input("strict_duration", default=False),
            ],
            outputs=[io.Video.Output()],
        )

    @classmethod
    def execute(cls, video: Video, start_time: float, duration: float, strict_duration: bool) -> io.NodeOutput:
        trimmed = video.as_trimmed(start_time, duration, strict_duration)
        if trimmed is None:
            raise ValueError(
                f"The video is {video.get_duration():g} s long, so {duration:g} s from {start_time:g} s on are not "
                "all there. Choose a shorter duration, or an earlier start."
            )
        return io.NodeOutput(trimmed)


def _codec_input(codecs: list[str], *, optional: bool = False, hidden: bool = False) -> Any:
    default_crf = {"h264": (23.0, 51.0), "av1": (30.0, 63.0)}
    options = [
        io.DynamicCombo.Option(codec, [_encoding_input(*default_crf[codec])] if codec in default_crf else [])
        for codec in codecs
    ]
    extra = {"hidden": True} if hidden else None
    return io.DynamicCombo.Input("codec", options=options, optional=optional, extra_dict=extra)


def _encoding_input(default_crf: float, largest_crf: float) -> Any:
    reencode: list[Any] = [
        io.Float.Input("crf", default=default_crf, min=0.0, max=largest_crf, step=1.0),
        io.Combo.Input(
            "color_space", options=["auto", "sRGB", "HDR", "HDR PQ"], default="auto", display_name="color space"
        ),
    ]
    options = [io.DynamicCombo.Option("auto", []), io.DynamicCombo.Option("re-encode", reencode)]
    return io.DynamicCombo.Input("encoding", options=options, display_name="encoding mode", optional=True)


class SaveVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        codecs = ["auto", "h264", "av1"]
        return io.Schema(
            node_id="SaveVideo",
            display_name="Save Video",
            category="video",
            inputs=[
                io.Video.Input("video"),
                io.String.Input("filename_prefix", default="video/ComfyUI"),
                io.DynamicCombo.Input(
                    "format",
                    options=[
                        io.DynamicCombo.Option("auto", [_codec_input(codecs)]),
                        io.DynamicCombo.Option("mp4", [_codec_input(codecs)]),
                        io.DynamicCombo.Option("mkv", [_codec_input(codecs)]),
                        io.DynamicCombo.Option("webm", [_codec_input(["auto", "av1"])]),
                    ],
                ),
                _codec_input(codecs, optional=True, hidden=True),
            ],
            outputs=[io.Video.Output("video")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, video: Video, filename_prefix: str, format: dict[str, Any], codec: dict[str, Any] | None = None
    ) -> io.NodeOutput:
        container = format["format"]
        place = folders.numbered(filename_prefix, "output", *video.get_dimensions())
        suffix = "mp4" if container == "auto" else container
        name = NumberedName(lambda number: place.folder / f"{place.stem}_{number:05}_.{suffix}", place.counter)
        with written_beside(name) as draft:
            standin_video_saving.save(video, draft, _encoding(cls, container, format.get("codec") or codec or {}))
        saved = ui.SavedResult(name.path.name, place.subfolder, io.FolderType.output)
        return io.NodeOutput(video, ui=ui.PreviewVideo([saved]))


def _encoding(node: type, container: str, codec: dict[str, Any]) -> standin_video_saving.Encoding:
    chosen = codec.get("encoding") or {}
    color_space = chosen.get("color_space")
    return standin_video_saving.Encoding(
        container=container,
        codec=codec.get("codec", "auto"),
        crf=chosen.get("crf"),
        color_space=None if color_space == "auto" else color_space,
        metadata=metadata(node),
    )


NODES: list[type[io.ComfyNode]] = [LoadVideo, GetVideoComponents, CreateVideo, VideoSlice, SaveVideo]
