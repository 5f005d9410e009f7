"""`zoetrope queue` and `zoetrope doctor` against a real ComfyUI, with a wire between them that can be cut."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoetrope.headless import doctor
from zoetrope.headless.queue import QueueError, QueueResult, queue_workflow
from zoetrope.headless.queue_watch import QueueProgress
from zoetrope.headless.server import Patience

from .samples import make_samples
from .server import ComfyServer

IMPATIENT = Patience(silence=1, lost=20, first_retry=0.1, last_retry=0.5)
TEST_NODES = """
import time

import comfy.utils
from comfy_execution.graph_utils import ExecutionBlocker


class Steps:
    INPUT_TYPES = classmethod(lambda cls: {"required": {
        "steps": ("INT", {"default": 5, "min": 1, "max": 1000}), "seconds": ("FLOAT", {"default": 0.05}),
        "image": ("IMAGE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "run", "test"

    @classmethod
    def IS_CHANGED(cls, **inputs):
        return float("nan")

    def run(self, steps, seconds, image):
        bar = comfy.utils.ProgressBar(steps)
        for _ in range(steps):
            time.sleep(seconds)
            bar.update(1)
        return (image,)


class Fail:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"image": ("IMAGE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "run", "test"

    def run(self, image):
        raise KeyError("no room")


class Block(Fail):
    def run(self, image):
        return (ExecutionBlocker("choose a model"),)


NODE_CLASS_MAPPINGS = {"TestSteps": Steps, "TestFail": Fail, "TestBlock": Block}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A ComfyUI of our own, with nodes that take their time, fail and block."""
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        pytest.skip("COMFYUI_PATH is not set: it names the ComfyUI checkout to test against")
    base = tmp_path_factory.mktemp("queue")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "queue_test_nodes.py").write_text(TEST_NODES)
    with ComfyServer(Path(checkout), os.environ.get("COMFYUI_PYTHON", sys.executable), base) as running:
        yield running


class Wire:
    """Carries bytes between the client and a server, until it is cut; then perhaps to another server."""

    def __init__(self, server: ComfyServer) -> None:
        self._port = port_of(server)
        self._writers: set[asyncio.StreamWriter] = set()
        self._refuses = False

    def __enter__(self) -> Wire:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def cut(self, seconds: float, then_to: ComfyServer | None = None) -> None:
        """Drop every connection, refuse new ones for a while, and lead on to another server perhaps."""
        self._refuses = True
        self._loop.call_soon_threadsafe(self._drop)
        time.sleep(seconds)
        self._port = self._port if then_to is None else port_of(then_to)
        self._refuses = False

    def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        listener = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stop.wait()
        listener.close()
        self._drop()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        self._writers -= {writer, far_writer}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def port_of(server: ComfyServer) -> int:
    return server._port


def address_of(server: ComfyServer) -> str:
    return f"127.0.0.1:{port_of(server)}"


def node(kind: str, title: str | None = None, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs} | ({"_meta": {"title": title}} if title else {})


EMPTY = node("EmptyImage", width=16, height=16, batch_size=2, color=0xFF8000)


def saving(*nodes: dict[str, Any], prefix: str = "queued/picture") -> dict[str, Any]:
    """An orange picture through `nodes`, saved."""
    workflow: dict[str, Any] = {"1": EMPTY}
    for each in nodes:
        workflow[str(len(workflow) + 1)] = each | {"inputs": each["inputs"] | {"image": [str(len(workflow)), 0]}}
    return workflow | {"9": node("SaveImage", images=[str(len(workflow)), 0], filename_prefix=prefix)}


def slow(steps: int, seconds: float = 0.05) -> dict[str, Any]:
    return saving(node("TestSteps", "Slow one", steps=steps, seconds=seconds))


def run(address: str, workflow: Any, tmp_path: Path, **options: Any) -> QueueResult:
    return queue_workflow(workflow, address, **{"output": tmp_path / "out", "patience": IMPATIENT} | options)


def first_pixel(result: QueueResult) -> list[int]:
    with Image.open(result.files[0]) as picture:
        return np.asarray(picture)[0, 0].tolist()


def is_idle(server: ComfyServer) -> bool:
    queue = server.get("/queue")
    return not queue["queue_running"] and not queue["queue_pending"]


def test_pictures_are_made_there_and_fetched(server, tmp_path):
    steps: list[QueueProgress] = []

    result = run(address_of(server), slow(4, 0.01), tmp_path, on_progress=steps.append)

    assert [path.parent for path in result.files] == [tmp_path / "out" / "queued"] * 2
    assert first_pixel(result) == [255, 128, 0]
    assert [(news.done, news.total) for news in steps if news.title == "Slow one"][-1] == (4, 4)


def test_a_second_time_everything_is_cached_and_still_fetched(server, tmp_path):
    workflow = saving(prefix="queued/again")

    first, second = (run(address_of(server), workflow, tmp_path / str(index)) for index in range(2))

    assert [path.name for path in first.files] == [path.name for path in second.files]


@pytest.mark.parametrize("name", ["plain.png", "sub folder/d\u00f6g \u732b 100%25 'x'.png"])
def test_pictures_that_the_workflow_loads_are_sent(server, tmp_path, name):
    folder = tmp_path / "in"
    (folder / name).parent.mkdir(parents=True)
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / name)
    workflow = {"1": node("LoadImage", image=name), "2": node("SaveImage", images=["1", 0], filename_prefix="sent")}

    result = run(address_of(server), workflow, tmp_path, input=folder)

    assert first_pixel(result) == [1, 2, 3]
    assert (server.base / "input" / name).is_file()


def test_a_video_and_a_picture_of_another_content_but_the_same_name_are_sent(server, tmp_path):
    make_samples(tmp_path / "in")
    workflow = {
        "1": node("LoadVideo", file="clip.mp4"),
        "2": node("GetVideoComponents", video=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="frames"),
    }
    assert len(run(address_of(server), workflow, tmp_path, input=tmp_path / "in").files) == 30

    make_samples(tmp_path / "other")
    (tmp_path / "other" / "clip.mp4").write_bytes((tmp_path / "in" / "silent.mp4").read_bytes())
    messages: list[str] = []
    result = run(address_of(server), workflow, tmp_path, input=tmp_path / "other", on_message=messages.append)

    assert len(result.files) == 10
    assert messages == ["The server has another clip.mp4; ours is clip (1).mp4 there."]


def test_a_saved_graph_is_converted_by_the_servers_definitions(server, tmp_path):
    graph = {
        "nodes": [
            {"id": 1, "type": "EmptyImage", "mode": 0, "widgets_values": [8, 8, 1, 255], "inputs": [],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}]},
            {"id": 2, "type": "SaveImage", "mode": 0, "widgets_values": ["graph"],
             "inputs": [{"name": "images", "type": "IMAGE", "link": 1}], "outputs": []},
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "version": 0.4,
    }  # fmt: skip

    result = run(address_of(server), graph, tmp_path, overrides={"1.width": "24"})

    with Image.open(result.files[0]) as picture:
        assert picture.size == (24, 8)
        assert "workflow" not in picture.text  # it would open with a width of 8, which is not what was run

    as_it_is = run(address_of(server), graph, tmp_path)

    with Image.open(as_it_is.files[0]) as picture:
        assert picture.size == (8, 8)
        assert '"nodes"' in picture.text["workflow"]


def test_our_own_nodes_run_there_and_their_files_come_back(server, tmp_path):
    clip = {"scene": "shapes", "seconds": 0.5, "frames_per_second": 8.0, "width": 64, "height": 48, "seed": 1}
    gif = {"frames_per_second": 8.0, "filename_prefix": "zoetrope/queued", "colors": 64, "dither": "none", "loop": 0}
    workflow = {
        "1": node("ZoetropeToyWorldClip", **clip),
        "2": node("GetVideoComponents", video=["1", 0]),
        "3": node("ZoetropeSaveGif", images=["2", 0], **gif),
    }

    result = run(address_of(server), workflow, tmp_path)

    assert [path.suffix for path in result.files] == [".gif"]
    with Image.open(result.files[0]) as picture:
        assert picture.n_frames == 4


@pytest.mark.parametrize(
    "workflow, message",
    [
        (saving(node("TestFail", "Bad one")), "Node 2 (Bad one, TestFail) failed: KeyError: 'no room'"),
        (saving(node("TestBlock")), "Node 9 (Save Image, SaveImage) was kept from running: choose a model"),
    ],
)
def test_a_node_that_fails_or_blocks_is_one_sentence(server, tmp_path, workflow, message):
    with pytest.raises(QueueError) as error:
        run(address_of(server), workflow, tmp_path)

    assert str(error.value) == message


@pytest.mark.parametrize(
    "workflow, message",
    [
        (slow(5000), "Node 2 (Slow one, TestSteps): steps is 5000, more than the most allowed, 1000."),
        ({"1": node("Nothing"), "2": EMPTY}, "Node 1 (Nothing) has a type that the server does not know."),
        ({"1": EMPTY}, "The workflow has no node that saves or shows anything"),
        (
            {"1": EMPTY, "2": node("SaveImage", images=["1", 0])},
            'the input "filename_prefix" is missing. Link it, or give it a value.',
        ),
        (
            {"1": node("SaveAudio", audio=["2", 0], filename_prefix="x"), "2": EMPTY},
            "audio takes AUDIO, but the node linked to it gives IMAGE.",
        ),
    ],
)
def test_a_workflow_that_the_server_refuses_is_told_by_node_and_input(server, tmp_path, workflow, message):
    with pytest.raises(ValueError) as error:
        run(address_of(server), workflow, tmp_path)

    assert message in str(error.value)


def test_a_workflow_of_which_only_a_part_is_valid_is_not_run(server, tmp_path):
    workflow = slow(100, 0.1) | {"5": node("SaveImage", images=["1", 0])}

    with pytest.raises(ValueError, match='Node 5.*"filename_prefix" is missing'):
        run(address_of(server), workflow, tmp_path)

    assert is_idle(server)


def test_ctrl_c_interrupts_the_running_prompt(server, tmp_path):
    def press(news: QueueProgress) -> None:
        if news.title == "Slow one" and news.done >= 2:
            raise KeyboardInterrupt

    messages: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(address_of(server), slow(1000), tmp_path, on_progress=press, on_message=messages.append)

    assert messages == ["The prompt was cancelled on the server."]
    assert is_idle(server)


def test_ctrl_c_takes_a_waiting_prompt_away_and_leaves_the_running_one(server, tmp_path):
    running = server.post("/prompt", {"prompt": slow(60)})["prompt_id"]
    messages: list[str] = []

    def press(text: str) -> None:
        messages.append(text)
        if text.startswith("Waiting"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(address_of(server), slow(5), tmp_path, on_message=press)

    queue = server.get("/queue")
    assert [item[1] for item in queue["queue_running"]] == [running]
    assert queue["queue_pending"] == []
    assert messages == ["Waiting in the queue: 1 other prompt first.", "The prompt was cancelled on the server."]
    while not is_idle(server):
        time.sleep(0.1)
    assert server.get(f"/history/{running}")[running]["status"]["status_str"] == "success"


@pytest.mark.skipif(sys.platform == "win32", reason="a test cannot press Ctrl-C for another process on Windows")
def test_ctrl_c_ends_the_command_with_130(server, tmp_path):
    (tmp_path / "slow.json").write_text(json.dumps(slow(1000)))
    command = [sys.executable, "-m", "zoetrope", "queue", "slow.json", "--server", address_of(server)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while is_idle(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=60)

    assert process.returncode == 130, shown
    assert shown.endswith("The prompt was cancelled on the server.\n")
    assert is_idle(server)


def test_a_connection_that_is_cut_is_opened_again_and_the_prompt_goes_on(server, tmp_path):
    messages: list[str] = []
    after: list[float] = []
    with Wire(server) as wire:
        cutter = threading.Thread(target=wire.cut, args=(1.0,))

        def hear(news: QueueProgress) -> None:
            if cutter.ident is None and news.title == "Slow one" and news.done >= 3:
                cutter.start()
            elif cutter.ident is not None and not cutter.is_alive():
                after.append(news.done)

        result = run(wire.address, slow(60), tmp_path, on_progress=hear, on_message=messages.append)
        cutter.join()

    assert len(result.files) == 2
    assert messages[0].startswith("The connection was lost: ")
    assert messages[1] == "The connection is back, and the prompt is still there."
    assert any(3 < done < 60 for done in after), "no step was heard after the cut"


def test_a_prompt_that_ended_while_the_connection_was_cut_is_found(server, tmp_path):
    with Wire(server) as wire:
        cutter = threading.Thread(target=wire.cut, args=(3.0,))

        def hear(news: QueueProgress) -> None:
            if cutter.ident is None and news.title == "Slow one" and news.done >= 3:
                cutter.start()

        result = run(wire.address, slow(20), tmp_path, on_progress=hear)
        cutter.join()

    assert len(result.files) == 2


def test_a_server_that_came_back_without_the_prompt_is_told(server, comfyui, tmp_path):
    with Wire(server) as wire:
        cutter = threading.Thread(target=wire.cut, args=(0.5, comfyui))

        def hear(news: QueueProgress) -> None:
            if cutter.ident is None and news.title == "Slow one" and news.done >= 3:
                cutter.start()

        with pytest.raises(ValueError, match="no longer knows the prompt"):
            run(wire.address, slow(60), tmp_path, on_progress=hear)
        cutter.join()
    while not is_idle(server):
        time.sleep(0.1)


def test_the_doctor_finds_all_our_nodes_there(server):
    findings = {finding.name: finding for finding in doctor.examine(server=address_of(server))}

    assert findings["our nodes"].found.startswith("all ")
    assert findings["address"].found == f"http://{address_of(server)}"
