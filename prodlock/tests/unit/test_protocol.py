"""What a connection may cost, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest
import uvicorn
from fastapi import FastAPI, Request
from uvicorn.server import ServerState

from app.main import create_app
from prodlock.server import protocol
from prodlock.server.settings import Settings
from prodlock.tests.unit import clock

KEPT = b"GET /health HTTP/1.1\r\nHost: x\r\n"
GET = KEPT + b"Connection: close\r\n"
POST = b"POST /quotes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"


def with_slow(app: FastAPI) -> FastAPI:
    """Return the service with a route that takes its time before it looks at the body."""

    @app.api_route("/slow", methods=["GET", "POST"])
    async def slow(request: Request) -> int:
        await asyncio.sleep(5 * protocol.STALL_SECONDS)
        return len(await request.body()) if request.method == "GET" else 0

    return app


async def said(*parts: bytes, pause: float) -> bytes:
    """Return what a server says to these parts, and a pause after each, until it closes."""
    config = uvicorn.Config(with_slow(create_app(Settings())), log_config=None, timeout_keep_alive=75)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol.BoundedProtocol(config, ServerState(), {}), "127.0.0.1", 0)
    answer = b""
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(600):
                while received := await reader.read(65536):
                    answer += received
        writer.close()
    return answer


def answered(*parts: bytes, pause: float = 0) -> bytes:
    """Return the same, from outside of a loop."""
    return clock.run(said(*parts, pause=pause))


@pytest.mark.parametrize(
    "parts",
    [
        (GET + b"\r\n",),
        (GET, b"X: y\r\n", b"\r\n"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\n{}\r\n", b"0\r\n", b"X: y\r\n\r\n"),
        (POST + b"Content-Length: 300000\r\n\r\n" + b" " * 100_000, b" " * 200_000),
        (KEPT + b"\r\n" + KEPT + b"X: " + b"y" * 50_000 + b"\r\n\r\n" + GET + b"X: " + b"y" * 50_000 + b"\r\n\r\n",),
    ],
    ids=["at once", "in pieces", "with a trailer", "a large body", "pipelined"],
)
def test_a_request_of_any_shape_is_answered(parts: tuple[bytes, ...]) -> None:
    """The control: what is within the limits is not cut, however it comes."""
    assert answered(*parts, pause=0.01).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 422 "))


@pytest.mark.parametrize(
    "start", [GET + b"X: ", b"GET /", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: "]
)
def test_a_head_or_a_trailer_without_an_end_is_cut(start: bytes) -> None:
    """431, whatever of it does not end."""
    assert b"HTTP/1.1 431 " in answered(start, *[b"y" * 10_000] * 7, pause=0.01)


def test_many_headers_are_cut_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their sum."""
    monkeypatch.setattr(protocol, "HEAD_BYTES", 1000)
    assert answered(GET, *[b"X: y\r\n" * 50] * 4, pause=0.01).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("parts", [(b"GET /",), (GET,), (POST + b"Content-Length: 9\r\n\r\n", b"{")])
def test_a_client_that_stalls_is_let_go(parts: tuple[bytes, ...]) -> None:
    """408: it may ask again, on another connection."""
    assert answered(*parts).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_client_that_says_nothing_is_let_go_without_a_word() -> None:
    """An answer could be taken for one to the request that is on its way."""
    assert answered() == b""


@pytest.mark.parametrize(("size", "count", "status"), [(500, 20, b"422"), (300, 2, b"408")])
def test_a_client_that_gets_on_is_waited_for(size: int, count: int, status: bytes) -> None:
    """Slow, but not too slow: 1,000 bytes in 10 s, in each of which there are two or three parts."""
    parts = [POST + b"Content-Length: %d\r\n\r\n" % (20 * size), *[b" " * size] * count]
    assert answered(*parts, pause=4).startswith(b"HTTP/1.1 " + status)


def test_a_connection_between_two_requests_is_kept() -> None:
    """How long is another setting."""
    assert answered(KEPT + b"\r\n", GET + b"\r\n", pause=30).count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize("pause", [4, 6, 8])
def test_a_request_has_all_of_its_time(pause: float) -> None:
    """Whenever it begins: what is measured is not how far it has come by the end of somebody else's time."""
    parts = [KEPT + b"\r\n", KEPT, b"\r\n", GET, b"\r\n"]
    assert answered(*parts, pause=pause).count(b"HTTP/1.1 200 ") == 3


def test_what_begins_behind_a_request_is_watched_as_well() -> None:
    """Two in one packet, of which the second stays unfinished; an empty line behind a whole one."""
    answer = answered(KEPT + b"\r\n" + POST + b"Content-Length: 9\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"408"]
    assert b"HTTP/1.1 200 " in answered(KEPT + b"\r\n", b"\r\n", pause=0.01)


SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (SLOW + b"\r\n", b"\r\n"),
        (SLOW + b"\r\n", b"GET /hea"),
        (b"POST /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",),
    ],
    ids=["an empty line", "the next request's beginning", "what waits for 100"],
)
def test_no_request_gets_the_answer_of_another(parts: tuple[bytes, ...]) -> None:
    """Who waits for a slow answer has not stalled, whatever else came."""
    assert re.findall(rb"HTTP/1.1 ([2-5]\d+)", answered(*parts, pause=0.01))[0] == b"200"


@pytest.mark.parametrize(("count", "status"), [(protocol.PIPELINED, b"200"), (protocol.PIPELINED + 2, b"400")])
def test_so_many_requests_may_wait(count: int, status: bytes) -> None:
    """More are not taken: they would fill the memory."""
    answer = answered((KEPT + b"\r\n") * count + GET + b"\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer)[0] == status


def test_nothing_is_read_while_requests_wait() -> None:
    """The next are read once these are answered, and not after each answer: nobody may send more than is taken."""

    class Transport(asyncio.Transport):
        paused = False

        def pause_reading(self) -> None:
            self.paused = True

        def resume_reading(self) -> None:
            self.paused = False

    transport, waiting = Transport(), [1, 2]
    flow = protocol.PatientFlow(transport, waiting)
    flow.pause_reading()
    seen = []
    while waiting:
        flow.resume_reading()
        seen.append(transport.paused)
        waiting.pop()
    flow.resume_reading()
    assert (seen, transport.paused) == ([True, True], False)
