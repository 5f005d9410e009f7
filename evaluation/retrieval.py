"""How well pictures and captions find each other.

Axes: n pictures, of which each has the caption of its number, d width of embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True)
class Retrieval:
    """The shares, in 0..1, of those that find their own first."""

    captions_of_pictures: float
    pictures_of_captions: float


def retrieval(pictures: Tensor, captions: Tensor) -> Retrieval:
    """Look for the likest caption of each picture, and the likest picture of each caption, by (n d) embeddings."""
    likeness = normalize(pictures.float(), dim=-1) @ normalize(captions.float(), dim=-1).T
    own = likeness.diagonal()
    # Strictly: an embedding that is the same for all has found nothing.
    others = likeness.clone()
    others.fill_diagonal_(float("-inf"))
    return Retrieval(
        captions_of_pictures=(own > others.amax(dim=1)).float().mean().item(),
        pictures_of_captions=(own > others.amax(dim=0)).float().mean().item(),
    )
