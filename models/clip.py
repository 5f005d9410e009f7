"""CLIP: one network that sees pictures and one that reads, both telling in the same numbers what they found.

Axes: n texts or pictures, h height, w width, c channels, t tokens, d CLIP channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..host.clip import tokenizer_folder
from ..host.weights import Weights, stationary
from ..media.pictures import Pixels, opaque
from .builtin_models import CLIP as BUILTIN
from .clip_layouts import ACTIVATIONS, Activation, Preprocessing, find_clip
from .errors import CheckpointError
from .packed_layers import pack_layers
from .svd_parts import build, fill

if TYPE_CHECKING:
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

CACHED_BYTES = 3_200_000  # of a layer's results, for each thread
PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)
Place = Callable[[Any], Weights[Any]]
Tokenize = Callable[[str], list[int]]
"""A text's tokens with those for its beginning and end, however many they are."""


@dataclass(frozen=True)
class ClipModel:
    """CLIP with its parts where `place` put them."""

    name: str  # such as "clip-vit-base-patch32 (quick_gelu, float32)", for reports: numbers of two are not comparable
    image: Weights[CLIPVisionModelWithProjection]
    text: Weights[CLIPTextModelWithProjection] | None
    tokenize: Tokenize | None  # None where there is no text encoder, or nothing that cuts words into tokens for it
    preprocessing: Preprocessing
    dtype: torch.dtype

    @property
    def patcher(self) -> Any:
        """For ComfyUI, which looks here to know a model among the results that it keeps of nodes; else None."""
        return getattr(self.image, "patcher", None)


def load_clip(
    source: str | Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    activation: Activation = "auto",
    clip_head_channels: int | None = None,
    tokenizer: str | Path | None = None,
    place: Place = stationary,
) -> ClipModel:
    """Load CLIP from a folder of transformers or Open CLIP, from one file, or "builtin".

    A file alone does not tell which activation its layers have and how wide a head of attention is: those of the
    released models are taken where neither an argument nor a configuration beside the weights says another. Texts need
    a tokenizer: a folder with tokenizer.json, or with vocab.json and merges.txt, else what lies beside the weights,
    else ComfyUI's own. With `place=managed` the device is "cpu".
    """
    if dtype not in PRECISIONS:
        raise CheckpointError(f"dtype is {dtype!r}. CLIP computes in {', '.join(map(str, PRECISIONS))}.")
    if activation not in ACTIVATIONS:
        raise CheckpointError(f"activation is {activation!r}. Choose one of {', '.join(ACTIVATIONS)}.")
    path = _path_of(source)
    found = find_clip(path, half=dtype == torch.float16, activation=activation, head_channels=clip_head_channels)
    device = torch.device(device)
    parts = [part for part in (found.image, found.text) if part is not None]
    networks = [build(part) for part in parts]  # both are held against the file before either is read
    placed = [place(fill(network, part, dtype, device)) for network, part in zip(networks, parts, strict=True)]
    image, text = placed if len(placed) > 1 else (placed[0], None)
    name = path.resolve().name if path.is_dir() else path.stem
    return ClipModel(
        name=f"{name} ({found.image.config['hidden_act']}, {str(dtype).removeprefix('torch.')})",
        image=image,
        text=text,
        tokenize=None if text is None else _tokenizer(path, tokenizer),
        preprocessing=found.preprocessing,
        dtype=dtype,
    )


def _path_of(source: str | Path) -> Path:
    if source == "builtin":
        if not BUILTIN.is_dir():
            raise CheckpointError("No CLIP comes with this version of the pack. Choose a file or folder instead.")
        return BUILTIN
    path = Path(source)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. Check the name.")
    return path


def prepared(pictures: Sequence[Pixels], how: Preprocessing) -> Tensor:
    """What CLIP is shown (n c h w) of (h w c) pictures, to the bit as by transformers with Pillow."""
    with ThreadPoolExecutor(min(len(pictures), torch.get_num_threads())) as pool:  # Pillow lets other threads run
        squares = np.stack(list(pool.map(lambda pixels: _square(pixels, how), pictures)))
    levels = torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous().float() / 255
    mean, deviation = (torch.tensor(numbers)[:, None, None] for numbers in (how.mean, how.deviation))
    return (levels - mean) / deviation


