"""Writing a video model as a checkpoint of one file, in the layout in which Stability releases them.

`load_svd`, ComfyUI's own loader and the reference implementation read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from .checkpoints import ToWrite, listed, write_checkpoint
from .errors import CheckpointError
from .lora import merge_lora
from .svd import SVDModel
from .svd_keys import (
    ImageEncoderNames,
    Names,
    Origin,
    PartName,
    UNetDepths,
    VAEDepths,
    key_of,
    unet_names,
    vae_names,
)
from .svd_layouts import METADATA

EMBEDDER = {"svd": 3, "sv3d_u": 1, "sv3d_p": 1}
"""Which conditioner encodes the picture."""
KEY_OF_POINTWISE = (".attn_1.q.", ".attn_1.k.", ".attn_1.v.", ".attn_1.proj_out.")


def save_svd(
    model: SVDModel,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
    for_comfyui: bool = True,
) -> None:
    """Write a model in a precision, by default its own; what tensors cannot tell goes into the file's metadata.

    LoRAs on the model are merged into what is written. The layout has room for a second encoder or decoder, which we do
    not read but ComfyUI does. `for_comfyui` fills it with what makes the same pictures there.
    """
    tensors = tensors_of(model, dtype or model.dtype, for_comfyui=for_comfyui)
    write_checkpoint(Path(path), tensors, dict(metadata or {}) | _metadata(model))


def tensors_of(model: SVDModel, dtype: torch.dtype, *, for_comfyui: bool = True) -> dict[str, ToWrite]:
    """The tensors of the file that a model is written as, by their keys."""
    unet, vae, image_encoder = merge_lora(model).unet.module, model.vae.module, model.image_encoder.module
    for module in (unet, vae, image_encoder):
        _check_nothing_was_added(module)
    key = partial(_key, EMBEDDER[model.family])
    depths = UNetDepths(
        tuple(unet.config["layers_per_block"]),
        tuple(kind.startswith("CrossAttn") for kind in unet.config["down_block_types"]),
    )
    names_of_vae = vae_names(VAEDepths(len(vae.config["block_out_channels"]), model.decoder == "temporal"))
    names_of_encoder = ImageEncoderNames(image_encoder.config.num_hidden_layers)
    tensors = _stored(unet, unet_names(depths), partial(key, "unet"), dtype)
    tensors |= _stored(image_encoder, names_of_encoder, partial(key, "image_encoder"), dtype)
    tensors |= _stored(vae, names_of_vae, partial(key, "vae"), dtype)
    return tensors | (_spare(model, names_of_vae, key, dtype) if for_comfyui else {})


def _key(embedder: int, part: PartName, name: str) -> str:
    return key_of(part, name, embedder)


def _check_nothing_was_added(module: nn.Module) -> None:
    """Refuse layers of other libraries, such as peft's, whose weights would get names that nobody reads again."""
    ours = {"torch", "diffusers", "transformers", __name__.partition(".")[0]}
    for name, layer in module.named_modules():
        if type(layer).__module__.partition(".")[0] not in ours or is_parametrized(layer):
            raise CheckpointError(
                f"Another program has put a layer of its own, {type(layer).__name__}, in the place of the model's "
                f"{name}, and a checkpoint has no name for its weights. Merge or remove what was added before saving."
            )


