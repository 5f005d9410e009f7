"""What all tests share: quiet machines, golden files, properties that take no time."""

import gc
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from .random_checkpoints import write_tiny

GOLDEN = Path(__file__).parent / "golden"

# A shell ignores Ctrl-C for what it starts in the background, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Full rounds of the collector go through all that torch and its like have imported: they took a tenth of the time.
gc.set_threshold(*gc.get_threshold()[:2], 100)
torch.set_num_threads(1)  # tests are many and small; threads would only wait for each other
# A busy machine is slow, which is no failure; and examples are drawn anew only by who asks for it.
settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True, database=None)
# Neither a fixture that does not change between examples nor a slow first import makes a property less true.
settings.register_profile(
    "search",
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden with what is there now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, Any], None]:
    """Hold a value against tests/golden/NAME.json, or write it there when asked to."""

    def compare(name: str, value: Any) -> None:
        path = GOLDEN / f"{name}.json"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8", newline="\n")
        assert path.is_file(), (
            f"{path} is missing; run pytest --update-golden once, and say in the commit why it is new"
        )
        assert value == json.loads(path.read_text(encoding="utf-8"))

    return compare


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the file of a tiny checkpoint: svd, svd_deep, svd_image_decoder, sv3d_u or sv3d_p.

    `load_svd` needs nothing but its path: the widths of the attention heads are in its metadata.
    """
    folder = tmp_path_factory.mktemp("tiny_checkpoints")

    def written(kind: str) -> Path:
        path = folder / f"{kind}.safetensors"
        return path if path.is_file() else write_tiny(kind, path)

    return written
