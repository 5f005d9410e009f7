"""A client of one ComfyUI server: its HTTP routes and its websocket, with errors that say what is wrong.

Every answer is a stranger's: what is read here is checked for its shape before anything is done with it.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp

# An "executed" message holds the whole ui entry of a node, which may list thousands of files; aiohttp's 4 MiB would
# end the connection there.
LARGEST_MESSAGE_BYTES = 128 * 2**20
DOWNLOAD_CHUNK_BYTES = 2**20


class ServerError(ValueError):
    """What is wrong with a server or its answer."""


class ConnectionLost(ServerError):
    """The server cannot be reached, now: a second try may succeed."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for a server, in seconds."""

    connecting: float = 10.0
    answering: float = 90.0  # a server that loads a model answers late, because Python runs one thread at a time
    silence: float = 5.0  # without news of a running prompt; then the server is asked
    lost: float = 120.0  # unreachable; a restart of ComfyUI with many packs takes a minute
    cancelling: float = 15.0  # until a cancelled prompt has left the queue
    first_retry: float = 0.5  # doubled with every try
    last_retry: float = 10.0

    def retries(self) -> list[float]:
        """The pauses between tries that together last as long as a server may be lost."""
        pauses: list[float] = []
        pause = self.first_retry
        while sum(pauses) < self.lost:
            pauses.append(pause)
            pause = min(2 * pause, self.last_retry)
        return pauses


@dataclass(frozen=True)
class Facts:
    """What a server says of itself."""

    version: str
    python: str
    torch: str
    devices: tuple[str, ...]


@dataclass(frozen=True)
class RemoteFile:
    """A file in one of a server's folders."""

    filename: str
    subfolder: str
    kind: str  # output, temp or input

    def __str__(self) -> str:
        return f"{self.subfolder}/{self.filename}" if self.subfolder else self.filename


@dataclass(frozen=True)
class Place:
    """Where a prompt is in a server's queue."""

    running: bool
    before: int  # prompts that come first


