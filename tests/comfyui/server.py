"""A ComfyUI server to test against: the checkout at COMFYUI_PATH, with this pack in a folder of its own."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PACK = Path(__file__).parents[2]
FOLDER_NAME = "ComfyUI-Zoetrope"
SECONDS_TO_START = 180
SECONDS_TO_STOP = 20


class ServerFailed(AssertionError):
    """The server did not start, or could not do what was asked; says so with the end of its log."""


@dataclass(frozen=True)
class Ran:
    """What a prompt came to: what its nodes show, the messages of those that failed, and which had nothing to do."""

    outputs: dict[str, dict[str, Any]]
    errors: list[str]
    cached: set[str]


# No test reaches the network, the checkout is left as clean as it was, and on a busy machine torch with one thread is
# many times as fast as with two that wait for each other.
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


class ComfyServer:
    """Starts ComfyUI on a free port, its input, output, models and nodes all below `base`; use it as a context."""

    def __init__(self, checkout: Path, python: str, base: Path):
        self.base = base
        self._checkout = checkout
        self._python = python
        self._log = base / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> "ComfyServer":
        for name in ("input", "output", "temp", "models", "user", "custom_nodes"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        (self.base / "custom_nodes" / FOLDER_NAME).symlink_to(PACK, target_is_directory=True)
        self._port = _free_port()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._python, "main.py", *self._options()],
                cwd=self._checkout,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | ENVIRONMENT,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _options(self) -> list[str]:
        database = f"sqlite:///{self.base / 'user' / 'comfyui.db'}"
        return [
            *("--cpu", "--disable-auto-launch", "--disable-api-nodes", "--listen", "127.0.0.1"),
            *("--port", str(self._port), "--base-directory", str(self.base), "--database-url", database),
        ]

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise ServerFailed(f"ComfyUI ended with {self._process.returncode}.\n{self.log()}")
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.2)
        raise ServerFailed(f"ComfyUI did not answer within {SECONDS_TO_START} s.\n{self.log()}")

    def _stop(self) -> None:
        if self._process is None:
            return
        for way in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                return
            self._process.send_signal(way)
            try:
                self._process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                continue

    @property
    def version(self) -> tuple[int, ...]:
        text = self.get("/system_stats")["system"]["comfyui_version"]
        return tuple(int(part) for part in text.split(".") if part.isdigit())

    def log(self) -> str:
        """The end of what the server said."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-6000:]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self._url(path), timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, content: Any) -> Any:
        request = urllib.request.Request(
            self._url(path), json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                said = answer.read()
                return json.loads(said) if said else None  # some routes only do as they are told
        except urllib.error.HTTPError as error:
            raise ServerFailed(f"ComfyUI refused {path}: {error.read().decode(errors='replace')}") from error

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{urllib.parse.quote(path)}"

    def run(self, prompt: dict[str, Any], seconds: float = 120) -> Ran:
        """Queue a prompt and wait for it."""
        queued = self.post("/prompt", {"prompt": prompt})
        if queued.get("node_errors"):
            raise ServerFailed(f"ComfyUI refused a part of the prompt: {json.dumps(queued['node_errors'])}")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if entry := self.get(f"/history/{queued['prompt_id']}").get(queued["prompt_id"]):
                messages = entry["status"]["messages"]
                return Ran(
                    entry["outputs"],
                    errors=[told["exception_message"] for kind, told in messages if kind == "execution_error"],
                    cached={node for kind, told in messages if kind == "execution_cached" for node in told["nodes"]},
                )
            time.sleep(0.05)
        raise ServerFailed(f"The prompt did not end within {seconds} s.\n{self.log()}")

    def path(self, shown: dict[str, str]) -> Path:
        """Where a file lies that a node shows."""
        return self.base / shown["type"] / shown["subfolder"] / shown["filename"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
