"""The pack changes nothing that belongs to the process, and does nothing that a registry of packs forbids."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
MODULES = [ROOT / "__init__.py", ROOT / "__main__.py"]
MODULES += sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "makes code of text",
    "__import__": "imports what a text says",
    "os.system": "runs another program",
    "os.popen": "runs another program",
    "os.putenv": "changes the environment",
    "os.unsetenv": "changes the environment",
    "os.chdir": "changes the folder of the whole process",
    "os.environ.update": "changes the environment",
    "os.environ.setdefault": "changes the environment",
    "os.environ.pop": "changes the environment",
    "sys.path.insert": "changes what others import",
    "sys.path.append": "changes what others import",
    "logging.basicConfig": "sets up logging for everybody",
    "logging.disable": "sets up logging for everybody",
    "warnings.simplefilter": "silences other people's warnings",
    "warnings.filterwarnings": "silences other people's warnings",
    "random.seed": "changes everybody's random numbers",
    "np.random.seed": "changes everybody's random numbers",
    "torch.manual_seed": "changes everybody's random numbers",
    "torch.cuda.manual_seed": "changes everybody's random numbers",
    "torch.set_default_dtype": "changes every tensor made from now on",
    "torch.set_default_device": "changes every tensor made from now on",
    "torch.set_grad_enabled": "changes gradients for everybody",
    "torch.set_num_threads": "changes the threads of everybody",
    "torch.use_deterministic_algorithms": "changes how everybody computes",
    "torch.set_float32_matmul_precision": "changes how everybody computes",
}
LIBRARIES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "subprocess", "multiprocessing", "pip", "ensurepip"}
ENVIRONMENT = {"os.environ", "environ"}


def dotted(node: ast.AST) -> str:
    """`os.environ.update` as it stands in the source; "" for what is no plain name."""
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def offences(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in CALLS:
                yield f"line {node.lineno}: {called} {CALLS[called]}"
            if called == "torch.load" and not any(
                key.arg == "weights_only" and getattr(key.value, "value", None) is True for key in node.keywords
            ):
                yield f"line {node.lineno}: torch.load without weights_only=True runs what a file says"
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            if dotted(node.value) in ENVIRONMENT:
                yield f"line {node.lineno}: the environment is changed"
        elif isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            yield from (f"line {node.lineno}: {name} is imported" for name in names & LIBRARIES)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            if str(node.module).partition(".")[0] in LIBRARIES:
                yield f"line {node.lineno}: {node.module} is imported"
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"line {node.lineno}: a bare except swallows the user's wish to cancel"


def test_no_module_does_what_is_forbidden():
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
    wrong = {name: found for name, tree in trees.items() if (found := list(offences(tree)))}

    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec(text)",
        "import pickle",
        "from subprocess import run",
        "import os\nos.environ['A'] = 'b'",
        "import os\ndel os.environ['A']",
        "os.environ.setdefault('A', 'b')",
        "import logging\nlogging.basicConfig()",
        "torch.manual_seed(0)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "try:\n    work()\nexcept:\n    pass",
    ],
)
def test_the_check_notices(source):
    assert list(offences(ast.parse(source)))


@pytest.mark.parametrize("source", ["re.compile('a')", "torch.load(path, weights_only=True)", "os.environ['A']"])
def test_the_check_lets_pass(source):
    assert not list(offences(ast.parse(source)))


STATE_BEFORE_AND_AFTER = """
import importlib, json, locale, logging, os, random, signal, sys, threading, warnings
import numpy, torch

def state():
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "import path": list(sys.path),
        "locale": locale.setlocale(locale.LC_ALL),
        "log": [logging.root.level, [str(handler) for handler in logging.root.handlers], logging.root.manager.disable],
        "warnings": [str(entry) for entry in warnings.filters],
        "signals": [str(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM)],
        "excepthook": str(sys.excepthook),
        "recursion": sys.getrecursionlimit(),
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()),
        "device": str(torch.get_default_device()),
        "gradients": [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()],
        "determinism": torch.are_deterministic_algorithms_enabled(),
        "precision": [torch.get_float32_matmul_precision(), cuda.matmul.allow_tf32, cudnn.allow_tf32],
        "cudnn": [cudnn.enabled, cudnn.benchmark, cudnn.deterministic],
        "random numbers": [
            str(random.getstate()),
            str(numpy.random.get_state()),
            torch.random.get_rng_state().tolist(),
        ],
    }

from pathlib import Path
import av, PIL.Image  # whatever these do when they are imported, ComfyUI has let them do before
from diffusers import UNetSpatioTemporalConditionModel  # or is theirs to answer for
before = state()
for module in sys.argv[1:]:
    importlib.import_module(module)
from zoetrope.host import folders
from zoetrope.nodes.toyworld import ToyWorldClip
folders.set_folders(input=Path("in"), output=Path("out"), temp=Path("temp"))
with torch.inference_mode():
    ToyWorldClip.execute("shapes", 0.5, 12.0, 64, 64, 7)
after = state()
threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
print(json.dumps({
    "changed": {name: [before[name], after[name]] for name in before if before[name] != after[name]},
    "threads": threads,
    "written": sorted(str(path) for path in Path.cwd().rglob("*") if path.is_file()),
}))
"""


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    """What importing every module and running a node changes in a process."""
    names = [".".join(["zoetrope", *path.relative_to(ROOT).with_suffix("").parts]) for path in MODULES[1:]]
    modules = [name.removesuffix(".__init__") for name in names]
    folder = tmp_path_factory.mktemp("process")
    run = subprocess.run(
        [sys.executable, "-c", STATE_BEFORE_AND_AFTER, *modules], capture_output=True, text=True, cwd=folder
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), folder


def test_the_process_is_left_as_it_was(one_run):
    told, _ = one_run

    assert told["changed"] == {}
    assert told["threads"] == []


def test_files_are_written_to_the_folders_of_the_host_only(one_run):
    told, folder = one_run

    assert all(Path(name).is_relative_to(folder / "temp") for name in told["written"]), told["written"]
    assert told["written"], "the node should have made its preview"