def _metadata(model: SVDModel) -> dict[str, str]:
    unet, encoder = model.unet.module.config, model.image_encoder.module.config
    levels = list(zip(unet["block_out_channels"], unet["num_attention_heads"], unet["down_block_types"], strict=True))
    # The block in the middle is as wide as the last level, and always has attention.
    widths = {width // heads for width, heads, kind in levels if kind.startswith("CrossAttn")}
    widths.add(levels[-1][0] // levels[-1][1])
    if len(widths) > 1:
        raise CheckpointError(
            f"The attention heads of this UNet are {sorted(widths)} wide, and a checkpoint of one file can say but one "
            "width. Keep it as a folder in the layout of diffusers."
        )
    entries: dict[str, Any] = {
        "family": model.family,
        "version": model.version,
        "frames": model.frames,
        "width": model.width,
        "height": model.height,
        "head_channels": widths.pop(),
        "clip_head_channels": encoder.hidden_size // encoder.num_attention_heads,
    }
    if model.numbers:
        entries |= {f"sampling_{name}": value for name, value in model.numbers._asdict().items()}
    return {METADATA + name: str(value) for name, value in entries.items() if value}


def _stored(module: nn.Module, names: Names, key: Callable[[str], str], dtype: torch.dtype) -> dict[str, ToWrite]:
    """The tensors of a file that hold a module's parameters."""
    pieces: dict[str, dict[int, tuple[Origin, Tensor]]] = {}
    unknown = []
    for name, parameter in module.named_parameters():
        origin = names.original(name)
        if origin is None:
            unknown.append(name)
        else:
            pieces.setdefault(origin.key, {})[origin.share] = (origin, parameter)
    if unknown:
        raise CheckpointError(
            f"The model has weights that a checkpoint has no name for: {listed(unknown)}. Merge what was added to it, "
            "such as a LoRA, or remove it before saving."
        )
    return {
        key(name): _joined(name, list(dict(sorted(shares.items())).values()), dtype) for name, shares in pieces.items()
    }


def _joined(name: str, shares: list[tuple[Origin, Tensor]], dtype: torch.dtype) -> ToWrite:
    origin, first = shares[0]
    shape = tuple(reversed(first.shape)) if origin.transposed else tuple(first.shape)
    shape = (shape[0] * len(shares), *shape[1:])
    if name.endswith(".weight") and any(module in f".{name}" for module in KEY_OF_POINTWISE):
        shape = (*shape, 1, 1)  # a linear layer here, a convolution of one pixel there

    def tensor() -> Tensor:
        values = torch.cat([parameter.detach().cpu() for _, parameter in shares])
        return (values.t() if origin.transposed else values).reshape(shape)

    return ToWrite(dtype, shape, tensor)


# --- What ComfyUI reads instead of what the reference does ------------------------------------------------------------


def _spare(model: SVDModel, names: Names, key: Any, dtype: torch.dtype) -> dict[str, ToWrite]:
    vae = model.vae.module
    if model.family == "svd":  # ComfyUI encodes with the encoder of the first stage
        tensors = _stored(vae.encoder, _Below(names, "encoder."), partial(key, "spare_encoder"), dtype)
        if model.decoder == "image":
            return tensors | _stored_quant(vae, "quant_conv", partial(key, "spare_encoder"), dtype)
        return tensors | _with_quant_folded_in(vae, partial(key, "spare_encoder"), dtype)
    # ComfyUI decodes an orbit with the decoder beside the encoder of the picture.
    tensors = _stored(vae.decoder, _Below(names, "decoder."), partial(key, "spare_decoder"), dtype)
    return tensors | _stored_quant(vae, "post_quant_conv", partial(key, "spare_decoder"), dtype)


class _Below:
    """Names of a submodule's parameters, translated as those of the whole."""

    def __init__(self, names: Names, prefix: str):
        self._names, self._prefix = names, prefix

    def ours(self, key: str) -> tuple[str, ...]:
        return tuple(name.removeprefix(self._prefix) for name in self._names.ours(key))

    def original(self, name: str) -> Origin | None:
        return self._names.original(self._prefix + name)


def _stored_quant(vae: Any, name: str, key: Callable[[str], str], dtype: torch.dtype) -> dict[str, ToWrite]:
    """The convolution of one pixel between latents and network; one that changes nothing where there is none."""
    convolution = getattr(vae, name, None)
    if convolution is not None:
        weight, bias = convolution.weight, convolution.bias
    else:
        channels = vae.config["latent_channels"] * (2 if name == "quant_conv" else 1)
        weight, bias = torch.eye(channels)[:, :, None, None], torch.zeros(channels)
    return {
        key(f"{name}.weight"): ToWrite(dtype, tuple(weight.shape), lambda: weight),
        key(f"{name}.bias"): ToWrite(dtype, tuple(bias.shape), lambda: bias),
    }


def _with_quant_folded_in(vae: Any, key: Callable[[str], str], dtype: torch.dtype) -> dict[str, ToWrite]:
    """The encoder's last convolution and the one of one pixel after it as a single one, for the layout has no other."""
    last, after = vae.encoder.conv_out, vae.quant_conv

    def weight() -> Tensor:
        return torch.einsum("oi,ichw->ochw", after.weight[:, :, 0, 0].float(), last.weight.float())

    def bias() -> Tensor:
        return after.weight[:, :, 0, 0].float() @ last.bias.float() + after.bias.float()

    return {
        key("encoder.conv_out.weight"): ToWrite(dtype, tuple(last.weight.shape), weight),
        key("encoder.conv_out.bias"): ToWrite(dtype, tuple(last.bias.shape), bias),
    }
