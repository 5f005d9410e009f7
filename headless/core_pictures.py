"""ComfyUI's own nodes for pictures: the same inputs, and pixels equal to those of ComfyUI 0.33."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..host import folders, io, metadata, standin_video, ui
from ..host.folders import Numbered
from ..host.opening import Unreadable
from ..media.files import NumberedName, written_beside

LARGEST_SIDE = 16384
WEBP_METHODS = {"default": 4, "fastest": 0, "slowest": 6}
# An image without transparency still has a mask: by ComfyUI's custom an empty one of this size.
EMPTY_MASK_SIDE = 64


def check_file(name: Any) -> bool | str:
    """Whether a loader's value names a file; else the sentence that says why not."""
    try:
        folders.resolve_input(str(name))
    except ValueError as error:
        return str(error)
    return True


class LoadImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadImage",
            display_name="Load Image",
            category="image",
            inputs=[io.Combo.Input("image", options=folders.list_input("image"), upload=io.UploadType.image)],
            outputs=[io.Image.Output(), io.Mask.Output()],
        )

    @classmethod
    def execute(cls, image: str) -> io.NodeOutput:
        return io.NodeOutput(*load_image(folders.resolve_input(image)))

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return check_file(image)


class LoadImageMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadImageMask",
            display_name="Load Image (as Mask)",
            category="image",
            inputs=[
                io.Combo.Input("image", options=folders.list_input("image"), upload=io.UploadType.image),
                io.Combo.Input("channel", options=["alpha", "red", "green", "blue"]),
            ],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def execute(cls, image: str, channel: str) -> io.NodeOutput:
        pixels, mask = load_image(folders.resolve_input(image))
        return io.NodeOutput(mask if channel == "alpha" else pixels[..., ["red", "green", "blue"].index(channel)])

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return check_file(image)


class SaveImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveImage",
            display_name="Save Image",
            category="image",
            inputs=[io.Image.Input("images"), io.String.Input("filename_prefix", default="ComfyUI")],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor, filename_prefix: str) -> io.NodeOutput:
        place = folders.numbered(filename_prefix, "output", images.shape[2], images.shape[1])
        return io.NodeOutput(images, ui=ui.SavedImages(_save_pngs(images, place, metadata(cls), compress_level=4)))


class PreviewImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewImage",
            display_name="Preview Image",
            category="image",
            inputs=[io.Image.Input("images")],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor) -> io.NodeOutput:
        prefix = f"ComfyUI_temp_{secrets.token_hex(3)}"
        place = folders.numbered(prefix, "temp", images.shape[2], images.shape[1])
        return io.NodeOutput(images, ui=ui.SavedImages(_save_pngs(images, place, metadata(cls), compress_level=1)))


class SaveAnimatedWEBP(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveAnimatedWEBP",
            display_name="Save Animated WEBP",
            category="image",
            inputs=[
                io.Image.Input("images"),
                io.String.Input("filename_prefix", default="ComfyUI"),
                io.Float.Input("fps", default=6.0, min=0.01, max=1000.0, step=0.01),
                io.Boolean.Input("lossless", default=True),
                io.Int.Input("quality", default=80, min=0, max=100),
                io.Combo.Input("method", options=list(WEBP_METHODS)),
            ],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, images: Tensor, filename_prefix: str, fps: float, lossless: bool, quality: int, method: str
    ) -> io.NodeOutput:
        frames = list(_as_pictures(images))
        exif = frames[0].getexif()
        for tag, (name, value) in zip(_exif_tags(), metadata(cls).items(), strict=False):
            exif[tag] = f"{name}:{json.dumps(value)}"
        saved = _save_animation(
            frames,
            filename_prefix,
            ".webp",
            fps,
            exif=exif,
            lossless=lossless,
            quality=quality,
            method=WEBP_METHODS[method],
        )
        return io.NodeOutput(images, ui=ui.SavedImages([saved], is_animated=len(frames) > 1))


class SaveAnimatedPNG(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveAnimatedPNG",
            display_name="Save Animated PNG",
            category="image",
            inputs=[
                io.Image.Input("images"),
                io.String.Input("filename_prefix", default="ComfyUI"),
                io.Float.Input("fps", default=6.0, min=0.01, max=1000.0, step=0.01),
                io.Int.Input("compress_level", default=4, min=0, max=9, advanced=True),
            ],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor, filename_prefix: str, fps: float, compress_level: int) -> io.NodeOutput:
        info = PngInfo()
        for name, value in metadata(cls).items():
            chunk = name.encode("latin-1") + b"\0" + json.dumps(value).encode("latin-1")
            info.add(b"comf", chunk, after_idat=True)
        frames = list(_as_pictures(images))
        saved = _save_animation(frames, filename_prefix, ".png", fps, pnginfo=info, compress_level=compress_level)
        return io.NodeOutput(images, ui=ui.SavedImages([saved], is_animated=len(frames) > 1))


class ImageFromBatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageFromBatch",
            display_name="Get Image from Batch",
            category="image/batch",
            inputs=[
                io.Image.Input("image"),
                io.Int.Input("batch_index", default=0, min=-LARGEST_SIDE, max=LARGEST_SIDE),
                io.Int.Input("length", default=1, min=1, max=4096),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, batch_index: int, length: int) -> io.NodeOutput:
        first = batch_index + image.shape[0] if batch_index < 0 else batch_index
        first = max(0, min(image.shape[0] - 1, first))
        return io.NodeOutput(image[first : first + length].clone())


class RepeatImageBatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RepeatImageBatch",
            display_name="Repeat Image Batch",
            category="image/batch",
            inputs=[io.Image.Input("image"), io.Int.Input("amount", default=1, min=1, max=4096)],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, amount: int) -> io.NodeOutput:
        return io.NodeOutput(image.repeat(amount, 1, 1, 1))


NODES: list[type[io.ComfyNode]] = [
    LoadImage, LoadImageMask, SaveImage, PreviewImage, SaveAnimatedWEBP, SaveAnimatedPNG, ImageFromBatch,
    RepeatImageBatch,
]  # fmt: skip


def load_image(path: Path) -> tuple[Tensor, Tensor]:
    """A picture, or the frames of an animated one, as (f h w 3) in 0..1, and its (f h w) mask: 1 is transparent."""
    try:
        components = standin_video.VideoFromFile(str(path)).get_components()
    except Unreadable as error:
        raise ValueError(
            f"{path.name} is not a picture that can be read, or it is damaged. Choose another file."
        ) from error
    if len(components.images) == 0:
        return _load_by_pillow(path)  # animated WebP is the one kind that FFmpeg opens and cannot decode
    empty = torch.zeros(len(components.images), EMPTY_MASK_SIDE, EMPTY_MASK_SIDE)
    return components.images, empty if components.alpha is None else 1.0 - components.alpha


def _load_by_pillow(path: Path) -> tuple[Tensor, Tensor]:
    try:
        with Image.open(path) as picture:
            frames = [ImageOps.exif_transpose(frame) for frame in ImageSequence.Iterator(picture)]
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name} is not a picture that can be read ({error}). Choose another file.") from error
    frames = [frame for frame in frames if frame.size == frames[0].size]
    images = [torch.from_numpy(np.array(frame.convert("RGB")).astype(np.float32) / 255.0) for frame in frames]
    return torch.stack(images), torch.stack([_mask_of(frame) for frame in frames])


def _mask_of(frame: Image.Image) -> Tensor:
    if "A" not in frame.getbands():
        return torch.zeros(EMPTY_MASK_SIDE, EMPTY_MASK_SIDE)
    return 1.0 - torch.from_numpy(np.array(frame.getchannel("A")).astype(np.float32) / 255.0)


def _as_pictures(images: Tensor) -> Iterator[Image.Image]:
    """(f h w c) in 0..1 as 8-bit pictures; ComfyUI cuts off where rounding would be nearer, and so do we."""
    for index, image in enumerate(images):
        if not torch.isfinite(image).all():
            raise ValueError(f"Image {index} holds numbers that are no colors (NaN or infinity), so it is not saved.")
        yield Image.fromarray((image.float().cpu() * 255.0).clamp_(0, 255).to(torch.uint8).numpy())


def numbered_name(place: Numbered, ending: str, number: int, index: int) -> NumberedName:
    """The name of file `index` of a batch, from `number` on."""
    stem = place.stem.replace("%batch_num%", str(index))
    return NumberedName(lambda number: place.folder / f"{stem}_{number:05}{ending}", number)


def _save_pngs(images: Tensor, place: Numbered, embedded: dict[str, Any], compress_level: int) -> list[ui.SavedResult]:
    info = PngInfo()
    for name, value in embedded.items():
        info.add_text(name, json.dumps(value))
    saved, number = [], place.counter
    for index, picture in enumerate(_as_pictures(images)):
        target = numbered_name(place, "_.png", number, index)
        with written_beside(target) as draft:
            picture.save(draft, pnginfo=info, compress_level=compress_level)
        number = target.number + 1
        saved.append(ui.SavedResult(target.path.name, place.subfolder, io.FolderType(place.kind)))
    return saved


def _save_animation(
    frames: list[Image.Image], prefix: str, suffix: str, frames_per_second: float, **settings: Any
) -> ui.SavedResult:
    place = folders.numbered(prefix, "output", *frames[0].size)
    name = NumberedName(lambda number: place.folder / f"{place.stem}_{number:05}_{suffix}", place.counter)
    with written_beside(name) as draft:
        milliseconds = int(1000.0 / frames_per_second)
        frames[0].save(draft, save_all=True, append_images=frames[1:], duration=milliseconds, **settings)
    return ui.SavedResult(name.path.name, place.subfolder, io.FolderType.output)


def _exif_tags() -> Iterable[int]:
    """Where ComfyUI's WebP files keep the prompt (Model), the workflow (Make) and whatever comes with them."""
    yield 0x0110
    yield from range(0x010F, 0, -1)
