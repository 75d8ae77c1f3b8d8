"""A response's head and body are sent in one write, and nothing is held back that has no body yet."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from prodlock.server import cork
from prodlock.server.asgi import Application, Message, Receive, Scope, Send, respond
from prodlock.server.cork import MAX_JOINED_BYTES, Cork
from prodlock.server.protocol import BoundedProtocol
from prodlock.tests.server import clock

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Recorder(asyncio.Transport):
    """A transport that records the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Record the data."""
        self.done.append(bytes(data))

    def close(self) -> None:
        """Record the call."""
        self.done.append("closed")

    def pause_reading(self) -> None:
        """No data arrives."""

    def resume_reading(self) -> None:
        """No data arrives."""

    def is_closing(self) -> bool:
        """Return whether it was closed."""
        return "closed" in self.done


async def answers(kind: type[HttpToolsProtocol], app: FastAPI, request: bytes, seconds: float) -> Sequence[bytes | str]:
    """Return what a protocol does with its transport, so many seconds after a request."""
    config = uvicorn.Config(app, log_config=None)
    config.load()
    transport = Recorder()
    connection = kind(config, ServerState(), {})
    connection.connection_made(transport)
    connection.data_received(request)
    await asyncio.sleep(seconds)
    done = list(transport.done)
    connection.connection_lost(None)
    return done


def service() -> FastAPI:
    """Return a service with an answer of one part, and one whose first part takes a minute."""
    app = FastAPI()

    @app.api_route("/", methods=["GET", "HEAD"])
    async def at_once() -> str:
        return "at once"

    @app.get("/late")
    async def late() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            await asyncio.sleep(60)
            yield b"late"

        return StreamingResponse(parts())

    return app


@pytest.mark.parametrize(("kind", "pieces"), [(BoundedProtocol, 1), (HttpToolsProtocol, 2)])
def test_a_response_is_sent_in_one_write(kind: type[HttpToolsProtocol], pieces: int) -> None:
    """The control: uvicorn alone makes two writes."""
    done = clock.run(answers(kind, service(), GET, 1))
    assert len(done) == pieces
    assert re.fullmatch(rb'HTTP/1.1 200 OK\r\n.*\r\n\r\n"at once"', b"".join(cast("list[bytes]", done)), re.DOTALL)


def test_pipelined_requests_get_one_write_each() -> None:
    """In their order."""
    requests = GET + GET.replace(b"/ ", b"/nowhere ") + GET
    done = cast("list[bytes]", clock.run(answers(BoundedProtocol, service(), requests, 1)))
    assert [piece.split()[1] for piece in done] == [b"200", b"404", b"200"]


def test_a_head_does_not_wait_for_a_late_body() -> None:
    """A client of server-sent events gets the head at once."""
    (head,) = clock.run(answers(BoundedProtocol, service(), GET.replace(b"/ ", b"/late "), 30))
    assert isinstance(head, bytes)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")


def test_the_last_response_is_sent_before_the_connection_is_closed() -> None:
    """A response that ends its connection."""
    done = clock.run(answers(BoundedProtocol, service(), GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 1))
    assert len(done) == 2
    assert done[1] == "closed"


async def written(*parts: bytes | memoryview) -> Sequence[bytes | str]:
    """Return what has been sent of these parts before the loop's next iteration."""
    transport = Recorder()
    connection = Cork(transport, lambda: True)
    for part in parts:
        connection.write(part)  # type: ignore[arg-type]
    connection.is_closing()
    return list(transport.done)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "sent"),
    [
        ([HEAD], []),
        ([HEAD, b"body"], [HEAD + b"body"]),
        ([HEAD, b""], [HEAD]),
        ([HEAD, b"one", b"two"], [HEAD + b"one", b"two"]),
        ([HEAD, HEAD], [HEAD + HEAD]),
        ([CHUNKED], [CHUNKED]),
        ([CHUNKED, b"4\r\nbody\r\n"], [CHUNKED, b"4\r\nbody\r\n"]),
        ([b"frame"], [b"frame"]),
        ([HEAD, b"y" * MAX_JOINED_BYTES + b"z"], [HEAD, b"y" * MAX_JOINED_BYTES + b"z"]),
    ],
    ids=[
        "a head", "a response", "an empty one", "several parts", "two heads", "a head of a stream", "a stream",
        "something else", "a large body",
    ],
)  # fmt: skip
def test_only_the_head_of_a_complete_body_is_held(parts: list[bytes], sent: list[bytes]) -> None:
    """A stream may block before its first part, and a large body is not copied."""
    assert clock.run(written(*parts)) == sent


async def together() -> list[Sequence[bytes | str]]:
    """Return what three connections have sent, each with a response in the same iteration of the loop."""
    transports = [Recorder(), Recorder(), Recorder()]
    for transport in transports:
        connection = Cork(transport, lambda: True)
        connection.write(HEAD)
        connection.write(b"body")
    return [list(transport.done) for transport in transports]


def test_no_complete_response_waits_for_another_connection() -> None:
    """Each is sent at once, whatever else the loop's iteration has to do."""
    assert clock.run(together()) == [[HEAD + b"body"]] * 3


async def sent_before_the_return(request: bytes) -> Sequence[bytes | str]:
    """Return what is sent by the time the application returns: another task may block the loop after that."""
    done: list[bytes | str] = []
    transport = Recorder()
    app = service()

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        done.extend(transport.done)

    config = uvicorn.Config(watched, log_config=None)
    config.load()
    connection = BoundedProtocol(config, ServerState(), {})
    connection.connection_made(transport)
    connection.data_received(request)
    await asyncio.sleep(1)
    connection.connection_lost(None)
    return done


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_response_is_sent_before_its_application_returns(method: bytes) -> None:
    """Also one without a body, which is complete with its head."""
    (sent,) = clock.run(sent_before_the_return(GET.replace(b"GET", method)))
    assert isinstance(sent, bytes)
    assert sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert sent.endswith(b'"at once"') == (method == b"GET")


