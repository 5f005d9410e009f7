"""The checkpoints that were released: what each is called, where it comes from, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class Released:
    """A released file. A gated one is given to those who are signed in and have agreed to its terms."""

    name: str
    repository: str
    gigabytes: float
    what: str
    gated: bool = False

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.repository}"

    @property
    def address(self) -> str:
        return f"{self.page}/resolve/main/{self.name}"


_SVD = "stabilityai/stable-video-diffusion-img2vid"
RELEASED = {
    released.name: released
    for released in (
        Released("svd.safetensors", _SVD, 9.56, "14 frames from a picture"),
        Released("svd_image_decoder.safetensors", _SVD, 9.5, "14 frames from a picture, each decoded by itself"),
        Released("svd_xt.safetensors", f"{_SVD}-xt", 9.56, "25 frames from a picture"),
        Released("svd_xt_image_decoder.safetensors", f"{_SVD}-xt", 9.5, "25 frames, each decoded by itself"),
        Released("svd_xt_1_1.safetensors", f"{_SVD}-xt-1-1", 4.78, "25 frames, made steadier", gated=True),
        Released("sv3d_u.safetensors", "stabilityai/sv3d", 9.36, "an orbit around an object", gated=True),
        Released("sv3d_p.safetensors", "stabilityai/sv3d", 9.37, "an orbit along a camera path", gated=True),
    )
}


def how_to_get(name: str) -> str:
    """Say where a file of that name comes from and how large it is; if none was released, which ones were."""
    released = RELEASED.get(PurePath(name.replace("\\", "/")).name)
    if released is None:
        return f"The released files are {', '.join(RELEASED)}, from https://huggingface.co/stabilityai."
    terms = ", which asks you to sign in and agree to its terms first" if released.gated else ""
    return f"{released.name} ({released.gigabytes:g} GB) comes from {released.page}{terms}."
