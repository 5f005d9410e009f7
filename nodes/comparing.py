"""The same clip without a LoRA and with it, side by side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from ..host import folders, io, work
from ..models.lora import Lora, lora_of_tensors, read_lora
from ..models.svd import SVDModel
from ..pipelines.comparing import (
    ComparisonStep,
    compare,
    comparison_sheet,
    comparison_video,
    labelled,
    told,
    variants_of,
)
from ..pipelines.svd import SVDOptions
from . import previews
from .choosing_models import changed, find_lora, lora_names
from .sampling_inputs import OWN, guidance_of, tiny_decoder_of
from .svd import SVDType, clip_inputs
from .watching import watch

NONE = "none"
JUST_TRAINED = "just trained"
MOST_SHOWN = 64
PREVIEW_SIDE = 1024  # pixels; labels are read in it
ANY = "*"  # alone: names of LoRAs often have brackets


class CompareBeforeAndAfter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeCompareBeforeAndAfter",
            display_name="Compare Before And After",
            category="Zoetrope/training",
            description="Makes the same clip without a LoRA and with it, at several strengths or with several LoRAs, "
            "from the same noise: what differs is what was trained. Shows them side by side under their labels, and "
            "says how much they move and differ.",
            search_aliases=[
                "svd lora",
                "lora strength",
                "xy plot",
                "grid",
                "checkpoints of a run",
                "ab test",
                "compare",
            ],
            inputs=[
                SVDType.Input("model", tooltip="An SVD model, from Load SVD. What is on it already stays on it."),
                io.Image.Input(
                    "image",
                    tooltip="The picture that the clips start from. Of a batch, each picture gets clips of its own.",
                ),
                io.Combo.Input(
                    "lora",
                    options=[NONE, *lora_names()],
                    default=NONE,
                    tooltip="One that ships with the pack (builtin), or a file in models/loras. none where it comes "
                    "through trained or is named in more_loras.",
                ),
                io.String.Input(
                    "more_loras",
                    default="",
                    multiline=True,
                    tooltip="More LoRAs in models/loras, one a line, to compare with each other. A * stands for any "
                    "letters: moon-*.safetensors are all that a run called moon has exported, in the order of steps.",
                ),
                io.String.Input(
                    "strengths",
                    default="0, 1",
                    tooltip="How much of each LoRA, in numbers with commas between. 0 is the clip without any, which "
                    "comes first; 1 is as it was trained.",
                ),
                io.Int.Input(
                    "shown_frames",
                    default=6,
                    min=1,
                    max=MOST_SHOWN,
                    tooltip="So many frames of each clip are on the sheet, from the first to the last.",
                ),
                *clip_inputs(SVDOptions()),
                io.LoraModel.Input(
                    "trained",
                    optional=True,
                    tooltip="A LoRA that was just trained, from Train SVD LoRA. It comes before those in files.",
                ),
                io.Image.Input(
                    "true_clip",
                    optional=True,
                    tooltip="What really happened after the picture, shown and measured beside the clips, such as the "
                    "frames of a held-out clip. Of several pictures, one clip after another.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="sheet", tooltip="One picture: a row for each clip with some of its frames, labelled."
                ),
                io.Image.Output(
                    display_name="side_by_side",
                    tooltip="The clips playing beside each other under their labels, as frames for Create Video.",
                ),
                io.Image.Output(display_name="clips", is_output_list=True, tooltip="The clips themselves."),
                io.String.Output(display_name="labels", is_output_list=True, tooltip="What each of them is."),
                io.String.Output(
                    display_name="report", tooltip="How much moves in each clip, and how far it is from the first one."
                ),
                io.Float.Output(
                    display_name="frames_per_second", tooltip="The rate for which they were made, fps_id and one."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls, lora: str | None = None, more_loras: str | None = None, guidance: Any = None
    ) -> bool | str:  # ComfyUI hands over every dynamic combo, whether it is wanted here or not
        try:
            _ = list(_files(lora or NONE, more_loras or ""))
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, lora: str | None = None, more_loras: str | None = None, **others: Any) -> str:
        return changed(*(path for _, path in _files(lora or NONE, more_loras or "")))

    @classmethod
    def execute(
        cls,
        model: SVDModel,
        image: Tensor,
        lora: str,
        more_loras: str,
        strengths: str,
        shown_frames: int,
        trained: Mapping[str, Tensor] | None = None,
        true_clip: Tensor | None = None,
        guidance: dict[str, Any] | None = None,
        decoder: str = OWN,
        **settings: Any,
    ) -> io.NodeOutput:
        options = SVDOptions(**settings, **guidance_of(guidance)).completed(model)
        variants = variants_of(_loras(model, lora, more_loras, trained), numbers_of(strengths))
        comparison = compare(
            model,
            image,
            variants,
            options,
            true_clips=true_clip,
            on_step=_watching(options.steps),
            tiny_decoder=tiny_decoder_of(decoder, model),
            device=work.intermediate_device(),
        )
        rate = float(options.fps_id + 1)
        report = told(comparison)
        work.say(report)
        sheet, video = comparison_sheet(comparison, shown_frames), comparison_video(comparison)
        return io.NodeOutput(
            (torch.from_numpy(sheet.copy()).float() / 255)[None].to(work.intermediate_device()),
            video.to(work.intermediate_device()),
            [compared.clip for compared in comparison],
            [clip.label for clip in labelled(comparison)],
            report,
            rate,
            ui=previews.animated(video, rate, longest_side=PREVIEW_SIDE),
        )


def numbers_of(text: str) -> list[float]:
    """Numbers as people write them: with commas, spaces or lines between."""
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise ValueError(
            f"strengths is {text[:80]!r}, and not all of it is numbers. Write numbers with commas between and points "
            "for fractions, such as 0, 0.5, 1."
        ) from error


def _loras(model: SVDModel, lora: str, more_loras: str, trained: Mapping[str, Tensor] | None) -> dict[str, Lora]:
    """The LoRAs to compare by what they are called, all of them read and found to fit before any clip is made."""
    unet = model.unet.module
    loras = {} if trained is None else {JUST_TRAINED: lora_of_tensors(trained, unet, "What is connected to trained")}
    return loras | {name: read_lora(path, unet) for name, path in _called(dict(_files(lora, more_loras))).items()}


def _files(lora: str, more_loras: str) -> Iterator[tuple[str, Path]]:
    """The names and the files of the LoRAs, each once."""
    lines = [line.strip() for line in more_loras.splitlines()]
    wanted = [lora] if lora != NONE else []
    for line in filter(None, lines):
        wanted += _matching(line) if ANY in line else [line]
    for name in dict.fromkeys(wanted):
        yield name, find_lora(name)


def _matching(pattern: str) -> list[str]:
    """The files in the folders of LoRAs whose names a pattern fits, numbers in them in the order of numbers."""
    names = [
        name for name in folders.list_models("loras") if _fits(name.replace("\\", "/"), pattern.replace("\\", "/"))
    ]
    if not names:
        raise ValueError(
            f"No LoRA in {' or '.join(map(str, folders.models_folders('loras')))} has a name like {pattern!r}. A * "
            "stands for any letters, and the name ends in .safetensors, as in moon-*.safetensors."
        )
    return sorted(names, key=_natural)


def _fits(name: str, pattern: str) -> bool:
    """Whether a name fits; a pattern without a folder fits names in every folder."""
    others_as_letters = re.sub(r"[?\[]", r"[\g<0>]", pattern)
    return fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], others_as_letters)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts moon-500 before moon-1000."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name, flags=re.ASCII)]


def _called(files: Mapping[str, Path]) -> dict[str, Path]:
    """The files by what each is called: its name without folder and suffix, or all of it where others share that."""
    stems = {name: PurePath(name.replace("\\", "/")).stem for name in files}
    often = Counter(stems.values())
    return {stem if often[stem] == 1 and stem != JUST_TRAINED else name: files[name] for name, stem in stems.items()}


def _watching(steps: int) -> Callable[[ComparisonStep], None]:
    steps_and_decoding = steps + 1
    watching: Callable[..., None] | None = None

    def on_step(told: ComparisonStep) -> None:
        nonlocal watching
        watching = watching or watch(told.clips * steps_and_decoding, pictures=False)
        step = told.step.index + 1
        work.say(f"Clip {told.clip + 1} of {told.clips}, {told.label}: step {step} of {told.step.steps}")
        watching(told.clip * steps_and_decoding + step, None)

    return on_step
