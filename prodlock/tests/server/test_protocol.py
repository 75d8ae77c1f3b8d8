"""Limits on what a connection may cost, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest
import uvicorn
from fastapi import FastAPI, Request
from uvicorn.server import ServerState

from prodlock.server import protocol
from prodlock.tests.server import clock
from prodlock.tests.server.conftest import service, within_layers

KEPT = b"GET /health HTTP/1.1\r\nHost: x\r\n"
GET = KEPT + b"Connection: close\r\n"
POST = b"POST /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"


def with_slow(app: FastAPI) -> FastAPI:
    """Return an application with a route that waits before it reads the body."""

    @app.api_route("/slow", methods=["GET", "POST"])
    async def slow(request: Request) -> int:
        await asyncio.sleep(5 * protocol.STALL_SECONDS)
        return len(await request.body()) if request.method == "GET" else 0

    return app


async def received(*parts: bytes, pause: float) -> bytes:
    """Return what a client receives that sends these parts, with a pause after each, until the server closes."""
    app = within_layers(with_slow(service()))
    config = uvicorn.Config(app, log_config=None, timeout_keep_alive=75)
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
                while data := await reader.read(65536):
                    answer += data
        writer.close()
    return answer


def answered(*parts: bytes, pause: float = 0) -> bytes:
    """Return the same, outside of a loop."""
    return clock.run(received(*parts, pause=pause))


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
    """The control: a request within the limits is answered, in whatever parts it arrives."""
    assert answered(*parts, pause=0.01).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 422 "))


@pytest.mark.parametrize(
    "start", [GET + b"X: ", b"GET /", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: "]
)
def test_a_head_or_a_trailer_without_an_end_is_refused(start: bytes) -> None:
    """431, whichever part does not end."""
    assert b"HTTP/1.1 431 " in answered(start, *[b"y" * 10_000] * 7, pause=0.01)


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (GET + b"X: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
        (GET + b"X: yyyy\r\n" * 8_000 + b"\r\n", b"431"),
        (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (GET + b"X: " + b"y" * 60_000 + b"\r\n\r\n", b"200"),
        (POST + b"X: " + b"y" * 60_000 + b"\r\nContent-Length: 100000\r\n\r\n" + b" " * 100_000, b"422"),
    ],
    ids=["a header", "many headers", "a path", "below the limit", "with a body"],
)
def test_the_limit_on_a_head_does_not_depend_on_its_parts(part: bytes, status: bytes) -> None:
    """It may arrive as a whole, and with a body."""
    assert answered(part).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health HTTP/1.1\r\n", b"400"),
        (b"GET http://x/health HTTP/1.1\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nHOST: x\r\n", b"400"),
        (b"GET /health HTTP/1.0\r\nHost: x\r\nHost: y\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\nHost:\r\n", b"200"),
        (b"GET /health HTTP/1.0\r\n", b"200"),
    ],
    ids=["no host", "the target's host alone", "two hosts", "two hosts of HTTP/1.0", "an empty host", "HTTP/1.0"],
)
def test_a_request_has_one_host(head: bytes, status: bytes) -> None:
    """RFC 9112, 3.2: two proxies may read different ones of several; HTTP/1.0 may have none."""
    assert answered(head + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 " + status)


def test_many_headers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their sum is limited."""
    monkeypatch.setattr(protocol, "HEAD_BYTES", 1000)
    assert answered(GET, *[b"X: y\r\n" * 50] * 4, pause=0.01).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("parts", [(b"GET /",), (GET,), (POST + b"Content-Length: 9\r\n\r\n", b"{")])
def test_a_client_that_stalls_is_disconnected(parts: tuple[bytes, ...]) -> None:
    """408: it may send the request again, on another connection."""
    assert answered(*parts).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_client_that_sends_nothing_is_disconnected_without_an_answer() -> None:
    """The client could take an answer for that to a request that is on its way."""
    assert answered() == b""


@pytest.mark.parametrize(("size", "count", "status"), [(500, 20, b"422"), (300, 2, b"408")])
def test_a_slow_client_above_the_minimum_rate_is_answered(size: int, count: int, status: bytes) -> None:
    """The minimum is 1,000 bytes in 10 s, in each of which two or three parts arrive."""
    parts = [POST + b"Content-Length: %d\r\n\r\n" % (20 * size), *[b" " * size] * count]
    assert answered(*parts, pause=4).startswith(b"HTTP/1.1 " + status)


def test_a_connection_between_two_requests_is_kept() -> None:
    """The keep-alive timeout is another setting."""
    assert answered(KEPT + b"\r\n", GET + b"\r\n", pause=30).count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize("pause", [4, 6, 8])
def test_each_request_has_a_whole_period(pause: float) -> None:
    """Whenever it begins: the period of the request before it does not count."""
    parts = [KEPT + b"\r\n", KEPT, b"\r\n", GET, b"\r\n"]
    assert answered(*parts, pause=pause).count(b"HTTP/1.1 200 ") == 3


def test_a_request_that_begins_in_the_packet_of_another_is_limited() -> None:
    """Two in one packet, of which the second is never complete; an empty line after a complete one."""
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
def test_a_request_never_gets_the_answer_of_another(parts: tuple[bytes, ...]) -> None:
    """A client that waits for a slow answer has not stalled, whatever else it has sent."""
    assert re.findall(rb"HTTP/1.1 ([2-5]\d+)", answered(*parts, pause=0.01))[0] == b"200"


HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"\r\n", b"403"),
        # Older releases of uvicorn ignore the body.
        (b"Content-Length: 3\r\n\r\nabc", b"40[03]"),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"40[03]"),
        (b"Cookie: " + b"x" * 9000 + b"\r\n\r\n", b"400"),
        (b"X: y\r\n" * 130 + b"\r\n", b"400"),
    ],
    ids=["valid", "a body", "chunks", "a long header", "many headers"],
)
def test_every_websocket_handshake_is_answered(rest: bytes, status: bytes) -> None:
    """The connection of one that the package websockets refuses in silence would be kept for ever."""
    pytest.importorskip("websockets")
    assert re.match(b"HTTP/1.1 %b " % status, answered(HANDSHAKE + rest))


@pytest.mark.parametrize(("count", "status"), [(protocol.MAX_PIPELINED, b"200"), (protocol.MAX_PIPELINED + 2, b"400")])
def test_the_number_of_pipelined_requests_is_limited(count: int, status: bytes) -> None:
    """More would fill the memory."""
    answer = answered((KEPT + b"\r\n") * count + GET + b"\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer)[0] == status


def test_nothing_is_read_while_requests_wait() -> None:
    """Reading resumes once all are answered, not after each answer: otherwise a client could send without limit."""

    class Transport(asyncio.Transport):
        paused = False

        def pause_reading(self) -> None:
            self.paused = True

        def resume_reading(self) -> None:
            self.paused = False

    transport, waiting = Transport(), [1, 2]
    flow = protocol.PipelineFlow(transport, waiting)
    flow.pause_reading()
    seen = []
    while waiting:
        flow.resume_reading()
        seen.append(transport.paused)
        waiting.pop()
    flow.resume_reading()
    assert (seen, transport.paused) == ([True, True], False)
