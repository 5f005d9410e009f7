"""Following a prompt through lost connections, restarts, and servers without a websocket."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from zoetrope.headless.queue import QueueResult, queue_workflow
from zoetrope.headless.queue_watch import QueueProgress
from zoetrope.headless.server import Patience

from .fake_server import FakeComfy

QUICK = Patience(connecting=2, answering=2, silence=0.3, lost=3, cancelling=1, first_retry=0.01, last_retry=0.05)
LONG = {
    "1": {"class_type": "Steps", "inputs": {"steps": 150}, "_meta": {"title": "Sampler"}},
    "2": {"class_type": "Save", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
ENDLESS = {
    "1": {"class_type": "Wait", "inputs": {}, "_meta": {"title": "Wait"}},
    "2": {"class_type": "Save", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


@pytest.fixture
def comfy():
    with FakeComfy() as server:
        yield server


class OnStep:
    """Does something once, in a thread of its own, when a node has come to a step."""

    def __init__(self, action: Any, title: str = "Sampler", step: int = 5) -> None:
        self._action, self._title, self._step = action, title, step
        self.steps: list[float] = []
        self.thread: threading.Thread | None = None

    def __call__(self, news: QueueProgress) -> None:
        self.steps.append(news.done)
        if self.thread is None and news.title == self._title and news.done >= self._step:
            self.thread = threading.Thread(target=self._action)
            self.thread.start()


def run(
    comfy: FakeComfy, tmp_path: Path, on_progress: Any = lambda news: None, messages: list[str] | None = None,
    workflow: Any = LONG, patience: Patience = QUICK,
) -> QueueResult:  # fmt: skip
    try:
        told = [] if messages is None else messages
        return queue_workflow(
            workflow, comfy.url, output=tmp_path, patience=patience,
 on_progress=on_progress, on_message=told.append
        )  # fmt: skip
    finally:
        if isinstance(on_progress, OnStep) and on_progress.thread:
            on_progress.thread.join()


def test_a_websocket_that_drops_is_opened_again_and_the_steps_go_on(comfy, tmp_path):
    comfy.drops_websocket_after = 20
    steps: list[float] = []

    result = run(comfy, tmp_path, lambda news: steps.append(news.done))

    assert len(result.files) == 1
    assert sum(path == "/ws" for _, path in comfy.requests) == 2
    assert 150 in steps  # heard again after the loss


def test_a_prompt_that_ends_while_the_websocket_is_away_is_found_in_the_history(comfy, tmp_path):
    async def no_websocket(request):
        raise ConnectionResetError

    def cut() -> None:
        comfy.answers["/ws"] = no_websocket
        comfy.do(comfy.drop_connections)

    on_step = OnStep(cut)

    assert len(run(comfy, tmp_path, on_step).files) == 1
    assert 150 not in on_step.steps


def test_a_server_that_drops_the_new_connection_with_the_old_one_is_asked(comfy, tmp_path):
    # The real one does so when it notices late that the old connection is dead: we are connected, and hear nothing.
    def forget() -> None:
        comfy.sockets.clear()

    assert len(run(comfy, tmp_path, OnStep(forget)).files) == 1


def test_a_server_that_was_away_and_kept_the_prompt_is_waited_for(comfy, tmp_path):
    def away() -> None:
        comfy.do(comfy.go_down)
        time.sleep(0.15)
        comfy.do(lambda: comfy.come_up(forgetful=False))

    comfy.seconds_per_step = 0.005
    messages: list[str] = []

    assert len(run(comfy, tmp_path, OnStep(away), messages).files) == 1
    assert messages[0].startswith("The connection was lost: ")
    assert messages[0].endswith("Trying again.")
    assert messages[1] == "The connection is back, and the prompt is still there."


def test_a_server_that_was_restarted_has_lost_the_prompt_and_this_is_told(comfy, tmp_path):
    def restart() -> None:
        comfy.do(comfy.go_down)
        time.sleep(0.15)
        comfy.do(lambda: comfy.come_up(forgetful=True))

    with pytest.raises(ValueError, match=r"is back, but no longer knows the prompt: it was restarted.*Queue it again"):
        run(comfy, tmp_path, OnStep(restart, "Wait", 0), workflow=ENDLESS)


def test_a_server_that_stays_away_is_given_up(comfy, tmp_path):
    patience = Patience(connecting=0.2, silence=0.1, lost=0.3, first_retry=0.02, last_retry=0.1)

    with pytest.raises(ValueError, match=r"cannot be reached.*It was lost for 0.3 seconds.*output folder"):
        run(comfy, tmp_path, OnStep(lambda: comfy.do(comfy.go_down), "Wait", 0), workflow=ENDLESS, patience=patience)


def test_a_proxy_that_answers_for_a_server_that_starts_again_is_waited_for(comfy, tmp_path):
    answers = iter([web.Response(status=502), web.Response(status=500), web.Response(text="<html>starting</html>")])

    async def proxy(request):
        answer = next(answers, None)
        return await comfy._get_queue(request) if answer is None else answer

    comfy.answers["/queue"] = proxy
    messages: list[str] = []

    assert len(run(comfy, tmp_path, messages=messages).files) == 1
    assert "there is a proxy, but no ComfyUI behind it" in messages[0]


def test_a_prompt_that_somebody_removes_from_the_queue_is_told(comfy, tmp_path):
    comfy.do(lambda: comfy.put("other", ENDLESS, {"client_id": "other"}, ["2"]))

    def remove(text: str) -> None:
        if text.startswith("Waiting"):
            comfy.do(lambda: comfy._dequeue(comfy.posted[0]["prompt_id"]))

    with pytest.raises(ValueError, match="no longer knows the prompt: somebody removed it from the queue"):
        queue_workflow(LONG, comfy.url, output=tmp_path, patience=QUICK, on_message=remove)


def test_a_server_without_a_websocket_still_gives_the_results(comfy, tmp_path):
    async def refuse(request):
        return web.Response(status=403)

    comfy.answers["/ws"] = refuse
    messages: list[str] = []

    assert len(run(comfy, tmp_path, messages=messages).files) == 1
    assert messages == [
        f"{comfy.url} gives no websocket (403). The steps are not shown, but the results will come."
    ]  # fmt: skip


def test_a_prompt_whose_posting_is_not_answered_is_not_posted_twice(comfy, tmp_path):
    async def lose_the_answer(request):
        await comfy._post_prompt(request)
        request.transport.abort()
        return web.Response()

    comfy.answers["/prompt"] = lose_the_answer

    assert len(run(comfy, tmp_path).files) == 1
    assert len(comfy.posted) == 1


def test_messages_that_make_no_sense_are_passed_over(comfy, tmp_path):
    async def babble() -> None:
        for socket in list(comfy.sockets.values()):
            await socket.send_bytes(b"\0\0\0\1preview")
            for text in ("no json", "[]", '{"type": "progress_state"}', '{"type": 3, "data": []}'):
                await socket.send_str(text)
            prompt_id = comfy.posted[0]["prompt_id"]
            for data in ({"nodes": 3}, {"nodes": {"1": 4}}, {"nodes": {"1": {"state": "running", "value": "x"}}}):
                await socket.send_json({"type": "progress_state", "data": {"prompt_id": prompt_id, **data}})

    assert len(run(comfy, tmp_path, OnStep(lambda: comfy.do(babble))).files) == 1


def test_an_answer_larger_than_websockets_usually_take_arrives(comfy, tmp_path):
    comfy.saved = [{"text": "x" * 5_000_000}]
    messages: list[str] = []

    run(comfy, tmp_path, messages=messages)

    assert sum(path == "/ws" for _, path in comfy.requests) == 1
    assert messages == ["The prompt is done; none of its nodes saved a file."]
