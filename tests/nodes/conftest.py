"""A folder of models for nodes, and a tiny SVD in it that is in memory once, whoever loads it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from zoetrope.host.weights import managed
from zoetrope.models.svd import load_svd


@pytest.fixture(scope="session")
def svd_file(tiny_checkpoint: Callable[[str], Path]) -> Iterator[Path]:
    """A tiny SVD whose weights stay in memory; what loads it from here, or by a link to here, shares them."""
    path = tiny_checkpoint("svd")
    kept, written = load_svd(path, dtype=torch.float32, device="cpu", place=managed), path.stat().st_mtime_ns
    yield path
    assert path.stat().st_mtime_ns == written, "a test has touched the file that all of them share"
    del kept


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models, which the stand-in looks for in the current one."""
    monkeypatch.chdir(tmp_path)
    for kind in ("checkpoints", "diffusers", "vae", "clip_vision", "loras"):
        (tmp_path / "models" / kind).mkdir(parents=True)
    return tmp_path / "models"
