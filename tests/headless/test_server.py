"""The client of a ComfyUI server: addresses, and answers that are not ComfyUI's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web

from zoetrope.headless.server import Address, ComfyServer, ConnectionLost, Patience, Place, ServerError

from .fake_server import FakeComfy

QUICK = Patience(connecting=0.5, answering=0.3, lost=0.2, first_retry=0.01)


@pytest.fixture
def comfy():
    with FakeComfy() as server:
        yield server


def ask(
    address: str, question: Callable[[ComfyServer], Coroutine[Any, Any, Any]] = lambda server: server.facts()
) -> Any:
    async def within() -> Any:
        async with ComfyServer(address, QUICK) as server:
            return await question(server)

    return asyncio.run(within())


@pytest.mark.parametrize(
    "text, base",
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("gpu-box", "http://gpu-box"),
        (" http://gpu-box:8188/ ", "http://gpu-box:8188"),
        ("https://studio.example/comfy/", "https://studio.example/comfy"),
        ("http://gpu-box:8188/#workflow", "http://gpu-box:8188"),
        ("[::1]:8188", "http://[::1]:8188"),
    ],
)
def test_addresses_are_read_as_people_type_them(text, base):
    assert Address.parse(text).base == base


@pytest.mark.parametrize("text", ["", "http://", "host:port", "host:99999", "two words", "::1", ":8188"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ServerError, match="no address of a server"):
        Address.parse(text)


@pytest.mark.parametrize("text, reason", [("ws://gpu-box", "begins with ws"), ("gpu-box?token=1", "question mark")])
def test_an_address_that_would_not_work_says_why(text, reason):
    with pytest.raises(ServerError, match=reason):
        Address.parse(text)


def test_a_login_is_never_shown():
    assert str(Address.parse("https://me:secret@studio.example/comfy")) == "https://studio.example/comfy"


def test_a_login_is_sent(comfy):
    seen = []

    async def look(request):
        seen.append(request.headers.get("Authorization"))
        return await comfy._system_stats(request)

    comfy.answers["/system_stats"] = look

    ask(f"http://me:secret@127.0.0.1:{comfy.port}")

    assert seen == ["Basic bWU6c2VjcmV0"]


@pytest.mark.parametrize("base_path", ["", "/comfy", "/a/deep/path"])
def test_a_server_behind_a_path_is_found(base_path):
    with FakeComfy(base_path=base_path) as comfy:
        facts = ask(f"127.0.0.1:{comfy.port}{base_path}/")

    assert (facts.version, facts.python, facts.torch, facts.devices) == ("0.33.0", "3.12.3", "2.8.0+cpu", ("cpu",))


def test_a_redirect_is_followed_for_everything_that_comes_after(comfy):
    async def elsewhere(request):
        raise web.HTTPMovedPermanently(comfy.url + "/system_stats")

    with FakeComfy() as old:
        old.answers["/system_stats"] = elsewhere

        async def both(server):
            await server.facts()
            return await server.post_prompt({"prompt": {}, "prompt_id": "no uuid", "client_id": "me"})

        with pytest.raises(ServerError, match="failed on /prompt with 500"):
            ask(old.url, both)

    assert comfy.posted


@pytest.mark.parametrize(
    ("final", "base"),
    [
        ("https://here:8443/prompt", "https://me:secret@here:8443"),
        ("http://elsewhere/prompt", "http://elsewhere"),
        ("http://other:login@elsewhere/prompt", "http://elsewhere"),
    ],
)
def test_a_login_is_kept_on_its_host_and_goes_to_no_other(final, base):
    server = ComfyServer("http://me:secret@here:8188")

    server._follow(final, "/prompt")

    assert server.address.base == base


def test_nobody_there_is_one_sentence():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectionLost) as error:
            ask(f"127.0.0.1:{port}")

    assert str(error.value).startswith(f"http://127.0.0.1:{port} cannot be reached: ")
    assert str(error.value).endswith("Is ComfyUI running there?")
    assert "\n" not in str(error.value)


def test_a_server_that_never_answers_is_told():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(ConnectionLost, match="does not answer"):
            ask(f"127.0.0.1:{deaf.getsockname()[1]}")


def test_http_where_https_was_asked_for_is_told(comfy):
    with pytest.raises(ServerError, match=r"no secure connection.*write http://"):
        ask(comfy.url.replace("http:", "https:"))


@pytest.mark.parametrize(
    "status, body, kind, reason",
    [
        (200, "<html>It works!</html>", "text/html", "its /system_stats is text/html and not JSON"),
        (200, "[1]", "application/json", "not a JSON object"),
        (200, '{"system": 1, "devices": []}', "application/json", "other contents"),
        (404, "no", "text/plain", "it has no /system_stats"),
        (401, "no", "text/plain", r"refuses the request \(401 Unauthorized\).*https://user:password@host"),
        (403, "no", "text/plain", r"refuses the request \(403"),
        (502, "no", "text/html", "a proxy, but no ComfyUI behind it"),
        (500, "Boom\n at line 1", "text/plain", "with 500 Internal Server Error: Boom at line 1. See its log"),
    ],
)
def test_an_answer_that_is_not_comfyuis_is_told(comfy, status, body, kind, reason):
    async def answer(request):
        return web.Response(status=status, text=body, content_type=kind)

    comfy.answers["/system_stats"] = answer

    with pytest.raises(ServerError, match=reason):
        ask(comfy.url)


def test_something_that_speaks_no_http_is_told():
    async def talk() -> None:
        async def greet(reader, writer):
            writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            async with ComfyServer(f"127.0.0.1:{port}", QUICK) as server:
                await server.facts()

    with pytest.raises(ServerError, match="does not speak HTTP as ComfyUI does"):
        asyncio.run(talk())


def test_the_place_in_the_queue_counts_those_whose_turn_comes_first(comfy):
    comfy.running = [(1.0, "a", {}, {}, [])]
    comfy.pending = [(2.0, "b", {}, {}, []), (9.0, "ours", {}, {}, []), (4.0, "c", {}, {}, []), (12.0, "d", {}, {}, [])]
    comfy.runs_prompts = False

    async def places(server):
        return [await server.place(name) for name in ("a", "ours", "nobody")]

    assert ask(comfy.url, places) == [Place(running=True, before=0), Place(running=False, before=3), None]


def test_pauses_between_tries_grow_and_last_as_long_as_a_server_may_be_lost():
    assert Patience(lost=10, first_retry=1, last_retry=4).retries() == [1, 2, 4, 4]
