"""`zoetrope queue`: run a workflow on a ComfyUI server, bring it what it loads, and fetch what it makes."""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from .overrides import apply as overridden
from .overrides import parse as overrides_from
from .progress import ProgressDisplay
from .queue_errors import interrupted, node_blocked, node_failed, node_traceback, refused
from .queue_inputs import loaded_files, refuse_missing, rename, send, uploads
from .queue_outputs import fetch, result_files
from .queue_watch import Finished, QueueProgress, Tellers, Watch, within
from .server import ComfyServer, ConnectionLost, Patience, ServerError
from .validate import title_of
from .workflow import Workflow, load_workflow

SECONDS_BETWEEN_TRIES_TO_CANCEL = 0.25
INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended

T = TypeVar("T")


@dataclass(frozen=True)
class QueueResult:
    """What became of a prompt."""

    prompt_id: str
    files: list[Path] = field(default_factory=list)  # the results that were fetched
    outputs: dict[str, Any] = field(default_factory=dict)  # what each node shows, as the server tells it


class QueueError(ValueError):
    """The prompt did not do all that it should; `result` holds what it did."""

    def __init__(self, problems: Sequence[str], result: QueueResult) -> None:
        super().__init__("\n".join(problems))
        self.result = result


def _silent(news: object) -> None:
    """For prompts that nobody watches."""


def queue_workflow(
    workflow: Path | str | Mapping[str, Any],
    server: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    input: Path | str | None = None,
    output: Path | str | None = None,
    previews: bool = False,
    timeout_seconds: float = 0.0,
    on_progress: Callable[[QueueProgress], None] = _silent,
    on_message: Callable[[str], None] = _silent,
    patience: Patience = Patience(),
) -> QueueResult:
    """Run a workflow of either format, a file or its content, on the ComfyUI server at an address.

    `overrides` sets inputs, as {"3.frames": 8, "Sampler.seed": 7}. Files that the workflow loads are sent from `input`
    (./input, where that exists), results are fetched into `output` (./output); with `previews` also what nodes only
    show. After `timeout_seconds` of waiting and running the prompt is cancelled; 0 waits as long as it takes.

    Both callbacks run in the caller's thread. Whatever they raise, Ctrl-C too, cancels the prompt on the server.
    """
    if not timeout_seconds >= 0:
        raise ValueError(f"The timeout is {timeout_seconds:g}. Give seconds, or 0 to wait as long as it takes.")
    news: SimpleQueue[QueueProgress | str | None] = SimpleQueue()
    job = _Job(
        workflow=workflow,
        address=server,
        overrides=overrides or {},
        input=_input_folder(input),
        output=Path(output or "output"),
        previews=previews,
        timeout_seconds=timeout_seconds,
        patience=patience,
        tell=Tellers(progress=news.put, message=news.put),
    )
    return _in_background(job.run(), news, on_progress, on_message)


