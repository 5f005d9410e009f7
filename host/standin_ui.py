"""What `comfy_api.latest.ui` offers to our nodes, for where ComfyUI is absent: what a node shows, as plain holders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from .standin_io import FolderType


class Shown(ABC):
    """Something that a node shows after it ran."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """What the server would send to the browser, each value a list or tuple."""


class SavedResult(dict[str, str]):
    """A file, by name, folder below the output, input or temp folder, and which of those it is."""

    def __init__(self, filename: str, subfolder: str, type: FolderType):
        super().__init__(filename=filename, subfolder=subfolder, type=type.value)

    @property
    def filename(self) -> str:
        return self["filename"]

    @property
    def subfolder(self) -> str:
        return self["subfolder"]

    @property
    def type(self) -> FolderType:
        return FolderType(self["type"])


class SavedImages(Shown):
    def __init__(self, results: list[SavedResult], is_animated: bool = False):
        self.results = results
        self.is_animated = is_animated

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.results} | ({"animated": (True,)} if self.is_animated else {})


class SavedAudios(Shown):
    def __init__(self, results: list[SavedResult]):
        self.results = results

    def as_dict(self) -> dict[str, Any]:
        return {"audio": self.results}


class PreviewVideo(Shown):
    def __init__(self, values: Sequence[dict[str, str]]):
        self.values = list(values)

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.values, "animated": (True,)}


class PreviewText(Shown):
    def __init__(self, value: str):
        self.value = value

    def as_dict(self) -> dict[str, Any]:
        return {"text": (self.value,)}
