"""Imports point down, only host knows ComfyUI, and nothing of anybody else's is changed."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [  # each imports only from lines below its own
    {"headless"},
    {"nodes"},
    {"toyworld"},
    {"trainers"},
    {"pipelines", "evaluation"},
    {"models", "clips"},
    {"media", "diffusion"},
    {"host"},
]
DEPTH = {package: depth for depth, packages in enumerate(LAYERS) for package in packages}
COMFYUI = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "execution", "server", "nodes"}
QUICK_TO_IMPORT = {"torch", "numpy", "av", "PIL", "psutil", "einops", "safetensors"}  # ComfyUI has them already
# Modules that derive a class from one of a slow library, which no other module may import at once.
SLOW_TO_IMPORT = {"models/svd_unet.py"}
SAYS_NOTHING = {"utils", "util", "helpers", "common", "misc", "stuff"}
OTHERS_NAMES = {"datasets", "diffusers", "transformers", "tests", "typing", "types", "queue", "select", "site"}

MODULES = [ROOT / "__init__.py", ROOT / "__main__.py"]
MODULES += sorted(path for package in DEPTH for path in (ROOT / package).rglob("*.py"))


def every_module(check: Callable[[Path], None]) -> Callable[[], None]:
    """One test that checks all modules: as a test for each, most of their time would be pytest's own."""

    def test() -> None:
        wrong = []
        for path in MODULES:
            try:
                check(path)
            except AssertionError as error:
                wrong.append(f"{path.relative_to(ROOT).as_posix()}: {error}")
        assert not wrong, "\n".join(wrong)

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    return test


def package_of(path: Path) -> str:
    """The package at the top of the tree that a module belongs to; "" for the tree's own two modules."""
    return path.relative_to(ROOT).parts[0] if path.parent != ROOT else ""


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["zoetrope", *(part for part in parts if part != "__init__")])


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(dots, dotted name) of each import, its names included: (2, "host.io") for `from ..host import io`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, ".".join(filter(None, [node.module, alias.name]))) for alias in node.names)


def ours_imported_by(path: Path) -> Iterator[str]:
    """The packages at the top of the tree that a module imports from."""
    folder = path.relative_to(ROOT).parent.parts
    for dots, name in imports_in(tree_of(path)):
        if dots:
            assert dots <= len(folder) + 1, f"{path} imports from outside the pack: {'.' * dots}{name}"
            yield [*folder[: len(folder) - dots + 1], *name.split(".")][0]


def libraries_imported_by(tree: ast.AST) -> set[str]:
    tops = {name.partition(".")[0] for dots, name in imports_in(tree) if not dots}
    return tops - set(sys.stdlib_module_names) - {"zoetrope"}