def _square(pixels: Pixels, how: Preprocessing) -> Pixels:
    image = Image.fromarray(np.ascontiguousarray(opaque(pixels)))
    size = how.size
    if how.squashed:
        return np.array(image.resize((size, size), Image.Resampling.BICUBIC))
    width, height = image.size
    shorter = min(width, height)
    # The longer side is rounded down, and an odd margin is cut one pixel less at the left or top.
    image = image.resize((int(size * width / shorter), int(size * height / shorter)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.array(image.crop((left, top, left + size, top + size)))


def see(model: ClipModel, pictures: Tensor) -> Tensor:
    """What CLIP's image encoder tells (n d) of (n c h w) pictures made ready by `prepared`."""
    device = _ready(model.image, len(pictures), model.dtype)
    most = _frames_at_once(model.image.module.config, model.dtype) if device.type == "cpu" else len(pictures)
    with torch.no_grad():
        parts = pictures.to(device, model.dtype).chunk(-(-len(pictures) // most))
        return torch.cat([model.image.module(part).image_embeds.float().cpu() for part in parts])


def read(model: ClipModel, texts: Sequence[str]) -> tuple[Tensor, list[int]]:
    """What CLIP's text encoder tells (n d) of texts, and how many tokens each of them has too many.

    What is too much is left out: a text ends with the last token that fits, and the one that says so.
    """
    if model.text is None:
        raise CheckpointError(
            f"{model.name} has an image encoder alone, so it cannot read a prompt. Load all of CLIP, from a file or "
            "folder that has a text encoder too, or leave the prompt out."
        )
    if model.tokenize is None:
        raise CheckpointError(
            f"{model.name} has no tokenizer beside it, so it cannot read a prompt. Put tokenizer.json, or vocab.json "
            "and merges.txt, of CLIP into its folder, or leave the prompt out."
        )
    config = model.text.module.config
    room = config.max_position_embeddings
    rows, over = [], []
    for text in texts:
        tokens = model.tokenize(text)
        if not tokens or max(tokens) >= config.vocab_size:
            raise CheckpointError(
                f"The tokenizer of {model.name} gives {max(tokens, default=0)} for {text!r}, and the text encoder "
                f"knows {config.vocab_size} tokens. Put the tokenizer that belongs to it beside it."
            )
        over.append(max(0, len(tokens) - room))
        tokens = tokens if len(tokens) <= room else [*tokens[: room - 1], tokens[-1]]
        rows.append(tokens)
    longest = max(map(len, rows), default=0)
    # A text is told at its first end, which sees nothing of what follows: so the end itself fills up the row.
    padded = torch.tensor([[*tokens, *([tokens[-1]] * (longest - len(tokens)))] for tokens in rows])
    device = _ready(model.text, len(rows), model.dtype)
    with torch.no_grad():
        return model.text.module(padded.to(device)).text_embeds.float().cpu(), over


def _ready(part: Weights[Any], count: int, dtype: torch.dtype) -> torch.device:
    """Bring an encoder to where it computes, as is quickest there, with memory for that many inputs; say where."""
    device = part.ready(_activation_bytes(part.module.config, count, dtype))
    if device.type == "cpu":  # where a model that came here to compute stays
        _suit_cpu(part.module, dtype)
    return device


def _suit_cpu(encoder: Any, dtype: torch.dtype) -> None:
    pack_layers(encoder)
    # In bfloat16, torch's fused attention takes 1.2 to 1.5 times as long as products and a softmax one by one.
    fused = dtype == torch.bfloat16 and encoder.config._attn_implementation != "eager"
    if fused and hasattr(encoder, "set_attn_implementation"):  # as in transformers 5, and in the last of 4
        encoder.set_attn_implementation("eager")


def _frames_at_once(config: Any, dtype: torch.dtype) -> int:
    """As many as keep a CPU's arithmetic busy.

    With more, each layer's results outgrow the cache, and memory is given back and asked for again: that takes up to a
    tenth of the time.
    """
    widest = _tokens(config) * config.intermediate_size * dtype.itemsize
    return max(1, torch.get_num_threads() * CACHED_BYTES // widest)


def _activation_bytes(config: Any, count: int, dtype: torch.dtype) -> int:
    """What computing takes at the most, by what is alive at once in a layer."""
    tokens = _tokens(config)
    wide = 6 * config.hidden_size + 2 * config.intermediate_size + config.num_attention_heads * tokens
    return count * tokens * wide * dtype.itemsize


def _tokens(config: Any) -> int:
    """Of a picture, or of the longest text."""
    patches = getattr(config, "image_size", None)
    return (patches // config.patch_size) ** 2 + 1 if patches else config.max_position_embeddings


def _tokenizer(path: Path, chosen: str | Path | None) -> Tokenize | None:
    if chosen is not None:
        found = _tokenizer_in(Path(chosen))
        if found is None:
            raise CheckpointError(
                f"{chosen} holds no tokenizer of CLIP: neither tokenizer.json nor vocab.json with merges.txt. Choose "
                "the folder that they lie in."
            )
        return found
    beside = _tokenizer_in(path if path.is_dir() else path.parent)
    comfy = tokenizer_folder()
    return beside or (_tokenizer_in(comfy) if comfy is not None else None)


def _tokenizer_in(folder: Path) -> Tokenize | None:
    """The tokenizer in a folder, from its files of words alone: nothing of it could run."""
    if (folder / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        try:
            whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # what its parser, written in Rust, raises is Exception itself
            raise CheckpointError(
                f"{folder / 'tokenizer.json'} is no tokenizer that can be read: {error}. Download it again."
            ) from error
        whole.no_truncation()
        whole.no_padding()
        return lambda text: whole.encode(text).ids
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        from transformers import CLIPTokenizer

        slow = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
        return lambda text: slow(text)["input_ids"]
    return None
