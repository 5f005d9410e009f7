"""The parts of a video model: found in files of any layout, built empty, and filled tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import svd_keys
from .checkpoints import Checkpoint, Reader, in_file_order, listed
from .errors import CheckpointError
from .svd_keys import Names, Origin
from .svd_shapes import Shapes, image_encoder_config, is_temporal, unet_config, vae_config

IDENTITY = "identity"  # in place of a key: the parameter is stored nowhere, for it does nothing


@dataclass(frozen=True)
class Part:
    """A part as it lies in a checkpoint, and how to build the module that it fills."""

    title: str  # what to call it in a message
    checkpoint: Checkpoint
    origins: Mapping[str, Origin]  # by the parameter's name
    build: Callable[[], nn.Module]  # without memory for the parameters
    settings: tuple[object, ...]  # what of the build the checkpoint does not determine

    @property
    def stamp(self) -> tuple[object, ...]:
        """Equal for parts that would be equal in memory."""
        return (self.title, self.settings, self.checkpoint.stamp)


def shapes_of(checkpoint: Checkpoint, origins: Mapping[str, Origin]) -> dict[str, tuple[int, ...]]:
    """The shapes that parameters have by what is stored."""
    return {name: _shape(checkpoint.tensors[origin.key].shape, origin) for name, origin in origins.items()}


def _shape(stored: tuple[int, ...], origin: Origin) -> tuple[int, ...]:
    if origin.shares > 1 and stored:
        stored = (stored[0] // origin.shares, *stored[1:])
    return tuple(reversed(stored)) if origin.transposed else stored


def origins_by(names: Names, within: Mapping[str, str]) -> tuple[dict[str, Origin], list[str]]:
    """Where parameters are stored, given a part's keys by their names within it; and the keys that nothing takes."""
    origins, unknown = {}, []
    for name, key in within.items():
        ours = names.ours(name)
        if not ours:
            unknown.append(key)
        for share, parameter in enumerate(ours):
            origin = names.original(parameter)
            assert origin is not None and origin.key == name, (name, parameter, origin)
            origins[parameter] = Origin(key, share, len(ours), origin.transposed)
    return origins, unknown


def unet_part(checkpoint: Checkpoint, origins: Mapping[str, Origin], head_channels: int) -> Part:
    config = unet_config(shapes_of(checkpoint, origins), head_channels)

    def build() -> nn.Module:
        from .svd_unet import VideoUNet

        return VideoUNet(**config)

    return Part("UNet", checkpoint, origins, build, (head_channels,))


def vae_part(checkpoint: Checkpoint, origins: Mapping[str, Origin]) -> Part:
    shapes = shapes_of(checkpoint, origins)
    if is_temporal(shapes):
        # The class of diffusers always has it; where a file has none, the encoder's output is taken as it is.
        origins = {"quant_conv.weight": Origin(IDENTITY), "quant_conv.bias": Origin(IDENTITY)} | dict(origins)
        return Part("VAE", checkpoint, origins, lambda: _temporal_vae(vae_config(shapes)), ())

    def build() -> nn.Module:
        from diffusers import AutoencoderKL

        return AutoencoderKL(**vae_config(shapes))

    return Part("VAE", checkpoint, origins, build, ())


def _temporal_vae(config: dict[str, Any]) -> nn.Module:
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
    head_channels: int,
    overrides: Mapping[str, Any] | None = None,
) -> Part:
    config = image_encoder_config(shapes_of(checkpoint, origins), head_channels) | dict(overrides or {})

    def build() -> nn.Module:
        from transformers import CLIPVisionConfig
        from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

        return CLIPVisionModelWithProjection(CLIPVisionConfig(**config))

    return Part("image encoder", checkpoint, origins, build, (tuple(sorted(config.items())),))


@torch.inference_mode(False)  # weights made in inference mode, which ComfyUI's nodes run in, could never be trained
def load_part(part: Part, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Build a part and fill it: each tensor is read, cast, put in its place and forgotten before the next."""
    with torch.device("meta"):
        module = part.build()
    wanted = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    _check(part, wanted)
    by_key: dict[str, list[str]] = {}
    for name in wanted:
        by_key.setdefault(part.origins[name].key, []).append(name)
    for name in by_key.pop(IDENTITY, []):
        _place(module, name, _identity(wanted[name]).to(device, dtype))
    with part.checkpoint.reading() as reader:
        for key in in_file_order(part.checkpoint, by_key):
            for name in by_key[key]:
                _place(module, name, _read(reader, part.origins[name], wanted[name]).to(device).to(dtype))
    _fill_buffers(module, device)
    return module.eval().requires_grad_(False)


def _check(part: Part, wanted: Shapes) -> None:
    """Refuse what does not fit, with names: as they are in the file, or as they would be in diffusers if missing."""
    file = part.checkpoint.name
    if missing := wanted.keys() - part.origins.keys():
        raise CheckpointError(f"The {part.title} in {file} lacks {listed(missing)}. The file is not complete.")
    if unknown := {part.origins[name].key for name in part.origins.keys() - wanted.keys()}:
        raise CheckpointError(
            f"The {part.title} in {file} has weights that a video model like it has not: {listed(unknown)}. It is of "
            "another kind or was changed; choose an SVD or SV3D checkpoint."
        )
    for name, shape in wanted.items():
        origin = part.origins[name]
        if origin.key == IDENTITY:
            continue
        stored = _shape(part.checkpoint.tensors[origin.key].shape, origin)
        if _bare(stored) != _bare(shape):
            raise CheckpointError(
                f"{origin.key} in {file} has the shape {list(part.checkpoint.tensors[origin.key].shape)}, and the rest "
                f"of the {part.title} wants {list(shape)} there. The file is damaged or of another kind of model."
            )


def _bare(shape: Iterable[int]) -> tuple[int, ...]:
    """A shape as it is whether a layer is linear or a convolution of one pixel."""
    shape = tuple(shape)
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


def _read(reader: Reader, origin: Origin, shape: tuple[int, ...]) -> Tensor:
    tensor = reader.read(origin.key, origin.share, origin.shares)
    return (tensor.t().contiguous() if origin.transposed else tensor).reshape(shape)


def _identity(shape: tuple[int, ...]) -> Tensor:
    """The weight or bias of a convolution of one pixel that changes nothing."""
    return torch.eye(shape[0]).reshape(shape) if len(shape) > 1 else torch.zeros(shape)


def _place(module: nn.Module, name: str, values: Tensor) -> None:
    owner, _, last = name.rpartition(".")
    setattr(module.get_submodule(owner), last, nn.Parameter(values, requires_grad=False))


def _fill_buffers(module: nn.Module, device: torch.device) -> None:
    """Make what is not stored but counted: the positions in transformers' image encoder."""
    for name, buffer in list(module.named_buffers()):
        owner, _, last = name.rpartition(".")
        assert last == "position_ids" and buffer.is_meta, name
        positions = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
        module.get_submodule(owner).register_buffer(last, positions, persistent=False)
