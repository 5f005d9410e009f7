"""What `zoetrope svd` and `zoetrope sv3d` have in common: which model, which pictures, and where the clips go."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .progress import ProgressDisplay

if TYPE_CHECKING:  # torch comes with them, and `--help` should not wait for it
    from torch import Tensor

    from ..host.weights import Weights
    from ..media.files import NumberedName
    from ..media.watermark import Bits
    from ..models.svd import SVDFacts, SVDModel
    from ..pipelines.sampling import OnStep

OK, SOME_FAILED = 0, 2
AUTO = "auto"
REFERENCE = ""  # what --watermark is without a text
DTYPES = (AUTO, "fp16", "bf16", "fp32")
TORCH_NAMES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}


def flag(group: argparse._ActionsContainer, name: str, **settings: Any) -> None:
    """Add an argument under the name that the reference's script calls it, written with hyphens or as there."""
    group.add_argument(f"--{name.replace('_', '-')}", dest=name, **settings)
    if "_" in name:
        group.add_argument(
            f"--{name}", dest=name, **settings | {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS}
        )


def add_model_arguments(
    parser: argparse.ArgumentParser, versions: tuple[str, ...], example: str, transparency: str = ""
) -> None:
    parser.add_argument("picture", type=Path, metavar="PICTURE", help=f"a picture, or a folder of them{transparency}")
    parser.add_argument(
        "--model",
        required=True,
        metavar="FILE",
        help=f"a checkpoint such as {example}, a folder in diffusers' layout, or the name of one in --models",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where clips are saved, each under the next free number"
    )
    group = parser.add_argument_group("the model")
    group.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="where models are looked for by name, in its folder checkpoints (./models)",
    )
    group.add_argument("--version", choices=versions, help="which release it is, where the file's name does not tell")
    group.add_argument("--dtype", choices=DTYPES, default=AUTO, help="precision of its weights (fp16 on a GPU)")
    group.add_argument("--device", metavar="DEVICE", help="as cuda:1 or cpu (the GPU, where there is one)")
    group.add_argument("--vae", type=Path, metavar="FILE", help="take the VAE from this file instead")
    group.add_argument("--image-encoder", type=Path, metavar="FILE", help="take the image encoder from this file")
    group.add_argument(
        "--lora",
        action="append",
        metavar="FILE",
        help="put on a LoRA, a file or the name of one in --models, in its folder loras; may be given again",
    )
    group.add_argument(
        "--lora-strength",
        action="append",
        type=float,
        metavar="X",
        help="how much of it (1); of several, once for each in their order",
    )
    group.add_argument(
        "--tiny-decoder",
        type=Path,
        metavar="FILE",
        help="decode with taesd_decoder.safetensors: fast and blurred",
    )


def add_sampling_arguments(parser: argparse.ArgumentParser, frames: str, steps: str, cond_aug: str) -> None:
    group = parser.add_argument_group("sampling")
    flag(group, "num_frames", type=int, metavar="N", help=f"how many frames ({frames})")
    flag(group, "num_steps", type=int, metavar="N", help=f"how often noise is taken away ({steps})")
    flag(group, "cond_aug", type=float, metavar="X", help=f"noise on the picture before the model sees it ({cond_aug})")
    flag(group, "seed", type=int, metavar="N", help="another number is another clip (23)")
    flag(group, "decoding_t", type=int, metavar="N", help="frames decoded at a time; fewer take less memory (14)")
    group.add_argument("--no-seams", action="store_true", help="decode the clip as one, not in groups of decoding_t")
    group.add_argument("--guidance", choices=("linear", "triangle", "constant"), help="how guidance goes over frames")
    group.add_argument("--min-guidance", type=float, metavar="X", help="the lowest guidance of a frame")
    group.add_argument("--max-guidance", type=float, metavar="X", help="the highest guidance of a frame")
    group.add_argument("--sampler", choices=("euler", "heun", "dpm++2m"), help="(euler, as the reference)")


def add_file_arguments(parser: argparse.ArgumentParser, rate: str) -> None:
    group = parser.add_argument_group("files")
    group.add_argument("--frames-per-second", type=float, metavar="FPS", help=f"the rate of the video ({rate})")
    group.add_argument(
        "--watermark",
        nargs="?",
        const=REFERENCE,
        metavar="TEXT",
        help="mark every frame invisibly, with a text or without one with the reference's mark",
    )


