"""What sets the training of one family of video models apart from that of another; all else they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..models.svd import Family, SVDFacts, SVDModel
from .errors import TrainingError
from .method import Validation
from .randomness import Chance
from .svd_footage import CachedFootage, ChosenClips, OnClip, TrainingClip, training_clips
from .svd_loss import picture_noise_level
from .svd_settings import ClipTraining, SVDTraining
from .svd_validation import AUGMENTATION, made_clips


class Clips(Protocol):
    """Makes of what was chosen the clips to train on and those to validate with."""

    def __call__(
        self, chosen: ChosenClips, cached: CachedFootage, settings: Any, frames: int, on_clip: OnClip = ..., /
    ) -> tuple[Sequence[TrainingClip], Sequence[TrainingClip]]: ...


@dataclass(frozen=True, kw_only=True)
class Kind:
    method: str  # what it is called
    settings: type[ClipTraining]  # that describe a run
    families: tuple[Family, ...]
    refusal: str  # what to say of a model of another family, whose {name} and {family} it is told
    check: Callable[[ChosenClips, ClipTraining, Family, int], None]  # refuses clips of so many frames that do not suit
    clips: Clips
    picture_level: Callable[[Chance], float] | None  # of noise on the picture; None leaves it as it is
    usual_picture_level: float  # what the network is told of that noise where none is drawn
    samples: Callable[[SVDModel, Any, CachedFootage, Any], Validation]

    def check_settings(self, settings: object) -> None:
        """Refuse what is something else, for who uses the library."""
        if not isinstance(settings, self.settings):
            raise TrainingError(
                f"A run is described by settings of the class {self.settings.__name__}, and this is {settings!r}."
            )

    def check_model(self, facts: SVDFacts, name: str) -> None:
        if facts.family not in self.families:
            raise TrainingError(self.refusal.format(name=name, family=facts.family))


def _suits(chosen: ChosenClips, settings: ClipTraining, family: Family, frames: int) -> None:
    """Any clip that is long enough is one for SVD."""


SVD = Kind(
    method="svd",
    settings=SVDTraining,
    families=("svd",),
    refusal=(
        "{name} is an {family} model, which turns the camera around an object, and this trains SVD. Train it with "
        "zoetrope train sv3d, or choose an SVD checkpoint, such as svd_xt.safetensors."
    ),
    check=_suits,
    clips=training_clips,
    picture_level=picture_noise_level,
    usual_picture_level=AUGMENTATION,
    samples=made_clips,
)