def test_a_buffer_may_change_after_it_was_written() -> None:
    """A body may be a buffer that is reused, and may look like a head."""
    buffer = bytearray(b"one")

    async def reused() -> Sequence[bytes | str]:
        transport = Recorder()
        connection = Cork(transport, lambda: True)
        connection.write(HEAD)
        for part in (b"two", b"six", HEAD, b"ten"):
            buffer[:] = part
            connection.write(buffer)  # type: ignore[arg-type]
        return list(transport.done)

    assert clock.run(reused()) == [HEAD + b"two", b"six", HEAD, b"ten"]


async def mistaken() -> Sequence[bytes | str]:
    """Return what is sent of a response whose body is text."""
    transport = Recorder()
    connection = Cork(transport, lambda: True)
    connection.write(HEAD)
    with pytest.raises(TypeError):
        connection.write("text")  # type: ignore[arg-type]
    await asyncio.sleep(1)
    return transport.done


def test_a_body_that_is_not_bytes_is_an_error() -> None:
    """The same as from asyncio; the head is sent all the same."""
    assert clock.run(mistaken()) == [HEAD]


async def disconnected() -> Sequence[bytes | str]:
    """Return what is done with a transport that has closed while a head was held."""
    transport = Recorder()
    connection = Cork(transport, lambda: True)
    connection.write(HEAD)
    transport.close()
    await asyncio.sleep(1)
    return transport.done


def test_a_client_that_has_disconnected_is_sent_nothing() -> None:
    """Some event loops would print a traceback."""
    assert clock.run(disconnected()) == ["closed"]


async def half_closed(kind: type[HttpToolsProtocol], request: bytes) -> bytes:
    """Return the answer to a client that closes its side of the connection right after a request."""
    config = uvicorn.Config(service(), log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: kind(config, ServerState(), {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
    return answer


@pytest.mark.parametrize("kind", [BoundedProtocol, HttpToolsProtocol])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_client_that_has_closed_its_side_is_answered(kind: type[HttpToolsProtocol], method: bytes) -> None:
    """The control is uvicorn alone. asyncio closes as soon as the client has: a held head would be lost."""
    assert clock.run(half_closed(kind, GET.replace(b"GET", method))).startswith(b"HTTP/1.1 200 OK\r\n")


# More than the kernel buffers.
ENDLESS = 100_000_000


async def streamed(seconds: float) -> int:
    """Return how many bytes an application that never pauses has sent to a client that does not read."""
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < ENDLESS:
            sent += 10_000
            yield b"x" * 10_000

    app = FastAPI()

    @app.get("/")
    async def endless() -> StreamingResponse:
        return StreamingResponse(parts())

    config = uvicorn.Config(app, log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1)
        writer.write(GET)
        await asyncio.sleep(seconds)
        writer.close()
        for task in state.tasks:
            task.cancel()
    return sent


def test_an_application_waits_for_a_client_that_does_not_read() -> None:
    """It sends what the kernel and asyncio buffer, not all that it has."""
    assert 100_000 < clock.run(streamed(5)) < ENDLESS


async def sent_at_each_message(app: Application) -> list[int]:
    """Return how many writes have reached the transport after each message that an application sends."""
    transport = Recorder()
    counts = []

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_count(message: Message) -> None:
            await send(message)
            counts.append(len(transport.done))

        await app(scope, receive, send_and_count)

    config = uvicorn.Config(counting, log_config=None)
    config.load()
    connection = BoundedProtocol(config, ServerState(), {})
    connection.connection_made(transport)
    connection.data_received(GET)
    await asyncio.sleep(1)
    connection.connection_lost(None)
    return counts


async def bare(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer without a framework."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"bare"})


async def answered_by_the_server(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer as the server's own layers do."""
    await respond(send, 200, {})


def test_the_head_of_an_unknown_application_is_sent_at_once() -> None:
    """Its body may follow late. The server's own answers and those of Starlette's `Response` are joined."""
    assert clock.run(sent_at_each_message(bare)) == [1, 2]
    assert clock.run(sent_at_each_message(answered_by_the_server)) == [0, 1]
    assert clock.run(sent_at_each_message(service())) == [0, 1]


def test_a_complete_response_is_recognised_at_any_depth_of_the_stack() -> None:
    """Whatever the depth of the one before it: one application has more layers than another."""
    layers: Application = service()
    for _ in range(3):
        layers = passing_on(layers)
    for app, counts in ((service(), [0, 1]), (bare, [1, 2]), (layers, [0, 1]), (bare, [1, 2]), (service(), [0, 1])):
        assert clock.run(sent_at_each_message(app)) == counts


def passing_on(app: Application) -> Application:
    """Return an application within a layer that passes each message on."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        async def pass_on(message: Message) -> None:
            await send(message)

        await app(scope, receive, pass_on)

    return layer


@pytest.mark.parametrize("count", [0, 1])
def test_starlette_is_used_only_where_the_application_has_loaded_it(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The server does not import it."""
    monkeypatch.setattr(cork, "_COMPLETE", {respond.__code__})
    if not count:
        monkeypatch.delitem(sys.modules, "starlette.responses")
    cork.body_follows()
    assert len(cork._COMPLETE) == 1 + count
    assert ("starlette.responses" in sys.modules) == bool(count)
