"""The parts of a video model: found in files of any layout, built empty, and filled tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoints import Checkpoint, Reader, in_file_order, listed
from .errors import CheckpointError, WeightError
from .svd_keys import Origin
from .svd_shapes import Shapes, image_encoder_config, is_temporal, text_encoder_config, unet_config, vae_config

IDENTITY = "identity"  # in place of a key: the parameter is stored nowhere, for it does nothing


@dataclass(frozen=True)
class Part:
    """A part as it lies in a checkpoint, and how to build the module that it fills."""

    title: str  # what to call it in a message
    checkpoint: Checkpoint
    origins: Mapping[str, Origin]  # by the parameter's name
    stored_name: Callable[[str], str]  # what a parameter is called in the file, be it there or not
    config: Mapping[str, Any]
    build: Callable[[], nn.Module]

    @property
    def stamp(self) -> tuple[object, ...]:
        """Equal for parts that would be equal in memory."""
        return (self.title, self.checkpoint.stamp, tuple(sorted(self.config.items())))

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        shapes = shapes_of(self.checkpoint, self.origins)
        return sum(math.prod(shape) for shape in shapes.values())


def shapes_of(checkpoint: Checkpoint, origins: Mapping[str, Origin]) -> dict[str, tuple[int, ...]]:
    """The shapes that parameters have by what is stored."""
    return {name: _shape(checkpoint.tensors[origin.key].shape, origin) for name, origin in origins.items()}


def _shape(stored: tuple[int, ...], origin: Origin) -> tuple[int, ...]:
    if origin.shares > 1 and stored:
        stored = (stored[0] // origin.shares, *stored[1:])
    return tuple(reversed(stored)) if origin.transposed else stored


@contextmanager
def _said_of(title: str, checkpoint: Checkpoint, stored_name: Callable[[str], str]) -> Iterator[None]:
    try:
        yield
    except WeightError as error:
        called = stored_name(error.parameter)
        raise CheckpointError(f"The {title} in {checkpoint.name} cannot be used: {called} {error.fault}") from error
    except CheckpointError as error:
        raise CheckpointError(f"The {title} in {checkpoint.name} cannot be used: {error}") from error


def unet_part(
    checkpoint: Checkpoint,
    origins: Mapping[str, Origin],
    stored_name: Callable[[str], str],
    head_channels: int,
    heads: Any = None,
) -> Part:
    with _said_of("UNet", checkpoint, stored_name):
        config = unet_config(shapes_of(checkpoint, origins), head_channels, heads)

    def build() -> nn.Module:
        from .svd_unet import VideoUNet

        return VideoUNet(**config)

    return Part("UNet", checkpoint, origins, stored_name, config, build)


def vae_part(checkpoint: Checkpoint, origins: Mapping[str, Origin], stored_name: Callable[[str], str]) -> Part:
    shapes = shapes_of(checkpoint, origins)
    with _said_of("VAE", checkpoint, stored_name):
        config = vae_config(shapes)
    if is_temporal(shapes):
        # The class of diffusers always has it; where a file has none, the encoder's output is taken as it is.
        origins = {"quant_conv.weight": Origin(IDENTITY), "quant_conv.bias": Origin(IDENTITY)} | dict(origins)
        return Part("VAE", checkpoint, origins, stored_name, config, lambda: temporal_vae(config))

    def build() -> nn.Module:
        from diffusers import AutoencoderKL

        return AutoencoderKL(**config)

    return Part("VAE", checkpoint, origins, stored_name, config, build)


def temporal_vae(config: Mapping[str, Any]) -> nn.Module:
    """diffusers' class with the middle that the reference has."""
    from diffusers import AutoencoderKLTemporalDecoder
    from diffusers.models.unets.unet_3d_blocks import MidBlockTemporalDecoder

    vae = AutoencoderKLTemporalDecoder(**config)
    if config["layers_per_block"] != 2:
        # The reference has two residual blocks in the middle, however many the other levels have.
        width = config["block_out_channels"][-1]
        vae.decoder.mid_block = MidBlockTemporalDecoder(
            num_layers=2, in_channels=width, out_channels=width, attention_head_dim=width
        )
    return vae


