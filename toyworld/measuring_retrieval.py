"""Whether the small CLIP tells pictures apart by what is said of them."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import torch

from ..evaluation.retrieval import retrieval
from ..models.builtin_models import CLIP
from .captioned import draw_different
from .held_out import FIRST_HELD_OUT
from .measuring import Measurement, MeasuringOptions, Number, OnProgress

PICTURES = 500
AT_ONCE = 100
LEAST_SHARE = 0.8


def measure_retrieval(options: MeasuringOptions, on_progress: OnProgress) -> Measurement:
    """Show it held-out pictures of a shape, no two with one caption, and let both find each other."""
    wanted = options.seeds or PICTURES
    folder = CLIP if options.model in ("", "builtin") else Path(options.model)
    clip, processor = load_clip(folder, options.device)
    pictures = draw_different(
        wanted,
        count(FIRST_HELD_OUT + options.first),
        lambda done: on_progress("Drawing pictures", done, wanted),
    )
    seen, read = [], []
    for start in range(0, wanted, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        given = processor(
            text=list(pictures.captions[part]), images=list(pictures.images[part]), return_tensors="pt", padding=True,
            truncation=True,
        ).to(options.device)  # fmt: skip
        with torch.no_grad():
            output = clip(**given)
        seen.append(output.image_embeds)
        read.append(output.text_embeds)
        on_progress("Looking and reading", min(wanted, start + AT_ONCE), wanted)
    found = retrieval(torch.cat(seen), torch.cat(read))
    shares = (
        ("captions of pictures found first", found.captions_of_pictures),
        ("pictures of captions found first", found.pictures_of_captions),
    )
    return Measurement(
        title=f"{folder.name}: {wanted} held-out pictures and captions, which say shape, colour, place and ground",
        columns=("what", "share"),
        rows=shares,
        numbers=tuple(Number(name=name, value=share, at_least=LEAST_SHARE) for name, share in shares),
    )


def load_clip(folder: Path, device: str = "cpu") -> tuple[Any, Any]:
    """A CLIP and its processor from a folder of transformers."""
    from transformers import CLIPModel, CLIPProcessor

    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} is no folder of a CLIP: it has no config.json. Choose one, or train one: zoetrope "
            "toyworld train clip"
        )
    clip = CLIPModel.from_pretrained(folder, local_files_only=True).to(device).eval()
    return clip, CLIPProcessor.from_pretrained(folder, local_files_only=True)
