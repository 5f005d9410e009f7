"""The pack loads as ComfyUI loads it, and quickly."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WHAT_COMFYUI_HAS_LOADED = {"torch", "numpy", "av", "PIL", "psutil", "einops", "safetensors"}
LOADED_AS_COMFYUI_LOADS_IT = """
import asyncio, importlib.util, json, sys
from pathlib import Path
import torch

folder = Path(sys.argv[1])
before = set(sys.modules)
name = str(folder).replace(".", "_x_")
spec = importlib.util.spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
pack = importlib.util.module_from_spec(spec)
sys.modules[name] = pack
spec.loader.exec_module(pack)

async def nodes():
    extension = await pack.comfy_entrypoint()
    await extension.on_load()
    return [node.GET_SCHEMA().node_id for node in await extension.get_node_list()]

ids = asyncio.run(nodes())
found = {module for module in set(sys.modules) - before if sys.modules[module].__spec__ and not module.startswith(name)}
new = sorted({module.partition(".")[0] for module in found})
print(json.dumps({"ids": ids, "new": new, "web": str((folder / pack.WEB_DIRECTORY).resolve())}))
"""


def run_python(script: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """What loading the pack did, from a folder that is called as a browser calls a second download."""
    custom_nodes = tmp_path_factory.mktemp("custom nodes")
    pack = custom_nodes / "ComfyUI-Zoetrope-main (1)"
    pack.symlink_to(ROOT, target_is_directory=True)
    run = run_python(LOADED_AS_COMFYUI_LOADS_IT, str(pack), cwd=custom_nodes)
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    return json.loads(run.stdout)


def test_every_node_of_the_table_of_contents_arrives(loaded):
    from zoetrope.nodes import NODES

    assert loaded["ids"] == [node.GET_SCHEMA().node_id for node in NODES]
    assert loaded["ids"]


def test_loading_imports_nothing_that_comfyui_has_not_loaded_already(loaded):
    """Counting modules rather than seconds: diffusers, transformers, OpenCV and the like take seconds to import."""
    assert set(loaded["new"]) - set(sys.stdlib_module_names) <= WHAT_COMFYUI_HAS_LOADED


def test_the_pack_does_not_need_to_be_installed(loaded):
    assert "zoetrope" not in loaded["new"]


def test_pages_are_served_from_the_folder_of_the_pack(loaded):
    assert Path(loaded["web"]) == ROOT / "web"


def test_the_help_of_the_command_is_there_at_once(tmp_path):
    script = """
import sys
from zoetrope.headless.command import main
try:
    code = main(["--help"])
except SystemExit as exit:
    code = exit.code
slow = {"torch", "numpy", "av", "PIL", "cv2", "aiohttp"} & set(sys.modules)
sys.exit(code or (f"imported {slow}" if slow else 0))
"""
    run = run_python(script, cwd=tmp_path)

    assert run.returncode == 0, run.stderr
    for command in ("run", "queue", "doctor"):
        assert re.search(rf"\b{command}\b", run.stdout)


def test_the_module_is_the_command(tmp_path):
    run = subprocess.run([sys.executable, "-m", "zoetrope", "--help"], capture_output=True, text=True, cwd=tmp_path)

    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("usage: zoetrope")
