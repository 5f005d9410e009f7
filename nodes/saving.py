"""Saving clips: GIF files and folders of pictures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..host import folders, io, metadata, ui
from ..media.files import NumberedName
from ..media.frame_folders import FramesOptions, write_frames
from ..media.gifs import DITHERS, FASTEST, MOST_COLORS, MOST_LOOPS, GifOptions, write_gif
from ..media.pictures import check_clip, to_bytes
from .previews import MOST_FRAMES, spread
from .watching import watch


class SaveGif(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = GifOptions()
        return io.Schema(
            node_id="ZoetropeSaveGif",
            display_name="Save GIF",
            category="Zoetrope/saving",
            description="Saves images as an animated GIF with one palette made from all frames, so that colours do not "
            "jump from frame to frame. Only what changes is stored.",
            search_aliases=["gif", "export gif", "animated gif", "images to gif", "video to gif"],
            inputs=[
                io.Image.Input("images", tooltip="The frames, in order. Transparency is left out."),
                io.Float.Input(
                    "frames_per_second",
                    default=12.0,
                    min=0.01,
                    max=1000.0,
                    step=0.01,
                    tooltip=f"How fast the frames follow. Above {FASTEST}, where players slow down, frames are left "
                    "out so that the clip takes its time.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="zoetrope/clip",
                    tooltip="Folder and beginning of the name in the output folder; a number is added. %date%, %width% "
                    "and %height% are filled in.",
                ),
                io.Int.Input(
                    "colors",
                    default=default.colors,
                    min=2,
                    max=MOST_COLORS,
                    tooltip="At most this many colours. Fewer make the file smaller and the shades coarser.",
                ),
                io.Combo.Input(
                    "dither",
                    options=list(DITHERS),
                    default=default.dither,
                    tooltip="How shades are mixed from the colours: floyd-steinberg looks best, ordered is a steady "
                    "pattern, none leaves bands and the smallest file.",
                ),
                io.Int.Input(
                    "loop",
                    default=default.loop,
                    min=0,
                    max=MOST_LOOPS,
                    tooltip="How often the clip plays. 0 is for ever.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="file", tooltip="The saved file, as a path inside the output folder.")
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, images: Tensor, frames_per_second: float, filename_prefix: str, colors: int, dither: Any, loop: int
    ) -> io.NodeOutput:
        options = GifOptions(colors=colors, dither=dither, loop=loop)
        check_clip(images)
        _, height, width, _ = images.shape
        target = folders.numbered(filename_prefix, width=width, height=height)
        name = NumberedName(lambda number: target.folder / f"{target.stem}_{number:05}_.gif", target.counter)
        path = write_gif(name, images, frames_per_second, options, watch(len(images), pictures=False))
        # Not shown as animated: for ComfyUI that would be a video, unless the name ends in webp or png.
        return io.NodeOutput(_inside_output(target.subfolder, path), ui=_shown(target.subfolder, [path]))


class SaveFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = FramesOptions()
        return io.Schema(
            node_id="ZoetropeSaveFrames",
            display_name="Save Frames",
            category="Zoetrope/saving",
            description="Saves every image as a picture in a new folder, which appears when it is complete. PNG files "
            "carry the workflow.",
            search_aliases=["export frames", "image sequence", "save images to folder", "png sequence", "jpeg"],
            inputs=[
                io.Image.Input("images", tooltip="The frames, in order."),
                io.String.Input(
                    "folder",
                    default="zoetrope/frames",
                    tooltip="The new folder in the output folder; a number is added. %date%, %width% and %height% are "
                    "filled in.",
                ),
                io.String.Input(
                    "name",
                    default=default.name,
                    tooltip="The name of each file, without its suffix. {n} is the frame's number, {n:05} the same "
                    "with zeros up to five digits.",
                ),
                io.DynamicCombo.Input(
                    "format",
                    options=[
                        io.DynamicCombo.Option("png", []),
                        io.DynamicCombo.Option(
                            "jpeg",
                            [
                                io.Int.Input(
                                    "quality",
                                    default=default.quality,
                                    min=1,
                                    max=100,
                                    tooltip="From 1, small, to 100, best.",
                                )
                            ],
                        ),
                    ],
                    tooltip="PNG keeps every pixel and transparency; JPEG is smaller and faster.",
                ),
                # Not force_input: the frontend counts such a one among the saved values, and then loses the quality.
                io.String.Input(
                    "indices",
                    default="",
                    optional=True,
                    tooltip="Numbers for the files: connect the indices of Extract Frames, or write 0, 10, 20. Empty "
                    "counts from 0.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="folder", tooltip="The new folder, as a path inside the output folder.")
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, images: Tensor, folder: str, name: str, format: dict[str, Any] | None = None, indices: str = ""
    ) -> io.NodeOutput:
        options = FramesOptions(name=name, numbers=_numbers(indices), **format_of(format))
        check_clip(images)
        _, height, width, _ = images.shape
        target = folders.numbered(folder, width=width, height=height)
        new = NumberedName(lambda number: target.folder / f"{target.stem}_{number:05}", target.counter)
        files = write_frames(new, to_bytes(images), options, metadata(cls), watch(len(images), pictures=False))
        subfolder = _inside_output(target.subfolder, new.path)
        some = [files[at] for at in spread(len(files), min(len(files), MOST_FRAMES))]
        # The node shows some of many; "files" names all of them for those who fetch what was saved.
        saved = _shown(subfolder, files).as_dict()["images"]
        return io.NodeOutput(subfolder, ui={**_shown(subfolder, some).as_dict(), "files": saved})


def format_of(choice: dict[str, Any] | None) -> dict[str, Any]:
    if not choice or "format" not in choice:  # ComfyUI passes on nothing where a prompt's key is unknown to it
        raise ValueError("format is not set to one of its options. Choose png or jpeg.")
    return choice


def _numbers(indices: str) -> list[int] | None:
    """Read "0, 10, 20"; nothing is None."""
    words = re.findall(r"[^\s,]+", indices)
    wrong = next((word for word in words if not re.fullmatch(r"\d{1,18}", word, re.ASCII)), None)
    if wrong is not None:
        raise ValueError(f'indices holds {wrong!r}, which is no frame\'s number. Write numbers like "0, 10, 20".')
    return [int(word) for word in words] or None


def _inside_output(subfolder: str, path: Path) -> str:
    return Path(subfolder, path.name).as_posix()


def _shown(subfolder: str, files: Sequence[Path]) -> ui.SavedImages:
    return ui.SavedImages([ui.SavedResult(file.name, subfolder, io.FolderType.output) for file in files])
