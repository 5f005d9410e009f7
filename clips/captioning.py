"""Captions by a model that looks at the pictures: BLIP, from a folder on this computer.

Nothing is downloaded, and no weights are read but safetensors, which hold numbers and no code. The library,
transformers, is optional: only this module needs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..media.pictures import Pixels, read_picture
from .captions import on_one_line
from .footage import Clip, Footage, FootageError

WHERE_FROM = (
    "BLIP for captions is Salesforce/blip-image-captioning-base on huggingface.co, about 1 GB: config.json, "
    "model.safetensors, preprocessor_config.json and the tokenizer's files"
)
MODEL_TYPE = "blip"  # as config.json calls it
LARGEST_CONFIG_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class CaptioningOptions:
    frames: int = 1  # of each clip, spread evenly; 1 is the one in the middle
    batch: int = 8  # pictures at a time
    beams: int = 3
    longest_tokens: int = 40  # about as many words
    prompt: str = ""  # how every caption begins, as "a video of"

    def __post_init__(self) -> None:
        for name in ("frames", "batch", "beams", "longest_tokens"):
            if (value := getattr(self, name)) < 1:
                raise FootageError(f"{name} is {value}. Captioning needs 1 or more.")


@dataclass(frozen=True)
class Captioner:
    """A model that is ready, with what turns pictures into its numbers and its numbers into text."""

    model: Any
    processor: Any
    device: torch.device
    dtype: torch.dtype

    @torch.inference_mode()
    def describe(self, pictures: Sequence[Pixels], options: CaptioningOptions = CaptioningOptions()) -> list[str]:
        """Give a sentence for each (h w c) picture. The same pictures give the same sentences."""
        text = {"text": [options.prompt.strip()] * len(pictures)} if options.prompt.strip() else {}
        images = [Image.fromarray(picture) for picture in pictures]
        inputs = self.processor(images=images, return_tensors="pt", **text).to(self.device, self.dtype)
        tokens = self.model.generate(
            **inputs, max_new_tokens=options.longest_tokens, num_beams=options.beams, do_sample=False
        )
        return [on_one_line(said) for said in self.processor.batch_decode(tokens, skip_special_tokens=True)]


def load_captioner(
    folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Captioner:
    """Load BLIP from a folder that holds it as huggingface.co does."""
    folder = Path(folder)
    _check_folder(folder)
    device = _usable(device)
    try:
        import transformers
    except ImportError as error:
        raise FootageError(
            "Captions by a model need the library transformers, which is not installed here. Install it with: "
            "pip install transformers"
        ) from error
    try:
        processor = transformers.BlipProcessor.from_pretrained(str(folder), local_files_only=True)
        model, found = transformers.BlipForConditionalGeneration.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # whatever is wrong with the files, each library below says it by an error of its own
        reason = on_one_line(str(error))[:300]
        raise FootageError(
            f"The captioning model in {folder} cannot be loaded: {reason or type(error).__name__}. Download its files "
            f"again. {WHERE_FROM}."
        ) from error
    # Without this, what is missing would be random numbers, and the captions random words.
    missing = sorted(found["missing_keys"])
    if missing:
        raise FootageError(
            f"The weights in {folder} lack {len(missing)} of the model's tensors, {missing[0]} among them, so they are "
            f"another model's. {WHERE_FROM}."
        )
    return Captioner(model.to(device, dtype).eval(), processor, device, dtype)


def _usable(device: torch.device | str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # the second where torch was built without that kind
        reason = str(error).partition("\n")[0].rstrip(".")
        raise FootageError(
            f"The device {str(device)!r} cannot be used here: {reason}. Choose cpu, or cuda where there is a graphics "
            "card for it."
        ) from error


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "is a file, and the model is a folder" if folder.exists() else "does not exist"
        raise FootageError(f"The captioning model {folder} {what}. Nothing is downloaded for you. {WHERE_FROM}.")
    kind = _model_type(folder / "config.json")
    if kind != MODEL_TYPE:
        raise FootageError(f"{folder} holds a model of the type {kind!r}, and captions are made by BLIP. {WHERE_FROM}.")
    if not any(folder.glob("*.safetensors")):
        if any(folder.glob("*.bin")):
            raise FootageError(
                f"{folder} has its weights as .bin, a format that may run code, and only safetensors are read. Get "
                f"model.safetensors from where the model is from. {WHERE_FROM}."
            )
        raise FootageError(f"{folder} has no weights in it: there is no file model.safetensors. {WHERE_FROM}.")


def _model_type(config: Path) -> str:
    if not config.is_file() or config.stat().st_size > LARGEST_CONFIG_BYTES:
        raise FootageError(f"{config.parent} is no folder of a model: it has no config.json. {WHERE_FROM}.")
    try:
        values = json.loads(config.read_text(encoding="utf-8-sig"))
        return str(values.get("model_type")) if isinstance(values, dict) else "none"
    except (ValueError, RecursionError) as error:
        raise FootageError(f"{config} is no JSON: {error}. Download it again.") from None


def spread_places(frames: int, count: int) -> list[int]:
    """Places of so many frames in the middles of equal parts of a clip: of one, in the middle of it all."""
    count = min(frames, count)
    return [(2 * part + 1) * frames // (2 * count) for part in range(count)]


def look_at_clips(
    footage: Footage, clips: Iterable[Clip], captioner: Captioner, options: CaptioningOptions = CaptioningOptions()
) -> Iterator[tuple[Clip, str]]:
    """Give each clip with what the model says of it, as soon as it is said; of several frames, what differs.

    Pictures of several clips go through the model together, and no more of them are in memory than `options.batch`.
    """
    said: dict[str, list[str]] = {}
    for batch in _batches(_looks(footage, clips, options.frames), options.batch):
        sentences = captioner.describe([read_picture(path) for _, path, _ in batch], options)
        for (clip, _, is_last), sentence in zip(batch, sentences, strict=True):
            said.setdefault(clip.name, []).append(sentence)
            if is_last:
                yield clip, "; ".join(dict.fromkeys(filter(None, said.pop(clip.name))))


def _looks(footage: Footage, clips: Iterable[Clip], frames: int) -> Iterator[tuple[Clip, Path, bool]]:
    """(clip, picture to look at, whether it is the clip's last)"""
    for clip in clips:
        places = spread_places(len(clip.frames), frames)
        paths = footage.paths(clip)
        yield from ((clip, paths[place], place == places[-1]) for place in places)


def _batches(looks: Iterator[tuple[Clip, Path, bool]], size: int) -> Iterator[list[tuple[Clip, Path, bool]]]:
    while batch := list(islice(looks, size)):
        yield batch
