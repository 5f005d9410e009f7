import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoetrope.host import folders

from ..small_models import put_models
from .samples import make_samples
from .server import ComfyServer


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A running ComfyUI with this pack, samples of all kinds in its input folder, and tiny models."""
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        pytest.skip("COMFYUI_PATH is not set: it names the ComfyUI checkout to test against")
    base = tmp_path_factory.mktemp("comfyui")
    make_samples(base / "input")
    put_models(base / "models")
    with ComfyServer(Path(checkout), os.environ.get("COMFYUI_PYTHON", sys.executable), base) as server:
        yield server


@pytest.fixture
def same_input(comfyui: ComfyServer) -> Iterator[Path]:
    """The server's input folder, for a moment also that of nodes that run here, and so its models."""
    before = folders.own_folders()
    folders.set_folders(input=comfyui.base / "input", models=comfyui.base / "models")
    yield comfyui.base / "input"
    folders.set_folders(**before)


@pytest.fixture
def comfyui_033(comfyui: ComfyServer) -> ComfyServer:
    """A ComfyUI of the version whose core nodes ours are equal to."""
    if comfyui.version < (0, 33):
        pytest.skip("older versions of ComfyUI encode video in another way")
    return comfyui
