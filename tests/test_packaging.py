"""What pyproject.toml says is what the pack is."""

import ast
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, SETUPTOOLS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
IMPORTED_AS = {"opencv-python-headless": "cv2", "Pillow": "PIL", "PyYAML": "yaml"}
WHAT_COMFYUI_BRINGS = {"comfy", "comfy_api", "comfy_execution", "folder_paths"}


def tracked(*patterns: str) -> list[str]:
    """The files of the repository, those not committed yet included, that match one of these git patterns."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    found = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("this is no git checkout, so it cannot be told which files belong to the pack")
    return [name for name in found.stdout.splitlines() if (ROOT / name).exists()]


def name_of(requirement: str) -> str:
    return re.split(r"[\[><=!~; ]", requirement)[0]


def test_every_package_is_listed():
    packages = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/__init__.py")}
    ours = {path for path in packages if path.parts[0] not in {"tests", "build", ".venv"}}

    assert sorted(SETUPTOOLS["packages"]) == sorted(
        ["zoetrope", *(".".join(["zoetrope", *path.parts]) for path in ours)]
    )
    assert SETUPTOOLS["package-dir"] == {"zoetrope": "."}


def test_everything_that_users_open_is_packed():
    data = SETUPTOOLS["package-data"]["zoetrope"]

    left_out = [
        name
        for name in tracked("workflows", "web", "models/builtin", "locales")
        if not name.endswith(".py") and not any(fnmatch.fnmatch(name, pattern) for pattern in data)
    ]

    assert not left_out, "name them in [tool.setuptools.package-data]"


def test_requirements_txt_says_what_pyproject_says():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == PROJECT["dependencies"]


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_a_dependency_has_a_lower_bound_and_no_other(requirement):
    """What a pack pins or forbids, another one needs."""
    assert re.fullmatch(r"[A-Za-z0-9._-]+>=\d+(\.\d+)*", requirement)


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_extras_forbid_nothing_either(extra):
    for requirement in PROJECT["optional-dependencies"][extra]:
        assert not re.search(r"==|~=|!=|<(?!.*python_version)", requirement.partition(";")[0]), requirement


def libraries_imported() -> set[str]:
    tops: set[str] = set()
    for name in tracked("*.py"):
        if not name.startswith(("tests/", "benchmarks/", ".ci/")):
            for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    tops |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    tops.add(str(node.module).partition(".")[0])
    return tops - set(sys.stdlib_module_names) - WHAT_COMFYUI_BRINGS


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    extras = PROJECT["optional-dependencies"]
    # What tests and developers need is theirs; every other extra is for something that the pack can do with it.
    optional = [text for extra in extras.keys() - {"test", "dev"} for text in extras[extra]]
    declared = {IMPORTED_AS.get(name_of(text), name_of(text)) for text in [*PROJECT["dependencies"], *optional]}

    assert libraries_imported() == declared


def test_the_command_is_where_pyproject_says():
    module, _, function = PROJECT["scripts"]["zoetrope"].partition(":")
    path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")

    defined = [
        node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    ]

    assert function in defined


def test_the_registry_finds_what_it_asks_for():
    comfy = PYPROJECT["tool"]["comfy"]

    assert comfy["DisplayName"] == "Zoetrope"
    assert comfy["requires-comfyui"] == ">=0.20.0"
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert any(line.startswith("Operating System :: ") for line in PROJECT["classifiers"])


def test_the_changelog_has_a_place_for_what_comes_next():
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_source_is_plain():
    """ASCII, so that a system whose encoding is not UTF-8 reads it all the same; tests may try other letters."""
    texts = {name: (ROOT / name).read_bytes() for name in tracked("*.py", "*.toml", "*.txt", ".ci/run")}

    assert len(texts) > 100
    assert not [name for name, text in texts.items() if not text.isascii() and not name.startswith("tests/")]
    assert not [name for name, text in texts.items() if b"\r" in text]


def test_names_of_files_are_legal_everywhere():
    unlucky = [name for name in tracked() if re.search(r'[<>:"\\|?*]|[ .]$|(^|/)(con|prn|aux|nul)(\.|/|$)', name, re.I)]

    assert not unlucky


def test_no_file_is_too_large_to_clone_gladly():
    weights = ("models/builtin/", "tests/golden/svd/")  # random numbers cannot be packed, nor made again
    sizes = {name: (ROOT / name).stat().st_size for name in tracked()}

    assert not [name for name, size in sizes.items() if size > 2**20 and not name.startswith(weights)]
    assert sum(size for name, size in sizes.items() if name.startswith("tests/golden/svd/")) < 24 * 2**20
