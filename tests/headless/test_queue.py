"""`zoetrope queue` on a server that does as it is told."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from zoetrope.headless import queue
from zoetrope.headless.queue import QueueError, QueueResult, queue_workflow
from zoetrope.headless.queue_watch import QueueProgress
from zoetrope.headless.server import Patience

from .fake_server import FakeComfy

QUICK = Patience(connecting=2, answering=5, silence=0.5, lost=3, cancelling=2, first_retry=0.01, last_retry=0.1)


@pytest.fixture
def comfy():
    with FakeComfy() as server:
        yield server


@pytest.fixture
def older_comfy():
    """Like 0.20 and 0.24: without a route to cancel a job."""
    with FakeComfy(can_cancel_jobs=False) as server:
        yield server


class Told:
    """What the callbacks were told."""

    def __init__(self) -> None:
        self.progress: list[QueueProgress] = []
        self.messages: list[str] = []

    def steps(self, title: str) -> list[tuple[float, float]]:
        return [(news.done, news.total) for news in self.progress if news.title == title]


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def node(kind: str, title: str | None = None, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs} | ({"_meta": {"title": title}} if title else {})


def sampled(steps: int = 4, prefix: str = "clips/waltz") -> dict[str, Any]:
    return {"3": node("Steps", "Sampler", steps=steps), "7": node("Save", images=["3", 0], filename_prefix=prefix)}


def run(comfy: FakeComfy, workflow: Any, tmp_path: Path, told: Told | None = None, **options: Any) -> QueueResult:
    told = told or Told()
    options = {"output": tmp_path / "out", "patience": QUICK} | options
    options |= {"on_progress": told.progress.append, "on_message": told.messages.append}
    return queue_workflow(workflow, comfy.url, **options)


def refusal(comfy: FakeComfy, workflow: Any, tmp_path: Path, **options: Any) -> str:
    with pytest.raises(ValueError) as error:
        run(comfy, workflow, tmp_path, **options)
    return str(error.value)


# From the workflow to the results


def test_a_workflow_is_run_and_its_results_are_fetched_into_their_subfolders(comfy, tmp_path):
    result = run(comfy, sampled(), tmp_path)

    assert result.files == [tmp_path / "out" / "clips" / "waltz_00001_.png"]
    assert result.files[0].read_bytes() == b"picture clips/waltz 1"
    assert names_in(tmp_path / "out" / "clips") == ["waltz_00001_.png"]
    assert result.outputs["7"]["images"][0]["subfolder"] == "clips"


def test_the_prompt_is_posted_with_an_id_and_titles_and_without_asking_for_previews(comfy, tmp_path):
    result = run(comfy, sampled(), tmp_path)

    body = comfy.posted[0]
    assert body["prompt_id"] == result.prompt_id
    assert body["prompt"]["7"]["_meta"] == {"title": "Save"}
    assert body["extra_data"] == {"preview_method": "none"}
    assert comfy.first_messages == [{"type": "feature_flags", "data": {"supports_preview_metadata": True}}]


def test_a_saved_graph_is_converted_by_the_servers_own_definitions_and_embedded(comfy, tmp_path):
    graph = {
        "nodes": [
            {"id": 1, "type": "Steps", "mode": 0, "widgets_values": [5], "title": "Draw",
             "inputs": [{"name": "image", "type": "IMAGE", "link": None}],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [9]}]},
            {"id": 2, "type": "Save", "mode": 0, "widgets_values": ["x"],
             "inputs": [{"name": "images", "type": "IMAGE", "link": 9}], "outputs": []},
        ],
        "links": [[9, 1, 0, 2, 0, "IMAGE"]],
        "version": 0.4,
    }  # fmt: skip
    told = Told()

    run(comfy, graph, tmp_path)
    run(comfy, graph, tmp_path, told, overrides={"Draw.steps": "6"})

    as_saved, changed = comfy.posted
    assert changed["prompt"]["1"]["inputs"] == {"steps": 6}
    assert changed["prompt"]["2"]["inputs"] == {"filename_prefix": "x", "images": ["1", 0]}
    assert as_saved["extra_data"]["extra_pnginfo"] == {"workflow": graph}
    assert "extra_pnginfo" not in changed["extra_data"]  # ComfyUI would open the graph, which lacks the change
    assert told.steps("Draw")[-1] == (6, 6)


def test_progress_is_told_by_title_and_step(comfy, tmp_path):
    told = Told()

    run(comfy, sampled(steps=3), tmp_path, told)

    assert told.steps("Sampler") == [(0, 1), (1, 3), (2, 3), (3, 3)]
    assert told.steps("Fetching results") == [(1, 1)]


def test_progress_is_told_by_servers_that_send_only_the_old_messages(tmp_path):
    with FakeComfy(sends_states=False) as comfy:
        told = Told()
        run(comfy, sampled(steps=3), tmp_path, told)

    assert told.steps("Sampler") == [(0, 1), (1, 3), (2, 3), (3, 3)]


def test_nodes_of_one_title_are_told_apart(comfy, tmp_path):
    told = Told()
    workflow = {**sampled(), "8": node("Steps", "Sampler", steps=2)}
    workflow["7"]["inputs"]["more"] = ["8", 0]

    run(comfy, workflow, tmp_path, told)

    assert {news.title for news in told.progress} >= {"Sampler (node 3)", "Sampler (node 8)"}


def test_cached_nodes_are_not_shown_as_work(comfy, tmp_path):
    comfy.cached = ["3"]
    told = Told()

    run(comfy, sampled(), tmp_path, told)

    assert told.steps("Sampler") == []


def test_waiting_behind_other_prompts_is_told(comfy, tmp_path):
    comfy.runs_prompts = False
    for number in range(2):
        comfy.do(lambda number=number: comfy.put(f"other {number}", sampled(1), {"client_id": "other"}, ["7"]))
    told = Told()

    def hear(text: str) -> None:
        told.messages.append(text)
        comfy.runs_prompts = True

    queue_workflow(sampled(), comfy.url, output=tmp_path, patience=QUICK, on_message=hear)

    assert told.messages[0] == "Waiting in the queue: 2 other prompts first."


def test_a_workflow_that_saves_nothing_says_so(comfy, tmp_path):
    comfy.saved = []
    told = Told()

    assert run(comfy, sampled(), tmp_path, told).files == []
    assert told.messages == ["The prompt is done; none of its nodes saved a file."]


def test_a_notebook_whose_loop_is_running_can_queue(comfy, tmp_path):
    async def cell() -> QueueResult:
        return run(comfy, sampled(), tmp_path)

    assert len(asyncio.run(cell()).files) == 1


# Results


def test_previews_are_fetched_only_where_asked_for(comfy, tmp_path):
    comfy.files["temp", "", "peek.png"] = b"peek"
    comfy.files["output", "", "clip.mp4"] = b"clip"
    comfy.saved = [
        {"filename": "peek.png", "subfolder": "", "type": "temp"},
        {"filename": "clip.mp4", "subfolder": "", "type": "output", "format": "video/mp4"},
        {"filename": "clip.mp4", "subfolder": "", "type": "output"},
        {"text": "no file"},
    ]
    comfy.saved_key = "gifs"

    assert [path.name for path in run(comfy, sampled(), tmp_path).files] == ["clip.mp4"]
    assert [path.name for path in run(comfy, sampled(), tmp_path, previews=True).files] == ["peek.png", "clip.mp4"]


def test_a_result_does_not_replace_a_file_of_the_same_name(comfy, tmp_path):
    mine = tmp_path / "out" / "clips" / "waltz_00001_.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    told = Told()

    result = run(comfy, sampled(), tmp_path, told)

    assert mine.read_bytes() == b"mine"
    assert [path.name for path in result.files] == ["waltz_00001_ (1).png"]
    assert told.messages == [f"{mine} is another file, so the result is waltz_00001_ (1).png."]


def test_a_result_that_is_here_already_is_not_kept_twice(comfy, tmp_path):
    comfy.files["output", "", "clip.mp4"] = b"clip"
    comfy.saved = [{"filename": "clip.mp4", "subfolder": "", "type": "output"}]

    first, second = (run(comfy, sampled(), tmp_path) for _ in range(2))

    assert first.files == second.files
    assert names_in(tmp_path / "out") == ["clip.mp4"]


@pytest.mark.parametrize(
    "entry",
    [
        {"filename": "../escaped.png"},
        {"filename": "escaped.png", "subfolder": "../.."},
        {"filename": "escaped.png", "subfolder": "/tmp"},
        {"filename": "escaped.png", "subfolder": "clips/../.."},
        {"filename": "escaped.png", "subfolder": "C:\\Windows"},
        {"filename": "/etc/cron.d/escaped"},
        {"filename": "..\\escaped.png"},
        {"filename": ".."},
    ],
)
def test_a_name_that_leads_out_of_the_output_folder_is_refused_and_the_rest_is_fetched(comfy, tmp_path, entry):
    bad = {"subfolder": "", "type": "output"} | entry
    comfy.files["output", bad["subfolder"], bad["filename"]] = b"escaped"
    comfy.files["output", "", "good.png"] = b"good"
    comfy.saved = [bad, {"filename": "good.png", "subfolder": "", "type": "output"}]

    with pytest.raises(QueueError, match="leads out of") as error:
        run(comfy, sampled(), tmp_path)

    assert [path.name for path in error.value.result.files] == ["good.png"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "out" / "good.png"]


def test_a_result_that_the_server_does_not_give_out_is_told(comfy, tmp_path):
    comfy.saved = [{"filename": "lost.png", "subfolder": "sub", "type": "output"}]

    assert "made output/sub/lost.png, but does not give it out (404" in refusal(comfy, sampled(), tmp_path)


def test_a_download_that_breaks_off_is_tried_again_and_leaves_no_half_file(comfy, tmp_path):
    tries = []

    async def break_off(request):
        from aiohttp import web

        tries.append(request.path)
        if len(tries) == 3:
            del comfy.answers["/view"]
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        request.transport.abort()
        return response

    comfy.answers["/view"] = break_off

    assert run(comfy, sampled(), tmp_path).files[0].read_bytes() == b"picture clips/waltz 1"
    assert len(tries) == 3
    assert names_in(tmp_path / "out" / "clips") == ["waltz_00001_.png"]


def test_an_output_folder_that_cannot_be_made_is_told(comfy, tmp_path):
    (tmp_path / "out").write_text("a file")

    message = refusal(comfy, sampled(), tmp_path)

    assert "clips/waltz_00001_.png could not be written below" in message
    assert "still on the server" in message


# Inputs


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub folder").mkdir(parents=True)
    (folder / "cat.png").write_bytes(b"cat")
    (folder / "sub folder" / "d\u00f6g \u732b 100%.png").write_bytes(b"dog")
    (folder / "clip.mp4").write_bytes(b"clip")
    (folder / "unused.png").write_bytes(b"unused")
    return folder


def loading(kind: str = "LoadImage", **inputs: Any) -> dict[str, Any]:
    return {"1": node(kind, **inputs), "2": node("Save", images=["1", 0], filename_prefix="x")}


def sent_files(comfy: FakeComfy) -> dict[tuple[str, str], bytes]:
    return {(subfolder, name): data for (kind, subfolder, name), data in comfy.files.items() if kind == "input"}


@pytest.mark.parametrize(
    "workflow, sent",
    [
        (loading(image="cat.png"), {("", "cat.png"): b"cat"}),
        (loading(image="cat.png [input]"), {("", "cat.png"): b"cat"}),
        (
            loading(image="sub folder/d\u00f6g \u732b 100%.png"),
            {("sub folder", "d\u00f6g \u732b 100%.png"): b"dog"},
        ),
        (loading("LoadVideo", file="clip.mp4"), {("", "clip.mp4"): b"clip"}),
        (loading("LoadAny", **{"source": "file", "source.audio": "clip.mp4"}), {("", "clip.mp4"): b"clip"}),
        (loading("LoadAny", **{"source": "none", "source.audio": "clip.mp4"}), {}),
        (loading("VHS_LoadVideo", video="clip.mp4"), {("", "clip.mp4"): b"clip"}),
    ],
)
def test_files_that_the_workflow_loads_are_sent_and_no_others(comfy, tmp_path, pictures, workflow, sent):
    run(comfy, workflow, tmp_path, input=pictures)

    assert sent_files(comfy) == sent


def test_a_large_file_shows_its_way(comfy, tmp_path, pictures):
    (pictures / "cat.png").write_bytes(bytes(900_000))
    told = Told()

    run(comfy, loading(image="cat.png"), tmp_path, told, input=pictures)

    assert told.steps("Sending files, MB")[-1] == (1, 1)


def test_a_file_is_renamed_where_the_server_has_another_of_that_name(comfy, tmp_path, pictures):
    comfy.files["input", "", "cat.png"] = b"another cat"
    told = Told()

    run(comfy, loading(image="cat.png"), tmp_path, told, input=pictures)

    assert comfy.posted[0]["prompt"]["1"]["inputs"]["image"] == "cat (1).png"
    assert comfy.files["input", "", "cat.png"] == b"another cat"
    assert told.messages == ["The server has another cat.png; ours is cat (1).png there."]


@pytest.mark.parametrize("name", ["there.png", "old.png", "deep/er.png", "made.png [output]", "peek.png [temp]"])
def test_a_file_that_the_server_has_need_not_be_here(comfy, tmp_path, name):
    comfy.files["input", "", "old.png"] = comfy.files["input", "deep", "er.png"] = b"old"
    comfy.answers["/prompt"] = accept_anything(comfy)

    run(comfy, loading(image=name), tmp_path)

    assert comfy.posted[0]["prompt"]["1"]["inputs"]["image"] == name


def accept_anything(comfy: FakeComfy) -> Any:
    async def answer(request):
        from aiohttp import web

        body = await request.json()
        comfy.posted.append(body)
        await comfy.put(body["prompt_id"], body["prompt"], {"client_id": body["client_id"]}, ["2"])
        return web.json_response({"prompt_id": body["prompt_id"], "number": 1, "node_errors": {}})

    return answer


def test_a_file_that_is_nowhere_is_told_before_anything_is_posted(comfy, tmp_path, pictures):
    message = refusal(comfy, loading(image="lost.png"), tmp_path, input=pictures)

    assert message.startswith("Node 1 (LoadImage): image is 'lost.png', which is neither in")
    assert comfy.posted == []


def test_an_input_folder_that_does_not_exist_is_told(comfy, tmp_path):
    message = refusal(comfy, loading(image="cat.png"), tmp_path, input=tmp_path / "nowhere")

    assert "nowhere does not exist" in message


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "sub/../../secret.png", "C:\\x.png", "link/x.png"])
def test_a_workflow_cannot_make_us_send_files_from_outside_the_input_folder(comfy, tmp_path, pictures, name):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").write_bytes(b"secret")
    (pictures / "link").symlink_to(tmp_path / "elsewhere")

    message = refusal(comfy, loading(image=name), tmp_path, input=pictures)

    assert "leads out of the input folder" in message
    assert sent_files(comfy) == {}


def test_models_are_not_taken_for_inputs(comfy, tmp_path, pictures):
    (pictures / "b.safetensors").write_bytes(b"model")

    message = refusal(comfy, loading("CheckpointLoader", ckpt_name="b.safetensors"), tmp_path, input=pictures)

    assert "ckpt_name is 'b.safetensors', which is not among the server's choices: 'a.safetensors'." in message
    assert sent_files(comfy) == {}


def test_a_file_larger_than_the_server_takes_is_told(comfy, tmp_path, pictures):
    (pictures / "cat.png").write_bytes(bytes(3 * 2**20))

    message = refusal(comfy, loading(image="cat.png"), tmp_path, input=pictures)

    assert "cat.png has 3 MB, more than" in message
    assert "--max-upload-size" in message


# What goes wrong


def test_a_nodes_error_is_one_sentence_and_earlier_results_are_fetched(comfy, tmp_path):
    workflow = {**sampled(), "8": node("Fail", "Bad one", message="no  room\nleft"), "9": node("Save", more=["8", 0])}
    workflow["9"]["inputs"]["filename_prefix"] = "y"

    with pytest.raises(QueueError) as error:
        run(comfy, workflow, tmp_path)

    assert str(error.value) == "Node 8 (Bad one, Fail) failed: NodeError: no room left"
    assert 'File "node.py", line 7' in str(error.value.__cause__)
    assert [path.name for path in error.value.result.files] == ["waltz_00001_.png"]


def test_a_block_with_a_message_is_an_error_although_the_history_says_success(comfy, tmp_path):
    workflow = {**sampled(), "8": node("Block", message="choose a model"), "9": node("Save", more=["8", 0])}
    workflow["9"]["inputs"]["filename_prefix"] = "y"

    with pytest.raises(QueueError) as error:
        run(comfy, workflow, tmp_path)

    assert str(error.value) == "Node 9 (Save) was kept from running: choose a model"
    assert [path.name for path in error.value.result.files] == ["waltz_00001_.png"]


def test_an_interrupt_by_somebody_else_is_an_error(comfy, tmp_path):
    workflow = {"1": node("Wait"), "2": node("Save", images=["1", 0], filename_prefix="x")}

    def interrupt(news: QueueProgress) -> None:
        comfy.interrupt = True

    with pytest.raises(QueueError, match=r"Node 1 \(Wait\) was interrupted: somebody cancelled"):
        queue_workflow(workflow, comfy.url, output=tmp_path, patience=QUICK, on_progress=interrupt)


def test_a_prompt_that_does_not_validate_is_told_input_by_input(comfy, tmp_path):
    workflow = {"3": node("Steps", "Sampler", steps=5000), "7": node("Save", images=["3", 0])}

    assert refusal(comfy, workflow, tmp_path).splitlines() == [
        "Node 3 (Sampler, Steps): steps is 5000, more than the most allowed, 1000.",
        'Node 7 (Save): the input "filename_prefix" is missing. Link it, or give it a value.',
    ]


def test_a_prompt_of_which_only_a_part_is_valid_is_refused_and_cancelled(comfy, tmp_path):
    comfy.runs_prompts = False
    workflow = {**sampled(), "8": node("Steps", steps=9999), "9": node("Save", images=["8", 0], filename_prefix="y")}

    message = refusal(comfy, workflow, tmp_path)

    assert message == "Node 8 (Steps): steps is 9999, more than the most allowed, 1000."
    assert comfy.pending == []


def test_a_node_type_that_the_server_lacks_is_told(comfy, tmp_path):
    message = refusal(comfy, {"4": node("Magic", "Wand")}, tmp_path)

    assert message == (
        "Node 4 (Wand, Magic) has a type that the server does not know. Install the pack that brings it on the server."
    )


def test_a_workflow_without_outputs_is_told(comfy, tmp_path):
    assert "no node that saves or shows" in refusal(comfy, {"3": node("Steps", steps=1)}, tmp_path)


def test_a_prompt_that_takes_too_long_is_cancelled(comfy, tmp_path):
    workflow = {"1": node("Wait"), "2": node("Save", images=["1", 0], filename_prefix="x")}

    message = refusal(comfy, workflow, tmp_path, timeout_seconds=0.2)

    assert message.startswith("The prompt was not done after 0.2 seconds (--timeout). The prompt was cancelled")
    assert comfy.interrupted == [comfy.posted[0]["prompt_id"]]


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_timeout_that_is_no_time_is_refused(comfy, tmp_path, seconds):
    assert "The timeout is" in refusal(comfy, sampled(), tmp_path, timeout_seconds=seconds)
    assert comfy.requests == []


# Cancelling


@pytest.mark.parametrize("which", ["comfy", "older_comfy"])
def test_ctrl_c_interrupts_a_running_prompt(which, request, tmp_path):
    comfy = request.getfixturevalue(which)
    workflow = {"1": node("Wait"), "2": node("Save", images=["1", 0], filename_prefix="x")}
    told = Told()

    def press(news: QueueProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue_workflow(
            workflow, comfy.url, output=tmp_path, patience=QUICK, on_progress=press,
            on_message=told.messages.append,
        )  # fmt: skip

    assert comfy.interrupted[0] == comfy.posted[0]["prompt_id"]
    assert comfy.running == []
    assert told.messages == ["The prompt was cancelled on the server."]


@pytest.mark.parametrize("which", ["comfy", "older_comfy"])
def test_ctrl_c_takes_a_waiting_prompt_from_the_queue_and_leaves_the_running_one(which, request, tmp_path):
    comfy = request.getfixturevalue(which)
    other = {"1": node("Wait"), "2": node("Save", images=["1", 0], filename_prefix="x")}
    comfy.do(lambda: comfy.put("other", other, {"client_id": "other"}, ["2"]))
    told = Told()

    def press(text: str) -> None:
        told.messages.append(text)
        if text.startswith("Waiting"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue_workflow(sampled(), comfy.url, output=tmp_path, patience=QUICK, on_message=press)

    assert comfy.pending == []
    assert [item[1] for item in comfy.running] == ["other"]
    assert comfy.interrupted == []
    assert told.messages == ["Waiting in the queue: 1 other prompt first.", "The prompt was cancelled on the server."]


def test_a_node_that_cannot_be_interrupted_does_not_hold_us(comfy, tmp_path):
    workflow = {"1": node("Wait"), "2": node("Save", images=["1", 0], filename_prefix="x")}
    comfy._interrupt = lambda prompt_id: None
    told = Told()

    def press(news: QueueProgress) -> None:
        raise KeyboardInterrupt

    quicker = Patience(cancelling=0.3)
    with pytest.raises(KeyboardInterrupt):
        queue_workflow(
            workflow, comfy.url, output=tmp_path, patience=quicker, on_progress=press, on_message=told.messages.append
        )

    assert told.messages == ["The server was asked to cancel it, and will when the node that runs there allows it."]


def test_what_a_callback_raises_cancels_and_arrives(comfy, tmp_path):
    workflow = {"1": node("Wait"), "2": node("Save", images=["1", 0], filename_prefix="x")}

    def fail(news: QueueProgress) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        queue_workflow(workflow, comfy.url, output=tmp_path, patience=QUICK, on_progress=fail)

    assert comfy.running == []


# The command


def arguments(comfy: FakeComfy, workflow: Path, tmp_path: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    queue.add_arguments(parser)
    return parser.parse_args([str(workflow), "--server", comfy.url, "--output", str(tmp_path / "out"), *more])


def saved(workflow: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(workflow))
    return path


def test_the_command_prints_steps_to_the_log_and_files_to_the_output(comfy, tmp_path, capsys):
    code = queue.main(arguments(comfy, saved(sampled(), tmp_path), tmp_path, "--set", "Sampler.steps=20"))

    shown = capsys.readouterr()
    assert code == 0
    assert shown.out == f"{tmp_path / 'out' / 'clips' / 'waltz_00001_.png'}\n"
    lines = shown.err.splitlines()
    assert lines[0] == "Sampler"
    assert [line for line in lines if "%" in line] == [f"Sampler: {10 * n} % ({2 * n} of 20)" for n in range(1, 11)]


def test_the_command_prints_the_results_that_were_made_before_an_error(comfy, tmp_path, capsys):
    workflow = {**sampled(), "8": node("Fail", message="oh"), "9": node("Save", more=["8", 0], filename_prefix="y")}

    with pytest.raises(QueueError):
        queue.main(arguments(comfy, saved(workflow, tmp_path), tmp_path))

    assert capsys.readouterr().out.endswith("waltz_00001_.png\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a test cannot press Ctrl-C for another process on Windows")
def test_ctrl_c_ends_the_command_with_130_and_without_a_traceback(comfy, tmp_path):
    path = saved({"1": node("Wait"), "2": node("Save", images=["1", 0], filename_prefix="x")}, tmp_path)
    command = [sys.executable, "-m", "zoetrope", "queue", str(path), "--server", comfy.url, "--output", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not comfy.running and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=30)

    assert process.returncode == 130, shown
    assert "The prompt was cancelled on the server." in shown
    assert "Traceback" not in shown
    assert comfy.interrupted[0] == comfy.posted[0]["prompt_id"]