@dataclass(frozen=True)
class Address:
    """Where a server is: `base` ends without a slash, and may hold a path and a login."""

    base: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read "host", "host:port" or a whole URL, as a person types or copies it."""
        trimmed = text.strip()
        parts = urllib.parse.urlsplit(trimmed if "://" in trimmed else f"http://{trimmed}")
        if parts.scheme not in ("http", "https"):
            raise ServerError(f"The server {text!r} begins with {parts.scheme}://. Give it as http:// or https://.")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, 0
        if not host or port == 0 or any(letter.isspace() for letter in trimmed):
            raise ServerError(f"{text!r} is no address of a server. Give one like http://127.0.0.1:8188.")
        if parts.query:
            raise ServerError(f"The server {text!r} has a part after a question mark. Give the address before it.")
        return cls(urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", "")))

    def __str__(self) -> str:
        """The address without its login, to be shown."""
        parts = urllib.parse.urlsplit(self.base)
        return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class ComfyServer:
    """The routes of a ComfyUI server.

    async with ComfyServer("127.0.0.1:8188") as server:
        facts = await server.facts()
    """

    def __init__(self, address: str, patience: Patience = Patience()) -> None:
        self.address = Address.parse(address)
        self.patience = patience

    async def __aenter__(self) -> ComfyServer:
        import aiohttp

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.patience.connecting, sock_read=self.patience.answering
        )
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def facts(self) -> Facts:
        """Ask what runs there; raises where it is no ComfyUI."""
        route = "/system_stats"
        async with self._request("GET", route) as response:
            stats = await self._json(response, route)
            final = str(response.url)
        system = stats.get("system")
        if not isinstance(system, dict) or not isinstance(stats.get("devices"), list):
            raise self._not_comfyui(f"its {route} has other contents")
        self._follow(final, route)
        return Facts(
            version=str(system.get("comfyui_version", "unknown")),
            python=str(system.get("python_version", "unknown")).split(" ")[0],
            torch=str(system.get("pytorch_version", "unknown")),
            devices=tuple(str(device.get("name")) for device in stats["devices"] if isinstance(device, dict)),
        )

    async def node_definitions(self) -> dict[str, Any]:
        """Every node type that the server has, in the form of /object_info."""
        async with self._request("GET", "/object_info") as response:
            return await self._json(response, "/object_info")

    async def post_prompt(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Post a prompt; the status of the answer and what it says, which is where a refusal has its reasons."""
        async with self._request("POST", "/prompt", accept=(400,), json=body) as response:
            return response.status, await self._json(response, "/prompt")

    async def place(self, prompt_id: str) -> Place | None:
        """Where a prompt is in the queue, None where it is not there."""
        async with self._request("GET", "/queue") as response:
            queue = await self._json(response, "/queue")
        running, pending = (
            [item for item in queue.get(name) or [] if isinstance(item, list) and len(item) > 1]
            for name in ("queue_running", "queue_pending")
        )
        if any(item[1] == prompt_id for item in running):
            return Place(running=True, before=0)
        ours = next((item for item in pending if item[1] == prompt_id), None)
        if ours is None:
            return None
        # The list is a heap, not sorted: the number of an item says when its turn comes.
        return Place(running=False, before=len(running) + sum(item[0] < ours[0] for item in pending))

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """What the server keeps of a prompt that is done, None where it keeps nothing."""
        route = f"/history/{urllib.parse.quote(prompt_id)}"
        async with self._request("GET", route) as response:
            entry = (await self._json(response, route)).get(prompt_id)
        return entry if isinstance(entry, dict) else None

    async def ask_to_cancel(self, prompt_id: str) -> None:
        """Ask once that a prompt be taken out of the queue or interrupted, whatever the server's age."""
        route = f"/api/jobs/{urllib.parse.quote(prompt_id)}/cancel"
        # Servers older than 0.33 lack this route: 405, because their last route takes any path, for GET only.
        async with self._request("POST", route, accept=(404, 405)) as response:
            if response.status == 200:
                return
        for older, body in [("/queue", {"delete": [prompt_id]}), ("/interrupt", {"prompt_id": prompt_id})]:
            async with self._request("POST", older, json=body):
                pass

    async def has_input(self, name: str) -> bool:
        """Whether the server's input folder has a file of this name, which may lie in a subfolder."""
        subfolder, _, filename = name.replace("\\", "/").rpartition("/")
        query = {"filename": filename, "subfolder": subfolder, "type": "input"}
        async with self._request("HEAD", "/view", accept=(400, 403, 404), params=query) as response:
            return response.status == 200

    async def upload(self, path: Path, name: str, on_bytes: Callable[[int], None] = lambda sent: None) -> str:
        """Put a file into the server's input folder; gives the name that it got there.

        A server that has another file of that name keeps it, and calls ours "name (1)".
        """
        import aiohttp

        subfolder, _, filename = name.replace("\\", "/").rpartition("/")
        # Quoted, the server would take "%20" for a part of the name.
        form = aiohttp.FormData(quote_fields=False)
        with _CountedFile(path, on_bytes) as file:
            form.add_field("image", file, filename=filename, content_type="application/octet-stream")
            form.add_field("type", "input")
            form.add_field("subfolder", subfolder)
            async with self._request("POST", "/upload/image", accept=(413,), data=form) as response:
                if response.status == 413:
                    megabytes = path.stat().st_size / 2**20
                    raise ServerError(
                        f"{path} has {megabytes:.0f} MB, more than {self.address} takes. Start ComfyUI with a larger "
                        "--max-upload-size, or copy the file into its input folder."
                    )
                answer = await self._json(response, "/upload/image")
        got = answer.get("name")
        if not isinstance(got, str):
            raise self._not_comfyui("it does not say under which name it kept an upload")
        return f"{subfolder}/{got}" if subfolder else got

    async def download(self, remote: RemoteFile, path: Path) -> None:
        """Write a file of the server to `path`."""
        query = {"filename": remote.filename, "subfolder": remote.subfolder, "type": remote.kind}
        async with self._request("GET", "/view", accept=(400, 403, 404), params=query) as response:
            if response.status != 200:
                raise ServerError(
                    f"{self.address} made {remote.kind}/{remote}, but does not give it out ({response.status} "
                    f"{response.reason}). Look for it in ComfyUI's {remote.kind} folder."
                )
            with path.open("wb") as file:
                async for chunk in response.content.iter_chunked(DOWNLOAD_CHUNK_BYTES):
                    file.write(chunk)

    @asynccontextmanager
    async def websocket(self, client_id: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Connect as `client_id`; gives the server's messages that are JSON, until the connection ends."""
        import aiohttp

        with self._clear_errors():
            socket = await self._session.ws_connect(
                f"{self.address.base}/ws",
                params={"clientId": client_id},
                heartbeat=30.0,  # finds out that the other end is gone, which else is noticed only when sending
                max_msg_size=LARGEST_MESSAGE_BYTES,
            )
        async with socket:
            # Only a first message may say this; with it previews come with the id of their node.
            await socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            yield (
                message
                async for raw in socket
                if raw.type is aiohttp.WSMsgType.TEXT and (message := _message(raw.data)) is not None
            )

    @asynccontextmanager
    async def _request(
        self, method: str, route: str, accept: tuple[int, ...] = (), **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request; an answer that is neither 200 nor in `accept` is an error."""
        with self._clear_errors():
            async with self._session.request(method, self.address.base + route, **options) as response:
                if response.status != 200 and response.status not in accept:
                    raise await self._refusal(response, route)
                yield response

    def _clear_errors(self) -> _ClearErrors:
        return _ClearErrors(self.address)

    async def _json(self, response: aiohttp.ClientResponse, route: str) -> dict[str, Any]:
        body = await response.read()
        try:
            answer = json.loads(body)
        except ValueError:
            raise self._not_comfyui(f"its {route} is {response.content_type} and not JSON") from None
        if not isinstance(answer, dict):
            raise self._not_comfyui(f"its {route} is not a JSON object")
        return answer

    async def _refusal(self, response: aiohttp.ClientResponse, route: str) -> ServerError:
        status = f"{response.status} {response.reason}"
        if response.status in (401, 403, 407):
            return ServerError(
                f"{self.address} refuses the request ({status}). If it asks for a login, write it into the address: "
                "https://user:password@host."
            )
        if response.status in (502, 503, 504):
            return ConnectionLost(
                f"{self.address} answers {status}: there is a proxy, but no ComfyUI behind it. Start ComfyUI, or wait "
                "until it has started."
            )
        if response.status == 404:
            return self._not_comfyui(f"it has no {route}")
        text = " ".join((await response.text(errors="replace")).split())[:200]
        return ServerError(f"{self.address} failed on {route} with {status}: {text or 'it says no more'}. See its log.")

    def _not_comfyui(self, reason: str) -> ServerError:
        return ServerError(
            f"{self.address} answers, but not as ComfyUI does: {reason}. Check the address, and the port (8188 unless "
            "ComfyUI was started with another)."
        )

    def _follow(self, final: str, route: str) -> None:
        """Go on where a redirect led: a POST that is redirected would arrive as a GET."""
        if final.endswith(route) and final != self.address.base + route:
            asked = urllib.parse.urlsplit(self.address.base)
            parts = urllib.parse.urlsplit(final.removesuffix(route))
            netloc = parts.netloc.rpartition("@")[2]
            if asked.hostname == parts.hostname:  # the login belongs to the host that it was given for
                login, at, _ = asked.netloc.rpartition("@")
                netloc = login + at + netloc
            self.address = Address(urllib.parse.urlunsplit(parts._replace(netloc=netloc)))


class _ClearErrors:
    """Turns what aiohttp raises into sentences."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        import aiohttp

        if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, ssl.SSLError)):
            raise ServerError(
                f"{self._address} has no secure connection that can be trusted: {error}. If the certificate is your "
                "own, name its file in SSL_CERT_FILE; if the server speaks no https, write http://."
            ) from error
        if isinstance(error, aiohttp.InvalidURL):
            raise ServerError(
                f"{self._address} is no address of a server. Give one like http://127.0.0.1:8188."
            ) from error
        if isinstance(error, asyncio.TimeoutError):
            raise ConnectionLost(
                f"{self._address} does not answer. Is ComfyUI running there, and can it be reached from here?"
            ) from error
        if isinstance(error, aiohttp.WSServerHandshakeError):
            raise ServerError(f"{self._address} gives no websocket ({error.status}).") from error
        if isinstance(error, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError)):
            raise ConnectionLost(
                f"{self._address} cannot be reached: {_reason(error)}. Is ComfyUI running there?"
            ) from error
        if isinstance(error, aiohttp.ClientError):
            raise ServerError(
                f"{self._address} does not speak HTTP as ComfyUI does: {_reason(error)}. Check the address."
            ) from error


def _reason(error: BaseException) -> str:
    """The part of a network error's text that says why."""
    cause = getattr(error, "os_error", None) or error
    number = getattr(cause, "errno", None)
    if isinstance(cause, OSError) and number and number > 0:  # those of a name that is not found are negative
        return os.strerror(number).lower()
    return (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).rstrip(".")


def _message(text: str) -> dict[str, Any] | None:
    """A message as {"type": ..., "data": {...}}, None where it is something else."""
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) and isinstance(message.get("data"), dict) else None


class _CountedFile(io.BufferedReader):
    """A file that tells how many of its bytes were read."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self._on_bytes = on_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self._on_bytes(len(chunk))
        return chunk