def _input_folder(given: Path | str | None) -> Path | None:
    if given is not None:
        return Path(given)
    return Path("input") if Path("input").is_dir() else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from .command import add_set_argument  # which imports this module

    parser.add_argument("workflow", metavar="WORKFLOW.json", help="a workflow file, or the name of one that ships")
    parser.add_argument("--server", required=True, metavar="URL", help="the ComfyUI server, as 127.0.0.1:8188")
    add_set_argument(parser)
    folder: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    parser.add_argument("--input", help="where the files are that the workflow loads (default: ./input)", **folder)
    parser.add_argument("--output", help="where results go (default: ./output)", **folder)
    parser.add_argument("--previews", action="store_true", help="fetch what nodes only show, too")
    parser.add_argument(
        "--timeout",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="cancel the prompt when it is not done after so long (default: 0, wait as long as it takes)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    from .command import find_workflow  # which imports this module

    with ProgressDisplay() as display:
        try:
            result = queue_workflow(
                find_workflow(arguments.workflow),
                arguments.server,
                overrides=overrides_from(arguments.set),
                input=arguments.input,
                output=arguments.output,
                previews=arguments.previews,
                timeout_seconds=arguments.timeout,
                on_progress=lambda news: display.show(news.title, news.done, news.total),
                on_message=display.say,
            )
        except QueueError as error:
            _print_files(error.result)
            raise
        except KeyboardInterrupt:
            return INTERRUPTED
    _print_files(result)
    return 0


def _print_files(result: QueueResult) -> None:
    for path in result.files:
        sys.stdout.write(f"{path}\n")


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One workflow on its way through a server."""

    workflow: Path | str | Mapping[str, Any]
    address: str
    overrides: Mapping[str, Any]
    input: Path | None
    output: Path
    previews: bool
    timeout_seconds: float
    patience: Patience
    tell: Tellers

    async def run(self) -> QueueResult:
        async with ComfyServer(self.address, self.patience) as server:
            await server.facts()
            workflow = await self._prepared(server)
            prompt_id, finished = await self._until_finished(server, workflow)
            return await self._collected(server, prompt_id, finished, workflow)

    async def _prepared(self, server: ComfyServer) -> Workflow:
        """The workflow as it will be posted, the files that it loads already there."""
        definitions = await server.node_definitions()
        workflow = load_workflow(self.workflow, definitions)
        workflow = replace(workflow, prompt=overridden(workflow.prompt, self.overrides, definitions))
        for node_id, node in workflow.prompt.items():
            # A server that replaces an outdated node answers 500 where this is missing.
            node["_meta"] = {"title": title_of(node_id, workflow.prompt, definitions)}
        files = loaded_files(workflow.prompt, definitions)
        here = uploads(files, self.input)
        await refuse_missing(server, files, here, self.input, workflow.prompt)
        rename(workflow.prompt, files, await send(server, here, self._sent, self.tell.message))
        return workflow

    def _sent(self, sent: int, total: int) -> None:
        megabytes = max(1, total // 2**20)
        step = megabytes if sent >= total else sent // 2**20
        self.tell.progress(QueueProgress("", "Sending files, MB", step, megabytes))

    async def _until_finished(self, server: ComfyServer, workflow: Workflow) -> tuple[str, Finished]:
        """Post the prompt and wait for its end; cancels it where we leave before."""
        prompt_id, client_id = str(uuid.uuid4()), uuid.uuid4().hex
        watch = Watch(server, prompt_id, client_id, workflow.prompt, self.tell)
        async with watch.listening():
            try:
                await self._post(server, workflow, prompt_id, client_id)
                finished = await within(self.timeout_seconds or None, watch.until_finished())
            except asyncio.TimeoutError:
                limit = f"The prompt was not done after {self.timeout_seconds:g} seconds (--timeout)."
                raise QueueError([f"{limit} {await _cancel(server, prompt_id)}"], QueueResult(prompt_id)) from None
            except asyncio.CancelledError:
                self.tell.message(await _cancel(server, prompt_id))
                raise
        return prompt_id, finished

    async def _post(self, server: ComfyServer, workflow: Workflow, prompt_id: str, client_id: str) -> None:
        extra: dict[str, Any] = {"preview_method": "none"}  # nobody looks at them here, and they cost time
        # ComfyUI opens a file's graph before its prompt, and the graph does not have the overrides.
        if workflow.extra_pnginfo is not None and not self.overrides:
            extra["extra_pnginfo"] = workflow.extra_pnginfo
        body = {"prompt": workflow.prompt, "prompt_id": prompt_id, "client_id": client_id, "extra_data": extra}
        try:
            status, answer = await server.post_prompt(body)
        except ConnectionLost:
            # Posted again it could run twice, so first see whether it arrived; the id is ours to ask for.
            if await server.place(prompt_id) is None and await server.history(prompt_id) is None:
                raise
            return
        if status != 200 or answer.get("node_errors"):
            if status == 200:  # the outputs that are valid would be made, and the rest left out
                await _cancel(server, prompt_id)
            raise ServerError(refused(answer, workflow.prompt))

    async def _collected(
        self, server: ComfyServer, prompt_id: str, finished: Finished, workflow: Workflow
    ) -> QueueResult:
        """Fetch the results, also those that were made before something went wrong."""
        wanted = result_files(finished.outputs, previews=self.previews)
        files, problems = await fetch(
            server,
            wanted,
            self.output,
            lambda done, total: self.tell.progress(QueueProgress("", "Fetching results", done, total)),
            self.tell.message,
        )
        result = QueueResult(prompt_id, files, finished.outputs)
        blocked = dict.fromkeys(node_blocked(details, workflow.prompt) for details in finished.blocked)
        problems = [*blocked, *problems]
        if (details := finished.message("execution_error")) is not None:
            raise QueueError([node_failed(details, workflow.prompt), *problems], result) from node_traceback(details)
        if (details := finished.message("execution_interrupted")) is not None:
            raise QueueError([interrupted(details, workflow.prompt), *problems], result)
        if problems:
            raise QueueError(problems, result)
        if not wanted:
            self.tell.message("The prompt is done; none of its nodes saved a file.")
        return result


async def _cancel(server: ComfyServer, prompt_id: str) -> str:
    """Take a prompt off the server for certain; gives a sentence about how that went."""
    try:
        return await within(server.patience.cancelling, _until_cancelled(server, prompt_id))
    except asyncio.TimeoutError:
        return "The server was asked to cancel it, and will when the node that runs there allows it."
    except ServerError as error:
        return f"It could not be cancelled: {error}"


async def _until_cancelled(server: ComfyServer, prompt_id: str) -> str:
    while True:
        await server.ask_to_cancel(prompt_id)
        if await server.place(prompt_id) is None:
            break
        # Asked in the moment between leaving the queue and running, a server forgets it: ask until it is gone.
        await asyncio.sleep(SECONDS_BETWEEN_TRIES_TO_CANCEL)
    entry = await server.history(prompt_id)
    if entry is not None and Finished.read(entry).message("execution_success") is not None:
        return "It was done before it could be cancelled; its results are on the server."
    return "The prompt was cancelled on the server."


def _in_background(
    work: Coroutine[Any, Any, T],
    news: SimpleQueue[QueueProgress | str | None],
    on_progress: Callable[[QueueProgress], None],
    on_message: Callable[[str], None],
) -> T:
    """Run `work` in a thread of its own, and pass on its news in this one.

    So Ctrl-C arrives between two news and not inside the event loop, and a notebook, whose thread has a loop that runs
    already, can call this too.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()
    outcome: Future[T] = Future()

    async def tracked() -> T:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await work

    def run() -> None:
        try:
            outcome.set_result(asyncio.run(tracked()))
        except BaseException as error:
            outcome.set_exception(error)
        finally:
            news.put(None)

    # A daemon, so that a second Ctrl-C need not wait for a server that does not answer.
    threading.Thread(target=run, daemon=True).start()
    try:
        for item in _until_end(news):
            if isinstance(item, str):
                on_message(item)
            else:
                on_progress(item)
    except BaseException:
        loop, task = started.result()
        with suppress(RuntimeError):  # the loop has just ended by itself
            loop.call_soon_threadsafe(task.cancel)
        for item in _until_end(news):
            if isinstance(item, str):
                on_message(item)
        raise
    return outcome.result()


def _until_end(news: SimpleQueue[QueueProgress | str | None]) -> Iterator[QueueProgress | str]:
    while True:
        with suppress(Empty):
            item = news.get(timeout=0.2)  # without an end to the waiting, Windows does not let Ctrl-C through
            if item is None:
                return
            yield item
