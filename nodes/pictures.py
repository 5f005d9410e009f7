"""Pictures from disk, one after another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..clips.pictures import find_pictures
from ..clips.sources import modified
from ..host import folders, io, ui, work
from ..media.pictures import as_images, read_picture

MOST = 1_000_000
MOST_SHOWN = 24


class LoadPictures(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeLoadPictures",
            display_name="Load Pictures",
            category="Zoetrope/frames",
            description="Loads the pictures of a folder, each for itself: what follows runs once for each of them, and "
            "they may differ in size.",
            search_aliases=["load images from folder", "batch of images", "image folder", "image list", "directory"],
            inputs=[
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="A folder in the input folder, with pictures in it or below it, or a single picture. Empty "
                    'is the whole input folder; "stills [output]" is stills in the output folder.',
                ),
                io.Int.Input(
                    "first",
                    default=0,
                    min=0,
                    max=MOST,
                    # Said outright, or the frontend would count on with every run where nobody asked for that.
                    control_after_generate=False,
                    tooltip="The first picture that is loaded, counted from 0 in the order of their names.",
                ),
                io.Int.Input(
                    "count",
                    default=0,
                    min=0,
                    max=MOST,
                    tooltip="So many pictures from there on, or those that there are. 0 is all. What is made of all of "
                    "them is kept until the last is done, so take many pictures in several runs.",
                ),
                io.String.Input(
                    "prefix",
                    default="clips/",
                    tooltip="Put before each name, so that names can be connected to the filename_prefix of a node "
                    "that saves. What ends in a slash is a folder.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", is_output_list=True, tooltip="The pictures, upright, one after another."
                ),
                io.Mask.Output(
                    display_name="masks", is_output_list=True, tooltip="For each of them: 1 where it is transparent."
                ),
                io.String.Output(
                    display_name="names",
                    is_output_list=True,
                    tooltip="The name of each without its suffix, and with what stands at prefix before it.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str | None = None) -> bool | str:
        try:
            if folder is not None:
                folders.resolve_place(folder)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, folder: str | None = None, **others: Any) -> str:
        if folder is None:
            return ""
        found = find_pictures(folders.resolve_place(folder))
        told = "\n".join(f"{path} {modified(path)}" for path in found.values())
        return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()

    @classmethod
    def execute(cls, folder: str, first: int, count: int, prefix: str) -> io.NodeOutput:
        found = find_pictures(folders.resolve_place(folder))
        chosen = list(found.items())[first : first + count if count else None]
        if not chosen:
            raise ValueError(
                f"first is {first}, but there are {len(found)} pictures, counted from 0. Choose a lower one."
            )
        progress = work.Progress(len(chosen))
        images, masks = [], []
        for done, (_, path) in enumerate(chosen, 1):
            image, mask = _loaded(path)
            images.append(image)
            masks.append(mask)
            progress.update(done)
        shown = ui.SavedImages([_shown(path) for _, path in chosen[:MOST_SHOWN]])
        return io.NodeOutput(images, masks, [prefix + name for name, _ in chosen], ui=shown)


def _loaded(path: Path) -> tuple[Tensor, Tensor]:
    """A picture as (1 h w 3) in 0..1, and its (1 h w) mask: 1 is transparent."""
    pixels = as_images(read_picture(path, keep_alpha=True))
    alpha = pixels[..., 3] if pixels.shape[-1] == 4 else torch.ones(pixels.shape[:-1])
    return pixels[..., :3], 1 - alpha


def _shown(path: Path) -> ui.SavedResult:
    """A picture as it is: it lies in a folder that the browser can reach."""
    kind, root = folders.place_of(path)
    return ui.SavedResult(path.name, path.parent.relative_to(root).as_posix(), io.FolderType(kind))
