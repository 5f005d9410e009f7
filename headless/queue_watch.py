"""Following a prompt on a ComfyUI server until it is done, through lost connections and restarts.

The websocket tells the steps, and when to look; whether the prompt is done is read from the server's queue and history,
because messages get lost: a server that notices late that an old connection is dead drops the new one of the same
client with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .graph import Prompt
from .server import ComfyServer, ConnectionLost, Place, ServerError
from .validate import title_of

# After these messages the prompt is in the history within moments; the last of them comes when it is there.
LAST_MESSAGES = {"execution_success", "execution_error", "execution_interrupted"}
SECONDS_FROM_LAST_MESSAGE_TO_HISTORY = 0.05

T = TypeVar("T")


async def within(seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or a TimeoutError, as asyncio.wait_for gives it.

    Before Python 3.12 that one swallows a cancel that comes in the moment in which `work` ends.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if task.done():
            return task.result()
        raise asyncio.TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


class PromptGone(ServerError):
    """The server knows the prompt no longer."""


@dataclass(frozen=True)
class QueueProgress:
    """A step of a node, or of sending and fetching files."""

    node_id: str  # "" for what is not a node
    title: str
    done: float
    total: float  # 1 where there are no steps to count


@dataclass(frozen=True)
class Tellers:
    """Where news go."""

    progress: Callable[[QueueProgress], None]
    message: Callable[[str], None]


@dataclass
class Finished:
    """What the server keeps of a prompt that is over."""

    outputs: dict[str, Any]  # by node id
    messages: list[tuple[str, dict[str, Any]]]
    blocked: list[dict[str, Any]] = field(default_factory=list)  # nodes that were kept from running, and why

    def message(self, kind: str) -> dict[str, Any] | None:
        return next((data for name, data in self.messages if name == kind), None)

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Finished:
        """From an entry of the history."""
        status, outputs = entry.get("status"), entry.get("outputs")
        messages = status.get("messages") if isinstance(status, dict) else None
        return cls(
            outputs=outputs if isinstance(outputs, dict) else {},
            messages=[
                (str(item[0]), item[1])
                for item in (messages if isinstance(messages, list) else [])
                if isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[1], dict)
            ],
        )


class Watch:
    """The news of one prompt. Enter it before the prompt is posted, so that no message is missed."""

    def __init__(self, server: ComfyServer, prompt_id: str, client_id: str, prompt: Prompt, tell: Tellers) -> None:
        self._server, self._prompt_id, self._client_id, self._tell = server, prompt_id, client_id, tell
        self._titles = _distinct_titles(prompt)
        self._connected = asyncio.Event()  # also set when there will be no connection
        self._look = asyncio.Event()  # something happened after which to ask the server
        self._heard = time.monotonic()
        self._is_lost = self._was_lost = False
        self._has_ended = False  # by its last message
        self._place: Place | None = None
        self._steps: dict[str, tuple[float, float]] = {}
        self._cached: set[str] = set()
        self._has_states = False  # a server that sends progress_state sends the same as progress too
        self._blocked: list[dict[str, Any]] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        listener = asyncio.create_task(self._listen())
        try:
            with suppress(asyncio.TimeoutError):  # posting without it costs the first messages, not the result
                await within(self._server.patience.connecting, self._connected.wait())
            yield
        finally:
            listener.cancel()
            await asyncio.wait([listener])

    async def until_finished(self) -> Finished:
        """Wait for the end of the prompt, whatever it is; raises where the server cannot tell it."""
        pauses = iter(self._server.patience.retries())
        while True:
            self._look.clear()
            try:
                finished = await self._ask()
            except PromptGone:
                raise
            except ServerError as error:  # a proxy may answer anything while the server behind it starts again
                pause = next(pauses, None)
                if pause is None:
                    raise ConnectionLost(
                        f"{error} It was lost for {self._server.patience.lost:g} seconds. If the prompt "
                        f"({self._prompt_id}) still runs there, its results will be in ComfyUI's output folder."
                    ) from error
                self._say_lost(str(error))
                await asyncio.sleep(pause)
                continue
            pauses = iter(self._server.patience.retries())
            if finished:
                return finished
            await self._next_occasion()

    async def _ask(self) -> Finished | None:
        # In this order: what leaves the queue between the two questions is in the history by the second.
        place = await self._server.place(self._prompt_id)
        if place is not None:
            self._say_back()
            self._tell_place(place)
            return None
        entry = await self._server.history(self._prompt_id)
        if entry is None:
            raise PromptGone(self._gone())
        finished = Finished.read(entry)
        finished.blocked = self._blocked
        return finished

    def _gone(self) -> str:
        if self._was_lost:
            return (
                f"{self._server.address} is back, but no longer knows the prompt: it was restarted, and what it had "
                "not finished is lost. Queue it again."
            )
        return (
            f"{self._server.address} no longer knows the prompt: somebody removed it from the queue, or ComfyUI was "
            "restarted. Queue it again."
        )

    async def _next_occasion(self) -> None:
        """Wait until there is a reason to ask the server again: a message, or silence."""
        while not self._look.is_set():
            if self._has_ended:
                await asyncio.sleep(SECONDS_FROM_LAST_MESSAGE_TO_HISTORY)
                return
            quiet = time.monotonic() - self._heard
            if quiet >= self._server.patience.silence:
                self._heard = time.monotonic()
                return
            with suppress(asyncio.TimeoutError):
                await within(self._server.patience.silence - quiet, self._look.wait())

    def _tell_place(self, place: Place) -> None:
        if place.before and place != self._place:
            others = "1 other prompt" if place.before == 1 else f"{place.before} other prompts"
            self._tell.message(f"Waiting in the queue: {others} first.")
        self._place = place

    def _say_lost(self, reason: str) -> None:
        if not self._is_lost:
            self._is_lost = self._was_lost = True
            self._tell.message(f"The connection was lost: {reason} Trying again.")

    def _say_back(self) -> None:
        if self._is_lost:
            self._is_lost = False
            self._tell.message("The connection is back, and the prompt is still there.")

    async def _listen(self) -> None:
        pauses = iter(self._server.patience.retries())
        while True:
            try:
                async with self._server.websocket(self._client_id) as messages:
                    pauses = iter(self._server.patience.retries())
                    self._connected.set()
                    self._look.set()
                    async for message in messages:
                        self._hear(message)
            except ConnectionLost:
                pass  # whether the server is lost as well is seen where it is asked
            except ServerError as error:
                self._tell.message(f"{error} The steps are not shown, but the results will come.")
                self._connected.set()
                return
            self._look.set()
            await asyncio.sleep(next(pauses, self._server.patience.last_retry))

    def _hear(self, message: dict[str, Any]) -> None:
        kind, data = message.get("type"), message["data"]
        if kind == "status" and not (self._place and self._place.running):
            self._look.set()  # the queue moved
        if data.get("prompt_id") != self._prompt_id:
            return
        self._heard = time.monotonic()
        if kind == "execution_error" and data.get("exception_type") == "ExecutionBlocked":
            # One node only: the prompt goes on, and its history will not tell.
            self._blocked.append(data)
        elif kind in LAST_MESSAGES:
            self._has_ended = True
            self._look.set()
        elif kind == "executing":
            self._hear_executing(data)
        elif kind == "execution_cached" and isinstance(data.get("nodes"), list):
            self._cached = set(map(str, data["nodes"]))
        elif kind == "progress_state" and isinstance(data.get("nodes"), dict):
            self._has_states = True
            for node_id, state in data["nodes"].items():
                if isinstance(state, dict) and state.get("state") in ("running", "finished"):
                    self._step(str(node_id), str(state.get("display_node_id") or node_id), state)
        elif kind == "progress" and not self._has_states:
            self._step(str(data.get("node")), str(data.get("node")), data)

    def _hear_executing(self, data: dict[str, Any]) -> None:
        if data.get("node") is None:
            self._has_ended = True  # sent when the result is in the history
            self._look.set()
        elif not self._has_states:
            node_id = str(data["node"])
            self._step(node_id, str(data.get("display_node") or node_id), {"value": 0, "max": 1})

    def _step(self, node_id: str, shown_id: str, state: dict[str, Any]) -> None:
        step, total = state.get("value"), state.get("max")
        if not isinstance(step, (int, float)) or not isinstance(total, (int, float)) or node_id in self._cached:
            return
        if self._steps.get(node_id) != (step, total):
            self._steps[node_id] = (step, total)
            self._tell.progress(QueueProgress(shown_id, self._titles.get(shown_id, f"Node {shown_id}"), step, total))


def _distinct_titles(prompt: Prompt) -> dict[str, str]:
    """The title of each node, with its id where another has the same."""
    titles = {node_id: title_of(node_id, prompt, {}) for node_id in prompt}
    all_titles = list(titles.values())
    return {
        node_id: title if all_titles.count(title) == 1 else f"{title} (node {node_id})"
        for node_id, title in titles.items()
    }
