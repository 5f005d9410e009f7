"""Weights in the hands of ComfyUI's memory manager."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .server import ENVIRONMENT, PACK

SCRIPT = Path(__file__).parent / "weights_in_comfyui.py"


def test_comfyui_loads_our_weights_and_puts_them_away_whole(tiny_checkpoint):
    comfyui = os.environ.get("COMFYUI_PATH")
    if not comfyui:
        pytest.skip("COMFYUI_PATH is not set: it names the ComfyUI checkout to test against")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)

    run = subprocess.run(
        [python, SCRIPT, comfyui, PACK, tiny_checkpoint("svd"), "--cpu"],
        cwd=comfyui,
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "all is well" in run.stdout
