"""SVD and SV3D: models that turn a picture into a clip, and loading them from files and folders."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ..host.weights import Weights, stationary
from .errors import CheckpointError
from .released import how_to_get
from .svd_layouts import WANTED, Found, HeadWidths, find_image_encoder, find_model, find_vae
from .svd_parts import Part, build, fill
from .svd_shapes import is_temporal

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionModelWithProjection

    from .svd_unet import VideoUNet

Family = Literal["svd", "sv3d_u", "sv3d_p"]
Decoder = Literal["temporal", "image"]
Place = Callable[[Any], Weights[Any]]

FAMILIES: dict[int, Family] = {768: "svd", 256: "sv3d_u", 1280: "sv3d_p"}
"""By how many numbers the vector has that conditions a frame: all that tells the families apart."""
FRAMES = {"svd": 14, "svd_xt": 25, "svd_xt_1_1": 25, "sv3d_u": 21, "sv3d_p": 21}
PRECISIONS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
BUILTIN = Path(__file__).parent / "builtin"
# What versions of svd are called in names of files and folders, the most telling first.
VERSIONS = (
    ("svd_xt_1_1", r"(svd|img2vid)[-_ .]?xt[-_ .]?v?1[-_ .]?1"),
    ("svd_xt", r"(svd|img2vid)[-_ .]?xt"),
    ("svd", r"svd|stable[-_ .]?video[-_ .]?diffusion|img2vid"),
)


@dataclass(frozen=True)
class SVDFacts:
    """What is known of a model before its weights are read."""

    family: Family
    version: str  # "svd", "svd_xt", "svd_xt_1_1", "sv3d_u", "sv3d_p", or "" where nothing tells
    decoder: Decoder | None  # None where the VAE is not there
    frames: int  # how many the model was trained to make
    dtype: torch.dtype  # in which the UNet is stored
    parameters: int  # of the UNet


@dataclass(frozen=True)
class SVDModel:
    """A model that turns a picture into a clip, its parts where `place` put them."""

    family: Family
    version: str  # "svd", "svd_xt", "svd_xt_1_1", "sv3d_u", "sv3d_p", or "" where nothing tells
    decoder: Decoder
    frames: int  # how many the model was trained to make
    name: str
    unet: Weights[VideoUNet]
    image_encoder: Weights[CLIPVisionModelWithProjection]
    vae: Weights[AutoencoderKLTemporalDecoder | AutoencoderKL]
    dtype: torch.dtype  # of the UNet and the image encoder

    @property
    def patcher(self) -> Any:
        """For ComfyUI, which looks here to know a model among the results that it keeps of nodes; else None."""
        return getattr(self.unet, "patcher", None)


def recognise(source: str | Path) -> SVDFacts:
    """Say what a file, folder or "builtin:NAME" is, from its list of tensors alone; no weights are read."""
    path = _path_of(source)
    found = find_model(path, HeadWidths(), half=False)
    family, version, frames = _what(found, path)
    stored = found.unet.checkpoint.tensors[found.unet.origins["conv_in.weight"].key]
    decoder = _decoder(found.vae) if found.vae else None
    return SVDFacts(family, version, decoder, frames, stored.dtype, found.unet.parameters)


def facts_of(model: SVDModel) -> SVDFacts:
    """What is known of a model that is loaded, as `recognise` tells it of a file."""
    weights = list(model.unet.module.parameters())
    count = sum(parameter.numel() for parameter in weights)
    return SVDFacts(model.family, model.version, model.decoder, model.frames, model.dtype, count)


def empty_network(source: str | Path) -> tuple[Any, int]:
    """The UNet of a model on the meta device, without weights, and of how many pixels sides of pictures are multiples.

    It costs no memory; what it computes has shapes and no values.
    """
    path = _path_of(source)
    found = find_model(path, HeadWidths(), half=False)
    _family(found.unet)
    if found.vae is None:
        raise CheckpointError(f"{path.name} holds no VAE. Choose a checkpoint that has one.")
    levels = [len(part.config["block_out_channels"]) for part in (found.unet, found.vae)]
    # Some of what diffusers builds ignores the device that it is built on.
    return build(found.unet).to("meta"), 2 ** sum(count - 1 for count in levels)


def load_svd(
    source: str | Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    head_channels: int | None = None,
    clip_head_channels: int | None = None,
    vae: str | Path | None = None,
    image_encoder: str | Path | None = None,
    vae_dtype: torch.dtype = torch.float32,
    place: Place = stationary,
) -> SVDModel:
    """Load a model from a checkpoint of one file, a folder in the layout of diffusers, or "builtin:NAME".

    The VAE and the image encoder may come from files or folders of their own. The VAE is in float32 unless told
    otherwise, as the reference encodes and decodes in that, whatever it samples in. The width of attention heads, which
    no tensor tells, is that of the released models (64, and 80 in the image encoder) where neither the arguments nor
    the file say another.

    Two models that take a part from one file, in one precision and place, share its weights. With `place=managed` the
    device is "cpu": whoever manages the memory moves the weights from there.
    """
    device = _checked_device(device)
    _check_dtypes(dtype=dtype, vae_dtype=vae_dtype)
    path = _path_of(source)
    heads, half = HeadWidths(head_channels, clip_head_channels), dtype == torch.float16
    found = find_model(path, heads, half=half)
    family, version, frames = _what(found, path)
    vae_part = found.vae if vae is None else find_vae(_existing(vae), half=vae_dtype == torch.float16)
    encoder_part = found.image_encoder
    if image_encoder is not None:
        encoder_part = find_image_encoder(_existing(image_encoder), heads, half=half)
    if vae_part is None or encoder_part is None:
        lacking, option = ("VAE", "vae") if vae_part is None else ("image encoder", "image_encoder")
        raise CheckpointError(
            f"{path.name} holds no {lacking}. Choose a checkpoint that has one, or give another file's as {option}."
        )
    _refuse_misfits(found.unet, vae_part, encoder_part)
    parts = {
        "unet": (found.unet, dtype),
        "image_encoder": (encoder_part, dtype),
        "vae": (vae_part, vae_dtype),
    }
    return SVDModel(
        family=family,
        version=version,
        decoder=_decoder(vae_part),
        frames=frames,
        name=path.name if path.is_dir() else path.stem,
        dtype=dtype,
        **_loaded(parts, device, place),
    )


def _checked_device(device: torch.device | str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # the latter is what a PyTorch without CUDA says
        raise CheckpointError(
            f"device is {str(device)!r}, which cannot be used here: {str(error).splitlines()[0]}. Choose 'cpu', or a "
            "device of this machine."
        ) from error


def _check_dtypes(**dtypes: torch.dtype) -> None:
    for name, dtype in dtypes.items():
        if dtype not in PRECISIONS:
            raise CheckpointError(
                f"{name} is {dtype!r}, in which no video model can compute. Choose one of "
                f"{', '.join(map(str, PRECISIONS))}."
            )


def _path_of(source: str | Path) -> Path:
    if isinstance(source, str) and source.startswith("builtin:"):
        name = source.removeprefix("builtin:")
        there = {path.stem: path for path in sorted(BUILTIN.glob("*.safetensors"))}
        if name not in there:
            choice = f"There are {', '.join(there)}." if there else "This version brings none; choose a file instead."
            raise CheckpointError(f"No model called {name!r} comes with the pack. {choice}")
        return there[name]
    return _existing(source)


def _existing(source: str | Path) -> Path:
    if not isinstance(source, str | os.PathLike):
        raise CheckpointError(
            f"A model is loaded from the path of a file or a folder, or from builtin:NAME, and this is {source!r}."
        )
    path = Path(source)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. {how_to_get(path.name)}")
    return path


def _what(found: Found, path: Path) -> tuple[Family, str, int]:
    """The family, the version and the number of frames."""
    family = _family(found.unet)
    version = found.version or _version_in_name(path, family)
    if not version and found.frames is not None:
        version = next((name for name in ("svd", "svd_xt") if family == "svd" and FRAMES[name] == found.frames), "")
    return family, version, found.frames or FRAMES.get(version) or FRAMES[family]


def _family(unet: Part) -> Family:
    width = unet.config["projection_class_embeddings_input_dim"]
    if width not in FAMILIES:
        known = ", ".join(f"{family} {numbers}" for numbers, family in FAMILIES.items())
        raise CheckpointError(
            f"{unet.checkpoint.name} is a video model that is conditioned on {width} numbers for each frame, which is "
            f"none of {known}. {WANTED}"
        )
    return FAMILIES[width]


def _version_in_name(path: Path, family: Family) -> str:
    if family != "svd":
        return family  # which there is but one of
    name = path.resolve().name if path.is_dir() else path.stem
    return next((version for version, pattern in VERSIONS if re.search(pattern, name, re.IGNORECASE)), "")


def _decoder(vae: Part) -> Decoder:
    return "temporal" if is_temporal(dict.fromkeys(vae.origins, ())) else "image"


def _refuse_misfits(unet: Part, vae: Part, image_encoder: Part) -> None:
    latent = vae.config["latent_channels"]
    if (unet.config["in_channels"], unet.config["out_channels"]) != (2 * latent, latent):
        raise CheckpointError(
            f"The UNet in {unet.checkpoint.name} takes {unet.config['in_channels']} channels "
            f"({unet.stored_name('conv_in.weight')}) and gives {unet.config['out_channels']} "
            f"({unet.stored_name('conv_out.weight')}); with the VAE in {vae.checkpoint.name} it should "
            f"take {2 * latent}, the clip and the picture, and give {latent}. Choose an SVD or SV3D "
            "checkpoint and a VAE made for it."
        )
    given, wanted = image_encoder.config["projection_dim"], unet.config["cross_attention_dim"]
    if given != wanted:
        raise CheckpointError(
            f"The image encoder in {image_encoder.checkpoint.name} describes a picture in {given} numbers, and the "
            f"UNet in {unet.checkpoint.name} wants {wanted}. Choose CLIP's ViT-H-14, such as clip_vision_h.safetensors."
        )


def _loaded(parts: Mapping[str, tuple[Part, torch.dtype]], device: torch.device, place: Place) -> dict[str, Any]:
    """The parts' weights: those that are loaded already and in use, or else loaded now."""
    keys = {name: (part.stamp, dtype, device, place) for name, (part, dtype) in parts.items()}
    weights = {name: found for name, key in keys.items() if (found := _in_use.get(key)) is not None}
    # All are held against their files before any is read, which takes long.
    empty = {name: build(part) for name, (part, _) in parts.items() if name not in weights}
    for name, module in empty.items():
        part, dtype = parts[name]
        weights[name] = _in_use[keys[name]] = place(fill(module, part, dtype, device))
    return weights


_in_use: weakref.WeakValueDictionary[tuple[object, ...], Weights[Any]] = weakref.WeakValueDictionary()
