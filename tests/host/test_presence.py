import subprocess
import sys
from pathlib import Path

import pytest

PACK = Path(__file__).parents[2]


def import_host(beside: Path) -> subprocess.CompletedProcess[str]:
    """Import the host in a Python that also finds what is in a folder."""
    code = f"import sys; sys.path[:0] = [{str(beside)!r}]; from zoetrope import host; print(host.IN_COMFYUI)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_the_stand_in_is_used_where_comfyui_is_absent(tmp_path):
    assert import_host(tmp_path).stdout.strip() == "False"


@pytest.mark.parametrize("slip", ["import no_such_module", "raise RuntimeError('no_such_module')", "no_such_module"])
def test_a_broken_comfyui_shows_its_own_error(tmp_path, slip):
    (tmp_path / "comfy_api" / "latest").mkdir(parents=True)
    (tmp_path / "comfy_api" / "__init__.py").touch()
    (tmp_path / "comfy_api" / "latest" / "__init__.py").write_text(f"{slip}\n")

    imported = import_host(tmp_path)

    assert imported.returncode != 0
    assert "no_such_module" in imported.stderr
