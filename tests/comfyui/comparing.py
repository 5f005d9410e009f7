"""Holding what a run here made against what ComfyUI made of the same prompt."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from zoetrope.headless import RunResult

from .server import ComfyServer, Ran

TEXTS = (".csv", ".html", ".json")
PICTURES = (".png", ".webp", ".gif", ".jpg", ".jpeg")
# Written by the library that wrote the file, or told of the run: the prompt is compared by the run itself.
OTHER_TAGS = {"encoder", "prompt", "workflow"}
# x264 with several threads does not always make the same of the same frames: at 320x192, 12 encodes of one clip gave 4
# results, with one thread they gave one; at 256x256 all were equal. ComfyUI encodes with several threads, so its own
# runs differ, and frames decoded from an encoded video may be this much off on average, out of 255.
ENCODER_NOISE = 2.0


def assert_equal_results(
    comfyui: ComfyServer,
    there: Ran,
    here: RunResult,
    folder: Path,
    encoder_noise: float = ENCODER_NOISE,
    picture_noise: float = 0,
) -> None:
    """Both runs show the same, and the files that they show have the same pixels, sound, times and tags.

    `folder` has what the run here wrote, "output" and "temp" in it. Names in the temp folder are made up each time.
    `encoder_noise` is how far frames of saved videos may be off; previews are of sizes that we do not choose.
    `picture_noise` is how far pictures may be.
    """
    assert there.errors == []
    assert set(here.outputs) == set(there.outputs)
    for id, shown in here.outputs.items():
        assert set(shown) == set(there.outputs[id]), id
        for key, items in shown.items():
            _assert_equal_items(
                comfyui, there.outputs[id][key], items, folder, f"node {id}, {key}", encoder_noise, picture_noise
            )


def _assert_equal_items(
    comfyui: ComfyServer,
    there: list[Any],
    here: list[Any],
    folder: Path,
    what: str,
    encoder_noise: float,
    picture_noise: float,
) -> None:
    assert len(here) == len(there), what
    for ours, theirs in zip(here, there, strict=True):
        if not isinstance(ours, Mapping):
            assert ours == theirs, what
            continue
        assert ours["type"] == theirs["type"], what
        if ours["type"] == "output":
            assert ours == theirs, what
        path = folder / ours["type"] / ours["subfolder"] / ours["filename"]
        noise = ENCODER_NOISE if ours["type"] == "temp" else encoder_noise
        assert_equal_files(path, comfyui.path(theirs), what, noise, picture_noise)


def assert_equal_files(ours: Path, theirs: Path, what: str, encoder_noise: float, picture_noise: float = 0) -> None:
    if ours.suffix in TEXTS:
        _assert_alike(ours, theirs, what)
        return
    read = _read_pictures if ours.suffix in PICTURES else _read_media
    our_facts, our_arrays = read(ours)
    their_facts, their_arrays = read(theirs)
    assert our_facts == their_facts, what
    assert len(our_arrays) == len(their_arrays), what
    for index, (one, other) in enumerate(zip(our_arrays, their_arrays, strict=True)):
        assert one.shape == other.shape, f"{what}, piece {index}"
        off = np.abs(one - other.astype(float)).mean()
        encoded_picture = ours.suffix not in PICTURES and one.dtype in (np.uint8, np.uint16)
        allowed = encoder_noise if encoded_picture else picture_noise if ours.suffix in PICTURES else 0
        assert off <= allowed, f"{what}, piece {index}: off by {off} on average"


def _assert_alike(ours: Path, theirs: Path, what: str) -> None:
    """Reports say the same of the same; their numbers are of clips that may be a little off."""
    if ours.suffix == ".csv":
        mine, other = (list(csv.reader(path.read_text(encoding="utf-8").splitlines())) for path in (ours, theirs))
        assert mine[0] == other[0], what
        assert [row[:2] for row in mine] == [row[:2] for row in other], what
    assert ours.stat().st_size == pytest.approx(theirs.stat().st_size, rel=0.1), what


def _read_pictures(path: Path) -> tuple[list[Any], list[np.ndarray]]:
    with Image.open(path) as picture:
        frames = [
            (frame.info.get("duration"), np.asarray(frame.convert("RGBA"))) for frame in ImageSequence.Iterator(picture)
        ]
        return [picture.format, *(seconds for seconds, _ in frames)], [pixels for _, pixels in frames]


def _read_media(path: Path) -> tuple[list[Any], list[np.ndarray]]:
    facts: list[Any] = []
    arrays: list[np.ndarray] = []
    with av.open(str(path)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        facts += [container.format.name, container.duration, {k: v for k, v in tags.items() if k not in OTHER_TAGS}]
        facts.append("prompt" in tags)  # what is saved has it on both sides, previews on neither
        for stream in container.streams:
            facts += [stream.type, stream.codec_context.name, stream.duration, stream.time_base]
            if stream.type == "video":
                facts += [stream.pix_fmt, stream.average_rate, stream.color_primaries, stream.color_trc]
                facts += [stream.colorspace, stream.color_range]
        kinds = [stream.type for stream in container.streams]
    for index, _ in enumerate(kinds):
        with av.open(str(path)) as container:
            for frame in container.decode(container.streams[index]):
                facts.append((index, frame.pts))
                arrays.append(frame.to_ndarray())
    return facts, arrays