def imported_at_once(path: Path) -> ast.Module:
    """The module without what runs later or never: bodies of functions, and blocks for type checkers."""

    class Later(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            """Left out."""

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            """Left out."""

        def visit_If(self, node: ast.If) -> ast.AST:
            only_for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            return ast.Module(node.orelse, []) if only_for_types else self.generic_visit(node)

    return Later().visit(tree_of(path))


def modules_needed_by(path: Path) -> Iterator[str]:
    """Dotted names of what must have been imported before this module has; the packages around it are anyway."""
    known = {dotted(each) for each in MODULES}
    around = {".".join(dotted(path).split(".")[:depth]) for depth in range(1, len(dotted(path).split(".")) + 1)}
    folder = ["zoetrope", *path.relative_to(ROOT).parent.parts]
    for dots, name in imports_in(imported_at_once(path)):
        if dots:
            parts = [*folder[: len(folder) - dots + 1], *name.split(".")]
            places = {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
            yield from (places & known) - around


def test_every_package_has_a_layer():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}

    assert packages == set(DEPTH), "give the package a line in LAYERS, or the folder no __init__.py"


@every_module
def test_imports_point_down(path):
    here = package_of(path)
    for package in ours_imported_by(path):
        if not here or package == here:
            continue
        assert package in DEPTH, f"{dotted(path)} imports {package}, which is none of our packages"
        assert DEPTH[package] > DEPTH[here], (
            f"{dotted(path)} imports {package}, which does not lie below {here}. "
            "Let a caller above both join them, or move what they share down."
        )


@every_module
def test_imports_inside_the_pack_are_relative(path):
    """ComfyUI loads the folder under a name that it makes from the path."""
    absolute = [name for dots, name in imports_in(tree_of(path)) if not dots and name.split(".")[0] == "zoetrope"]

    assert not absolute


@every_module
def test_only_host_imports_comfyui(path):
    if package_of(path) != "host":
        assert not libraries_imported_by(tree_of(path)) & COMFYUI


@every_module
def test_libraries_that_are_slow_to_import_are_imported_where_they_are_used(path):
    if path.relative_to(ROOT).as_posix() in SLOW_TO_IMPORT:
        return  # it derives from a class of a slow library, so it is itself imported where it is used
    at_once = libraries_imported_by(imported_at_once(path)) - (COMFYUI if package_of(path) == "host" else set())

    assert at_once <= QUICK_TO_IMPORT, f"move {at_once - QUICK_TO_IMPORT} into the functions that need them"


@every_module
def test_modules_that_are_slow_to_import_are_imported_where_they_are_used(path):
    if path.relative_to(ROOT).as_posix() in SLOW_TO_IMPORT:
        return
    slow = {Path(name).stem for name in SLOW_TO_IMPORT}
    at_once = {part for dots, name in imports_in(imported_at_once(path)) if dots for part in name.split(".")}

    assert not at_once & slow, "import it in the functions that need it"


def bound_by_imports(tree: ast.AST) -> set[str]:
    """The names that imports give to other people's modules, and to what is in them."""
    return {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def root_name(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def changed_in(tree: ast.AST) -> Iterator[str]:
    """What a module assigns to, deletes or sets that is an attribute or item of something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield root_name(node) or ""
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"setattr", "delattr"}:
            yield root_name(node.args[0]) or ""


@every_module
def test_nothing_of_anybody_elses_is_assigned_to(path):
    tree = tree_of(path)
    # The command is its own process, so the path on which it finds modules is its own too.
    own = {"sys"} if path == ROOT / "headless" / "command.py" else set()

    assert not bound_by_imports(tree) & set(changed_in(tree)) - own, "what is imported belongs to others"


def test_the_check_for_assignments_notices_them():
    patches = [
        "import comfy.samplers\ncomfy.samplers.sample = ours",
        "from comfy import ops as layers\nlayers.table['x'] = 1",
        "import torch\nsetattr(torch.backends, 'flag', True)",
        "import torch\ndel torch.cuda",
        "import torch\ntorch.backends.cudnn.benchmark |= True",
    ]

    for patch in patches:
        tree = ast.parse(patch)
        assert bound_by_imports(tree) & set(changed_in(tree)), patch


@every_module
def test_a_module_is_named_for_what_it_holds_and_like_nobody_elses(path):
    assert path.stem not in SAYS_NOTHING
    assert package_of(path) not in OTHERS_NAMES


def test_every_module_imports():
    script = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"

    run = subprocess.run([sys.executable, "-c", script, *map(dotted, MODULES)], capture_output=True, text=True)

    assert run.returncode == 0, run.stdout + run.stderr


def test_no_module_needs_another_that_needs_it():
    """So it does not matter which is imported first: each imports alone, as all do together."""
    order = TopologicalSorter({dotted(path): set(modules_needed_by(path)) for path in MODULES})

    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(f"{' needs '.join(reversed(error.args[1]))}")


def test_the_check_for_circles_sees_what_is_imported_at_once():
    needed = set(modules_needed_by(ROOT / "nodes" / "frames.py"))

    assert {"zoetrope.host", "zoetrope.media.extraction", "zoetrope.nodes.watching"} <= needed, needed
    assert "zoetrope.nodes" not in needed  # it is there before any module in it


def test_what_is_wrong_in_one_module_of_all_is_told_with_its_name():
    def check(path: Path) -> None:
        assert path.stem != "palettes", "this name is taken"

    every_module(lambda path: None)()
    with pytest.raises(AssertionError, match=r"^media/palettes\.py: this name is taken"):
        every_module(check)()