def image_encoder_part(
    checkpoint: Checkpoint,
    origins: Mapping[str, Origin],
    stored_name: Callable[[str], str],
    head_channels: int,
    overrides: Mapping[str, Any] | None = None,
) -> Part:
    with _said_of("image encoder", checkpoint, stored_name):
        config = image_encoder_config(shapes_of(checkpoint, origins), head_channels, overrides)

    def build() -> nn.Module:
        from transformers import CLIPVisionConfig
        from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

        return CLIPVisionModelWithProjection(CLIPVisionConfig(**config))

    return Part("image encoder", checkpoint, origins, stored_name, config, build)


def text_encoder_part(
    checkpoint: Checkpoint,
    origins: Mapping[str, Origin],
    stored_name: Callable[[str], str],
    overrides: Mapping[str, Any] | None = None,
) -> Part:
    with _said_of("text encoder", checkpoint, stored_name):
        config = text_encoder_config(shapes_of(checkpoint, origins), overrides)

    def build() -> nn.Module:
        from transformers import CLIPTextConfig
        from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

        return CLIPTextModelWithProjection(CLIPTextConfig(**config))

    return Part("text encoder", checkpoint, origins, stored_name, config, build)


def build(part: Part) -> nn.Module:
    """Build a part without memory for its weights, and make sure that what is stored fits it."""
    with torch.device("meta"):
        module = part.build()
    _check(part, _shapes_in(module))
    return module


@torch.inference_mode(False)  # weights made in inference mode, which ComfyUI's nodes run in, could never be trained
def fill(module: nn.Module, part: Part, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Read a part's weights: each is read, cast, put in its place and forgotten before the next."""
    shapes = _shapes_in(module)
    by_key: dict[str, list[str]] = {}
    for name in shapes:
        by_key.setdefault(part.origins[name].key, []).append(name)
    for name in by_key.pop(IDENTITY, []):
        _place(module, name, _identity(shapes[name]).to(device, dtype))
    with part.checkpoint.reading() as reader:
        for key in in_file_order(part.checkpoint, by_key):
            for name in by_key[key]:
                _place(module, name, _read(reader, part.origins[name], shapes[name], dtype).to(device))
    fill_buffers(module, device)
    return module.eval().requires_grad_(False)


def _shapes_in(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def _check(part: Part, wanted: Shapes) -> None:
    """Refuse what does not fit, calling it as the file does."""
    where = f"The {part.title} in {part.checkpoint.name}"
    if missing := wanted.keys() - part.origins.keys():
        raise CheckpointError(
            f"{where} lacks {listed({part.stored_name(name) for name in missing})}. The file is not complete: download "
            "it again, or choose another one."
        )
    if unknown := part.origins.keys() - wanted.keys():
        raise CheckpointError(
            f"{where} has weights that no model of its kind has: "
            f"{listed({part.origins[name].key for name in unknown})}. It is of another kind, or was changed by a "
            "program that this one does not know."
        )
    for name, shape in wanted.items():
        origin = part.origins[name]
        if origin.key == IDENTITY:
            continue
        stored = part.checkpoint.tensors[origin.key].shape
        if _bare(_shape(stored, origin)) != _bare(shape) or (stored and stored[0] % origin.shares):
            raise CheckpointError(
                f"{origin.key} in {part.checkpoint.name} has the shape {list(stored)}, which does not fit the rest of "
                f"the {part.title}: {list(shape)} is wanted. The file is damaged, or of another kind of model."
            )


def _bare(shape: Iterable[int]) -> tuple[int, ...]:
    """A shape as it is whether a layer is linear or a convolution of one pixel."""
    shape = tuple(shape)
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


def _read(reader: Reader, origin: Origin, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    tensor = reader.read(origin.key, dtype, share=origin.share, shares=origin.shares)
    return (tensor.t().contiguous() if origin.transposed else tensor).reshape(shape)


def _identity(shape: tuple[int, ...]) -> Tensor:
    """The weight or bias of a convolution of one pixel that changes nothing."""
    return torch.eye(shape[0]).reshape(shape) if len(shape) > 1 else torch.zeros(shape)


def _place(module: nn.Module, name: str, values: Tensor) -> None:
    owner, _, last = name.rpartition(".")
    setattr(module.get_submodule(owner), last, nn.Parameter(values, requires_grad=False))


def fill_buffers(module: nn.Module, device: torch.device) -> None:
    """Make what is not stored but counted: the positions in transformers' image encoder."""
    for name, buffer in list(module.named_buffers()):
        owner, _, last = name.rpartition(".")
        assert last == "position_ids" and buffer.is_meta, name
        positions = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
        module.get_submodule(owner).register_buffer(last, positions, persistent=False)