def sampling_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of SamplingOptions, by its names there; what was not is left to the options."""
    return without_none(
        frames=arguments.num_frames,
        steps=arguments.num_steps,
        cond_aug=arguments.cond_aug,
        seed=arguments.seed,
        decoding_t=arguments.decoding_t,
        seams=False if arguments.no_seams else None,
        guidance=arguments.guidance,
        min_guidance=arguments.min_guidance,
        max_guidance=arguments.max_guidance,
        sampler=arguments.sampler,
    )


def without_none(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def numbers_in(texts: list[str] | None, option: str) -> list[float]:
    """Numbers as people write them after an option: 10, or 0,20,40, or [0, 20, 40], or 0 20 40."""
    words = re.findall(r"[^\s,\[\]()]+", " ".join(texts or []))
    try:
        return [float(word) for word in words]
    except ValueError:
        wrong = next(word for word in words if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", word))
        raise ValueError(f"{option} holds {wrong!r}, which is no number. Write numbers with commas between.") from None


def load_model(arguments: argparse.Namespace, family: str) -> SVDModel:
    """The model that the arguments name, of a family, on the device that they name or wherever there is room."""
    import torch

    from ..host import work
    from ..host.weights import managed, stationary
    from ..models.svd import FRAMES, load_svd, recognise

    source, loras = _find(arguments.model, arguments.models), _loras(arguments)
    facts = recognise(source)
    _refuse_other_family(Path(arguments.model).name, facts, family)
    _refuse_other_version(arguments.version, facts)
    _refuse_camera(arguments, facts)
    auto = arguments.dtype == AUTO
    model = load_svd(
        source,
        dtype=work.sampling_dtype(facts.parameters) if auto else getattr(torch, TORCH_NAMES[arguments.dtype]),
        device=arguments.device or "cpu",
        vae=arguments.vae,
        image_encoder=arguments.image_encoder,
        place=stationary if arguments.device else managed,
    )
    model = _with_loras(model, loras)
    if arguments.version is None:
        return model
    return replace(model, version=arguments.version, frames=FRAMES[arguments.version])


def _loras(arguments: argparse.Namespace) -> list[tuple[Path, float]]:
    """The files of the LoRAs and their strengths."""
    names, strengths = arguments.lora or [], arguments.lora_strength or []
    if len(strengths) > len(names):
        raise ValueError(
            f"--lora-strength is given {_times(len(strengths))}, and --lora {_times(len(names))}. Give each LoRA one "
            "strength at most."
        )
    wanted = strengths + [1.0] * (len(names) - len(strengths))
    return [(_find_lora(name, arguments.models), strength) for name, strength in zip(names, wanted, strict=True)]


def _times(count: int) -> str:
    return {0: "not at all", 1: "once"}.get(count, f"{count} times")


def _with_loras(model: SVDModel, loras: list[tuple[Path, float]]) -> SVDModel:
    from ..models.lora import load_lora

    for path, strength in loras:
        model = load_lora(model, path, strength)
    return model


def load_decoder(arguments: argparse.Namespace, model: SVDModel) -> Weights[Any] | None:
    """The tiny decoder, where one is named."""
    from ..host.weights import managed, stationary
    from ..models.tiny_decoder import load_tiny_decoder

    if arguments.tiny_decoder is None:
        return None
    place = stationary if arguments.device else managed
    return load_tiny_decoder(arguments.tiny_decoder, dtype=model.dtype, device=arguments.device or "cpu", place=place)


def _find(model: str, models: Path | None) -> Path | str:
    """A path that is there, or what a name stands for in the folder of models."""
    from ..models.released import how_to_get
    from ..nodes.choosing_models import find_checkpoint

    if Path(model).exists():
        return Path(model)
    if models is None and Path(model).parent != Path() and not model.startswith("builtin:"):
        raise ValueError(f"{model} does not exist. {how_to_get(Path(model).name)}")
    with _models_in(models):
        return find_checkpoint(model)


def _find_lora(lora: str, models: Path | None) -> Path:
    """A path that is there, or what a name stands for in the folder of LoRAs."""
    from ..host import folders

    if Path(lora).exists():
        return Path(lora)
    with _models_in(models):
        return folders.resolve_model("loras", lora)


@contextmanager
def _models_in(folder: Path | None) -> Iterator[None]:
    """In this block models are looked for there."""
    from ..host import folders

    before = folders.own_folders()
    folders.set_folders(models=folder)
    try:
        yield
    finally:
        folders.set_folders(**before)


def _refuse_other_family(name: str, facts: SVDFacts, family: str) -> None:
    """`family` is the beginning of those that a command takes: svd or sv3d."""
    if facts.family.startswith(family):
        return
    if family == "svd":
        raise ValueError(
            f"{name} is an {facts.family} model, which turns the camera around an object. Use it with `zoetrope sv3d`, "
            "or give --model an SVD checkpoint, such as svd_xt.safetensors."
        )
    raise ValueError(
        f"{name} is an SVD model, which has no camera. Use it with `zoetrope svd`, or give --model "
        "sv3d_u.safetensors or sv3d_p.safetensors."
    )


def _refuse_other_version(version: str | None, facts: SVDFacts) -> None:
    if version is not None and facts.family != (version if version.startswith("sv3d") else "svd"):
        raise ValueError(f"--version is {version}, but the checkpoint is {facts.family}. Leave --version out.")


def _refuse_camera(arguments: argparse.Namespace, facts: SVDFacts) -> None:
    given = [name for name in ("elevations_deg", "azimuths_deg") if getattr(arguments, name, None)]
    if given and facts.family == "sv3d_u":
        raise ValueError(
            f"sv3d_u goes once around by itself and takes no --{given[0].replace('_', '-')}. Leave it out, or use "
            "sv3d_p.safetensors."
        )


def make_clips(
    arguments: argparse.Namespace,
    make: Callable[[Path, Callable[[Tensor], None], OnStep], tuple[Tensor, Tensor]],
    frames_per_second: float,
) -> int:
    """Make a clip of each picture with `make`, which gives the clip and the picture it was made of; the exit code.

    Before it samples, `make` shows that picture to the function that it is given, which refuses what could not be
    saved. A picture that fails is told, and the others are made.
    """
    from ..clips.pictures import find_pictures

    def before(picture: Tensor) -> None:
        _refuse_unsaveable(arguments, picture, frames_per_second)

    failed = 0
    with ProgressDisplay() as display:
        for name, path in find_pictures(arguments.picture).items():
            try:
                clip, picture = make(path, before, _shower(display, name))
                saved = _save(arguments, clip, picture, frames_per_second)
            except ValueError as error:
                display.close()
                sys.stderr.write(f"{path}: {error}\n")
                failed += 1
                continue
            display.close()
            sys.stdout.writelines(f"{file}\n" for file in saved)
    return SOME_FAILED if failed else OK


def _shower(display: ProgressDisplay, name: str) -> OnStep:
    return lambda step: display.show(name, step.index + 1, step.steps)


def _refuse_unsaveable(arguments: argparse.Namespace, picture: Tensor, rate: float) -> None:
    """Refuse now what would be refused when the clip is done: a rate, a mark that has no room, a folder."""
    from ..media.files import written_beside
    from ..media.rates import exact_rate
    from ..media.watermark import embed

    exact_rate(rate)
    if arguments.watermark is not None:
        embed(picture[None].cpu(), _bits(arguments.watermark))
    with suppress(_Rehearsed), written_beside(_next_video(arguments.out)) as draft:
        draft.touch()
        raise _Rehearsed  # the draft, and folders made for it, are gone again


class _Rehearsed(Exception):
    """A file could have been written."""


def _bits(text: str) -> Bits:
    from ..media.watermark import REFERENCE_BITS, bits_of_text

    return REFERENCE_BITS if text == REFERENCE else bits_of_text(text)


def _save(arguments: argparse.Namespace, clip: Tensor, picture: Tensor, rate: float) -> list[Path]:
    """Write the video, and the picture that it was made of under the same number."""
    from ..media.files import written_beside
    from ..media.pictures import encode_jpeg, to_bytes
    from ..media.watermark import embed
    from ..media.writing import write_video

    if arguments.watermark is not None:
        clip = embed(clip, _bits(arguments.watermark))
    video = _next_video(arguments.out)
    with written_beside(video) as draft:
        write_video(draft, to_bytes(clip), rate)
    beside = video.path.with_suffix(".jpg")
    with written_beside(beside) as draft:
        draft.write_bytes(encode_jpeg(next(to_bytes(picture[None]))))
    return [video.path, beside]


def _next_video(folder: Path) -> NumberedName:
    from ..media.files import NumberedName

    return NumberedName(lambda number: folder / f"{number:06}.mp4", _next_number(folder))


def _next_number(folder: Path) -> int:
    return max(_numbers_in(folder), default=-1) + 1


def _numbers_in(folder: Path) -> Iterator[int]:
    if folder.is_dir():
        for path in folder.iterdir():
            if path.suffix in (".mp4", ".jpg") and re.fullmatch(r"\d{1,12}", path.stem, re.ASCII):
                yield int(path.stem)
