"""A ComfyUI server for tests: the real one's routes, messages and order of events, and nodes that do as they are told.

Its switches do what happens to real servers: connections drop, the process restarts, a node fails, a proxy answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import threading
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import WSMsgType, web

INT = {"default": 1, "min": 0, "max": 1000}
DEFINITIONS: dict[str, Any] = {
    "LoadImage": {"input": {"required": {"image": [["there.png"], {"image_upload": True}]}}, "output": ["IMAGE"]},
    "LoadVideo": {
        "input": {"required": {"file": ["COMBO", {"video_upload": True, "multiselect": False, "options": []}]}},
        "output": ["VIDEO"],
    },
    "VHS_LoadVideo": {"input": {"required": {"video": [[]]}}, "output": ["IMAGE"]},
    "LoadAny": {
        "input": {
            "required": {
                "source": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {"key": "file", "inputs": {"required": {"audio": [[], {"audio_upload": True}]}}},
                            {"key": "none", "inputs": {"required": {}}},
                        ]
                    },
                ]
            }
        },
        "output": ["AUDIO"],
    },
    "CheckpointLoader": {"input": {"required": {"ckpt_name": [["a.safetensors"]]}}, "output": ["MODEL"]},
    "Steps": {
        "input": {"required": {"steps": ["INT", INT]}, "optional": {"image": ["IMAGE", {}]}},
        "output": ["IMAGE"],
    },
    "Wait": {"input": {"optional": {"image": ["IMAGE", {}]}}, "output": ["IMAGE"]},
    "Fail": {"input": {"required": {"message": ["STRING", {}]}}, "output": ["IMAGE"]},
    "Block": {"input": {"required": {"message": ["STRING", {}]}}, "output": ["IMAGE"]},
    "Save": {
        "input": {"required": {"filename_prefix": ["STRING", {}]}, "optional": {"images": ["IMAGE", {}]}},
        "output": [],
        "output_node": True,
    },
}
for _name, _definition in DEFINITIONS.items():
    _definition.setdefault("output_node", False)
    _definition.setdefault("output_name", _definition["output"])
    _definition["output_is_list"] = [False] * len(_definition["output"])
    _definition["input_order"] = {part: list(inputs) for part, inputs in _definition["input"].items()}
    _definition.update(name=_name, display_name=_name, python_module="nodes", category="test", description="")


class NodeError(Exception):
    """A node of the fake fails."""


class Interrupted(Exception):
    """The prompt was cancelled."""


class FakeComfy:
    """Runs in a thread of its own, on a free port of the loopback.

    with FakeComfy() as comfy:
        ... comfy.url, comfy.posted, comfy.history ...
    """

    def __init__(self, *, base_path: str = "", can_cancel_jobs: bool = True, sends_states: bool = True) -> None:
        self.base_path = base_path
        self.can_cancel_jobs = can_cancel_jobs  # from 0.33
        self.sends_states = sends_states
        self.answers: dict[str, Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]] = {}  # by path
        self.files: dict[tuple[str, str, str], bytes] = {}  # (type, subfolder, filename)
        self.saved: list[dict[str, Any]] | None = None  # what Save says that it made, instead of the truth
        self.saved_key = "images"
        self.drops_websocket_after: int | None = None  # messages of a prompt, once
        self.seconds_per_step = 0.002
        self.runs_prompts = True
        self.cached: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.posted: list[dict[str, Any]] = []
        self.first_messages: list[Any] = []
        self.interrupted: list[str] = []
        self.forget()

    def forget(self) -> None:
        """What a process that starts anew knows: nothing."""
        self.pending: list[tuple[float, str, dict[str, Any], dict[str, Any], list[str]]] = []
        self.running: list[Any] = []
        self.history: dict[str, Any] = {}
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.interrupt = False

    # Starting and stopping

    def __enter__(self) -> FakeComfy:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.base_path}"

    def do(self, action: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine function of this class from a test."""
        return asyncio.run_coroutine_threadsafe(action(), self._loop).result(10)

    async def drop_connections(self) -> None:
        for socket in list(self.sockets.values()):
            if socket._req is not None and socket._req.transport is not None:
                socket._req.transport.abort()

    async def go_down(self) -> None:
        """Stop listening, and cut every connection, as a process that was killed."""
        if self._site in self._runner.sites:
            await self._site.stop()
        await self.drop_connections()
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def come_up(self, *, forgetful: bool) -> None:
        if forgetful:
            self._worker.cancel()
            self.forget()
            self._worker = asyncio.create_task(self._work())
        await self._listen()

    async def _serve(self) -> None:
        self._loop, self._stop, self.port = asyncio.get_running_loop(), asyncio.Event(), 0
        app = web.Application(client_max_size=2**20, middlewares=[self._override])
        routes = [
            web.get("/ws", self._websocket),
            web.get("/system_stats", self._system_stats),
            web.get("/object_info", self._object_info),
            web.post("/prompt", self._post_prompt),
            web.get("/queue", self._get_queue),
            web.post("/queue", self._post_queue),
            web.get("/history/{prompt_id}", self._get_history),
            web.post("/interrupt", self._post_interrupt),
            web.post("/upload/image", self._upload),
            web.get("/view", self._view),
        ]
        if self.can_cancel_jobs:
            routes.append(web.post("/api/jobs/{prompt_id}/cancel", self._cancel_job))
        # As the real one's static files: any path, GET only, so that an unknown POST is 405.
        routes.append(web.get("/{path:.*}", self._nothing))
        app.add_routes([web.route(route.method, self.base_path + route.path, route.handler) for route in routes])
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()
        self._worker = asyncio.create_task(self._work())
        self._ready.set()
        await self._stop.wait()
        self._worker.cancel()
        await self.go_down()
        await self._runner.cleanup()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await self._site.start()
        self.port = self._site._server.sockets[0].getsockname()[1]

    @web.middleware
    async def _override(self, request: web.Request, handler: Any) -> web.StreamResponse:
        path = request.path.removeprefix(self.base_path)
        self.requests.append((request.method, path))
        if path in self.answers:
            return await self.answers[path](request)
        return await handler(request)

    # Routes

    async def _nothing(self, request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def _system_stats(self, request: web.Request) -> web.Response:
        system = {"comfyui_version": "0.33.0", "python_version": "3.12.3 (main)", "pytorch_version": "2.8.0+cpu"}
        return web.json_response({"system": system, "devices": [{"name": "cpu", "type": "cpu"}]})

    async def _object_info(self, request: web.Request) -> web.Response:
        return web.json_response(DEFINITIONS)

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query["clientId"]
        self.sockets[client] = socket
        try:
            await socket.send_json({"type": "status", "data": {"status": {}, "sid": client}})
            first = True
            async for message in socket:
                if first and message.type is WSMsgType.TEXT:
                    self.first_messages.append(json.loads(message.data))
                    first = False
        finally:
            self.sockets.pop(client, None)  # the new socket too, where the client is back already: as the real one
        return socket

    async def _post_prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.posted.append(body)
        prompt, prompt_id = body["prompt"], body["prompt_id"]
        if str(uuid.UUID(prompt_id)) != prompt_id:
            error = {"type": "invalid_prompt_id", "message": "prompt_id must be a valid UUID", "details": ""}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        refusal, node_errors, targets = self._validated(prompt)
        if refusal:
            return web.json_response({"error": refusal, "node_errors": node_errors}, status=400)
        extra = {**body.get("extra_data", {}), "client_id": body["client_id"]}
        await self.put(prompt_id, prompt, extra, targets)
        return web.json_response({"prompt_id": prompt_id, "number": 1, "node_errors": node_errors})

    async def put(self, prompt_id: str, prompt: Any, extra: dict[str, Any], targets: list[str]) -> None:
        number = float(len(self.requests))  # rises
        heapq.heappush(self.pending, (number, prompt_id, prompt, extra, targets))
        await self._queue_changed()

    def _validated(self, prompt: dict[str, Any]) -> tuple[Any, dict[str, Any], list[str]]:
        for node_id, node in prompt.items():
            if node["class_type"] not in DEFINITIONS:
                message = f"Node '{node['_meta']['title']}' not found. The custom node may not be installed."
                extra = {"node_id": node_id, "class_type": node["class_type"], "node_title": node["_meta"]["title"]}
                error = {"type": "missing_node_type", "message": message, "details": f"Node ID '#{node_id}'"}
                return {**error, "extra_info": extra}, {}, []
        targets = [node_id for node_id, node in prompt.items() if DEFINITIONS[node["class_type"]]["output_node"]]
        if not targets:
            return {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": ""}, {}, []
        node_errors = {}
        for node_id, node in prompt.items():
            if errors := self._input_errors(node):
                node_errors[node_id] = {
                    "errors": errors,
                    "class_type": node["class_type"],
                    "dependent_outputs": targets,
                }
        good = [target for target in targets if not set(self._order(prompt, target)) & set(node_errors)]
        if not good:
            error = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"}
            return {**error, "details": "", "extra_info": {}}, node_errors, []
        return None, node_errors, good

    def _input_errors(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        errors = []
        for name, spec in DEFINITIONS[node["class_type"]]["input"].get("required", {}).items():
            extra: dict[str, Any] = {"input_name": name}
            if name not in node["inputs"]:
                errors.append(
                    {"type": "required_input_missing", "message": "Required input is missing", "details": name}
                )
                errors[-1]["extra_info"] = extra
                continue
            value = node["inputs"][name]
            extra |= {"received_value": value, "input_config": spec}
            if spec[0] == "INT" and value > spec[1]["max"]:
                message = f"Value {value} bigger than max of {spec[1]['max']}"
                errors.append({"type": "value_bigger_than_max", "message": message, "details": name})
                errors[-1]["extra_info"] = extra
            options = spec[0] if isinstance(spec[0], list) else spec[1].get("options") if len(spec) > 1 else None
            dynamic = spec[0] == "COMFY_DYNAMICCOMBO_V3"
            uploaded = isinstance(value, str) and self._input_exists(value)
            if options is not None and not dynamic and value not in options and not uploaded:
                details = f"{name}: {value!r} not in {options}"
                errors.append({"type": "value_not_in_list", "message": "Value not in list", "details": details})
                errors[-1]["extra_info"] = extra
        return errors

    def _input_exists(self, name: str) -> bool:
        subfolder, _, filename = name.removesuffix(" [input]").rpartition("/")
        return ("input", subfolder, filename) in self.files

    def _queue_item(self, item: Any) -> list[Any]:
        return [*item[:3], {}, item[4]]

    async def _get_queue(self, request: web.Request) -> web.Response:
        running, pending = ([self._queue_item(item) for item in items] for items in (self.running, self.pending))
        return web.json_response({"queue_running": running, "queue_pending": pending})

    async def _post_queue(self, request: web.Request) -> web.Response:
        for prompt_id in (await request.json()).get("delete", []):
            await self._dequeue(prompt_id)
        return web.Response()

    async def _dequeue(self, prompt_id: str) -> None:
        self.pending = [item for item in self.pending if item[1] != prompt_id]
        heapq.heapify(self.pending)
        await self._queue_changed()

    async def _get_history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        return web.json_response({prompt_id: self.history[prompt_id]} if prompt_id in self.history else {})

    async def _post_interrupt(self, request: web.Request) -> web.Response:
        self._interrupt((await request.json()).get("prompt_id"))
        return web.Response()

    def _interrupt(self, prompt_id: str) -> None:
        if any(item[1] == prompt_id for item in self.running):
            self.interrupt = True
            self.interrupted.append(prompt_id)

    async def _cancel_job(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        self._interrupt(prompt_id)
        await self._dequeue(prompt_id)
        return web.json_response({"cancelled": True})

    async def _upload(self, request: web.Request) -> web.Response:
        post = await request.post()
        image, subfolder = post["image"], post.get("subfolder", "")
        contents, name, number = image.file.read(), image.filename, 1
        stem, dot, suffix = name.rpartition(".")
        while self.files.get(("input", subfolder, name), contents) != contents:
            name, number = f"{stem} ({number}){dot}{suffix}", number + 1
        self.files["input", subfolder, name] = contents
        return web.json_response({"name": name, "subfolder": subfolder, "type": "input"})

    async def _view(self, request: web.Request) -> web.Response:
        query = request.query
        key = query.get("type", "output"), query.get("subfolder", ""), query["filename"]
        if key not in self.files:
            return web.Response(status=404)
        return web.Response(body=self.files[key], content_type="application/octet-stream")

    # Messages

    async def _send(self, kind: str, data: dict[str, Any], client: str) -> None:
        if self.drops_websocket_after is not None and "prompt_id" in data:
            self.drops_websocket_after -= 1
            if self.drops_websocket_after <= 0:
                self.drops_websocket_after = None
                await self.drop_connections()
        socket = self.sockets.get(client)
        if socket is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                await socket.send_json({"type": kind, "data": data})

    async def _queue_changed(self) -> None:
        for client in list(self.sockets):
            await self._send("status", {"status": {"exec_info": {"queue_remaining": len(self.pending)}}}, client)

    # Running prompts

    async def _work(self) -> None:
        while True:
            if not self.pending or not self.runs_prompts:
                await asyncio.sleep(0.002)
                continue
            item = heapq.heappop(self.pending)
            self.running = [item]
            await self._queue_changed()
            status, outputs = await self._run(item)
            self.history[item[1]] = {"prompt": self._queue_item(item), "outputs": outputs, "status": status}
            self.running = []
            await self._queue_changed()
            await self._send("executing", {"node": None, "prompt_id": item[1]}, item[3]["client_id"])

    async def _run(self, item: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        _, prompt_id, prompt, extra, targets = item
        client, messages, outputs = extra["client_id"], [], {}
        self.interrupt = False
        states: dict[str, dict[str, Any]] = {}

        async def message(kind: str, **data: Any) -> None:
            messages.append([kind, {"prompt_id": prompt_id, **data}])
            await self._send(kind, messages[-1][1], client)

        await message("execution_start")
        await message("execution_cached", nodes=self.cached)
        node_id = ""
        blocked: dict[str, str | None] = {}  # why, until it is told
        try:
            order = list(dict.fromkeys(node for target in targets for node in self._order(prompt, target)))
            for node_id in order:
                await self._run_node(prompt_id, node_id, prompt[node_id], client, states, outputs, blocked)
            await message("execution_success")
            success = True
        except (NodeError, Interrupted) as error:
            success = False
            about = {"node_id": node_id, "node_type": prompt[node_id]["class_type"], "executed": []}
            if isinstance(error, Interrupted):
                await message("execution_interrupted", **about)
            else:
                await message(
                    "execution_error", **about, exception_message=f"{error}\n", exception_type="pack.NodeError",
                    traceback=['  File "node.py", line 7\n'], current_inputs={}, current_outputs=[],
                )  # fmt: skip
        return {"status_str": "success" if success else "error", "completed": success, "messages": messages}, outputs

    def _order(self, prompt: dict[str, Any], node_id: str) -> list[str]:
        links = [value[0] for value in prompt[node_id]["inputs"].values() if isinstance(value, list)]
        return [*(before for link in links for before in self._order(prompt, link)), node_id]

    async def _run_node(
        self, prompt_id: str, node_id: str, node: dict[str, Any], client: str,
        states: dict[str, Any], outputs: dict[str, Any], blocked: dict[str, str | None],
    ) -> None:  # fmt: skip
        async def step(value: float, total: float, state: str) -> None:
            ids = {"node_id": node_id, "display_node_id": node_id, "real_node_id": node_id, "prompt_id": prompt_id}
            states[node_id] = {"value": value, "max": total, "state": state, **ids}
            if self.sends_states:
                await self._send("progress_state", {"prompt_id": prompt_id, "nodes": states}, client)

        kind, inputs = node["class_type"], node["inputs"]
        blocking = [value[0] for value in inputs.values() if isinstance(value, list) and value[0] in blocked]
        if blocking:
            # As the real one: the first node that gets the block tells it, those after it are silent.
            if reason := blocked[blocking[0]]:
                about = {"prompt_id": prompt_id, "node_id": node_id, "node_type": kind}
                error = {"exception_type": "ExecutionBlocked", "exception_message": f"Execution Blocked: {reason}"}
                await self._send("execution_error", about | error, client)
            blocked[node_id] = None
            return
        await step(0, 1, "running")
        await self._send("executing", {"node": node_id, "display_node": node_id, "prompt_id": prompt_id}, client)
        if kind == "Steps":
            for value in range(1, inputs["steps"] + 1):
                await step(value, inputs["steps"], "running")
                data = {"value": value, "max": inputs["steps"], "prompt_id": prompt_id, "node": node_id}
                await self._send("progress", data, client)
                await self._pause(self.seconds_per_step)
        elif kind == "Wait":
            while True:
                await self._pause(0.002)
        elif kind == "Fail":
            raise NodeError(inputs["message"])
        elif kind == "Block":
            blocked[node_id] = inputs["message"]
        elif kind == "Save":
            outputs[node_id] = {self.saved_key: self._save(inputs["filename_prefix"])}
            await self._send("executed", {"node": node_id, "output": outputs[node_id], "prompt_id": prompt_id}, client)
        total = states[node_id]["max"]
        await step(total, total, "finished")

    def _save(self, prefix: str) -> list[dict[str, Any]]:
        if self.saved is not None:
            return self.saved
        subfolder, _, stem = prefix.rpartition("/")
        number = 1
        while ("output", subfolder, f"{stem}_{number:05}_.png") in self.files:
            number += 1
        name = f"{stem}_{number:05}_.png"
        self.files["output", subfolder, name] = f"picture {prefix} {number}".encode()
        return [{"filename": name, "subfolder": subfolder, "type": "output"}]

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.interrupt:
            raise Interrupted
